//! Keeps copies from the host's network stack: they drain into a bridge that is down.
//!
//! On the NIC of an internal port the kernel offers each copy to the packet sockets for all protocols, tcpdump's among them,
//! then to the filters of tc and nftables, then to the device that the NIC belongs to, and last to packet sockets for single
//! protocols and to the host's IPv4 and IPv6 (`__netif_receive_skb_core()` of net/core/dev.c). The latter drop what is for
//! somebody else's hardware address at once, but look at a broadcast for longer than it took to copy it, and may hand it to
//! a DHCP server of the node.
//!
//! A bridge that is down drops whatever its ports get (`br_handle_frame()` of net/bridge/br_input.c) and sends nothing. So
//! the NIC is made the only port of one that never comes up: for a copy that takes no longer than the host's own look at
//! somebody else's hardware address. A tc filter takes 20 to 40 ns longer.

use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec};

use super::{
    error::NicError,
    link::Link,
    observe::{connect, decode, link_message},
};

/// The hardware address by which a bridge is known as ours, from its first moment on: locally administered, and then `ofmir`.
const ADDRESS: [u8; 6] = *b"\x02ofmir";
/// What its name ends with.
const SUFFIX: &str = "-drain";
/// Most bytes that a link's name may have (`IFNAMSIZ` of linux/if.h, less its end).
const LONGEST: usize = libc::IFNAMSIZ - 1;

/// Name of the bridge for a NIC: `mirror0-drain`.
pub(super) fn name(nic: &str) -> String {
    let room = LONGEST - SUFFIX.len();
    let shown = (0..=room.min(nic.len())).rev().find(|end| nic.is_char_boundary(*end));
    format!("{}{SUFFIX}", &nic[..shown.unwrap_or_default()])
}

/// Whether `link` is a bridge of ours.
pub(super) fn is_ours(link: &Link) -> bool {
    link.kind.as_deref() == Some("bridge") && link.mac == Some(ADDRESS)
}

/// Lets what `link` gets drain away behind the packet sockets.
///
/// # Errors
/// Something else takes its packets already (`EBUSY`), the bridge's name is taken, or the kernel has no bridges
/// (`EOPNOTSUPP`); then all is as before.
pub async fn take_from_host(link: &Link) -> Result<(), NicError> {
    let attempt = "keep copies from the host's network stack";
    let handle = connect()?;
    let name = name(&link.name);
    // It stays down.
    let bridge = LinkMessageBuilder::<LinkBridge>::new(&name).address(ADDRESS.to_vec()).build();
    let made = handle.link().add(bridge).execute().await;
    match made.map_err(|error| NicError::new(&name, "make a bridge", error)) {
        Err(error) if !error.is(libc::EEXIST) => return Err(error),
        _ => {}
    }
    let Some(bridge) = find(&handle, &name).await? else {
        return Err(NicError::Taken { link: name });
    };
    let owned = LinkUnspec::new_with_index(link.index).controller(bridge.index).build();
    if let Err(error) = handle.link().change(owned).execute().await {
        remove(&handle, &bridge).await?;
        return Err(NicError::new(&link.name, attempt, error));
    }
    tracing::info!(link = link.name, bridge = name, "{attempt}");
    Ok(())
}

/// Removes the bridge for the NIC of this name, if there is one of ours.
///
/// # Errors
/// The kernel refuses.
pub async fn leave_to_host(nic: &str) -> Result<(), NicError> {
    let handle = connect()?;
    if let Some(bridge) = find(&handle, &name(nic)).await? {
        remove(&handle, &bridge).await?;
        tracing::info!(link = nic, bridge = bridge.name, "copies get to the host's network stack");
    }
    Ok(())
}

/// The bridge of this name, if it is ours.
async fn find(handle: &Handle, name: &str) -> Result<Option<Link>, NicError> {
    match link_message(handle, name).await {
        Ok(message) => Ok(Some(decode(message)).filter(is_ours)),
        Err(error) if error.is(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn remove(handle: &Handle, bridge: &Link) -> Result<(), NicError> {
    let removed = handle.link().del(bridge.index).execute().await;
    removed.map_err(|error| NicError::new(&bridge.name, "remove the bridge", error))
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn the_name_tells_of_the_nic_as_far_as_there_is_room() {
        assert_eq!(name("mirror0"), "mirror0-drain");
        assert_eq!(name("mirror-of-node1"), "mirror-of-drain");
        assert_eq!(name("mirrorßäöü0"), "mirrorß-drain");
    }
}
