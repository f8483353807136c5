//! What becomes of links from one moment to the next: the kernel's own announcements, so that a change counts that is undone at
//! once.

use std::{
    collections::BTreeMap,
    fmt,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv,
        setsockopt, socket, sockopt::RcvBufForce,
    },
};
use serde_json::Value;

use crate::{Namespace, Result};

/// RTMGRP_LINK of linux/rtnetlink.h: announcements of links.
const LINKS: u32 = 1;
/// RTM_NEWLINK and RTM_DELLINK.
const NEW_LINK: u16 = 16;
const DELETED_LINK: u16 = 17;
/// Lengths of `struct nlmsghdr` and `struct ifinfomsg`, and where the latter has the index and the flags.
const HEADER: usize = 16;
const IFINFO: usize = 16;
const INDEX: usize = HEADER + 4;
const FLAGS: usize = HEADER + 8;
/// AF_UNSPEC.
const UNSPECIFIED: u8 = 0;
/// IFLA_IFNAME and IFLA_MTU.
const NAME: u16 = 3;
const MTU: u16 = 4;
/// IFF_UP and IFF_NOARP.
const UP: u32 = 0x1;
const NO_ARP: u32 = 0x80;
/// Room for the announcements of a busy minute, in bytes.
const BUFFER: usize = 8 << 20;

/// What others rely on of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape {
    name: String,
    mtu: u32,
    flags: u32,
}

/// A watch over the links that a namespace has when it begins.
#[derive(Debug)]
pub struct LinkWatch {
    socket: OwnedFd,
    /// By index.
    links: BTreeMap<u32, Shape>,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, mtu, flags } = self;
        let up = if flags & UP == 0 { "down" } else { "up" };
        let arp = if flags & NO_ARP == 0 { "" } else { ", without ARP" };
        write!(f, "{name} ({up}, MTU {mtu}{arp})")
    }
}

impl Namespace {
    /// Watches the links that there are.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub fn watch_links(&self) -> Result<LinkWatch> {
        let socket = self.inside(|| {
            let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
            let socket = socket(AddressFamily::Netlink, kind, flags, SockProtocol::NetlinkRoute)?;
            setsockopt(&socket, RcvBufForce, &BUFFER)?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, LINKS))?;
            Ok(socket)
        })?;
        let links: Vec<Value> = serde_json::from_str(&self.ip(["-json", "link", "show"])?)?;
        let shape = |link: &Value| {
            let number = |key: &str| link[key].as_u64().and_then(|number| number.try_into().ok());
            let has = |flag: &str| {
                link["flags"].as_array().is_some_and(|flags| flags.iter().any(|has| has == flag))
            };
            let flags = [("UP", UP), ("NOARP", NO_ARP)];
            let flags = flags.iter().filter(|(flag, _)| has(flag)).map(|(_, bit)| bit).sum();
            let name = link["ifname"].as_str()?.to_owned();
            Some((number("ifindex")?, Shape { name, mtu: number("mtu")?, flags }))
        };
        let links = links.iter().map(|link| shape(link).context("a link without index or name"));
        Ok(LinkWatch { socket, links: links.collect::<Result<_>>()? })
    }
}

impl LinkWatch {
    /// What was changed of the links meanwhile, in words, and which links are new.
    ///
    /// # Errors
    /// There were more announcements than there is room for.
    pub fn changes(&self) -> Result<(Vec<String>, Vec<String>)> {
        let (mut changes, mut new) = (Vec::new(), Vec::new());
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EAGAIN) => break,
                other => other.context("the kernel's announcements of links")?,
            };
            let mut rest = &buffer[..length];
            while let Some((message, after)) = cut(rest, message_length(rest)) {
                self.look_at(message, &mut changes, &mut new);
                rest = after;
            }
        }
        for list in [&mut changes, &mut new] {
            list.sort_unstable();
            list.dedup();
        }
        Ok((changes, new))
    }

    fn look_at(&self, message: &[u8], changes: &mut Vec<String>, new: &mut Vec<String>) {
        let Some((kind, index, shape)) = parse(message) else { return };
        match (self.links.get(&index), kind) {
            (Some(was), DELETED_LINK) => changes.push(format!("{} was deleted", was.name)),
            (Some(was), _) if *was != shape => changes.push(format!("{was} became {shape}")),
            (None, NEW_LINK) => new.push(shape.name),
            _ => {}
        }
    }
}

/// The first message or attribute, which says how long it is, and what follows: each is padded to a multiple of 4 bytes.
fn cut(bytes: &[u8], length: Option<usize>) -> Option<(&[u8], &[u8])> {
    let length = length.filter(|length| *length > 0)?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((bytes.get(..length)?, rest))
}

fn message_length(bytes: &[u8]) -> Option<usize> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize)
}

fn attribute_length(bytes: &[u8]) -> Option<usize> {
    Some(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?).into())
}

fn parse(message: &[u8]) -> Option<(u16, u32, Shape)> {
    let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?));
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    // A bridge announces what becomes of its ports in messages of the same kinds, in another family.
    if ![NEW_LINK, DELETED_LINK].contains(&kind) || *message.get(HEADER)? != UNSPECIFIED {
        return None;
    }
    let (index, flags) = (number(message.get(INDEX..)?)?, number(message.get(FLAGS..)?)?);
    let (mut name, mut mtu) = (None, None);
    let mut rest = message.get(HEADER + IFINFO..)?;
    while let Some((attribute, after)) = cut(rest, attribute_length(rest)) {
        let kind = u16::from_ne_bytes(attribute.get(2..4)?.try_into().ok()?);
        match kind {
            NAME => name = Some(String::from_utf8_lossy(&attribute[4..]).into_owned()),
            MTU => mtu = number(&attribute[4..]),
            _ => {}
        }
        rest = after;
    }
    let name = name?.trim_end_matches('\0').to_owned();
    Some((kind, index, Shape { name, mtu: mtu?, flags: flags & (UP | NO_ARP) }))
}
