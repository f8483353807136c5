//! Where frames get to that leave by a link, as far as links of this network namespace tell.
//!
//! A frame that a veth sends comes in by its peer; what comes in by a port of a bridge leaves by the bridge's other ports; what
//! a VLAN or a macvlan sends leaves by the link below. [`reach`] follows all such ways. What happens in other network namespaces,
//! in virtual machines and on wires can't be seen from here.

use std::collections::{BTreeSet, HashMap};

use futures::TryStreamExt as _;
use rtnetlink::{
    Handle,
    packet_route::link::{LinkAttribute, LinkInfo, LinkMessage},
};

use super::{error::NicError, link::Link};

/// Links by which frames of a link get somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The other end of a pair, if it is in this network namespace and belongs to nothing else there: what comes in by it is for the
    /// node's own network stack.
    pub peer: Option<String>,
    /// By which of them frames come in.
    pub enters: BTreeSet<String>,
    /// By which of them frames leave.
    pub leaves: BTreeSet<String>,
}

/// A link, as far as it matters for where frames go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    index: u32,
    name: String,
    kind: String,
    /// The other end, or the link below, if it is in this network namespace.
    other: Option<u32>,
    /// The bridge, bond or switch that it is a port of.
    master: Option<u32>,
}

/// What a frame does at a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// Whether it takes a look at all links of the node to know where frames get to that leave by this one.
pub(super) fn is_unclear(link: &Link) -> bool {
    let device = Device { kind: link.kind.clone().unwrap_or_default(), ..Device::default() };
    let leads_on = device.is_pair() || device.is_upper() || device.sends_by_ports();
    leads_on || (device.is_internal() && (link.master.is_some() || !link.outlets.is_empty()))
}

/// What the link called `name` reaches.
///
/// # Errors
/// The kernel does not list its links.
pub(super) async fn read(handle: &Handle, name: &str) -> Result<Reach, NicError> {
    let list = handle.link().get().execute().try_collect().await;
    let list: Vec<LinkMessage> =
        list.map_err(|error| NicError::new(name, "list the node's links", error))?;
    Ok(reach(&list.into_iter().map(Device::from).collect::<Vec<_>>(), name))
}

impl From<LinkMessage> for Device {
    fn from(message: LinkMessage) -> Self {
        let mut device = Self { index: message.header.index, ..Self::default() };
        let mut is_elsewhere = false;
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => device.name = name,
                LinkAttribute::Link(index) if index != 0 => device.other = Some(index),
                LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
                LinkAttribute::Controller(index) => device.master = Some(index),
                LinkAttribute::LinkInfo(info) => {
                    let kind = info.into_iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                    device.kind = kind.unwrap_or_default();
                }
                _ => {}
            }
        }
        if is_elsewhere {
            // Its number is one of another namespace.
            device.other = None;
        }
        device
    }
}

impl Device {
    /// Whether the other end gets what it sends.
    fn is_pair(&self) -> bool {
        matches!(self.kind.as_str(), "veth" | "netkit" | "vxcan")
    }

    /// Whether it is on top of another link, and sends by that.
    fn is_upper(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "vlan" | "macvlan" | "macvtap" | "ipvlan" | "ipvtap" | "macsec"
        )
    }

    /// Whether what comes in by one of its ports leaves by the others.
    fn is_bridge(&self) -> bool {
        self.kind == "bridge"
    }

    /// Whether it sends by its ports.
    fn sends_by_ports(&self) -> bool {
        matches!(self.kind.as_str(), "bridge" | "bond" | "team")
    }

    /// Whether Open vSwitch may have made it for an internal port: what it gets comes in at the host.
    fn is_internal(&self) -> bool {
        matches!(self.kind.as_str(), "openvswitch" | "tun")
    }
}

/// Those that a list has for `device`.
fn on<'a>(lists: &HashMap<u32, Vec<&'a Device>>, device: &Device) -> Vec<&'a Device> {
    lists.get(&device.index).cloned().unwrap_or_default()
}

