//! Matches: `tcp,in_port=1,reg10=0/0x8000000`.

use std::fmt;

use super::field::name;
use super::raw;
use super::value::{Format, Value};
use crate::model::{Field, Match, MatchField};
use crate::ofp::numbers::field_class::OPENFLOW_BASIC;

const ETH_TYPE: Field = Field { class: OPENFLOW_BASIC, number: 5, width: 2, experimenter: 0 };
const IP_PROTO: Field = Field { class: OPENFLOW_BASIC, number: 10, width: 1, experimenter: 0 };

/// Words for an Ethernet type and, if any, an IP protocol (ovs-fields(7)).
const PROTOCOLS: &[(u128, Option<u128>, &str)] = &[
    (0x0806, None, "arp"),
    (0x0800, None, "ip"),
    (0x0800, Some(1), "icmp"),
    (0x0800, Some(6), "tcp"),
    (0x0800, Some(17), "udp"),
    (0x0800, Some(132), "sctp"),
    (0x86dd, None, "ipv6"),
    (0x86dd, Some(58), "icmp6"),
    (0x86dd, Some(6), "tcp6"),
    (0x86dd, Some(17), "udp6"),
    (0x86dd, Some(132), "sctp6"),
];

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ethernet = self.exact(ETH_TYPE);
        let ip = self.exact(IP_PROTO);
        let word = |ip| {
            let known = PROTOCOLS.iter().find(|(e, i, _)| Some(*e) == ethernet && *i == ip);
            known.map(|(.., word)| *word)
        };
        let both = ip.and_then(|ip| word(Some(ip)));
        let mut separator = "";
        if let Some(word) = both.or_else(|| word(None)) {
            f.write_str(word)?;
            separator = ",";
        }
        for field in self.fields() {
            let said = matches!(field, MatchField::Typed { field, mask: None, .. }
                if *field == ETH_TYPE && !separator.is_empty() && word(None).is_some()
                    || *field == IP_PROTO && both.is_some());
            if said {
                continue;
            }
            write!(f, "{separator}{field}")?;
            separator = ",";
        }
        Ok(())
    }
}

/// The value with its mask, apart from the field's name.
pub(super) fn value(field: Field, value: u128, mask: Option<u128>) -> Value {
    let format = name(field).map_or(Format::Hex, |name| name.format);
    Value { format, bits: field.bits(), value, mask }
}

impl fmt::Display for MatchField {
    /// `name=value/mask`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // In a match ovs-ofctl takes the short name for OpenFlow 1.5's field, elsewhere for that of 1.0.
            Self::Typed { field: field @ Field::IN_PORT, value: number, mask } => {
                write!(f, "in_port={}", value(*field, *number, *mask))
            }
            Self::Typed { field, value: number, mask } => {
                write!(f, "{field}={}", value(*field, *number, *mask))
            }
            Self::Raw(whole) => raw(f, "raw_field", whole),
        }
    }
}
