//! Packet sockets on a link, of which the kernel keeps a list.

use std::{fs, io};

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
    /// Its columns are others than those of Linux up to 6.18.
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
fn count(table: &str, index: u32) -> Option<Listeners> {
    let mut lines = table.lines();
    let columns = ["sk", "RefCnt", "Type", "Proto", "Iface", "R"];
    lines.next()?.split_whitespace().take(columns.len()).eq(columns).then_some(())?;
    let mut listeners = Listeners::NOBODY;
    for line in lines {
        let mut columns = line.split_whitespace().skip(3);
        let protocol = u16::from_str_radix(columns.next()?, 16).ok()?;
        let interface: u32 = columns.next()?.parse().ok()?;
        // A socket does not run before it has a protocol, and any more when its link is down or gone.
        let runs = match columns.next()? {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        let every_packet = i32::from(protocol) == libc::ETH_P_ALL;
        if runs && (interface == index || (interface == 0 && every_packet)) {
            listeners.number += 1;
            listeners.by_protocol |= !every_packet;
        }
    }
    Some(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sockets as the kernel lists them: protocol, interface, whether it runs.
    fn table(sockets: &[(&str, u32, u8)]) -> String {
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
    fn number(sockets: &[(&str, u32, u8)]) -> Option<usize> {
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
        let table = table(&[("0003", 7, 1)]);
        for (what, by) in [("0003", "zzzz"), (" 7 ", " x "), (" 1 0 ", " 2 0 ")] {
            assert_eq!(count(&table.replace(what, by), 7), None, "{what:?}");
        }
    }

    #[test]
    fn the_table_of_this_kernel_is_understood() {
        assert!(listeners(u32::MAX).is_ok());
    }
}
