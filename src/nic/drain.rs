//! Keeps copies from the host's network stack: they drain into a bridge that is down.
//!
//! On the NIC of an internal port the kernel offers each copy to the packet sockets for all protocols, tcpdump's among them,
//! then to the ingress filters of tc and nftables, then to the device that the NIC belongs to, and last to packet sockets for single
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
    link::{DRAIN_ADDRESS, Link, drain_name},
    observe::{connect, decode, link_message},
};

/// Lets what `link` gets drain away behind the packet sockets.
///
/// # Errors
/// Something else takes its packets already (`EBUSY`), the bridge's name is taken, or the kernel has no bridges
/// (`EOPNOTSUPP`); then all is as before.
pub async fn take_from_host(link: &Link) -> Result<(), NicError> {
    let attempt = "keep copies from the host's network stack";
    let handle = connect()?;
    let name = drain_name(&link.name);
    // It stays down.
    let bridge =
        LinkMessageBuilder::<LinkBridge>::new(&name).address(DRAIN_ADDRESS.to_vec()).build();
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
    if let Some(bridge) = find(&handle, &drain_name(nic)).await? {
        remove(&handle, &bridge).await?;
        tracing::info!(link = nic, bridge = bridge.name, "copies get to the host's network stack");
    }
    Ok(())
}

/// The bridge of this name, if it is ours.
async fn find(handle: &Handle, name: &str) -> Result<Option<Link>, NicError> {
    match link_message(handle, name).await {
        Ok(message) => Ok(Some(decode(message)).filter(Link::is_drain)),
        Err(error) if error.is(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn remove(handle: &Handle, bridge: &Link) -> Result<(), NicError> {
    let removed = handle.link().del(bridge.index).execute().await;
    removed.map_err(|error| NicError::new(&bridge.name, "remove the bridge", error))
}
