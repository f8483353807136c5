//! What can go wrong between the agent and the kernel.

use std::io;

/// Why a link could not be read, changed or watched.
#[derive(Debug, thiserror::Error)]
pub enum NicError {
    /// No netlink socket was to be had.
    #[error("cannot open a netlink socket: {0}")]
    Open(io::Error),
    /// The kernel refused.
    #[error("{link}: cannot {attempt}: {errno}{}", remedy(errno))]
    Refused {
        /// The link it was about.
        link: String,
        /// What was attempted, as a verb with its object.
        attempt: String,
        /// What the kernel answered.
        errno: io::Error,
    },
    /// A link of ours would have this name.
    #[error("{link}: there is a link of this name already, which is not ofmirror's")]
    Taken {
        /// The link's name.
        link: String,
    },
    /// The kernel's answer made no sense, or none came before the socket closed.
    #[error("{link}: cannot {attempt}: no usable answer from the kernel: {answer}")]
    NoAnswer {
        /// The link it was about.
        link: String,
        /// What was attempted, as a verb with its object.
        attempt: String,
        /// What came instead.
        answer: String,
    },
}

impl NicError {
    /// Joins what rtnetlink reports to what was attempted on which link.
    pub(super) fn new(link: &str, attempt: impl ToString, error: rtnetlink::Error) -> Self {
        let (link, attempt) = (link.to_owned(), attempt.to_string());
        match error {
            rtnetlink::Error::NetlinkError(message) => {
                Self::Refused { link, attempt, errno: message.to_io() }
            }
            other => Self::NoAnswer { link, attempt, answer: other.to_string() },
        }
    }

    /// Whether the kernel can't do it with this link, whoever asks.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        const LIMITS: [i32; 6] =
            [libc::EINVAL, libc::ERANGE, libc::EOPNOTSUPP, libc::EBUSY, libc::EIO, libc::ENOMEM];
        LIMITS.iter().any(|errno| self.is(*errno))
    }

    /// Whether the kernel answered with this errno.
    pub(super) fn is(&self, errno: i32) -> bool {
        matches!(self, Self::Refused { errno: answer, .. } if answer.raw_os_error() == Some(errno))
    }
}

fn remedy(errno: &io::Error) -> &'static str {
    match errno.raw_os_error() {
        Some(libc::EPERM) => "; this needs CAP_NET_ADMIN in the node's network namespace",
        Some(libc::EINVAL | libc::ERANGE) => "; the link does not support this value",
        _ => "",
    }
}
