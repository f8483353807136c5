//! Packet sockets on a link, of which the kernel keeps a list.

use std::{fs, io, sync::Once};

/// The list, for the network namespace of the process.
const TABLE: &str = "/proc/net/packet";

/// Packet sockets that get what comes in by a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listeners {
    /// How many.
    pub number: usize,
    /// Whether any is for a single protocol, so that it gets nothing that is kept from the host's network stack.
    pub by_protocol: bool,
}

impl Listeners {
    /// None at all.
    pub const NOBODY: Self = Self { number: 0, by_protocol: false };
}

/// Why they can't be counted.
#[derive(Debug, thiserror::Error)]
pub enum Uncountable {
    /// The kernel, or a container, does not show the list.
    #[error("can't read {TABLE}: {0}")]
    Unreadable(#[from] io::Error),
    /// Its heading names other columns than that of Linux up to 6.18.
    #[error("{TABLE} is not in a form that is known")]
    Strange,
}

/// Those who listen on link `index` now.
///
/// # Errors
/// The list can't be read or understood.
pub fn listeners(index: u32) -> Result<Listeners, Uncountable> {
    count(&fs::read_to_string(TABLE)?, index).ok_or(Uncountable::Strange)
}

/// The sockets of the table that get the packets of link `index`. Its columns, by `packet_seq_show()` of the kernel's
/// net/packet/af_packet.c, are:
///
/// ```text
/// sk               RefCnt Type Proto  Iface R Rmem   User   Inode
/// 0000000000000000 3      3    0003   7     1 0      0      4242
/// ```
///
/// Any process of the node may add lines, so a line that is not understood is skipped, and hides no other.
fn count(table: &str, index: u32) -> Option<Listeners> {
    let mut lines = table.lines();
    let columns = ["sk", "RefCnt", "Type", "Proto", "Iface", "R"];
    lines.next()?.split_whitespace().take(columns.len()).eq(columns).then_some(())?;
    let mut listeners = Listeners::NOBODY;
    let mut strange = None;
    for line in lines {
        let Some(socket) = Socket::parse(line) else {
            strange.get_or_insert(line);
            continue;
        };
        if socket.gets_packets_of(index) {
            listeners.number += 1;
            listeners.by_protocol |= !socket.gets_every_packet();
        }
    }
    if let Some(line) = strange {
        REPORTED.call_once(|| {
            tracing::warn!(line, "skipping lines of {TABLE} that are not in a form that is known");
        });
    }
    Some(listeners)
}

/// Whether a line that is not understood has been reported: the table is read ten times a second.
static REPORTED: Once = Once::new();

/// A line of the table, as far as it matters.
struct Socket {
    protocol: u16,
    /// The number of its link; 0 stands for all links, and -1 for a link that has gone.
    interface: i64,
    /// A socket does not run before it has a protocol, and any more when its link is down or gone.
    runs: bool,
}

impl Socket {
    fn parse(line: &str) -> Option<Self> {
        let mut columns = line.split_whitespace().skip(3);
        Some(Self {
            protocol: u16::from_str_radix(columns.next()?, 16).ok()?,
            interface: columns.next()?.parse().ok()?,
            runs: match columns.next()? {
                "0" => false,
                "1" => true,
                _ => return None,
            },
        })
    }

    fn gets_every_packet(&self) -> bool {
        i32::from(self.protocol) == libc::ETH_P_ALL
    }

    fn gets_packets_of(&self, index: u32) -> bool {
        let bound = self.interface == i64::from(index);
        self.runs && (bound || (self.interface == 0 && self.gets_every_packet()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sockets as the kernel lists them: protocol, interface, whether it runs.
    fn table(sockets: &[(&str, i32, u8)]) -> String {
        let mut text =
            "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n".to_owned();
        for (protocol, interface, runs) in sockets {
            text.push_str(&format!(
                "0000000000000000 3      3    {protocol}   {interface:<5} {runs} 0      0      4242  \n"
            ));
        }
        text
    }

    /// How many sockets get what is copied to link 7.
    fn number(sockets: &[(&str, i32, u8)]) -> Option<usize> {
        count(&table(sockets), 7).map(|listeners| listeners.number)
    }

    #[test]
    fn whoever_gets_the_copies_is_counted_and_nobody_else() {
        for (listeners, socket, who) in [
            (1, ("0003", 7, 1), "tcpdump -i mirror0"),
            (1, ("0003", 0, 1), "tcpdump -i any"),
            (1, ("0800", 7, 1), "one for IPv4 alone, on the NIC itself"),
            (0, ("0003", 8, 1), "tcpdump on another NIC"),
            (0, ("0003", 70, 1), "and on one whose number begins alike"),
            (0, ("0806", 0, 1), "an ARP daemon on all NICs"),
            (0, ("88cc", 0, 1), "an LLDP daemon on all NICs"),
            (0, ("0000", 7, 0), "tcpdump before it listens"),
            (0, ("0003", 7, 0), "tcpdump on the NIC while that was down"),
        ] {
            assert_eq!(number(&[socket]), Some(listeners), "{who}");
        }
        assert_eq!(number(&[("0003", 7, 1), ("0003", 3, 1), ("0003", 7, 1)]), Some(2));
        assert_eq!(number(&[]), Some(0));
    }

    #[test]
    fn a_socket_whose_nic_has_gone_listens_to_nothing_and_hides_nobody() {
        for gone in [("0003", -1, 0), ("0003", -1, 1), ("0800", -1, 0), ("0003", i32::MIN, 1)] {
            assert_eq!(number(&[gone]), Some(0), "{gone:?}");
            assert_eq!(number(&[gone, ("0003", 7, 1), gone]), Some(1), "{gone:?}");
        }
    }

    #[test]
    fn a_listener_for_one_protocol_is_told_from_those_for_all() {
        let by_protocol =
            |sockets| count(&table(sockets), 7).map(|listeners| listeners.by_protocol);
        assert_eq!(by_protocol(&[("0003", 7, 1), ("0003", 0, 1)]), Some(false));
        assert_eq!(by_protocol(&[("0003", 7, 1), ("0800", 7, 1)]), Some(true));
        assert_eq!(by_protocol(&[("0806", 0, 1), ("0800", 8, 1)]), Some(false), "it is elsewhere");
    }

    #[test]
    fn a_table_that_is_not_understood_is_not_taken_for_an_empty_one() {
        for strange in ["", "sk RefCnt Type\n", "sk RefCnt Type Proto R Iface\n"] {
            assert_eq!(count(strange, 7), None, "{strange:?}");
        }
    }

    #[test]
    fn a_line_that_is_not_understood_hides_no_other_line() {
        let line = table(&[("0003", 7, 1)]).lines().nth(1).unwrap().to_owned();
        for (what, by) in [
            ("0003", "zzzz"),
            ("0003", "10003"),
            (" 7 ", " x "),
            (" 7 ", " 99999999999999999999 "),
            (" 1 0 ", " 2 0 "),
            (" 7 ", "\u{0} "),
            (line.as_str(), ""),
            (line.as_str(), "0000000000000000 3"),
        ] {
            let strange = line.replace(what, by);
            assert_ne!(strange, line, "{what:?}");
            let table = format!("{}{strange}\n{line}\n", table(&[("0003", 7, 1), ("0003", 3, 1)]));
            assert_eq!(count(&table, 7).map(|listeners| listeners.number), Some(2), "{strange:?}");
        }
    }

    #[test]
    fn the_table_of_this_kernel_is_understood() {
        assert!(listeners(u32::MAX).is_ok());
    }
}
