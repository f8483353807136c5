//! How packets may leave a link other than by packet sockets.

use std::{
    fs,
    path::{Path, PathBuf},
};

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
///
/// `drain` is the kernel's number for our bridge, if the link belongs to it.
pub(super) async fn outlets(handle: &Handle, link: &Link, drain: Option<u32>) -> Vec<String> {
    let mut outlets = devices(link, drain);
    match has_filters(handle, link).await {
        Ok(false) => {}
        Ok(true) => outlets.push("tc filters".to_owned()),
        Err(error) => outlets.push(format!("perhaps tc filters ({error})")),
    }
    outlets
}

/// What is stacked on the link in this network namespace. The kernel tells it by symbolic links in sysfs; by netlink one
/// would have to read all links of the node, each time.
fn devices(link: &Link, drain: Option<u32>) -> Vec<String> {
    let folder: PathBuf = ["/sys/class/net", &link.name].iter().collect();
    if index(&folder) != Some(link.index) {
        return vec!["perhaps devices on it (/sys shows another network namespace)".to_owned()];
    }
    let Ok(entries) = fs::read_dir(&folder) else {
        return vec!["perhaps devices on it (/sys does not list them)".to_owned()];
    };
    let mut uppers: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            // A name need not be UTF-8, and what bears such a name takes packets, too.
            let name = entry.file_name().to_string_lossy().strip_prefix("upper_")?.to_owned();
            // Our bridge is known by its number, as somebody may rename it meanwhile. What has no number any more has gone, or
            // has another name by now, under which the next look finds it.
            let upper = index(&entry.path())?;
            let wants = Some(upper) != drain && name != SWITCH;
            wants.then(|| format!("the device {name} on it"))
        })
        .collect();
    uppers.sort();
    uppers
}

/// The kernel's number for the device of this folder of sysfs, or the device that a link of sysfs leads to.
fn index(folder: &Path) -> Option<u32> {
    fs::read_to_string(folder.join("ifindex")).ok()?.trim().parse().ok()
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
