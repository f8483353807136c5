//! Captures by tcpdump on the wires of Pods and on the mirror port, between marks that every capture holds.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::UdpSocket,
    path::PathBuf,
    process::{Child, ChildStderr, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Error, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Frame, Namespace, Node, Pod, PodFrames, Recording, Result, checksum, pcap, until};

/// The mirror port's name.
pub const MIRROR: &str = "mirror0";

/// What the payload of every mark begins with.
const MARK: &str = "lab mark";

/// Tells apart the captures, and thereby the marks, of one process.
static NEXT_CAPTURE: AtomicU32 = AtomicU32::new(1);

/// Captures that run.
#[derive(Debug)]
pub struct Capture<'a> {
    node: &'a Node,
    number: u32,
    wires: Vec<Wire>,
    mirror: Option<Sniffer>,
    /// Whether the copies' checksums may be unfinished.
    unfinished: bool,
    marked: bool,
}

/// The two captures of one Pod.
#[derive(Debug)]
struct Wire {
    pod: Pod,
    sent: Sniffer,
    received: Sniffer,
}

/// Whether a frame is a mark.
pub(crate) fn is_mark(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|part| part == MARK.as_bytes())
}

/// A tcpdump that runs.
#[derive(Debug)]
struct Sniffer {
    child: Child,
    stderr: BufReader<ChildStderr>,
    file: PathBuf,
}

impl Node {
    /// Captures what the mirrored Pods send and receive and what is on the mirror port. All their frames must be
    /// mirrored already: the capture begins when the datapath does what the flows say, with a mark that every Pod sends and waits
    /// for on the mirror port.
    ///
    /// # Errors
    /// tcpdump fails, or a mark does not reach the mirror port within a minute.
    pub fn capture(&self, mirrored: &[&str]) -> Result<Capture<'_>> {
        self.capture_at(MIRROR, mirrored)
    }

    /// Captures as [`Self::capture`] does, with the copies taken from another interface of the host.
    ///
    /// # Errors
    /// As [`Self::capture`].
    pub fn capture_at(&self, interface: &str, mirrored: &[&str]) -> Result<Capture<'_>> {
        let mut capture = thread::scope(|scope| {
            let revalidated = scope.spawn(|| self.revalidate());
            let capture = self.watch_all(Some(interface), mirrored)?;
            revalidated.join().expect("waiting does not panic")?;
            Ok::<_, Error>(capture)
        })?;
        capture.mark("begin")?;
        capture.marked = true;
        Ok(capture)
    }

    /// Captures as [`Self::capture`] does, without marks: for what is not mirrored all the time. The window of its
    /// recording is everything.
    ///
    /// # Errors
    /// tcpdump fails.
    pub fn watch(&self, pods: &[&str]) -> Result<Capture<'_>> {
        self.watch_all(Some(MIRROR), pods)
    }

    /// Captures what Pods send and receive, and no copies.
    ///
    /// # Errors
    /// tcpdump fails.
    pub fn watch_wires(&self, pods: &[&str]) -> Result<Capture<'_>> {
        self.watch_all(None, pods)
    }

    fn watch_all(&self, interface: Option<&str>, pods: &[&str]) -> Result<Capture<'_>> {
        let number = NEXT_CAPTURE.fetch_add(1, Ordering::Relaxed);
        let file = |what: &str| self.folder().join(format!("{number}-{what}.pcap"));
        let sniff = |name| Sniffer::start(self.namespace(), name, "inout", file(name));
        let mirror = interface.map(sniff).transpose()?;
        let wires = pods.iter().map(|name| {
            let pod = self.pod(name);
            let sniff = |direction, what: &str| {
                Sniffer::start(pod.namespace(), "eth0", direction, file(&format!("{name}-{what}")))
            };
            let (sent, received) = (sniff("out", "sent")?, sniff("in", "received")?);
            Ok(Wire { pod, sent, received })
        });
        let wires = wires.collect::<Result<_>>()?;
        let unfinished = self.leaves_checksums()?;
        Ok(Capture { node: self, number, wires, mirror, unfinished, marked: false })
    }
}

