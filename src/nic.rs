//! The mirror NIC as a Linux link: what it is, whether it may be taken, and how it is kept quiet.
//!
//! In go the link's name and the MTU it must carry; out come a [`Link`] as the kernel describes it,
//! the [`Change`]s that silence it, and a signal to look again. Everything is level-triggered:
//! [`observe()`], [`quiet()`], [`apply()`], then wait for [`Watch::changed`] and begin anew.
//! Whether the link is a port of the bridge is the business of OVSDB, not of this module.
//!
//! Each call opens a netlink socket of its own in the caller's network namespace, so there is no
//! connection to lose or to restore.

mod apply;
mod attach;
mod drain;
mod elsewhere;
mod error;
mod link;
mod listeners;
mod observe;
mod outlets;
mod quiet;
mod reach;
mod shield;
mod watch;

pub use apply::apply;
pub use attach::{Unattachable, check_attachable};
pub use drain::{FoundDrain, drains, leave_to_host, remove_drain, take_from_host};
pub use elsewhere::{Absence, find_elsewhere};
pub use error::NicError;
pub use link::{DefaultRoute, Drain, Ipv6, Link, Master};
pub use listeners::{Listeners, Uncountable, listeners};
pub use observe::observe;
pub use quiet::{Change, quiet};
pub use reach::Reach;
pub use shield::{Filter, Ipv4, Shield, ShieldError, filters, generation};
pub use watch::{Watch, watch};
