//! The values of fields: numbers, addresses and flags, with masks.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::model::OfPort;

/// How a field's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Decimal,
    Hex,
    Mac,
    Ipv4,
    Ipv6,
    Port,
    /// A port of OpenFlow 1.0, whose reserved numbers are 0xff00 and up.
    Port16,
    CtState,
    TcpFlags,
    TunnelFlags,
    Fragment,
    PacketType,
}

/// Bits 0 and up of `ct_state` (OVS `CS_*`).
const CT_STATE: &[&str] = &["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
/// Bits 0 and up of `tcp_flags` (RFC 9293 and, for ns, RFC 3540).
const TCP_FLAGS: &[&str] = &["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"];
/// Bits 0 and up of `tun_flags`.
const TUNNEL_FLAGS: &[&str] = &["oam"];
/// Value and mask of each `ip_frag` (OVS `FLOW_NW_FRAG_*`): bit 0 any fragment, bit 1 a later one.
const FRAGMENTS: &[(u128, u128, &str)] =
    &[(0, 3, "no"), (1, 1, "yes"), (1, 3, "first"), (3, 3, "later"), (0, 2, "not_later")];

/// A value with its mask, as `ovs-ofctl` writes it.
pub(super) struct Value {
    pub(super) format: Format,
    /// Bits of the field.
    pub(super) bits: u32,
    pub(super) value: u128,
    pub(super) mask: Option<u128>,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, mask, .. } = *self;
        match self.format {
            Format::Decimal if mask.is_none() => value.fmt(f),
            Format::Decimal | Format::Hex => self.masked(f, |f, number| write!(f, "{number:#x}")),
            Format::Mac => self.masked(f, mac),
            Format::Ipv4 => self.address(f, |f, number| {
                Ipv4Addr::from((number & u128::from(u32::MAX)) as u32).fmt(f)
            }),
            Format::Ipv6 => self.address(f, |f, number| Ipv6Addr::from(number).fmt(f)),
            Format::Port if mask.is_none() => OfPort((value & u128::from(u32::MAX)) as u32).fmt(f),
            Format::Port16 if mask.is_none() => {
                let reserved = if value >= 0xff00 { 0xffff_0000 } else { 0 };
                OfPort(reserved | (value & 0xffff) as u32).fmt(f)
            }
            Format::Port | Format::Port16 => self.masked(f, |f, number| write!(f, "{number:#x}")),
            Format::CtState => self.flags(f, CT_STATE),
            Format::TcpFlags => self.flags(f, TCP_FLAGS),
            Format::TunnelFlags => self.flags(f, TUNNEL_FLAGS),
            Format::Fragment => {
                let pair = (value & 3, mask.map_or(3, |mask| mask & 3));
                match FRAGMENTS.iter().find(|(value, mask, _)| (*value, *mask) == pair) {
                    Some((.., name)) => f.write_str(name),
                    None => self.masked(f, |f, number| write!(f, "{number:#x}")),
                }
            }
            Format::PacketType => write!(f, "({},{:#x})", value >> 16, value & 0xffff),
        }
    }
}

impl Value {
    fn masked(
        &self,
        f: &mut fmt::Formatter<'_>,
        number: impl Fn(&mut fmt::Formatter<'_>, u128) -> fmt::Result,
    ) -> fmt::Result {
        number(f, self.value)?;
        self.mask.map_or(Ok(()), |mask| {
            f.write_str("/")?;
            number(f, mask)
        })
    }

    /// With the length of the prefix for a mask, if it is one.
    fn address(
        &self,
        f: &mut fmt::Formatter<'_>,
        number: impl Fn(&mut fmt::Formatter<'_>, u128) -> fmt::Result,
    ) -> fmt::Result {
        if let Some(mask) = self.mask {
            let prefix = (mask << (128 - self.bits)).leading_ones();
            if prefix == mask.count_ones() {
                number(f, self.value)?;
                return write!(f, "/{prefix}");
            }
        }
        self.masked(f, number)
    }

    /// `+` before what is set and `-` before what isn't; as numbers if it has bits without a name or no mask.
    fn flags(&self, f: &mut fmt::Formatter<'_>, names: &[&str]) -> fmt::Result {
        let known = (1 << names.len()) - 1;
        match self.mask {
            Some(mask) if mask != 0 && mask & !known == 0 && self.value & !mask == 0 => {
                for (bit, name) in names.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1)
                {
                    write!(f, "{}{name}", if self.value >> bit & 1 == 1 { '+' } else { '-' })?;
                }
                Ok(())
            }
            _ => self.masked(f, |f, number| write!(f, "{number:#x}")),
        }
    }
}

fn mac(f: &mut fmt::Formatter<'_>, number: u128) -> fmt::Result {
    for shift in (0..6).rev() {
        let separator = if shift == 5 { "" } else { ":" };
        write!(f, "{separator}{:02x}", number >> (8 * shift) & 0xff)?;
    }
    Ok(())
}
