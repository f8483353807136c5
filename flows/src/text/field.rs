//! The names of fields, and how their values are written (OVS `include/openvswitch/meta-flow.h`).

use std::fmt;

use super::value::Format;
use crate::model::Field;
use crate::ofp::numbers::experimenter::{NICIRA, ONF};
use crate::ofp::numbers::field_class::{EXPERIMENTER, NXM_0, NXM_1, OPENFLOW_BASIC, PACKET_REGS};

/// What `ovs-ofctl` calls a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: &'static str,
    /// Of several registers with this name, which one.
    pub(super) index: Option<u8>,
    pub(super) format: Format,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)?;
        self.index.map_or(Ok(()), |index| index.fmt(f))
    }
}

type Row = (u8, u8, &'static str, Format);

/// Number, bytes, name and format of class [`OPENFLOW_BASIC`].
const BASIC: &[Row] = &[
    (0, 4, "in_port_oxm", Format::Port),
    (2, 8, "metadata", Format::Hex),
    (3, 6, "eth_dst", Format::Mac),
    (4, 6, "eth_src", Format::Mac),
    (5, 2, "eth_type", Format::Hex),
    (6, 2, "vlan_vid", Format::Hex),
    (7, 1, "vlan_pcp", Format::Decimal),
    (8, 1, "ip_dscp", Format::Decimal),
    (9, 1, "nw_ecn", Format::Decimal),
    (10, 1, "nw_proto", Format::Decimal),
    (11, 4, "ip_src", Format::Ipv4),
    (12, 4, "ip_dst", Format::Ipv4),
    (13, 2, "tcp_src", Format::Decimal),
    (14, 2, "tcp_dst", Format::Decimal),
    (15, 2, "udp_src", Format::Decimal),
    (16, 2, "udp_dst", Format::Decimal),
    (17, 2, "sctp_src", Format::Decimal),
    (18, 2, "sctp_dst", Format::Decimal),
    (19, 1, "icmp_type", Format::Decimal),
    (20, 1, "icmp_code", Format::Decimal),
    (21, 2, "arp_op", Format::Decimal),
    (22, 4, "arp_spa", Format::Ipv4),
    (23, 4, "arp_tpa", Format::Ipv4),
    (24, 6, "arp_sha", Format::Mac),
    (25, 6, "arp_tha", Format::Mac),
    (26, 16, "ipv6_src", Format::Ipv6),
    (27, 16, "ipv6_dst", Format::Ipv6),
    (28, 4, "ipv6_label", Format::Hex),
    (29, 1, "icmpv6_type", Format::Decimal),
    (30, 1, "icmpv6_code", Format::Decimal),
    (31, 16, "nd_target", Format::Ipv6),
    (32, 6, "nd_sll", Format::Mac),
    (33, 6, "nd_tll", Format::Mac),
    (34, 4, "mpls_label", Format::Decimal),
    (35, 1, "mpls_tc", Format::Decimal),
    (36, 1, "mpls_bos", Format::Decimal),
    (38, 8, "tun_id", Format::Hex),
    (42, 2, "tcp_flags", Format::TcpFlags),
    (43, 4, "actset_output", Format::Port),
    (44, 4, "packet_type", Format::PacketType),
];

/// The same of class [`NXM_0`].
const NICIRA_0: &[Row] = &[
    (0, 2, "in_port", Format::Port16),
    (1, 6, "eth_dst", Format::Mac),
    (2, 6, "eth_src", Format::Mac),
    (3, 2, "eth_type", Format::Hex),
    (4, 2, "vlan_tci", Format::Hex),
    (5, 1, "nw_tos", Format::Decimal),
    (6, 1, "nw_proto", Format::Decimal),
    (7, 4, "ip_src", Format::Ipv4),
    (8, 4, "ip_dst", Format::Ipv4),
    (9, 2, "tcp_src", Format::Decimal),
    (10, 2, "tcp_dst", Format::Decimal),
    (11, 2, "udp_src", Format::Decimal),
    (12, 2, "udp_dst", Format::Decimal),
    (13, 1, "icmp_type", Format::Decimal),
    (14, 1, "icmp_code", Format::Decimal),
    (15, 2, "arp_op", Format::Decimal),
    (16, 4, "arp_spa", Format::Ipv4),
    (17, 4, "arp_tpa", Format::Ipv4),
];

/// The same of class [`NXM_1`], but for its registers.
const NICIRA_1: &[Row] = &[
    (16, 8, "tun_id", Format::Hex),
    (17, 6, "arp_sha", Format::Mac),
    (18, 6, "arp_tha", Format::Mac),
    (19, 16, "ipv6_src", Format::Ipv6),
    (20, 16, "ipv6_dst", Format::Ipv6),
    (21, 1, "icmpv6_type", Format::Decimal),
    (22, 1, "icmpv6_code", Format::Decimal),
    (23, 16, "nd_target", Format::Ipv6),
    (24, 6, "nd_sll", Format::Mac),
    (25, 6, "nd_tll", Format::Mac),
    (26, 1, "ip_frag", Format::Fragment),
    (27, 4, "ipv6_label", Format::Hex),
    (28, 1, "nw_ecn", Format::Decimal),
    (29, 1, "nw_ttl", Format::Decimal),
    (30, 1, "mpls_ttl", Format::Decimal),
    (31, 4, "tun_src", Format::Ipv4),
    (32, 4, "tun_dst", Format::Ipv4),
    (33, 4, "pkt_mark", Format::Hex),
    (34, 2, "tcp_flags", Format::TcpFlags),
    (35, 4, "dp_hash", Format::Hex),
    (36, 4, "recirc_id", Format::Decimal),
    (37, 4, "conj_id", Format::Decimal),
    (38, 2, "tun_gbp_id", Format::Decimal),
    (39, 1, "tun_gbp_flags", Format::Hex),
    (104, 2, "tun_flags", Format::TunnelFlags),
    (105, 4, "ct_state", Format::CtState),
    (106, 2, "ct_zone", Format::Hex),
    (107, 4, "ct_mark", Format::Hex),
    (108, 16, "ct_label", Format::Hex),
    (109, 16, "tun_ipv6_src", Format::Ipv6),
    (110, 16, "tun_ipv6_dst", Format::Ipv6),
    (119, 1, "ct_nw_proto", Format::Decimal),
    (120, 4, "ct_nw_src", Format::Ipv4),
    (121, 4, "ct_nw_dst", Format::Ipv4),
    (122, 16, "ct_ipv6_src", Format::Ipv6),
    (123, 16, "ct_ipv6_dst", Format::Ipv6),
    (124, 2, "ct_tp_src", Format::Decimal),
    (125, 2, "ct_tp_dst", Format::Decimal),
];

/// The same of class [`EXPERIMENTER`], of the ONF.
const ONF_FIELDS: &[Row] =
    &[(42, 2, "tcp_flags", Format::TcpFlags), (43, 4, "actset_output", Format::Port)];

/// The name of `field`, if there is one here.
pub(super) fn name(field: Field) -> Option<Name> {
    let register = |text, index| Some(Name { text, index: Some(index), format: Format::Hex });
    let rows = match (field.class, field.experimenter, field.number, field.width) {
        (NXM_1, 0, number @ 0..16, 4) => return register("reg", number),
        (EXPERIMENTER, NICIRA, number @ 17..33, 4) => return register("reg", number - 1),
        (PACKET_REGS, 0, number @ 0..16, 8) => return register("xreg", number),
        (NXM_1, 0, number @ 111..115, 16) => return register("xxreg", number - 111),
        (EXPERIMENTER, NICIRA, number @ 33..37, 16) => return register("xxreg", number - 29),
        (OPENFLOW_BASIC, 0, ..) => BASIC,
        (NXM_0, 0, ..) => NICIRA_0,
        (NXM_1, 0, ..) => NICIRA_1,
        (EXPERIMENTER, ONF, ..) => ONF_FIELDS,
        _ => return None,
    };
    rows.iter()
        .find(|(number, width, ..)| (*number, *width) == (field.number, field.width))
        .map(|(_, _, text, format)| Name { text, index: None, format: *format })
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = name(*self) {
            return name.fmt(f);
        }
        write!(f, "field(class={:#06x},number={},bytes={}", self.class, self.number, self.width)?;
        if self.experimenter != 0 {
            write!(f, ",experimenter={:#x}", self.experimenter)?;
        }
        f.write_str(")")
    }
}

/// What `ovs-ofctl` itself calls a field of which it names bits; it reads the shorter name there too.
struct NameBeforeBits(Field);

impl fmt::Display for NameBeforeBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.0.class, self.0.number) {
            (Field::METADATA, ..) => f.write_str("OXM_OF_METADATA"),
            (Field::CT_MARK, ..) => f.write_str("NXM_NX_CT_MARK"),
            (field, NXM_1, number) if field == Field::reg(number & 0xf) => {
                write!(f, "NXM_NX_REG{number}")
            }
            (field, ..) => field.fmt(f),
        }
    }
}

/// Bits `offset..offset + bits` of a field, as `NXM_NX_REG10[26..27]`.
pub(super) struct Bits {
    pub(super) field: Field,
    pub(super) offset: u16,
    pub(super) bits: u16,
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, offset, bits } = *self;
        let name = NameBeforeBits(field);
        match bits {
            _ if offset == 0 && u32::from(bits) == field.bits() => write!(f, "{name}[]"),
            1 => write!(f, "{name}[{offset}]"),
            _ => {
                let last = (u32::from(offset) + u32::from(bits)).saturating_sub(1);
                write!(f, "{name}[{offset}..{last}]")
            }
        }
    }
}
