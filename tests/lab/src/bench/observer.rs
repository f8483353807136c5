//! A witness of its own: one more OpenFlow connection, that is told of every change of the flows that matter and
//! stamps it as it arrives. What OVN does and what the agent does is seen by the same eyes, on one clock.

use std::{
    io::{BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use bytes::BytesMut;
use flows::{
    model::{Flow, TableId},
    ofp::{
        FlowMonitorRequest, FlowUpdate, Message, MonitorFlags, MultipartReply, MultipartRequest,
        VERSION, Versions,
    },
};

use crate::{Node, Result, wait::patience};

/// Length of an OpenFlow header, in bytes.
const HEADER: usize = 8;

/// A connection that watches flows.
pub(super) struct Observer {
    stream: UnixStream,
    frames: Receiver<Stamped>,
    /// Whether the switch may be too busy to tell of everything at once.
    patient: bool,
    /// What the last message told and has not been taken yet.
    waiting: std::vec::IntoIter<Sighting>,
}

/// A message, decoded only later so that the next one is stamped in time.
struct Stamped {
    at: Instant,
    type_code: u8,
    xid: u32,
    body: Vec<u8>,
}

/// Something that happened to a flow.
pub(super) struct Sighting {
    /// When the observer heard of it.
    pub(super) at: Instant,
    /// The flow.
    pub(super) flow: Flow,
    /// Whether it is there now.
    pub(super) there: bool,
}

impl Observer {
    /// Watches the flows of some tables from now on; gives those that are there already.
    pub(super) fn watch(node: &Node, tables: &[TableId]) -> Result<(Self, Vec<Flow>)> {
        let stream = UnixStream::connect(node.run_folder().join("br-int.mgmt"))?;
        let (sender, frames) = channel();
        let (reader, mut writer) = (stream.try_clone()?, stream.try_clone()?);
        thread::spawn(move || read(reader, &mut writer, &sender));
        let waiting = Vec::new().into_iter();
        let mut observer = Self { stream, frames, patient: false, waiting };
        let flags = MonitorFlags::INITIAL
            | MonitorFlags::ADD
            | MonitorFlags::REMOVED
            | MonitorFlags::MODIFY
            | MonitorFlags::INSTRUCTIONS;
        let monitors = tables.iter().map(|table| FlowMonitorRequest {
            table: *table,
            ..FlowMonitorRequest::add(u32::from(table.0) + 1, flags)
        });
        let monitors = MultipartRequest::FlowMonitor(monitors.collect());
        send(&mut observer.stream, &Message::Hello { versions: Some(Versions::OURS) }, 1)?;
        send(&mut observer.stream, &Message::MultipartRequest(monitors), 2)?;
        send(&mut observer.stream, &Message::BarrierRequest, 3)?;
        let mut initial = Vec::new();
        loop {
            let (stamped, message) = observer.message()?;
            match message {
                Message::BarrierReply => return Ok((observer, initial)),
                Message::Error(error) => {
                    bail!("the switch refused request {}: {error}", stamped.xid)
                }
                message => initial.extend(sightings(stamped.at, message).map(|seen| seen.flow)),
            }
        }
    }

    /// The same, though the switch may pause its reports: with thousands of changes at once it does, and tells of what came
    /// meanwhile later.
    pub(super) fn with_patience(mut self) -> Self {
        self.patient = true;
        self
    }

    /// What happens next.
    ///
    /// # Errors
    /// Nothing does for a minute (or as many as `LAB_PATIENCE` says), or the switch paused its reports, which makes times of single changes worthless.
    pub(super) fn next(&mut self) -> Result<Sighting> {
        loop {
            if let Some(seen) = self.waiting.next() {
                return Ok(seen);
            }
            let (stamped, message) = self.message()?;
            if let Message::MultipartReply { body: MultipartReply::FlowMonitor(updates), .. } =
                &message
            {
                let paused = updates.contains(&FlowUpdate::Paused);
                ensure!(self.patient || !paused, "the switch paused its reports");
            }
            self.waiting = sightings(stamped.at, message).collect::<Vec<_>>().into_iter();
        }
    }

    fn message(&mut self) -> Result<(Stamped, Message)> {
        let patience = patience();
        let stamped = self.frames.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                anyhow::anyhow!("nothing happened for {} s", patience.as_secs())
            }
            RecvTimeoutError::Disconnected => anyhow::anyhow!("the switch closed the connection"),
        })?;
        let message = Message::decode(stamped.type_code, &stamped.body)?;
        Ok((stamped, message))
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // Ends the reader, too.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// Stamps messages and hands them on, until the connection or the observer ends; answers echo requests itself.
fn read(stream: UnixStream, writer: &mut UnixStream, frames: &Sender<Stamped>) {
    let mut stream = BufReader::with_capacity(1 << 20, stream);
    while let Ok(stamped) = read_one(&mut stream) {
        if let Ok(Message::EchoRequest(data)) = Message::decode(stamped.type_code, &stamped.body) {
            let _ = send(writer, &Message::EchoReply(data), stamped.xid);
        } else if frames.send(stamped).is_err() {
            return;
        }
    }
}

fn read_one(stream: &mut BufReader<UnixStream>) -> Result<Stamped> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let [version, type_code, high, low, x @ ..] = header;
    // The first message may be a hello of another version.
    ensure!(version == VERSION || type_code == 0, "OpenFlow version {version}");
    let length = usize::from(u16::from_be_bytes([high, low]));
    let mut body = vec![0; length.checked_sub(HEADER).context("a message without a header")?];
    stream.read_exact(&mut body)?;
    Ok(Stamped { at: Instant::now(), type_code, xid: u32::from_be_bytes(x), body })
}

fn send(stream: &mut UnixStream, message: &Message, xid: u32) -> Result {
    let mut body = BytesMut::new();
    message.encode(xid, &mut body)?;
    let [high, low] = u16::try_from(HEADER + body.len())?.to_be_bytes();
    let mut frame = vec![VERSION, message.type_code(), high, low];
    frame.extend(xid.to_be_bytes());
    frame.extend(&body[..]);
    Ok(stream.write_all(&frame)?)
}

fn sightings(at: Instant, message: Message) -> impl Iterator<Item = Sighting> {
    let updates = match message {
        Message::MultipartReply { body: MultipartReply::FlowMonitor(updates), .. } => updates,
        _ => Vec::new(),
    };
    updates.into_iter().filter_map(move |update| match update {
        FlowUpdate::Initial { flow, .. }
        | FlowUpdate::Added { flow, .. }
        | FlowUpdate::Modified { flow, .. } => Some(Sighting { at, flow, there: true }),
        FlowUpdate::Removed { flow, .. } => Some(Sighting { at, flow, there: false }),
        FlowUpdate::Abbrev { .. } | FlowUpdate::Paused | FlowUpdate::Resumed => None,
    })
}
