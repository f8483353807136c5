//! Where a link is that this network namespace does not have any more: moved to another one, or nowhere.
//!
//! Open vSwitch says the same of an internal port whose device somebody moved and of one whose device somebody deleted: it keeps
//! the OpenFlow number and reports no error. The kernel tells them apart. Whoever moves a link out of a network namespace has the
//! kernel give the other namespace a number in this one (`dev_change_net_namespace()` of net/core/dev.c, from Linux 4.16 on), which
//! lasts as long as that namespace. The numbered namespaces can be listed (`RTM_GETNSID`), and the links of each can be read from
//! here (`IFLA_TARGET_NETNSID`). So an agent that starts after the move sees it, too.

use futures::{StreamExt as _, TryStreamExt as _};
use rtnetlink::{
    Handle,
    packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkMessage},
        nsid::{NsidAttribute, NsidMessage},
    },
};

use super::{
    error::NicError,
    link::Link,
    observe::{connect, decode},
};

/// Where a link is that this network namespace does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Absence {
    /// It can't be told.
    #[default]
    Unknown,
    /// Nowhere.
    Deleted,
    /// In another network namespace.
    Moved {
        /// Whether it is up there.
        up: bool,
    },
}

/// Looks for the device of an internal port in all network namespaces that have a number in this one. It is known again by its
/// kind and by its hardware address or its name: the name may be another one there.
///
/// The answer is [`Absence::Unknown`] where the kernel does not let all of them be read: it is better to leave a port alone than
/// to delete one that somebody uses.
///
/// # Errors
/// No netlink socket is to be had, or the kernel does not list its network namespaces.
pub async fn find_elsewhere(name: &str, mac: Option<[u8; 6]>) -> Result<Absence, NicError> {
    let handle = connect()?;
    let mut absence = Absence::Deleted;
    for namespace in namespaces(&handle, name).await? {
        let links = match links_of(&handle, name, namespace).await {
            Ok(links) => links,
            // It went in between, and all its links with it.
            Err(error) if error.is(libc::EINVAL) || error.is(libc::ENONET) => continue,
            Err(error) => {
                tracing::debug!(%error, namespace, "cannot read the links of a network namespace");
                absence = Absence::Unknown;
                continue;
            }
        };
        let is_it = |link: &&Link| {
            let same_address = mac.is_some() && link.mac == mac;
            link.is_made_by_switch() && (same_address || link.name == name)
        };
        if let Some(link) = links.iter().find(is_it) {
            return Ok(Absence::Moved { up: link.up });
        }
    }
    Ok(absence)
}

/// The numbers of other network namespaces in this one.
async fn namespaces(handle: &Handle, name: &str) -> Result<Vec<i32>, NicError> {
    let attempt = "list the network namespaces";
    let request = RouteNetlinkMessage::GetNsId(NsidMessage::default());
    let answers = dump(handle, name, attempt, request).await?;
    let numbers = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewNsId(message) => {
            message.attributes.into_iter().find_map(|attribute| match attribute {
                NsidAttribute::Id(number) => Some(number).filter(|number| *number >= 0),
                _ => None,
            })
        }
        _ => None,
    });
    Ok(numbers.collect())
}

/// The links of another network namespace.
async fn links_of(handle: &Handle, name: &str, namespace: i32) -> Result<Vec<Link>, NicError> {
    let attempt = format!("read the links of network namespace {namespace}");
    let mut wanted = LinkMessage::default();
    wanted.attributes.push(LinkAttribute::IfNetnsId(namespace));
    let answers = dump(handle, name, &attempt, RouteNetlinkMessage::GetLink(wanted)).await?;
    let mut links = Vec::new();
    for answer in answers {
        let RouteNetlinkMessage::NewLink(message) = answer else { continue };
        // A kernel that does not know the attribute tells of this namespace instead.
        if !message.attributes.contains(&LinkAttribute::IfNetnsId(namespace)) {
            return Err(NicError::NoAnswer {
                link: name.to_owned(),
                attempt,
                answer: "links of another one".to_owned(),
            });
        }
        links.push(decode(message));
    }
    Ok(links)
}

async fn dump(
    handle: &Handle,
    name: &str,
    attempt: &str,
    request: RouteNetlinkMessage,
) -> Result<Vec<RouteNetlinkMessage>, NicError> {
    let mut request = NetlinkMessage::from(request);
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let failed = |error| NicError::new(name, attempt, error);
    let mut answers =
        handle.clone().request(request).map_err(failed)?.map(Ok::<_, rtnetlink::Error>);
    let mut messages = Vec::new();
    while let Some(answer) = answers.try_next().await.map_err(failed)? {
        match answer.payload {
            NetlinkPayload::Error(error) => {
                return Err(failed(rtnetlink::Error::NetlinkError(error)));
            }
            NetlinkPayload::InnerMessage(message) => messages.push(message),
            _ => {}
        }
    }
    Ok(messages)
}
