//! Whether copies would come back into the bridge, where they would be copied again, for ever.

use super::Facts;
use crate::ovsdb::Interface;

/// The external ID by which OVN knows the port of a Pod.
const POD: &str = "iface-id";
/// The type of ports that lead to another bridge.
const PATCH: &str = "patch";

/// A way by which copies get to where they must not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loop {
    /// They enter the bridge again.
    #[error(
        "what is copied to {nic} comes back into {bridge} by its port {port}, and would be copied again and again: lead {nic} elsewhere, or choose another --mirror-iface"
    )]
    Back {
        /// The mirror NIC.
        nic: String,
        /// The bridge that they enter.
        bridge: String,
        /// The port that they come in by.
        port: String,
    },
    /// They are sent to a Pod.
    #[error(
        "what is copied to {nic} leaves by {port}, the port of a Pod, which must not get others' packets: choose another --mirror-iface"
    )]
    ToPod {
        /// The mirror NIC.
        nic: String,
        /// The Pod's port.
        port: String,
    },
}

/// Looks where copies get to, by the links of this network namespace; none if all is well.
///
/// A loop by another network namespace, a virtual machine or a switch that sends copies back can't be seen from here.
#[must_use]
pub fn find(facts: &Facts<'_>) -> Option<Loop> {
    let reach = &facts.link?.reach;
    let nic = || facts.nic.to_owned();
    let port = |name: &String| facts.snapshot.interface_named(name);
    let mut entered = reach.enters.iter().filter_map(port).filter(|port| !is_internal(port));
    // Who sends by an internal port sends into the bridge.
    let mut sent = reach.leaves.iter().filter_map(port).filter(|port| is_internal(port));
    let back = |port: &Interface| {
        let bridge = joined_bridge(facts, port)?;
        Some(Loop::Back { nic: nic(), bridge, port: port.name.clone() })
    };
    entered.find_map(back).or_else(|| sent.find_map(back)).or_else(|| {
        let mut left = reach.leaves.iter().filter_map(port);
        let pod = left.find(|port| !is_internal(port) && port.external_ids.contains_key(POD))?;
        Some(Loop::ToPod { nic: nic(), port: pod.name.clone() })
    })
}

fn is_internal(interface: &Interface) -> bool {
    interface.kind == "internal"
}

/// The bridge that has this port, if it is ours, or may be joined with ours by patch ports.
fn joined_bridge(facts: &Facts<'_>, interface: &Interface) -> Option<String> {
    let snapshot = facts.snapshot;
    let mut ports = snapshot.ports();
    let port = ports.find(|port| {
        snapshot.interfaces_of(port).any(|candidate| candidate.uuid == interface.uuid)
    })?;
    let bridge = snapshot.bridge_of(&port.uuid)?;
    let has_patch = |name: &str| {
        let bridge = snapshot.bridge(name);
        let ports = bridge.into_iter().flat_map(|bridge| snapshot.ports_of(bridge));
        ports.flat_map(|port| snapshot.interfaces_of(port)).any(|interface| interface.kind == PATCH)
    };
    let joined =
        bridge.name == facts.bridge || (has_patch(&bridge.name) && has_patch(facts.bridge));
    joined.then(|| bridge.name.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{
        nic::{Link, Reach},
        ovsdb::{Bridge, Ofport, Port, Snapshot, Uuid},
        sink::{
            Problem, SinkState, Step, next_step,
            tests::{facts, quiet_link},
        },
    };

    /// Ports by `BRIDGE NAME TYPE`, each numbered by its place.
    fn database(ports: &[&str]) -> Snapshot {
        let mut bridges: BTreeMap<&str, Bridge> = BTreeMap::new();
        let (mut rows, mut interfaces) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(ports) {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap_or_default();
            let (bridge, name, kind) = (word(), word().to_owned(), word().to_owned());
            let uuid = Uuid::from_u128(number);
            let interface = Interface {
                uuid,
                name: name.clone(),
                external_ids: BTreeMap::from_iter(
                    name.ends_with("_h").then(|| (POD.to_owned(), name.clone())),
                ),
                kind,
                ofport: Ofport::Number(7),
                mtu: Some(1400),
                ..Interface::default()
            };
            interfaces.push(interface);
            let interfaces = BTreeSet::from([uuid]);
            rows.push(Port { uuid, name, interfaces, ..Port::default() });
            let uuid = Uuid::from_u128(1000 + number);
            let new = || Bridge { uuid, name: bridge.to_owned(), ..Bridge::default() };
            bridges.entry(bridge).or_insert_with(new).ports.insert(Uuid::from_u128(number));
        }
        Snapshot::from_rows(bridges.into_values(), rows, interfaces, [])
    }

    fn link(enters: &[&str], leaves: &[&str]) -> Link {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let reach = Reach { peer: None, enters: set(enters), leaves: set(leaves) };
        Link { reach, ..quiet_link() }
    }

    fn found(ports: &[&str], link: &Link) -> Option<String> {
        find(&facts(&database(ports), Some(link))).map(|found| found.to_string())
    }

    const PORTS: [&str; 4] =
        ["br-int mirror0 ", "br-int a_h ", "br-int ovn0 internal", "br-lan lan0 "];

    #[test]
    fn a_nic_that_leads_elsewhere_is_no_loop() {
        for link in [
            link(&[], &[]),
            link(&["peer0", "br0"], &["eth0"]),
            // What comes in at the host by an internal port does not enter the bridge by it.
            link(&["ovn0"], &[]),
            // Another bridge that nothing joins with ours.
            link(&["lan0"], &["lan0"]),
        ] {
            assert_eq!(found(&PORTS, &link), None, "{:?}", link.reach);
        }
        assert_eq!(find(&facts(&database(&PORTS), None)), None);
    }

    #[test]
    fn a_nic_whose_copies_come_back_is_refused_and_no_longer_used() {
        let back = link(&["a_h"], &[]);
        for ports in [&PORTS[1..], &PORTS[..]] {
            let snapshot = database(ports);
            let facts = facts(&snapshot, Some(&back));
            let step = next_step(&facts);
            assert!(matches!(step, Step::Wait(Problem::Loop(_))), "{step:?}");
            assert!(step.to_string().contains("comes back into br-int by its port a_h"), "{step}");
            let state = SinkState::of(&facts, &step, crate::sink::ofport(&facts));
            assert_eq!(state.ofport, None, "copies end at once");
        }
    }

    #[test]
    fn who_sends_by_an_internal_port_sends_into_the_bridge() {
        let why = found(&PORTS, &link(&[], &["ovn0"])).unwrap_or_default();
        assert!(why.contains("by its port ovn0"), "{why}");
    }

    #[test]
    fn a_bridge_that_patch_ports_may_join_with_ours_counts_as_ours() {
        let patched = [&PORTS[..], &["br-int p0 patch", "br-lan p1 patch"]].concat();
        let why = found(&patched, &link(&["lan0"], &[])).unwrap_or_default();
        assert!(why.contains("comes back into br-lan by its port lan0"), "{why}");
        assert_eq!(found(&patched, &link(&[], &["lan0"])), None, "it leaves by a wire");
    }

    #[test]
    fn a_nic_that_sends_to_a_pod_is_refused() {
        let why = found(&PORTS, &link(&[], &["a_h"])).unwrap_or_default();
        assert!(why.contains("leaves by a_h, the port of a Pod"), "{why}");
    }
}
