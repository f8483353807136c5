//! Reads a link from the kernel: one netlink conversation, no state kept.

use std::{
    fs::OpenOptions,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::{
    Handle,
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressMessage},
        link::{
            AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkInfo,
            LinkLayerType, LinkMessage,
        },
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia},
    },
};

use super::{
    error::NicError,
    link::{DefaultRoute, Drain, Ipv6, Link, Master, disable_ipv6_path},
    outlets::{has_program, outlets},
    reach::{self, Reach},
};

/// The families whose addresses and routes count.
const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

/// Reads the link called `name` (or with that alternative name); `None` when there is none.
///
/// # Errors
/// When the kernel cannot be asked or refuses to answer.
pub async fn observe(name: &str) -> Result<Option<Link>, NicError> {
    let handle = connect()?;
    match read(&handle, name).await {
        Ok(link) => Ok(Some(link)),
        // The answer to each of the questions when the link does not exist, or went in between.
        Err(error) if error.is(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a netlink socket that lives as long as the handle.
pub(super) fn connect() -> Result<Handle, NicError> {
    // With strict checking (Linux 4.20) the kernel sends only the addresses and routes asked for. An
    // older kernel sends all of them, so they are filtered here as well.
    let (connection, handle, _) = rtnetlink::new_connection_with_strict_check()
        .or_else(|_| rtnetlink::new_connection())
        .map_err(NicError::Open)?;
    tokio::spawn(connection);
    Ok(handle)
}

/// The kernel's description of the link called `name`.
pub(super) async fn link_message(handle: &Handle, name: &str) -> Result<LinkMessage, NicError> {
    let get = handle.link().get().match_name(name);
    let answer = Box::pin(get.execute()).try_next().await;
    let unfinished = Err(rtnetlink::Error::RequestFailed);
    answer
        .and_then(|message| message.map_or(unfinished, Ok))
        .map_err(|error| NicError::new(name, "read the link", error))
}

async fn read(handle: &Handle, name: &str) -> Result<Link, NicError> {
    let mut link = decode(link_message(handle, name).await?);
    let owner = link.master.as_ref().map(|master| master.index);
    if let Some(master) = &mut link.master {
        let get = handle.link().get().match_index(master.index);
        let found = Box::pin(get.execute()).try_next().await;
        let found = found.ok().flatten().map(decode);
        match found {
            Some(found) if found.is_drain() => {
                link.master = None;
                link.drain = Some(Drain { name: found.name, leaks: found.up });
            }
            found => master.name = found.map(|found| found.name),
        }
    }
    for family in FAMILIES {
        for address in addresses(handle, &link, family).await? {
            match (address, &mut link.ipv6) {
                (IpNet::V6(net), ipv6) if net.addr().is_unicast_link_local() => {
                    ipv6.get_or_insert_default().link_local.push(net.addr());
                }
                _ => link.addresses.push(address),
            }
        }
        link.default_routes.extend(default_routes(handle, &link, family).await?);
    }
    if let Some(ipv6) = &mut link.ipv6 {
        // Opening a sysctl changes nothing, and tells whether it may be written.
        let sysctl = OpenOptions::new().write(true).open(disable_ipv6_path(&link.name));
        ipv6.can_disable = sysctl.is_ok();
    }
    let drain = link.drain.as_ref().and(owner);
    let outlets = outlets(handle, &link, drain).await;
    link.outlets.extend(outlets);
    if reach::is_unclear(&link) {
        link.reach = reach::read(handle, &link.name).await?;
    }
    Ok(link)
}

pub(super) fn decode(message: LinkMessage) -> Link {
    let header = message.header;
    let mut link = Link {
        index: header.index,
        name: String::new(),
        kind: None,
        mac: None,
        up: header.flags.contains(LinkFlags::Up),
        arp: !header.flags.contains(LinkFlags::Noarp),
        mtu: 0,
        max_mtu: None,
        master: None,
        addresses: vec![],
        default_routes: vec![],
        ipv6: None,
        outlets: vec![],
        reach: Reach::default(),
        drain: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::MaxMtu(mtu) => link.max_mtu = Some(mtu).filter(|mtu| *mtu > 0),
            LinkAttribute::Controller(index) => link.master = Some(Master { index, name: None }),
            LinkAttribute::Address(bytes) if header.link_layer_type == LinkLayerType::Ether => {
                link.mac = bytes.try_into().ok();
            }
            LinkAttribute::Xdp(program) if has_program(&program) => {
                link.outlets.push("an XDP program".to_owned());
            }
            LinkAttribute::LinkInfo(info) => {
                link.kind = info.into_iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            LinkAttribute::AfSpecUnspec(families) => {
                link.ipv6 = families.into_iter().find_map(|family| match family {
                    AfSpecUnspec::Inet6(attributes) => Some(decode_ipv6(&attributes)),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    link
}

fn decode_ipv6(attributes: &[AfSpecInet6]) -> Ipv6 {
    let mut ipv6 = Ipv6::default();
    for attribute in attributes {
        match attribute {
            AfSpecInet6::DevConf(sysctls) => ipv6.disabled = sysctls.disable_ipv6 != 0,
            AfSpecInet6::AddrGenMode(mode) => {
                ipv6.address_generation_off = *mode == In6AddrGenMode::None;
            }
            _ => {}
        }
    }
    ipv6
}

async fn addresses(
    handle: &Handle,
    link: &Link,
    family: AddressFamily,
) -> Result<Vec<IpNet>, NicError> {
    let mut get = handle.address().get().set_link_index_filter(link.index);
    get.message_mut().header.family = family;
    get.message_mut().header.index = link.index;
    let messages: Vec<_> = get
        .execute()
        .try_collect()
        .await
        .map_err(|error| NicError::new(&link.name, "read its addresses", error))?;
    // A kernel without a family answers for all of them.
    let ours = messages.into_iter().filter(|message| message.header.family == family);
    Ok(ours.filter_map(|message| decode_address(&message)).collect())
}

/// The address of the host's end: IFA_LOCAL, or IFA_ADDRESS where there is only that (`if_addr.h`).
fn decode_address(message: &AddressMessage) -> Option<IpNet> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = || {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    };
    IpNet::new(local.or_else(address)?, message.header.prefix_len).ok()
}

async fn default_routes(
    handle: &Handle,
    link: &Link,
    family: AddressFamily,
) -> Result<Vec<DefaultRoute>, NicError> {
    let mut wanted = RouteMessage::default();
    wanted.header.address_family = family;
    wanted.attributes.push(RouteAttribute::Oif(link.index));
    let messages: Vec<_> = handle
        .route()
        .get(wanted)
        .execute()
        .try_collect()
        .await
        .map_err(|error| NicError::new(&link.name, "read its routes", error))?;
    let ours = messages.into_iter().filter(|message| message.header.address_family == family);
    Ok(ours.filter_map(|message| decode_default_route(&message, link.index)).collect())
}

/// The route as a default route through link `index`, alone or as one of several paths.
fn decode_default_route(message: &RouteMessage, index: u32) -> Option<DefaultRoute> {
    let any: IpAddr = match message.header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    if message.header.destination_prefix_length != 0 {
        return None;
    }
    let mut table = message.header.table.into();
    let (mut metric, mut leaves_here, mut gateway) = (0, false, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(oif) if *oif == index => {
                leaves_here = true;
                gateway = decode_gateway(&message.attributes);
            }
            RouteAttribute::MultiPath(paths) => {
                if let Some(path) = paths.iter().find(|path| path.interface_index == index) {
                    leaves_here = true;
                    gateway = decode_gateway(&path.attributes);
                }
            }
            _ => {}
        }
    }
    let destination = IpNet::new(any, 0).ok()?;
    leaves_here.then_some(DefaultRoute { destination, gateway, metric, table })
}

fn decode_gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some((*address).into()),
        RouteAttribute::Gateway(RouteAddress::Inet6(address))
        | RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    })
}
