//! An OpenFlow 1.5 session without its socket: frames in, messages and events out, time as an argument.
//!
//! It agrees on the version, asks for the switch's features, keeps the connection alive with echoes both ways, and
//! joins replies and errors to the request that caused them. Whoever owns the socket calls [`Session::handle_frame`],
//! [`Session::poll_transmit`] until it returns `None`, and [`Session::handle_timeout`] at [`Session::poll_timeout`].
//!
//! `T` is the caller's name for a request; it comes back with each answer.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use flows::ofp::{
    BundleCommand, BundleFlags, DecodeError, Features, FlowMod, FlowRemoved, FlowUpdate, Message,
    MultipartReply, MultipartRequest, OfpError, PortDesc, VERSION, Versions,
};

use super::codec::Frame;

/// How long the switch may take to say hello and to tell its features.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long nothing is heard before the switch is asked for a sign of life.
const IDLE: Duration = Duration::from_secs(5);
/// How long after that it counts as stalled. Open vSwitch does nothing else while it takes in a change of its ports, which on
/// the userspace datapath takes 6 s among 5,000 and 20 s or more among 10,000.
const ECHO: Duration = Duration::from_secs(5);
/// How long nothing is heard before it is taken for dead. To begin anew with one that is only busy would have it tell all
/// its flows on top.
const DEAD: Duration = Duration::from_secs(60);
/// How long any other request may stay without an answer while the switch is alive. Reading a hundred thousand flows takes
/// a second.
const ANSWER: Duration = Duration::from_secs(30);
/// Echo replies that may wait to be sent. An honest switch has one echo under way; one that asks on and on without
/// reading the answers must not fill the memory with them.
const ECHO_REPLIES: usize = 16;

/// The only kind of bundle that is used: all or nothing, in order, as ovn-controller's.
fn bundle_flags() -> BundleFlags {
    BundleFlags::ATOMIC | BundleFlags::ORDERED
}

/// What the switch has said.
#[derive(Debug)]
pub enum Event<T> {
    /// Version and features are known; requests may be made.
    Up(Features),
    /// A part of the answer to a multipart request.
    Part {
        /// The request.
        tag: T,
        /// The part.
        body: MultipartReply,
        /// Whether another part follows.
        more: bool,
    },
    /// A multipart request has no answer.
    Refused {
        /// The request.
        tag: T,
        /// Why.
        error: RequestError,
    },
    /// A bundle has been carried out, or not.
    Bundle {
        /// The request.
        tag: T,
        /// Whether it was committed.
        outcome: Result<(), RequestError>,
        /// Changes that the switch would not take, by their place in the bundle. A bundle that is committed all the
        /// same has all others.
        refused: Vec<(usize, RequestError)>,
    },
    /// A flow monitor reports.
    Updates(Vec<FlowUpdate>),
    /// A flow with `OFPFF_SEND_FLOW_REM` is gone.
    FlowRemoved(FlowRemoved),
    /// A port's configuration or state has changed.
    PortChanged(PortDesc),
    /// Something went wrong that no request is known for; nothing to do but tell.
    Stray(RequestError),
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The switch said no.
    #[error("the switch refused it: {0}")]
    Switch(OfpError),
    /// The switch's answer can't be read.
    #[error("the switch's answer can't be read: {0}")]
    Decode(#[from] DecodeError),
}

/// Why a session is at its end.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No common version.
    #[error(
        "the switch speaks {0}, not OpenFlow 1.5: let the bridge's `protocols` column in OVSDB contain OpenFlow15, or clear it"
    )]
    Version(String),
    /// A message of another version after the handshake.
    #[error("the switch sent a message of version {0:#04x} after agreeing on 0x06")]
    StrayVersion(u8),
    /// The switch refused the handshake.
    #[error("the switch refused the handshake: {0}")]
    Handshake(RequestError),
    /// No hello or features in time.
    #[error("the peer did not finish the OpenFlow handshake within 5 s: is it a switch?")]
    NoHandshake,
    /// Echo unanswered.
    #[error("the switch has been silent for 60 s")]
    Silent,
    /// A request unanswered though the switch is alive.
    #[error("the switch has not answered a request for 30 s")]
    Unanswered,
}

enum Phase {
    AwaitingHello,
    AwaitingFeatures,
    Up,
}

struct Bundle<T> {
    tag: T,
    /// Xid of the first change; the request to open has the one before.
    first: u32,
    changes: u32,
    refused: Vec<(usize, RequestError)>,
    since: Instant,
}

