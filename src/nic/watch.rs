//! Says when a link may have changed, from the kernel's own announcements.

use std::{pin::pin, sync::Arc};

use futures::{Stream, StreamExt as _, channel::mpsc::UnboundedReceiver};
use rtnetlink::{
    Handle, MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkMessage, Prop},
    },
    proto::Connection,
    sys::SocketAddr,
};
use tokio::{sync::Notify, task::JoinHandle, time::sleep};

use super::{error::NicError, observe::link_message};
use crate::endpoint::reconnect_delays;

/// Links and addresses. Routes are left out: a node may see thousands of changes a second, and none of
/// them makes a quiet link speak.
const GROUPS: [MulticastGroup; 3] =
    [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];

/// A watch over one link; it ends when dropped.
#[derive(Debug)]
pub struct Watch {
    signal: Arc<Notify>,
    task: JoinHandle<()>,
}

/// Begins to watch the link called `name`, whether it exists or not.
///
/// Nothing that happens from now on is missed: begin to watch, then [`observe`](super::observe()).
///
/// # Errors
/// When no netlink socket is to be had.
pub fn watch(name: &str) -> Result<Watch, NicError> {
    let subscription = new_multicast_connection(&GROUPS).map_err(NicError::Open)?;
    let signal = Arc::new(Notify::new());
    let task = tokio::spawn(follow(name.to_owned(), subscription, Arc::clone(&signal)));
    Ok(Watch { signal, task })
}

impl Watch {
    /// Waits until the link may have changed: it came, went, or its flags, MTU, owner, name or addresses
    /// are no longer what they were. Several changes may show as one. Safe to cancel.
    ///
    /// The kernel announces no change of an IPv6 setting, only the addresses that it leads to.
    pub async fn changed(&mut self) {
        self.signal.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Message = NetlinkMessage<RouteNetlinkMessage>;

/// What [`new_multicast_connection`] gives: the socket's driver, a way to ask, and the announcements.
type Subscription =
    (Connection<RouteNetlinkMessage>, Handle, UnboundedReceiver<(Message, SocketAddr)>);

/// Signals for as long as it is polled, with a fresh socket whenever one fails or has lost announcements.
async fn follow(name: String, mut subscription: Subscription, signal: Arc<Notify>) {
    loop {
        let (connection, handle, messages) = subscription;
        let announcements = messages.map(|(message, _)| message);
        tokio::select! {
            () = connection => {}
            () = listen(&name, &handle, announcements, &signal) => {}
        }
        tracing::debug!(link = name, "announcements of the kernel were lost; subscribing again");
        subscription = resubscribe().await;
        signal.notify_one();
    }
}

async fn resubscribe() -> Subscription {
    // The pause before the first attempt keeps a storm of announcements from becoming a storm of ours.
    for delay in reconnect_delays() {
        sleep(delay).await;
        match new_multicast_connection(&GROUPS) {
            Ok(subscription) => return subscription,
            Err(error) => tracing::warn!("cannot open a netlink socket: {error}; trying again"),
        }
    }
    unreachable!("the delays never end")
}

/// Signals each announcement about the link, until one was lost or there are no more.
async fn listen(
    name: &str,
    handle: &Handle,
    announcements: impl Stream<Item = Message>,
    signal: &Notify,
) {
    let index = link_message(handle, name).await.ok().map(|message| message.header.index);
    let mut subject = Subject { name, index };
    let mut announcements = pin!(announcements);
    while let Some(message) = announcements.next().await {
        match &message.payload {
            NetlinkPayload::Overrun(_) => return,
            NetlinkPayload::InnerMessage(message) if subject.concerns(message) => {
                signal.notify_one();
            }
            _ => {}
        }
    }
}

/// The link that is watched: addresses are announced by number, and a new link of the name has a new one.
struct Subject<'a> {
    name: &'a str,
    index: Option<u32>,
}

impl Subject<'_> {
    fn concerns(&mut self, message: &RouteNetlinkMessage) -> bool {
        match message {
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => {
                let known = self.index == Some(link.header.index);
                let named = is_named(link, self.name);
                if named {
                    self.index = Some(link.header.index);
                }
                known || named
            }
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
                self.index == Some(address.header.index)
            }
            _ => false,
        }
    }
}

fn is_named(link: &LinkMessage, wanted: &str) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::IfName(name) => name == wanted,
        LinkAttribute::PropList(names) => {
            names.iter().any(|prop| matches!(prop, Prop::AltIfName(name) if name == wanted))
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use rtnetlink::packet_core::NetlinkHeader;

    use super::*;

    #[tokio::test]
    async fn a_lost_announcement_ends_the_subscription_for_a_fresh_one() {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        let lost = Message::new(NetlinkHeader::default(), NetlinkPayload::Overrun(vec![]));
        let announcements = stream::iter([lost]).chain(stream::pending());
        // Without an end this would never return.
        listen("mirror0", &handle, announcements, &Notify::new()).await;
    }

    #[tokio::test]
    async fn after_a_lost_subscription_one_must_look_again() {
        let (connection, handle, messages) = new_multicast_connection(&GROUPS).unwrap();
        drop(connection);
        let (idle, _, _) = new_multicast_connection(&GROUPS).unwrap();
        let (sender, closed) = futures::channel::mpsc::unbounded();
        drop((sender, messages));
        let signal = Arc::new(Notify::new());
        let task =
            tokio::spawn(follow("none0".into(), (idle, handle, closed), Arc::clone(&signal)));
        signal.notified().await;
        assert!(!task.is_finished(), "and the watch goes on");
        task.abort();
    }

    #[test]
    fn other_links_are_of_no_concern() {
        let mut subject = Subject { name: "mirror0", index: Some(7) };
        let mut link = LinkMessage::default();
        link.header.index = 8;
        link.attributes.push(LinkAttribute::IfName("mirror01".to_owned()));
        assert!(!subject.concerns(&RouteNetlinkMessage::NewLink(link.clone())));
        link.attributes.push(LinkAttribute::PropList(vec![Prop::AltIfName("mirror0".to_owned())]));
        assert!(subject.concerns(&RouteNetlinkMessage::NewLink(link)));
        assert_eq!(subject.index, Some(8), "the name has moved to another link");
    }
}
