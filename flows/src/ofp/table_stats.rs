//! `OFPMP_TABLE_STATS`: how many flows each table has (OpenFlow 1.5.1, 7.3.5.4). The switch keeps these numbers, so that
//! it looks at no flow for the answer.

use bytes::{BufMut, BytesMut};

use super::coding::{DecodeError, Reader};
use crate::model::TableId;

/// `struct ofp_table_stats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// The table.
    pub table: TableId,
    /// How many flows it has.
    pub active: u32,
    /// How many packets were looked up in it.
    pub lookups: u64,
    /// How many of these matched a flow.
    pub matched: u64,
}

impl TableStats {
    /// One entry, of 24 bytes.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table = TableId(reader.within("table statistics").u8()?);
        reader.skip(3)?;
        let (active, lookups, matched) = (reader.u32()?, reader.u64()?, reader.u64()?);
        Ok(Self { table, active, lookups, matched })
    }

    pub(super) fn encode(self, out: &mut BytesMut) {
        out.put_u8(self.table.0);
        out.put_slice(&[0; 3]);
        out.put_u32(self.active);
        out.put_u64(self.lookups);
        out.put_u64(self.matched);
    }
}
