//! What a match looks at and an action sets: OXM and NXM fields.
//!
//! A [`Field`] is the number that names it on the wire, whether this crate knows the field or not, so what is unknown
//! is kept as it came.

/// The name of a packet or metadata field: an OXM header without its mask bit (OpenFlow 1.5.1, 7.2.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    /// OXM class: 0x8000 OpenFlow basic, 0x8001 packet registers, 0x0000 and 0x0001 Nicira, 0xffff experimenter.
    pub class: u16,
    /// Number within the class, 0 to 127.
    pub number: u8,
    /// Bytes of the value, without mask and experimenter number; a [`MatchField::Typed`] has at most 16.
    pub width: u8,
    /// Experimenter number of class 0xffff, else 0.
    pub experimenter: u32,
}

const fn basic(number: u8, width: u8) -> Field {
    Field { class: 0x8000, number, width, experimenter: 0 }
}

const fn nicira(number: u8, width: u8) -> Field {
    Field { class: 0x0001, number, width, experimenter: 0 }
}

impl Field {
    /// `OXM_OF_IN_PORT`: the port that the packet came in by, 32 bits.
    pub const IN_PORT: Self = basic(0, 4);
    /// `OXM_OF_METADATA`: OVN's logical datapath, 64 bits.
    pub const METADATA: Self = basic(2, 8);
    /// `OXM_OF_VLAN_VID`: the VLAN tag's number, with `OFPVID_PRESENT`, 13 bits in 16.
    pub const VLAN_VID: Self = basic(6, 2);
    /// `OXM_OF_IP_DSCP`: the differentiated services code point of IPv4 and IPv6, 6 bits in 8.
    pub const IP_DSCP: Self = basic(8, 1);
    /// `NXM_NX_CT_STATE`: connection tracking state bits, 32 bits.
    pub const CT_STATE: Self = nicira(105, 4);
    /// `NXM_NX_CT_MARK`: mark of the tracked connection, 32 bits.
    pub const CT_MARK: Self = nicira(107, 4);

    /// `NXM_NX_REGn`: a 32-bit register, 0 to 15; from OVS 3.7 on also `NXOXM_ET_REGn`, 16 to 31.
    #[must_use]
    pub const fn reg(n: u8) -> Self {
        match n {
            0..16 => nicira(n, 4),
            _ => Self { class: 0xffff, number: n + 1, width: 4, experimenter: 0x2320 },
        }
    }

    /// The registers that the field consists of, first and last; the first is uppermost.
    ///
    /// `xreg<n>` (`OXM_OF_PKT_REGn`) is two of them, `xxreg<n>` (`NXM_NX_XXREGn`) four (ovs-fields(7)).
    #[must_use]
    pub const fn registers(self) -> Option<(u8, u8)> {
        match (self.class, self.experimenter, self.number, self.width) {
            (0x0001, 0, n @ 0..16, 4) => Some((n, n)),
            (0xffff, 0x2320, n @ 17..33, 4) => Some((n - 1, n - 1)),
            (0x8001, 0, n @ 0..16, 8) => Some((n * 2, n * 2 + 1)),
            (0x0001, 0, n @ 111..115, 16) => Some(((n - 111) * 4, (n - 111) * 4 + 3)),
            (0xffff, 0x2320, n @ 33..37, 16) => Some(((n - 29) * 4, (n - 29) * 4 + 3)),
            _ => None,
        }
    }

    /// Bits of the value.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.width as u32 * 8
    }

    /// The value that has all bits of the field set.
    #[must_use]
    pub const fn all_ones(self) -> u128 {
        match self.bits() {
            0 => 0,
            bits if bits >= 128 => u128::MAX,
            bits => (1 << bits) - 1,
        }
    }
}

/// A field with the value to match or to set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MatchField {
    /// A field of at most 128 bits, known or not.
    Typed {
        /// Which field.
        field: Field,
        /// Its value, right-aligned; bits outside the mask are zero.
        value: u128,
        /// Which bits count; `None` is all of them.
        mask: Option<u128>,
    },
    /// A wider field (tunnel metadata): its whole TLV as it came.
    Raw(Box<[u8]>),
}

impl MatchField {
    /// All bits of `field` are those of `value`.
    #[must_use]
    pub const fn exact(field: Field, value: u128) -> Self {
        Self::Typed { field, value, mask: None }
    }

    /// The bits of `field` that are set in `mask` are those of `value`.
    #[must_use]
    pub const fn masked(field: Field, value: u128, mask: u128) -> Self {
        Self::Typed { field, value: value & mask, mask: Some(mask) }
    }
}
