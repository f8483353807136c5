//! Capture files: reading them while they grow, writing a few frames for tcpdump to explain.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use pcap_file::{
    DataLink, Endianness, PcapError, TsResolution,
    pcap::{PcapHeader, PcapPacket, PcapParser, PcapWriter},
};

use tempfile::NamedTempFile;

use crate::{Frame, Invocation, Result};

/// Longest frame that a capture holds whole, in bytes.
pub(crate) const SNAPLEN: u32 = 9216;

/// All whole frames of a capture file; it may still be growing.
pub(crate) fn read(path: &Path) -> Result<Vec<Frame>> {
    let file = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut rest, parser) = match PcapParser::new(&file) {
        Ok(start) => start,
        Err(PcapError::IncompleteBuffer) => return Ok(Vec::new()),
        Err(error) => bail!("{} is no capture file: {error}", path.display()),
    };
    let mut frames = Vec::new();
    loop {
        match parser.next_packet(rest) {
            Ok((after, packet)) => {
                let length = u32::try_from(packet.data.len())?;
                ensure!(length == packet.orig_len, "{} holds a frame in part", path.display());
                frames.push(Frame { at: packet.timestamp, bytes: packet.data.into_owned() });
                rest = after;
            }
            Err(PcapError::IncompleteBuffer) => return Ok(frames),
            Err(error) => bail!("{} is broken: {error}", path.display()),
        }
    }
}

/// One line a frame, in tcpdump's words.
pub(crate) fn describe(frames: &[&[u8]]) -> Result<Vec<String>> {
    tcpdump(frames, &["-n", "-e", "-t"])
}

/// One short line a frame, as `tcpdump -n -t -q` has it.
pub(crate) fn describe_briefly(frames: &[&[u8]]) -> Result<Vec<String>> {
    tcpdump(frames, &["-n", "-t", "-q"])
}

fn tcpdump(frames: &[&[u8]], options: &[&str]) -> Result<Vec<String>> {
    // Labs run side by side in PID namespaces of their own, so a name made of the process ID would not be unique.
    let file = NamedTempFile::with_suffix(".pcap").context("cannot make a temporary file")?;
    write(file.as_file(), frames)?;
    let text = Invocation::new("tcpdump")
        .args(options.iter().copied())
        .arg("-r")
        .arg(file.path().display().to_string())
        .run()?;
    // What tcpdump adds on lines of their own, it indents.
    let lines = text.lines().filter(|line| !line.starts_with(char::is_whitespace));
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    ensure!(
        lines.len() == frames.len(),
        "tcpdump explains {} of {} frames",
        lines.len(),
        frames.len()
    );
    Ok(lines)
}

fn write(file: &File, frames: &[&[u8]]) -> Result {
    let header = PcapHeader {
        version_major: 2,
        version_minor: 4,
        ts_correction: 0,
        ts_accuracy: 0,
        snaplen: SNAPLEN,
        datalink: DataLink::ETHERNET,
        ts_resolution: TsResolution::MicroSecond,
        endianness: Endianness::native(),
    };
    let mut writer = PcapWriter::with_header(file, header)?;
    for bytes in frames {
        let length = u32::try_from(bytes.len())?;
        writer.write_packet(&PcapPacket::new(Duration::ZERO, length, bytes))?;
    }
    Ok(())
}
