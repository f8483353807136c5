//! Keeps copies from the host's network stack: they drain into a bridge that is down.
//!
//! On the NIC of an internal port the kernel offers each copy to the packet sockets for all protocols, tcpdump's among them,
//! then to the ingress filters of tc and nftables, then to the device that the NIC belongs to, and last to packet sockets for
//! single protocols and to the host's IPv4 and IPv6 (`__netif_receive_skb_core()` of net/core/dev.c). The latter drop what is
//! for somebody else's hardware address at once, but look at a broadcast for longer than it took to copy it, and may hand it to
//! a DHCP server of the node.
//!
//! A bridge that is down drops what its ports get, and sends nothing (`br_handle_frame()` of net/bridge/br_input.c). Only what
//! is for one of the addresses of bridges themselves (01:80:c2:00:00:00 to 0f, LLDP's among them) it would leave to the host,
//! unless the port is told to forward that, too. So the NIC is made the only port of one that never comes up: for a copy that
//! takes no longer than the host's own look at somebody else's hardware address. A tc filter takes 20 to 40 ns longer.
//!
//! Where the bridge must not be, the filter of the module `shield` keeps the node unchanged.

use futures::TryStreamExt as _;
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec};

use super::{
    error::NicError,
    link::{DRAIN_ADDRESS, Link, drain_name},
    observe::{connect, decode, link_message, observe},
};

/// What a port may be told to forward of the addresses of bridges (`group_fwd_mask`): all but the second, that of pause frames,
/// which the kernel drops anyway (`br_handle_frame()`).
const EVERY_GROUP: u16 = 0xfffd;

/// Lets what `link` gets drain away behind the packet sockets, or sees to it that all of it does.
///
/// # Errors
/// Something else takes its packets already (`EBUSY`), the bridge's name is taken, or the kernel has no bridges
/// (`EOPNOTSUPP`); then the link is as before.
pub async fn take_from_host(link: &Link) -> Result<(), NicError> {
    let attempt = "keep copies from the host's network stack";
    let handle = connect()?;
    let name = match &link.drain {
        Some(drain) => drain.name.clone(),
        None => drain_name(&link.name),
    };
    // It stays down.
    let bridge =
        LinkMessageBuilder::<LinkBridge>::new(&name).address(DRAIN_ADDRESS.to_vec()).build();
    let made = handle.link().add(bridge).execute().await;
    let is_new = match made.map_err(|error| NicError::new(&name, "make a bridge", error)) {
        Ok(()) => true,
        Err(error) if error.is(libc::EEXIST) => false,
        Err(error) => return Err(error),
    };
    let Some(bridge) = find(&handle, &name).await? else {
        return Err(NicError::Taken { link: name });
    };
    if bridge.up {
        let down = LinkUnspec::new_with_index(bridge.index).down().build();
        let done = handle.link().change(down).execute().await;
        done.map_err(|error| NicError::new(&name, "bring the bridge down", error))?;
    }
    let owned = LinkUnspec::new_with_index(link.index).controller(bridge.index).build();
    if let Err(error) = handle.link().change(owned).execute().await {
        if is_new && let Err(error) = remove(&handle, &bridge).await {
            tracing::warn!(%error, "a bridge that serves nobody is left");
        }
        return Err(NicError::new(&link.name, attempt, error));
    }
    let port = LinkBridgePort::new(link.index).group_fwd_mask(EVERY_GROUP).build();
    if let Err(error) = handle.link().set_port(port).execute().await {
        let error = NicError::new(&link.name, "let the bridge take what is for bridges", error);
        tracing::warn!(%error, "copies of LLDP and its like get to the host's network stack");
    }
    tracing::info!(link = link.name, bridge = name, "{attempt}");
    Ok(())
}

/// Removes the bridge that takes what the NIC of this name gets, and one that is left of a NIC of this name that went.
///
/// # Errors
/// The kernel refuses.
pub async fn leave_to_host(nic: &str) -> Result<(), NicError> {
    let handle = connect()?;
    // It may have been renamed.
    let used = observe(nic).await?.and_then(|link| link.drain).map(|drain| drain.name);
    for name in used.into_iter().chain([drain_name(nic)]) {
        if let Some(bridge) = find(&handle, &name).await? {
            remove(&handle, &bridge).await?;
            tracing::info!(link = nic, bridge = name, "copies get to the host's network stack");
        }
    }
    Ok(())
}

/// A bridge of ours that keeps copies from the host's network stack, whichever NIC it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDrain {
    /// Its name.
    pub name: String,
    /// The links that are its ports; none if the NIC has gone.
    pub ports: Vec<String>,
}

impl FoundDrain {
    /// Whether it is, or was, for the NIC of this name.
    #[must_use]
    pub fn is_of(&self, nic: &str) -> bool {
        self.name == drain_name(nic) || self.ports.iter().any(|port| port == nic)
    }
}

/// All of them in this network namespace.
///
/// # Errors
/// The kernel does not list its links.
pub async fn drains() -> Result<Vec<FoundDrain>, NicError> {
    let handle = connect()?;
    let links: Vec<_> = handle
        .link()
        .get()
        .execute()
        .map_ok(decode)
        .try_collect()
        .await
        .map_err(|error| NicError::new("all links", "list them", error))?;
    let found = links.iter().filter(|link| link.is_drain()).map(|drain| {
        let owner = |link: &&Link| link.master.as_ref().map(|master| master.index);
        let ports = links.iter().filter(|link| owner(link) == Some(drain.index));
        let ports = ports.map(|port| port.name.clone()).collect();
        FoundDrain { name: drain.name.clone(), ports }
    });
    Ok(found.collect())
}

/// Removes the bridge of this name if it is ours, and leaves its ports without one.
///
/// # Errors
/// The kernel refuses.
pub async fn remove_drain(name: &str) -> Result<(), NicError> {
    let handle = connect()?;
    match find(&handle, name).await? {
        Some(bridge) => remove(&handle, &bridge).await,
        None => Ok(()),
    }
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
    match removed.map_err(|error| NicError::new(&bridge.name, "remove the bridge", error)) {
        // Somebody was faster.
        Err(error) if error.is(libc::ENODEV) => Ok(()),
        result => result,
    }
}