impl Capture<'_> {
    /// Waits for a copy that pleases `wanted`.
    ///
    /// # Errors
    /// There is none within a minute.
    pub fn await_copy(&self, what: &str, wanted: impl Fn(&[u8]) -> bool) -> Result<Frame> {
        until(&format!("{what} on {MIRROR}"), || {
            self.node.alive()?;
            Ok(self.copies()?.into_iter().find(|frame| wanted(&frame.bytes)))
        })
    }

    /// The copies that were captured so far.
    ///
    /// # Errors
    /// The capture file cannot be read.
    pub fn copies(&self) -> Result<Vec<Frame>> {
        Ok(self.finished(self.mirror.as_ref().map_or(Ok(Vec::new()), Sniffer::frames)?))
    }

    /// Copies with their checksums finished.
    fn finished(&self, mut copies: Vec<Frame>) -> Vec<Frame> {
        if self.unfinished {
            checksum::finish_all(&mut copies);
        }
        copies
    }

    /// The frames captured so far that a Pod sent.
    ///
    /// # Errors
    /// The Pod is not watched, or its capture file cannot be read.
    pub fn sent(&self, pod: &str) -> Result<Vec<Frame>> {
        self.wire(pod)?.sent.frames()
    }

    /// The frames captured so far that a Pod received.
    ///
    /// # Errors
    /// As [`Self::sent`].
    pub fn received(&self, pod: &str) -> Result<Vec<Frame>> {
        self.wire(pod)?.received.frames()
    }

    fn wire(&self, pod: &str) -> Result<&Wire> {
        let wire = self.wires.iter().find(|wire| wire.pod.name() == pod);
        wire.with_context(|| format!("{pod} is not watched"))
    }

    /// Ends the captures.
    ///
    /// # Errors
    /// A capture has lost frames, the last marks do not reach the mirror port within a minute, or a daemon died.
    pub fn finish(mut self) -> Result<Recording> {
        if self.marked {
            self.mark("end")?;
        }
        let mirror = self.mirror.as_mut().map_or(Ok(Vec::new()), Sniffer::stop)?;
        let mirror = self.finished(mirror);
        let mut pods = BTreeMap::new();
        for wire in &mut self.wires {
            let (sent, received) = (wire.sent.stop()?, wire.received.stop()?);
            let switch = wire.pod.switch().name.to_owned();
            pods.insert(wire.pod.name().to_owned(), PodFrames { switch, sent, received });
        }
        self.node.alive()?;
        let window = Duration::ZERO..=Duration::MAX;
        let mut recording = Recording { pods, mirror, window };
        if self.marked {
            let begin = self.marks(&recording, "begin").max().context("no begin mark")?;
            let end = self.marks(&recording, "end").min().context("no end mark")?;
            ensure!(begin < end, "the marks are in the wrong order");
            recording.window = begin..=end;
        }
        Ok(recording)
    }

    /// Lets every Pod send a mark and waits for each on the mirror port. A Pod's frames keep their order on their way,
    /// so whatever it sent before is past.
    fn mark(&self, what: &str) -> Result {
        let group = "224.0.0.251:9";
        for wire in &self.wires {
            let text = self.mark_text(what, wire.pod.name());
            wire.pod.namespace().inside(|| {
                UdpSocket::bind((wire.pod.ip4(), 0))?.send_to(text.as_bytes(), group)?;
                Ok(())
            })?;
            self.await_copy(&format!("the mark of Pod {}", wire.pod.name()), |bytes| {
                bytes.ends_with(text.as_bytes())
            })?;
        }
        Ok(())
    }

    fn mark_text(&self, what: &str, pod: &str) -> String {
        format!("{MARK} {} {what} {pod}.", self.number)
    }

    /// The times of all marks of one kind, in all captures.
    fn marks(&self, recording: &Recording, what: &str) -> impl Iterator<Item = Duration> {
        let texts: Vec<_> =
            self.wires.iter().map(|wire| self.mark_text(what, wire.pod.name())).collect();
        let pods = recording.pods.values().flat_map(|pod| pod.sent.iter().chain(&pod.received));
        pods.chain(&recording.mirror)
            .filter(move |frame| texts.iter().any(|text| frame.bytes.ends_with(text.as_bytes())))
            .map(|frame| frame.at)
    }
}

impl Sniffer {
    /// Starts tcpdump and waits until it listens.
    fn start(namespace: &Namespace, interface: &str, way: &str, file: PathBuf) -> Result<Self> {
        // Immediate and unbuffered: nothing is left in a ring block or in a buffer at the end. The ring is 32 MiB.
        let options = "--immediate-mode -U -n -B 32768 --nano -Z root";
        let mut child = namespace
            .program("tcpdump")
            .args(options.split(' '))
            .args(["-s", &pcap::SNAPLEN.to_string(), "-i", interface, "-Q", way, "-w"])
            .arg(file.display().to_string())
            .command()
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start tcpdump")?;
        let mut stderr = BufReader::new(child.stderr.take().context("tcpdump has no stderr")?);
        let mut said = String::new();
        while !said.contains("listening on") {
            if stderr.read_line(&mut said)? == 0 {
                child.wait()?;
                bail!("tcpdump does not listen on {interface} of {}: {said}", namespace.name());
            }
        }
        Ok(Self { child, stderr, file })
    }

    fn frames(&self) -> Result<Vec<Frame>> {
        let mut frames = pcap::read(&self.file)?;
        checksum::unify_zeros(&mut frames);
        Ok(frames)
    }

    /// Ends the capture and makes sure that nothing was lost.
    fn stop(&mut self) -> Result<Vec<Frame>> {
        let pid = self.child.id();
        // A tcpdump that is told to end leaves what it has not read. It sleeps only when it has read everything.
        until(&format!("the capture {} to be written", self.file.display()), || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            Ok(stat.contains("(tcpdump) S ").then_some(()))
        })?;
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGINT)?;
        let mut said = String::new();
        self.stderr.read_to_string(&mut said)?;
        self.child.wait()?;
        let dropped = said.lines().find(|line| line.ends_with("dropped by kernel"));
        let dropped = dropped.with_context(|| format!("tcpdump says no count: {said}"))?;
        ensure!(
            dropped.starts_with("0 "),
            "the capture {} lost frames: {said}",
            self.file.display()
        );
        self.frames()
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
