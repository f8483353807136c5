//! How packets may leave a link other than by packet sockets.

use std::{fs, path::PathBuf};

use futures::TryStreamExt as _;
use rtnetlink::{
    Handle,
    packet_route::link::{LinkXdp, XdpAttached},
};

use super::{error::NicError, ingress, link::Link};

/// The owner of each NIC that is attached to the kernel datapath of OVS; it takes nothing from an internal port.
const SWITCH: &str = "ovs-system";

/// Whether a program at the link's driver may take its packets.
pub(super) fn has_program(attributes: &[LinkXdp]) -> bool {
    attributes
        .iter()
        .any(|attribute| matches!(attribute, LinkXdp::Attached(how) if *how != XdpAttached::None))
}

/// Adds devices that use `link` (a bridge, a macvlan, a VLAN), and others' tc filters on it, to its outlets, and sees whether
/// ours is there.
pub(super) async fn look_for_outlets(handle: &Handle, link: &mut Link) {
    link.outlets.extend(devices(link));
    match filters(handle, link).await {
        Ok(Filters { ours, others }) => {
            link.kept_from_host = ours;
            link.outlets.extend(others.then(|| "tc filters".to_owned()));
        }
        Err(error) => link.outlets.push(format!("perhaps tc filters ({error})")),
    }
}

/// What is stacked on the link in this network namespace. The kernel tells it by symbolic links in sysfs; by netlink one
/// would have to read all links of the node, each time.
fn devices(link: &Link) -> Vec<String> {
    let folder: PathBuf = ["/sys/class/net", &link.name].iter().collect();
    let index = fs::read_to_string(folder.join("ifindex")).ok();
    let here = index.and_then(|index| index.trim().parse().ok()) == Some(link.index);
    let Some(entries) = fs::read_dir(&folder).ok().filter(|_| here) else {
        return vec!["perhaps devices on it (/sys shows another network namespace)".to_owned()];
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut uppers: Vec<_> = names
        .filter_map(|name| Some(name.strip_prefix("upper_")?.to_owned()))
        .filter(|name| name != SWITCH)
        .map(|name| format!("the device {name} on it"))
        .collect();
    uppers.sort();
    uppers
}

#[derive(Default)]
struct Filters {
    ours: bool,
    others: bool,
}

async fn filters(handle: &Handle, link: &Link) -> Result<Filters, NicError> {
    let mut found = Filters::default();
    let Ok(index) = i32::try_from(link.index) else { return Ok(found) };
    let mut filters = handle.traffic_filter(index);
    for request in [filters.get().ingress(), filters.get().egress()] {
        let mut messages = Box::pin(request.execute());
        loop {
            let next = messages.try_next().await;
            match next.map_err(|error| NicError::new(&link.name, "read its tc filters", error)) {
                Ok(None) => break,
                Ok(Some(message)) => match ingress::is_ours(&message) {
                    Some(true) => found.ours = true,
                    Some(false) => found.others = true,
                    None => {}
                },
                // A kernel without traffic control.
                Err(error) if error.is(libc::EOPNOTSUPP) => return Ok(found),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}