/// One connection's state.
pub struct Session<T> {
    phase: Phase,
    started: Instant,
    heard: Instant,
    /// When the switch was asked for a sign of life, if it has been silent since.
    echo_sent: Option<Instant>,
    /// When it was last heard after a stall.
    roused: Instant,
    next_xid: u32,
    /// Multipart requests under way.
    pending: HashMap<u32, (T, Instant)>,
    bundle: Option<Bundle<T>>,
    next_bundle_id: u32,
    outbox: VecDeque<(u32, Message)>,
    /// How many echo replies the outbox holds.
    echo_replies: usize,
}

impl<T: Copy> Session<T> {
    /// A session on a connection that was made `now`; says hello.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let mut session = Self {
            phase: Phase::AwaitingHello,
            started: now,
            heard: now,
            echo_sent: None,
            roused: now,
            next_xid: 1,
            pending: HashMap::new(),
            bundle: None,
            next_bundle_id: 1,
            outbox: VecDeque::new(),
            echo_replies: 0,
        };
        session.send(Message::Hello { versions: Some(Versions::OURS) });
        session
    }

    /// Asks a question that may take several messages to answer.
    pub fn ask(&mut self, tag: T, request: MultipartRequest, now: Instant) {
        let xid = self.send(Message::MultipartRequest(request));
        self.pending.insert(xid, (tag, now));
    }

    /// Makes `changes` in one atomic, ordered bundle. Returns `false`, and does nothing, while another is under way.
    pub fn commit(
        &mut self,
        tag: T,
        changes: impl IntoIterator<Item = FlowMod>,
        now: Instant,
    ) -> bool {
        if self.bundle.is_some() {
            return false;
        }
        let bundle_id = self.next_bundle_id;
        self.next_bundle_id = self.next_bundle_id.wrapping_add(1);
        let flags = bundle_flags();
        let control = |command| Message::BundleControl { bundle_id, command, flags };
        let opened = self.send(control(BundleCommand::OpenRequest));
        let mut last = opened;
        for change in changes {
            let message = Box::new(Message::FlowMod(change));
            last = self.send(Message::BundleAdd { bundle_id, flags, message });
        }
        self.send(control(BundleCommand::CommitRequest));
        let first = opened.wrapping_add(1);
        let changes = last.wrapping_sub(opened);
        self.bundle = Some(Bundle { tag, first, changes, refused: vec![], since: now });
        true
    }

    /// Sends a message that the switch does not answer.
    pub fn tell(&mut self, message: Message) {
        self.send(message);
    }

    /// The next message to put on the wire, with its xid.
    pub fn poll_transmit(&mut self) -> Option<(u32, Message)> {
        let next = self.outbox.pop_front();
        if let Some((_, Message::EchoReply(_))) = next {
            self.echo_replies -= 1;
        }
        next
    }

    /// Whether [`Self::poll_transmit`] has something.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// When [`Self::handle_timeout`] is to be called, if no frame comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        match (&self.phase, self.echo_sent) {
            (Phase::AwaitingHello | Phase::AwaitingFeatures, _) => self.started + HANDSHAKE,
            (Phase::Up, Some(_)) => self.heard + DEAD,
            (Phase::Up, None) => {
                let idle = self.heard + IDLE;
                self.answer_due().map_or(idle, |due| idle.min(due))
            }
        }
    }

    /// Whether the switch has not been heard for so long that it must be busy with something else, or dead.
    #[must_use]
    pub fn is_stalled(&self, now: Instant) -> bool {
        self.echo_sent.is_some_and(|sent| now >= sent + ECHO)
    }

    /// Does what is due by `now`.
    ///
    /// # Errors
    /// The switch has been silent for too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        match (&self.phase, self.echo_sent) {
            (Phase::AwaitingHello | Phase::AwaitingFeatures, _)
                if now >= self.started + HANDSHAKE =>
            {
                Err(SessionError::NoHandshake)
            }
            (Phase::Up, Some(_)) if now >= self.heard + DEAD => Err(SessionError::Silent),
            (Phase::Up, None) if self.answer_due().is_some_and(|due| now >= due) => {
                Err(SessionError::Unanswered)
            }
            (Phase::Up, None) if now >= self.heard + IDLE => {
                self.echo_sent = Some(now);
                self.send(Message::EchoRequest(bytes::Bytes::new()));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes in what the switch sent.
    ///
    /// # Errors
    /// The session can't go on.
    pub fn handle_frame(
        &mut self,
        frame: &Frame,
        now: Instant,
    ) -> Result<Option<Event<T>>, SessionError> {
        if self.is_stalled(now) {
            self.roused = now;
        }
        self.heard = now;
        self.echo_sent = None;
        let decoded = match self.phase {
            Phase::AwaitingHello => return self.handle_hello(frame).map(|()| None),
            Phase::AwaitingFeatures | Phase::Up if frame.version != VERSION => {
                return Err(SessionError::StrayVersion(frame.version));
            }
            Phase::AwaitingFeatures | Phase::Up => Message::decode(frame.type_code, &frame.body),
        };
        let message = match decoded {
            Ok(message) => message,
            Err(error) => return Ok(self.fail(frame.xid, error.into())),
        };
        Ok(match message {
            Message::EchoRequest(data) => {
                if self.echo_replies < ECHO_REPLIES {
                    self.echo_replies += 1;
                    self.outbox.push_back((frame.xid, Message::EchoReply(data)));
                }
                None
            }
            Message::FeaturesReply(features) if matches!(self.phase, Phase::AwaitingFeatures) => {
                self.phase = Phase::Up;
                Some(Event::Up(features))
            }
            Message::Error(error) if matches!(self.phase, Phase::AwaitingFeatures) => {
                return Err(SessionError::Handshake(RequestError::Switch(error)));
            }
            Message::Error(error) => self.fail(frame.xid, RequestError::Switch(error)),
            Message::MultipartReply { more, body } => self.handle_part(frame.xid, body, more, now),
            Message::BundleControl { command: BundleCommand::CommitReply, .. } => self
                .bundle
                .take()
                .map(|Bundle { tag, refused, .. }| Event::Bundle { tag, outcome: Ok(()), refused }),
            Message::FlowRemoved(removed) => Some(Event::FlowRemoved(removed)),
            Message::PortStatus { port, .. } => Some(Event::PortChanged(port)),
            // Echo replies have done their work by being heard; the rest is not asked for.
            _ => None,
        })
    }

    fn handle_hello(&mut self, frame: &Frame) -> Result<(), SessionError> {
        let theirs = match Message::decode(frame.type_code, &frame.body) {
            Ok(Message::Hello { versions: Some(versions) }) => versions,
            // Without a bitmap a hello stands for its header's version and all below.
            Ok(Message::Hello { versions: None }) => Versions::up_to(frame.version),
            Ok(Message::Error(error)) => {
                return Err(SessionError::Handshake(RequestError::Switch(error)));
            }
            Ok(_) => return Err(SessionError::NoHandshake),
            Err(error) => return Err(SessionError::Handshake(error.into())),
        };
        if !theirs.contains(VERSION) {
            return Err(SessionError::Version(theirs.to_string()));
        }
        self.phase = Phase::AwaitingFeatures;
        self.send(Message::FeaturesRequest);
        Ok(())
    }

    fn handle_part(
        &mut self,
        xid: u32,
        body: MultipartReply,
        more: bool,
        now: Instant,
    ) -> Option<Event<T>> {
        if let Some((tag, since)) = self.pending.get_mut(&xid) {
            let tag = *tag;
            *since = now;
            if !more {
                self.pending.remove(&xid);
            }
            return Some(Event::Part { tag, body, more });
        }
        match body {
            MultipartReply::FlowMonitor(updates) => Some(Event::Updates(updates)),
            _ => None,
        }
    }

    /// Joins an error to its request.
    fn fail(&mut self, xid: u32, error: RequestError) -> Option<Event<T>> {
        if let Some((tag, _)) = self.pending.remove(&xid) {
            return Some(Event::Refused { tag, error });
        }
        let Some(bundle) = &mut self.bundle else { return Some(Event::Stray(error)) };
        match xid.wrapping_sub(bundle.first) {
            // A change was refused; the answer to the commit follows.
            place if place < bundle.changes => {
                bundle.refused.push((place as usize, error));
                None
            }
            place if place == bundle.changes => self.bundle.take().map(|bundle| Event::Bundle {
                tag: bundle.tag,
                outcome: Err(error),
                refused: bundle.refused,
            }),
            _ => Some(Event::Stray(error)),
        }
    }

    fn send(&mut self, message: Message) -> u32 {
        let xid = self.next_xid;
        // 0 is what a switch uses for messages of its own accord.
        self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
        self.outbox.push_back((xid, message));
        xid
    }

    /// When the oldest request must have an answer. A switch that was stalled gets time for it anew, but not for ever: one that
    /// stalls again and again must not let questions pile up.
    fn answer_due(&self) -> Option<Instant> {
        let bundle = self.bundle.as_ref().map(|bundle| bundle.since);
        let oldest = self.pending.values().map(|(_, since)| *since).chain(bundle).min()?;
        Some(oldest.max(self.roused).min(oldest + DEAD) + ANSWER)
    }
}

#[cfg(test)]
mod tests;
