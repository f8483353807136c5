//! Keeps the node's IPv4, IPv6 and ARP from whatever comes in by the mirror NIC, by a filter of nftables.
//!
//! Copies are frames that Pods made. On a NIC with IPv6 the kernel takes a router advertisement among them for one to the
//! node, which gets a default route, an address and a neighbour from it. No netlink request turns that off: `accept_ra` and
//! `disable_ipv6` are sysctls, and a container has `/proc/sys` read-only. An interface without addresses and with
//! `IFF_NOARP` is no help, and neither is an address generation mode.
//!
//! The filter stands at the first hook of each protocol (`ip_rcv()`, `ipv6_rcv()`, `arp_rcv()` of the kernel). By then all
//! packet sockets, those for one protocol too, tc filters, XDP programs and devices on top of the NIC have had the frame:
//! only the node's own protocols are kept from it. It names the NIC by its name, so it stands before there is a NIC, and
//! holds for one that is made anew. Where the NIC is one end of a pair whose other end is a link of the node too, copies come in
//! by that one, so it is named as well.
//!
//! ```text
//! table ip6 ofmirror_mirror0 {
//!     chain in { type filter hook prerouting priority -450; iifname "mirror0" drop }
//! }
//! table arp ofmirror_mirror0 {
//!     chain in { type filter hook input priority -450; iifname "mirror0" drop }
//! }
//! ```
//!
//! A filter costs each packet that the node itself receives by that protocol, tunnels' among them: 100 to 200 ns where 3 µs are what
//! it takes to send and receive a datagram by loopback (6.18, 2 cores, December 2026). A frame gives nobody a route, an
//! address or a neighbour by IPv4 without ARP, so the one for IPv4 is there only while copies get to the host.

mod nfnetlink;
mod ruleset;
mod tables;

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use nfnetlink::Socket;
use ruleset::{Family, Ruleset};
pub use tables::{Filter, filters};

/// How long the kernel is left alone after it refused: it may look for a module each time.
const PAUSE: Duration = Duration::from_secs(60);

/// When the kernel refused last, and by which error number.
static REFUSED: Mutex<Option<(Instant, Option<i32>)>> = Mutex::new(None);

/// What of IPv4 is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4 {
    /// Nothing, as nothing gets there.
    Nothing,
    /// Redirects and all else of ICMP; the rest is for the node, as an administrator has asked for.
    Icmp,
    /// Everything.
    Everything,
}

/// The filter of one NIC: all that comes in by it as IPv6 or ARP is dropped, and what of IPv4 is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shield {
    nic: String,
    /// The other end of the NIC, if that is a link of the node too: copies come in by it.
    peer: Option<String>,
    ipv4: Ipv4,
}

/// Why the filter can't be had or looked at.
#[derive(Debug, thiserror::Error)]
#[error("can't {attempt} by nftables: {error}{}", remedy(.error))]
pub struct ShieldError {
    attempt: &'static str,
    error: io::Error,
}

impl Shield {
    /// The filter of the NIC called `nic`, and of its other end.
    #[must_use]
    pub fn new(nic: &str, peer: Option<&str>, ipv4: Ipv4) -> Self {
        Self { nic: nic.to_owned(), peer: peer.map(str::to_owned), ipv4 }
    }

    /// Installs what is missing of it, in place of what is left of an earlier one.
    ///
    /// # Errors
    /// The kernel has no nftables or refuses it, or did so less than a minute ago. Where it refuses only the part for ARP, that
    /// is an error for a NIC whose other end is on the node; on the NIC itself ARP is off anyway.
    pub fn hold(&self) -> Result<(), ShieldError> {
        self.hold_ipv6()?;
        self.hold_one(Family::Ipv4)?;
        match self.hold_one(Family::Arp) {
            Err(error) if self.peer.is_none() => {
                tracing::debug!(%error, link = self.nic, "no filter for ARP");
                Ok(())
            }
            result => result,
        }
    }

    /// As [`Self::hold`], of IPv6 alone, by which a frame could give the node routes and addresses.
    ///
    /// # Errors
    /// As [`Self::hold`].
    pub fn hold_ipv6(&self) -> Result<(), ShieldError> {
        self.hold_one(Family::Ipv6)
    }

    fn hold_one(&self, family: Family) -> Result<(), ShieldError> {
        let ruleset = self.ruleset(family);
        if is_whole(&ruleset).unwrap_or(false) {
            return Ok(());
        }
        let failed = |error| ShieldError {
            attempt: "keep what comes in by the mirror NIC from the node's network stack",
            error,
        };
        let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, errno)) = refused.filter(|(since, _)| since.elapsed() < PAUSE) {
            let past = || io::Error::other("refused less than a minute ago");
            return Err(failed(errno.map_or_else(past, io::Error::from_raw_os_error)));
        }
        let raised = Socket::open().and_then(|socket| socket.commit(&ruleset.install()));
        let raised = match raised {
            // Where it is not to be there, it needn't be possible either.
            Err(error) if ruleset.is_empty() && is_absent(&error) => Ok(()),
            raised => raised,
        };
        if family != Family::Arp {
            *refused = raised.as_ref().err().map(|error| (Instant::now(), error.raw_os_error()));
        }
        raised.map_err(failed)?;
        let action = if ruleset.is_empty() { "let pass again" } else { "kept from the node" };
        tracing::info!(link = self.nic, ?family, "what comes in is {action} by a filter");
        Ok(())
    }

    /// Whether all of the filter is installed now, but for ARP's part.
    ///
    /// # Errors
    /// The kernel has no nftables or does not tell.
    pub fn stands(&self) -> Result<bool, ShieldError> {
        let failed = |error| ShieldError { attempt: "read the mirror NIC's filter", error };
        for family in [Family::Ipv6, Family::Ipv4] {
            if !is_whole(&self.ruleset(family)).map_err(failed)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the filter; none is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lower(&self) -> Result<(), ShieldError> {
        let failed = |error| ShieldError { attempt: "remove the mirror NIC's filter", error };
        let socket = Socket::open().map_err(failed)?;
        for family in Family::ALL {
            match socket.commit(&self.ruleset(family).remove()) {
                Err(error) if !is_absent(&error) => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn ruleset(&self, family: Family) -> Ruleset<'_> {
        Ruleset { family, nic: &self.nic, peer: self.peer.as_deref(), ipv4: self.ipv4 }
    }
}

fn is_whole(ruleset: &Ruleset<'_>) -> io::Result<bool> {
    Ok(ruleset.is_whole(&Socket::open()?.dump(&ruleset.list())?))
}

/// A number that changes with each change of any filter of this network namespace.
///
/// # Errors
/// The kernel has no nftables.
pub fn generation() -> Result<u32, ShieldError> {
    let failed = |error| ShieldError { attempt: "read the generation of filters", error };
    let socket = Socket::open().map_err(failed)?;
    let answers = socket.dump(&ruleset::get_generation()).map_err(failed)?;
    ruleset::read_generation(&answers)
        .ok_or_else(|| failed(io::Error::other("no usable answer from the kernel")))
}

/// Whether something is not there, or can't be, as the kernel has no such filters.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT)
    )
}

fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => "; this needs CAP_NET_ADMIN in the node's network namespace",
        Some(_) if is_absent(error) => "; this needs a kernel with nf_tables",
        _ => "",
    }
}
