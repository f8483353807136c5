//! How packets may leave a link other than by packet sockets.

use std::{fs, path::PathBuf};

use futures::TryStreamExt as _;
use rtnetlink::{
    Handle,
    packet_route::link::{LinkXdp, XdpAttached},
};

use super::{error::NicError, link::Link};

/// The owner of each NIC that is attached to the kernel datapath of OVS; it takes nothing from an internal port.
const SWITCH: &str = "ovs-system";

/// Whether a program at the link's driver may take its packets.
pub(super) fn has_program(attributes: &[LinkXdp]) -> bool {
    attributes
        .iter()
        .any(|attribute| matches!(attribute, LinkXdp::Attached(how) if *how != XdpAttached::None))
}

/// Devices that use `link` (a bridge but ours, a macvlan, a VLAN), and tc filters on it, in words.
pub(super) async fn outlets(handle: &Handle, link: &Link) -> Vec<String> {
    let mut outlets = devices(link);
    match has_filters(handle, link).await {
        Ok(false) => {}
        Ok(true) => outlets.push("tc filters".to_owned()),
        Err(error) => outlets.push(format!("perhaps tc filters ({error})")),
    }
    outlets
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
    // A name need not be UTF-8, and what bears such a name takes packets, too.
    let names =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    let drain = link.drain.as_ref().map(|drain| &drain.name);
    let mut uppers: Vec<_> = names
        .filter_map(|name| Some(name.strip_prefix("upper_")?.to_owned()))
        .filter(|name| name != SWITCH && Some(name) != drain)
        .map(|name| format!("the device {name} on it"))
        .collect();
    uppers.sort();
    uppers
}

async fn has_filters(handle: &Handle, link: &Link) -> Result<bool, NicError> {
    let Ok(index) = i32::try_from(link.index) else { return Ok(false) };
    let mut filters = handle.traffic_filter(index);
    for request in [filters.get().ingress(), filters.get().egress()] {
        let first = Box::pin(request.execute()).try_next().await;
        match first.map_err(|error| NicError::new(&link.name, "read its tc filters", error)) {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(true),
            // A kernel without traffic control.
            Err(error) if error.is(libc::EOPNOTSUPP) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
