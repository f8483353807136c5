//! Which messages a switch sends by itself: `OFPT_SET_CONFIG` and `OFPT_SET_ASYNC` (OpenFlow 1.5.1, 7.3.2 and 7.3.10).

use bytes::{BufMut, BytesMut};

use super::coding::{DecodeError, Problem, Reader};

/// A kind of asynchronous message: half of an `OFPACPT_*` property type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncEvent(pub u16);

impl AsyncEvent {
    /// `OFPT_PACKET_IN`; reasons are `OFPR_*`.
    pub const PACKET_IN: Self = Self(0);
    /// `OFPT_PORT_STATUS`; reasons are `OFPPR_*`.
    pub const PORT_STATUS: Self = Self(1);
    /// `OFPT_FLOW_REMOVED`; reasons are `OFPRR_*`.
    pub const FLOW_REMOVED: Self = Self(2);
    /// `OFPT_ROLE_STATUS`; reasons are `OFPCRR_*`.
    pub const ROLE_STATUS: Self = Self(3);
    /// `OFPT_TABLE_STATUS`; reasons are `OFPTR_*`.
    pub const TABLE_STATUS: Self = Self(4);
    /// `OFPT_REQUESTFORWARD`; reasons are `OFPRFR_*`.
    pub const REQUEST_FORWARD: Self = Self(5);
}

/// For a controller of which role a mask is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsyncRole {
    /// Secondary (`*_SLAVE`).
    Secondary,
    /// Primary or equal (`*_MASTER`); a connection is equal unless it asked for another role.
    PrimaryOrEqual,
}

/// A property of `OFPT_SET_ASYNC`: one bit for each reason for which the message is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncMask {
    /// Which message.
    pub event: AsyncEvent,
    /// In which role.
    pub role: AsyncRole,
    /// Bit n lets through messages of reason n.
    pub reasons: u32,
}

const PROPERTY_LENGTH: u16 = 8;

impl AsyncMask {
    pub(crate) fn decode_list(mut reader: Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        let mut masks = Vec::new();
        while !reader.is_empty() {
            let kind = reader.u16()?;
            let length = reader.u16()?;
            if length != PROPERTY_LENGTH {
                return Err(reader.error(Problem::Length(length.into())));
            }
            let role = if kind & 1 == 0 { AsyncRole::Secondary } else { AsyncRole::PrimaryOrEqual };
            masks.push(Self { event: AsyncEvent(kind >> 1), role, reasons: reader.u32()? });
        }
        Ok(masks)
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u16(self.event.0 << 1 | u16::from(self.role == AsyncRole::PrimaryOrEqual));
        out.put_u16(PROPERTY_LENGTH);
        out.put_u32(self.reasons);
    }
}
