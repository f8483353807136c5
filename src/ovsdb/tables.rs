//! The monitored tables: exactly the columns that the agent looks at.
//!
//! What changes all the time (`statistics`, `status`, `next_cfg`) is left out, so an idle node
//! causes no updates. Field meanings are those of ovs-vswitchd.conf.db(5).

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use imbl::OrdSet;
use serde_json::Value;
use uuid::Uuid;

use super::column::{Column, Mismatch};

/// A row that the replica keeps.
pub(super) trait Row: Clone {
    const TABLE: &'static str;
    const COLUMNS: &'static [&'static str];

    /// A row in which every column has its default; the server leaves those out.
    fn new(uuid: Uuid) -> Self;

    /// The field of a column, with the column's name; none if it is not monitored.
    fn column(&mut self, name: &str) -> Option<(&'static str, &mut dyn Column)>;

    /// Memory held by the row, in bytes, about.
    fn bytes(&self) -> usize;
}

macro_rules! row {
    ($table:ident { $($column:literal => $field:ident),+ $(,)? }) => {
        impl Row for $table {
            const TABLE: &'static str = stringify!($table);
            const COLUMNS: &'static [&'static str] = &[$($column),+];

            fn new(uuid: Uuid) -> Self {
                Self { uuid, ..Self::default() }
            }

            fn column(&mut self, name: &str) -> Option<(&'static str, &mut dyn Column)> {
                match name {
                    $($column => Some(($column, &mut self.$field)),)+
                    _ => None,
                }
            }

            fn bytes(&self) -> usize {
                mem::size_of::<Self>() $(+ self.$field.heap_bytes())+
            }
        }
    };
}

/// A virtual switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Names the row for as long as it lives.
    pub uuid: Uuid,
    /// Unique among bridges, never changes.
    pub name: String,
    /// `netdev` for the userspace datapath; empty or `system` for the kernel's.
    pub datapath_type: String,
    /// Datapath in hex, as OpenFlow has it too, written by the switch.
    pub datapath_id: Option<String>,
    /// `secure` or `standalone`; unset means `standalone`.
    pub fail_mode: Option<String>,
    /// OpenFlow versions such as `OpenFlow15`; empty allows all that the switch knows.
    pub protocols: BTreeSet<String>,
    /// Rows of [`Port`]; there may be thousands.
    pub ports: OrdSet<Uuid>,
    /// Rows of [`Mirror`].
    pub mirrors: BTreeSet<Uuid>,
}

row!(Bridge {
    "name" => name,
    "datapath_type" => datapath_type,
    "datapath_id" => datapath_id,
    "fail_mode" => fail_mode,
    "protocols" => protocols,
    "ports" => ports,
    "mirrors" => mirrors,
});

/// A port of a bridge: one interface, or several for a bond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// Names the row for as long as it lives.
    pub uuid: Uuid,
    /// Unique among ports, never changes.
    pub name: String,
    /// Notes of whoever made the port; ours bear our mark here.
    pub external_ids: BTreeMap<String, String>,
    /// Rows of [`Interface`].
    pub interfaces: BTreeSet<Uuid>,
}

row!(Port {
    "name" => name,
    "external_ids" => external_ids,
    "interfaces" => interfaces,
});

/// A network device within a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Names the row for as long as it lives.
    pub uuid: Uuid,
    /// Name of the device on the host; unique among interfaces, never changes.
    pub name: String,
    /// Column `type`: empty for a device of the host, else `internal`, `patch`, `geneve` and so on.
    pub kind: String,
    /// OpenFlow port number, written by the switch.
    pub ofport: Ofport,
    /// Notes of whoever made the interface; a CNI names the Pod here.
    pub external_ids: BTreeMap<String, String>,
    /// MAC address, written by the switch.
    pub mac_in_use: Option<String>,
    /// MTU in bytes, written by the switch.
    pub mtu: Option<u32>,
    /// MTU in bytes that somebody asked the switch to set.
    pub mtu_request: Option<u32>,
    /// Why the switch could not open the device.
    pub error: Option<String>,
    /// `up` or `down`: whether there is carrier, written by the switch.
    pub link_state: Option<String>,
}

row!(Interface {
    "name" => name,
    "type" => kind,
    "ofport" => ofport,
    "external_ids" => external_ids,
    "mac_in_use" => mac_in_use,
    "mtu" => mtu,
    "mtu_request" => mtu_request,
    "error" => error,
    "link_state" => link_state,
});

/// A mirror that the switch itself carries out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    /// Names the row for as long as it lives.
    pub uuid: Uuid,
    /// Free text, not unique.
    pub name: String,
    /// Copies every packet.
    pub select_all: bool,
    /// Rows of [`Port`]: copies what comes in there.
    pub select_src_port: BTreeSet<Uuid>,
    /// Rows of [`Port`]: copies what goes out there.
    pub select_dst_port: BTreeSet<Uuid>,
    /// Copies only these VLANs; empty means all. Selects nothing on its own.
    pub select_vlan: BTreeSet<u16>,
    /// Row of [`Port`] that the copies go to.
    pub output_port: Option<Uuid>,
    /// VLAN that the copies go to instead.
    pub output_vlan: Option<u16>,
    /// Notes of whoever made the mirror.
    pub external_ids: BTreeMap<String, String>,
}

row!(Mirror {
    "name" => name,
    "select_all" => select_all,
    "select_src_port" => select_src_port,
    "select_dst_port" => select_dst_port,
    "select_vlan" => select_vlan,
    "output_port" => output_port,
    "output_vlan" => output_vlan,
    "external_ids" => external_ids,
});

impl Mirror {
    /// Whether it copies anything at all.
    pub fn selects(&self) -> bool {
        self.select_all || !self.select_src_port.is_empty() || !self.select_dst_port.is_empty()
    }
}

/// Column `ofport` of [`Interface`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ofport {
    /// The switch has not come to it yet.
    #[default]
    Unset,
    /// -1: the switch could not create it; `error` says why.
    Failed,
    /// The number, 1 to 65279, or 65534 for the bridge's own port.
    Number(u16),
}

impl Ofport {
    /// The number, if there is one.
    pub fn number(self) -> Option<u16> {
        match self {
            Self::Number(number) => Some(number),
            Self::Unset | Self::Failed => None,
        }
    }
}

impl Column for Ofport {
    fn assign(&mut self, value: &Value) -> Result<(), Mismatch> {
        *self = Self::Unset;
        let mut number: Option<i64> = None;
        number.assign(value)?;
        *self = match number {
            None => Self::Unset,
            Some(-1) => Self::Failed,
            Some(number) => u16::try_from(number)
                .map(Self::Number)
                .map_err(|_| Mismatch::new("a port number or -1", value))?,
        };
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}
