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
//! table inet ofmirror_mirror0 {
//!     chain in { type filter hook prerouting priority -450; iifname "mirror0" drop }
//! }
//! table arp ofmirror_mirror0 {
//!     chain in { type filter hook input priority -450; iifname "mirror0" drop }
//! }
//! ```

mod nfnetlink;
mod ruleset;

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use nfnetlink::Socket;
use ruleset::{Family, Ruleset};

/// What [`Shield::raise`] attempts.
const RAISE: &str = "keep what comes in by the mirror NIC from the node's network stack";
/// How long the kernel is left alone after it refused: it may look for a module each time.
const PAUSE: Duration = Duration::from_secs(60);

/// When the kernel refused last, and by which error number.
static REFUSED: Mutex<Option<(Instant, Option<i32>)>> = Mutex::new(None);

/// The filter of one NIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shield {
    nic: String,
    /// The other end of the NIC, if that is a link of the node too: copies come in by it.
    peer: Option<String>,
    /// Whether IPv4 gets what is no ICMP, as an administrator has asked for.
    ipv4_passes: bool,
}

/// Why the filter can't be had or looked at.
#[derive(Debug, thiserror::Error)]
#[error("can't {attempt} by nftables: {error}{}", remedy(.error))]
pub struct ShieldError {
    attempt: &'static str,
    error: io::Error,
}

impl Shield {
    /// The filter of the NIC called `nic`, and of its other end. With `ipv4_passes` it drops IPv6, ARP and ICMP, and leaves the rest of IPv4
    /// to the node.
    #[must_use]
    pub fn new(nic: &str, peer: Option<&str>, ipv4_passes: bool) -> Self {
        Self { nic: nic.to_owned(), peer: peer.map(str::to_owned), ipv4_passes }
    }

    /// Installs the filter unless it is whole.
    ///
    /// # Errors
    /// As [`Self::raise`], or it was refused less than a minute ago.
    pub fn hold(&self) -> Result<(), ShieldError> {
        if self.stands().unwrap_or(false) {
            return Ok(());
        }
        let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, errno)) = refused.filter(|(since, _)| since.elapsed() < PAUSE) {
            let error = errno.map_or_else(
                || io::Error::other("refused less than a minute ago"),
                io::Error::from_raw_os_error,
            );
            return Err(ShieldError { attempt: RAISE, error });
        }
        let raised = self.raise();
        *refused = raised.as_ref().err().map(|why| (Instant::now(), why.error.raw_os_error()));
        raised?;
        tracing::info!(
            link = self.nic,
            "a filter keeps what comes in from the node's network stack"
        );
        Ok(())
    }

    /// Installs the filter, in place of what is left of an earlier one.
    ///
    /// # Errors
    /// The kernel has no nftables or refuses it. Where it refuses only the part for ARP, which the kernel does not
    /// run on a NIC without ARP anyway, there is no error.
    pub fn raise(&self) -> Result<(), ShieldError> {
        let failed = |error| ShieldError { attempt: RAISE, error };
        let socket = Socket::open().map_err(failed)?;
        socket.commit(&self.ruleset(Family::Inet).install()).map_err(failed)?;
        if let Err(error) = socket.commit(&self.ruleset(Family::Arp).install()) {
            tracing::debug!(%error, nic = self.nic, "no filter for ARP");
        }
        Ok(())
    }

    /// Whether all of the filter is installed now.
    ///
    /// # Errors
    /// The kernel has no nftables or does not tell.
    pub fn stands(&self) -> Result<bool, ShieldError> {
        let failed = |error| ShieldError { attempt: "read the mirror NIC's filter", error };
        let ruleset = self.ruleset(Family::Inet);
        let socket = Socket::open().map_err(failed)?;
        let answers = socket.dump(&ruleset.list()).map_err(failed)?;
        Ok(ruleset.is_whole(&answers))
    }

    /// Removes the filter; none is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lower(&self) -> Result<(), ShieldError> {
        let failed = |error| ShieldError { attempt: "remove the mirror NIC's filter", error };
        let socket = Socket::open().map_err(failed)?;
        for family in [Family::Inet, Family::Arp] {
            match socket.commit(&self.ruleset(family).remove()) {
                Err(error) if !is_absent(&error) => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn ruleset(&self, family: Family) -> Ruleset<'_> {
        let (nic, peer) = (self.nic.as_str(), self.peer.as_deref());
        Ruleset { family, nic, peer, ipv4_passes: self.ipv4_passes }
    }
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
