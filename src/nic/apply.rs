//! Carries out changes on a link, through netlink and one sysctl.

use std::{fs, io, net::Ipv6Addr};

use rtnetlink::{
    AddressMessageBuilder, Handle, LinkUnspec,
    packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkMessage},
};

use super::{
    error::NicError,
    link::{Link, disable_ipv6_path},
    observe::connect,
    quiet::Change,
};

/// Carries out `changes` on `link`, one after the other.
///
/// A change for which the kernel has no IPv6 on the link, and an address that is already gone, count as
/// done. So does a `disable_ipv6` that cannot be written: [`quiet`](super::quiet()) stops address
/// generation before it, which leaves the host without an address to speak with.
///
/// # Errors
/// The first change that failed; those before it are in force.
pub async fn apply(link: &Link, changes: &[Change]) -> Result<(), NicError> {
    if changes.is_empty() {
        return Ok(());
    }
    let handle = connect()?;
    for change in changes {
        carry_out(&handle, link, *change).await?;
        tracing::info!(link = link.name, "{change}");
    }
    Ok(())
}

async fn carry_out(handle: &Handle, link: &Link, change: Change) -> Result<(), NicError> {
    let settings = LinkUnspec::new_with_index(link.index);
    let (result, no_matter) = match change {
        Change::Mtu(mtu) => (set(handle, settings.mtu(mtu).build()).await, None),
        Change::StopArp => (set(handle, settings.arp(false).build()).await, None),
        Change::Up => (set(handle, settings.up().build()).await, None),
        Change::StopAddressGeneration => {
            let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
            let families = vec![AfSpecUnspec::Inet6(vec![none])];
            let settings =
                settings.append_extra_attribute(LinkAttribute::AfSpecUnspec(families)).build();
            (set(handle, settings).await, Some(libc::EAFNOSUPPORT))
        }
        Change::RemoveAddress(address) => {
            (remove_address(handle, link.index, address).await, Some(libc::EADDRNOTAVAIL))
        }
        Change::DisableIpv6 => return disable_ipv6(&link.name),
    };
    match result.map_err(|error| NicError::new(&link.name, change, error)) {
        Err(error) if no_matter.is_some_and(|errno| error.is(errno)) => Ok(()),
        result => result,
    }
}

async fn set(handle: &Handle, settings: LinkMessage) -> Result<(), rtnetlink::Error> {
    handle.link().change(settings).execute().await
}

async fn remove_address(
    handle: &Handle,
    index: u32,
    address: Ipv6Addr,
) -> Result<(), rtnetlink::Error> {
    // The kernel makes its link-local addresses with this prefix length (RFC 4862 section 5.3).
    let message =
        AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(address, 64).build();
    handle.address().del(message).execute().await
}

fn disable_ipv6(name: &str) -> Result<(), NicError> {
    // The kernel answers from memory, so this does not stall the runtime.
    match fs::write(disable_ipv6_path(name), "1") {
        Ok(()) => Ok(()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem => Ok(()),
            _ => Err(NicError::Refused {
                link: name.to_owned(),
                attempt: Change::DisableIpv6.to_string(),
                errno: error,
            }),
        },
    }
}