/// What the link called `nic` reaches with what the switch sends by it.
pub(super) fn reach(devices: &[Device], nic: &str) -> Reach {
    let by_index: HashMap<_, _> = devices.iter().map(|device| (device.index, device)).collect();
    let mut ports: HashMap<u32, Vec<&Device>> = HashMap::new();
    let mut uppers: HashMap<u32, Vec<&Device>> = HashMap::new();
    for device in devices {
        if let Some(master) = device.master {
            ports.entry(master).or_default().push(device);
        }
        if let Some(lower) = device.other.filter(|_| device.is_upper()) {
            uppers.entry(lower).or_default().push(device);
        }
    }
    let Some(start) = devices.iter().find(|device| device.name == nic) else {
        return Reach::default();
    };
    let other = |device: &Device| by_index.get(&device.other?).copied();
    let master = |device: &Device| by_index.get(&device.master?).copied();

    let mut reach = Reach {
        peer: other(start)
            .filter(|peer| start.is_pair() && peer.master.is_none())
            .map(|peer| peer.name.clone()),
        ..Reach::default()
    };
    let first = if start.is_internal() { Way::In } else { Way::Out };
    let mut left = vec![(start, first)];
    let mut seen: BTreeSet<(u32, bool)> = BTreeSet::new();
    while let Some((device, way)) = left.pop() {
        if !seen.insert((device.index, way == Way::In)) {
            continue;
        }
        if device.index != start.index {
            let names = if way == Way::In { &mut reach.enters } else { &mut reach.leaves };
            names.insert(device.name.clone());
        }
        match way {
            Way::Out => {
                if let Some(other) = other(device) {
                    if device.is_pair() {
                        left.push((other, Way::In));
                    } else if device.is_upper() {
                        left.push((other, Way::Out));
                        // A macvlan may send to others on the same link.
                        let siblings = on(&uppers, other).into_iter();
                        let siblings = siblings.filter(|of| of.kind.starts_with("macv"));
                        if device.kind.starts_with("macv") {
                            left.extend(siblings.map(|sibling| (sibling, Way::In)));
                        }
                    }
                }
                if device.sends_by_ports() {
                    left.extend(on(&ports, device).into_iter().map(|port| (port, Way::Out)));
                }
            }
            Way::In => {
                left.extend(on(&uppers, device).into_iter().map(|upper| (upper, Way::In)));
                if let Some(master) = master(device) {
                    left.push((master, Way::In));
                    if master.is_bridge() {
                        let others = on(&ports, master).into_iter();
                        let others = others.filter(|port| port.index != device.index);
                        left.extend(others.map(|port| (port, Way::Out)));
                    }
                }
            }
        }
    }
    reach
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Links by lines `NAME KIND [OTHER] [MASTER]`, `-` for none; a link's number is that of its line.
    fn links(text: &str) -> Vec<Device> {
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| line.split(' ').collect())
            .collect();
        let number = |name: Option<&&str>| {
            let place = lines.iter().position(|line| Some(&line[0]) == name)?;
            u32::try_from(place + 1).ok()
        };
        lines
            .iter()
            .map(|line| Device {
                index: number(Some(&line[0])).unwrap(),
                name: line[0].to_owned(),
                kind: line[1].to_owned(),
                other: number(line.get(2)),
                master: number(line.get(3)),
            })
            .collect()
    }

    fn ways(text: &str) -> (Vec<String>, Vec<String>) {
        let Reach { enters, leaves, .. } = reach(&links(text), "mirror0");
        (enters.into_iter().collect(), leaves.into_iter().collect())
    }

    #[test]
    fn a_pair_sends_to_its_other_end_and_what_that_is_a_port_of() {
        let (enters, leaves) = ways(
            "mirror0 veth peer0
             peer0 veth mirror0 br0
             br0 bridge
             port1 veth a_h br0
             a_h veth port1
             other0 veth other1
             other1 veth other0",
        );
        assert_eq!(enters, ["a_h", "br0", "peer0"]);
        assert_eq!(leaves, ["port1"]);
    }

    #[test]
    fn the_peer_is_only_for_the_host_if_it_belongs_to_nothing_else() {
        let peer = |text| reach(&links(text), "mirror0").peer;
        assert_eq!(peer("mirror0 veth peer0\npeer0 veth mirror0").as_deref(), Some("peer0"));
        assert_eq!(peer("mirror0 veth peer0\npeer0 veth mirror0 br0\nbr0 bridge"), None);
        assert_eq!(peer("mirror0 veth\npeer0 veth"), None, "it is elsewhere");
        assert_eq!(peer("mirror0 vlan eth0\neth0 -"), None, "this is no pair");
    }

    #[test]
    fn what_is_on_top_of_a_link_sends_by_it_and_gets_what_comes_in() {
        let text = "mirror0 vlan bond0
             bond0 bond
             eth0 - - bond0
             eth1 - - bond0";
        assert_eq!(ways(text), (vec![], ["bond0", "eth0", "eth1"].map(String::from).to_vec()));
        let text = "mirror0 macvlan ovn0
             ovn0 openvswitch
             other0 macvlan ovn0";
        let (enters, leaves) = ways(text);
        assert_eq!((enters, leaves), (vec!["other0".to_owned()], vec!["ovn0".to_owned()]));
        let text = "mirror0 veth peer0
             peer0 veth mirror0
             peer0.5 vlan peer0 br0
             br0 bridge
             eth0 - - br0";
        let (enters, leaves) = ways(text);
        assert_eq!(enters, ["br0", "peer0", "peer0.5"]);
        assert_eq!(leaves, ["eth0"]);
    }

    #[test]
    fn an_internal_port_gives_to_the_host_and_a_wire_ends_the_way() {
        let text = "mirror0 openvswitch
             upon macvlan mirror0
             ovs-system openvswitch";
        assert_eq!(ways(text), (vec!["upon".to_owned()], vec![]));
        let text = "mirror0 - - ovs-system
             ovs-system openvswitch
             ovn0 openvswitch
             a_h veth - ovs-system";
        assert_eq!(ways(text), (vec![], vec![]), "one switch is not a way");
    }

    #[test]
    fn a_ring_ends() {
        let text = "mirror0 veth peer0
             peer0 veth mirror0 br0
             br0 bridge
             x veth y br0
             y veth x br0";
        let (enters, leaves) = ways(text);
        assert_eq!(enters, ["br0", "peer0", "x", "y"]);
        assert_eq!(leaves, ["peer0", "x", "y"]);
        assert_eq!(reach(&[], "mirror0"), Reach::default());
    }
}
