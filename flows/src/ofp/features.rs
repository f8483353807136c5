//! `OFPT_FEATURES_REPLY`: what the switch is (OpenFlow 1.5.1, 7.3.1).

use bytes::{BufMut, BytesMut};

use super::coding::{DecodeError, Reader};

/// `struct ofp_switch_features`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// The bridge's number, usually its MAC address.
    pub datapath_id: u64,
    /// Packets that the switch can buffer for a controller.
    pub buffers: u32,
    /// How many tables it has.
    pub tables: u8,
    /// Which connection of a controller this is; 0 is the main one.
    pub auxiliary_id: u8,
    /// `OFPC_*` bits.
    pub capabilities: u32,
    /// Zero.
    pub reserved: u32,
}

impl Features {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let datapath_id = reader.u64()?;
        let buffers = reader.u32()?;
        let tables = reader.u8()?;
        let auxiliary_id = reader.u8()?;
        reader.skip(2)?;
        let capabilities = reader.u32()?;
        let reserved = reader.u32()?;
        Ok(Self { datapath_id, buffers, tables, auxiliary_id, capabilities, reserved })
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u64(self.datapath_id);
        out.put_u32(self.buffers);
        out.put_u8(self.tables);
        out.put_u8(self.auxiliary_id);
        out.put_u16(0);
        out.put_u32(self.capabilities);
        out.put_u32(self.reserved);
    }
}
