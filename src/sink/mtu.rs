//! How long the frames are that the mirror NIC must carry, and that this changes no other port's MTU.
//!
//! Open vSwitch gives each internal port for which nobody asked an MTU the smallest MTU of the bridge's other ports
//! (`find_min_mtu()` of ofproto/ofproto.c). Internal ports with `mtu_request` are among those others, tunnels and patches are not.
//! So a mirror port leaves everybody alone if it is one of the former, or if its MTU is not below that smallest one.

use super::{Facts, Problem, Step, is_ours};
use crate::{
    nic::{Change, Link},
    ovsdb::{Bridge, Interface, Port},
};

/// Whether the switch gives an internal port its MTU unasked, from the other ports'.
pub(crate) fn follows_others(interface: &Interface) -> bool {
    let internal = matches!(interface.kind.as_str(), "internal" | "tap" | "patch");
    internal && interface.mtu_request.is_none()
}

/// What is to be done first about the MTU of a NIC that is no port yet; fails if it would change that of others nevertheless.
pub(super) fn before_attaching<'a>(
    facts: &Facts<'a>,
    bridge: &Bridge,
    link: &'a Link,
) -> Result<Option<Step<'a>>, Problem> {
    let wanted = within_reach(facts, link);
    if wanted > link.mtu {
        return Ok(Some(Step::Quiet(link, vec![Change::Mtu(wanted)])));
    }
    let nic = facts.nic.to_owned();
    if let Some(least) = facts.least_mtu {
        let problem = Problem::TooShort { nic, mtu: link.mtu, least };
        return if link.mtu < least { Err(problem) } else { Ok(None) };
    }
    // It would be the only one that counts, and all followers would get its MTU.
    let interfaces =
        facts.snapshot.ports_of(bridge).flat_map(|port| facts.snapshot.interfaces_of(port));
    let other = interfaces
        .filter(|interface| follows_others(interface))
        .find(|interface| interface.mtu.is_some_and(|mtu| mtu != link.mtu));
    match other {
        Some(Interface { name, mtu: Some(its), .. }) => {
            Err(Problem::OnlyMtu { nic, mtu: link.mtu, other: name.clone(), its: *its })
        }
        _ => Ok(None),
    }
}

/// What is to be done next about the MTU of the mirror port.
pub(super) fn of_port<'a>(
    facts: &Facts<'a>,
    bridge: &'a Bridge,
    port: &'a Port,
    interface: &'a Interface,
) -> Option<Step<'a>> {
    if interface.kind == "internal" {
        // The row of a port that others made is theirs.
        let request = request(facts);
        let may = is_ours(port) && interface.mtu_request != request;
        // Whatever more was asked for once does no harm, but to ports that follow it when all others are gone.
        return may.then_some(Step::RequestMtu(interface, request));
    }
    let link = facts.link?;
    let lowers = facts.least_mtu.is_some_and(|least| link.mtu < least);
    let stuck = within_reach(facts, link) == link.mtu;
    (lowers && stuck && is_ours(port)).then_some(Step::Remove(
        bridge,
        port,
        super::Removal::TooShort,
    ))
}

/// The MTU that an internal port of ours needs beyond the one that the switch gives it.
pub(super) fn request(facts: &Facts<'_>) -> Option<u32> {
    let mtu =
        facts.link.and_then(|link| link.max_mtu).map_or(facts.mtu, |most| facts.mtu.min(most));
    facts.least_mtu.filter(|least| *least < mtu).map(|_| mtu)
}

/// The MTU that the device of the mirror port shall have.
pub(super) fn of_device(facts: &Facts<'_>, interface: &Interface, link: &Link) -> u32 {
    match facts.least_mtu {
        // The switch would take back what is more than that.
        Some(least) if follows_others(interface) => {
            within_reach(facts, link).min(least.max(link.mtu))
        }
        None if follows_others(interface) => link.mtu,
        _ => within_reach(facts, link),
    }
}

/// What a Pod port's longest frames find too short.
pub(super) fn warning(facts: &Facts<'_>) -> Option<String> {
    let (nic, mtu, wanted) = (facts.nic, facts.link?.mtu, facts.mtu);
    (mtu < wanted).then(|| {
        format!(
            "{nic} has an MTU of {mtu}, and a Pod's port one of {wanted}: copies of longer frames than {mtu} bytes are lost (ofmirror_copies_offered_total counts them, ofmirror_copies_delivered_total does not)"
        )
    })
}

/// The largest MTU that is wanted of the device and that the kernel has not refused, or what it has.
fn within_reach(facts: &Facts<'_>, link: &Link) -> u32 {
    let least = facts.least_mtu.unwrap_or(link.mtu);
    let most = link.max_mtu.unwrap_or(u32::MAX);
    let possible =
        |mtu: &u32| *mtu > link.mtu && facts.refused_mtu.is_none_or(|refused| *mtu < refused);
    let wanted = [facts.mtu.max(least), least].map(|mtu| mtu.min(most));
    wanted.into_iter().find(possible).unwrap_or(link.mtu)
}
