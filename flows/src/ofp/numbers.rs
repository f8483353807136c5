//! The protocol's numbers, each list with its source.

/// `OFPT_*`, the type codes of messages (OpenFlow 1.5.1, 7.1.1).
pub mod message_type {
    #![allow(missing_docs, reason = "the specification's names say it")]
    pub const HELLO: u8 = 0;
    pub const ERROR: u8 = 1;
    pub const ECHO_REQUEST: u8 = 2;
    pub const ECHO_REPLY: u8 = 3;
    pub const EXPERIMENTER: u8 = 4;
    pub const FEATURES_REQUEST: u8 = 5;
    pub const FEATURES_REPLY: u8 = 6;
    pub const GET_CONFIG_REQUEST: u8 = 7;
    pub const GET_CONFIG_REPLY: u8 = 8;
    pub const SET_CONFIG: u8 = 9;
    pub const PACKET_IN: u8 = 10;
    pub const FLOW_REMOVED: u8 = 11;
    pub const PORT_STATUS: u8 = 12;
    pub const PACKET_OUT: u8 = 13;
    pub const FLOW_MOD: u8 = 14;
    pub const GROUP_MOD: u8 = 15;
    pub const PORT_MOD: u8 = 16;
    pub const TABLE_MOD: u8 = 17;
    pub const MULTIPART_REQUEST: u8 = 18;
    pub const MULTIPART_REPLY: u8 = 19;
    pub const BARRIER_REQUEST: u8 = 20;
    pub const BARRIER_REPLY: u8 = 21;
    pub const ROLE_REQUEST: u8 = 24;
    pub const ROLE_REPLY: u8 = 25;
    pub const GET_ASYNC_REQUEST: u8 = 26;
    pub const GET_ASYNC_REPLY: u8 = 27;
    pub const SET_ASYNC: u8 = 28;
    pub const METER_MOD: u8 = 29;
    pub const ROLE_STATUS: u8 = 30;
    pub const TABLE_STATUS: u8 = 31;
    pub const REQUESTFORWARD: u8 = 32;
    pub const BUNDLE_CONTROL: u8 = 33;
    pub const BUNDLE_ADD_MESSAGE: u8 = 34;

    /// What to call the message, for errors.
    pub(crate) const fn name(type_code: u8) -> &'static str {
        match type_code {
            HELLO => "hello",
            ERROR => "error",
            ECHO_REQUEST => "echo request",
            ECHO_REPLY => "echo reply",
            EXPERIMENTER => "experimenter",
            FEATURES_REQUEST => "features request",
            FEATURES_REPLY => "features reply",
            GET_CONFIG_REQUEST => "get config request",
            GET_CONFIG_REPLY => "get config reply",
            SET_CONFIG => "set config",
            PACKET_IN => "packet in",
            FLOW_REMOVED => "flow removed",
            PORT_STATUS => "port status",
            PACKET_OUT => "packet out",
            FLOW_MOD => "flow mod",
            GROUP_MOD => "group mod",
            PORT_MOD => "port mod",
            TABLE_MOD => "table mod",
            MULTIPART_REQUEST => "multipart request",
            MULTIPART_REPLY => "multipart reply",
            BARRIER_REQUEST => "barrier request",
            BARRIER_REPLY => "barrier reply",
            ROLE_REQUEST => "role request",
            ROLE_REPLY => "role reply",
            GET_ASYNC_REQUEST => "get async request",
            GET_ASYNC_REPLY => "get async reply",
            SET_ASYNC => "set async",
            METER_MOD => "meter mod",
            ROLE_STATUS => "role status",
            TABLE_STATUS => "table status",
            REQUESTFORWARD => "requestforward",
            BUNDLE_CONTROL => "bundle control",
            BUNDLE_ADD_MESSAGE => "bundle add message",
            _ => "message of unknown type",
        }
    }
}

/// `OFPMP_*`, the kinds of multipart messages (OpenFlow 1.5.1, 7.3.5), and `OFPMPF_*`.
pub mod multipart {
    /// `OFPMP_FLOW_DESC`.
    pub const FLOW_DESC: u16 = 1;
    /// `OFPMP_AGGREGATE_STATS`.
    pub const AGGREGATE: u16 = 2;
    /// `OFPMP_TABLE_STATS`.
    pub const TABLE_STATS: u16 = 3;
    /// `OFPMP_PORT_STATS`.
    pub const PORT_STATS: u16 = 4;
    /// `OFPMP_PORT_DESC`.
    pub const PORT_DESC: u16 = 13;
    /// `OFPMP_FLOW_MONITOR`.
    pub const FLOW_MONITOR: u16 = 16;
    /// `OFPMP_FLOW_STATS`; what versions before 1.5 called so is [`FLOW_DESC`].
    pub const FLOW_STATS: u16 = 17;
    /// `OFPMPF_REPLY_MORE`: another part follows.
    pub const MORE: u16 = 1;
}

/// `OFPFME_*`, the events of flow monitor updates (OpenFlow 1.5.1, 7.3.5.18.2).
pub mod flow_event {
    #![allow(missing_docs, reason = "the specification's names say it")]
    pub const INITIAL: u16 = 0;
    pub const ADDED: u16 = 1;
    pub const REMOVED: u16 = 2;
    pub const MODIFIED: u16 = 3;
    pub const ABBREV: u16 = 4;
    pub const PAUSED: u16 = 5;
    pub const RESUMED: u16 = 6;
}

/// `OFPHET_*` (OpenFlow 1.5.1, 7.5.1).
pub mod hello {
    /// `OFPHET_VERSIONBITMAP`.
    pub const VERSIONBITMAP: u16 = 1;
}

/// `OFPET_*` (OpenFlow 1.5.1, 7.5.4).
pub mod error_type {
    /// `OFPET_EXPERIMENTER`.
    pub const EXPERIMENTER: u16 = 0xffff;
}

/// Numbers of those who define extensions (OVS `include/openflow/openflow-common.h`).
pub mod experimenter {
    /// `NX_VENDOR_ID`: Nicira, whose extensions OVS has.
    pub const NICIRA: u32 = 0x0000_2320;
    /// `ONF_VENDOR_ID`: the Open Networking Foundation.
    pub const ONF: u32 = 0x4f4e_4600;
}

/// `OFPMT_*` (OpenFlow 1.5.1, 7.2.3.1).
pub mod match_type {
    /// `OFPMT_OXM`: a list of OXM fields.
    pub const OXM: u16 = 1;
}

/// `OFPXMC_*` (OpenFlow 1.5.1, 7.2.3.3; OVS `lib/nx-match.c`), classes of OXM fields, and of OXS fields.
pub mod field_class {
    /// `OFPXMC_NXM_0`: packet fields as in OpenFlow 1.0.
    pub const NXM_0: u16 = 0x0000;
    /// `OFPXMC_NXM_1`: Nicira's.
    pub const NXM_1: u16 = 0x0001;
    /// `OFPXMC_OPENFLOW_BASIC`.
    pub const OPENFLOW_BASIC: u16 = 0x8000;
    /// `OFPXMC_PACKET_REGS`: 64-bit registers.
    pub const PACKET_REGS: u16 = 0x8001;
    /// `OFPXSC_OPENFLOW_BASIC`, the class of OXS statistics fields.
    pub const STATS_BASIC: u16 = 0x8002;
    /// `OFPXMC_EXPERIMENTER`.
    pub const EXPERIMENTER: u16 = 0xffff;
}

/// `OFPXST_OFB_*`, statistics fields of class [`field_class::STATS_BASIC`] (OpenFlow 1.5.1, 7.2.4.4).
pub mod stats_field {
    #![allow(missing_docs, reason = "the specification's names say it")]
    pub const DURATION: u8 = 0;
    pub const IDLE_TIME: u8 = 1;
    pub const FLOW_COUNT: u8 = 3;
    pub const PACKET_COUNT: u8 = 4;
    pub const BYTE_COUNT: u8 = 5;
}

/// `OFPIT_*` (OpenFlow 1.5.1, 7.2.5).
pub mod instruction_type {
    #![allow(missing_docs, reason = "the specification's names say it")]
    pub const GOTO_TABLE: u16 = 1;
    pub const WRITE_ACTIONS: u16 = 3;
    pub const APPLY_ACTIONS: u16 = 4;
}

/// `OFPAT_*` (OpenFlow 1.5.1, 7.2.6).
pub mod action_type {
    #![allow(missing_docs, reason = "the specification's names say it")]
    pub const OUTPUT: u16 = 0;
    pub const PUSH_VLAN: u16 = 17;
    pub const POP_VLAN: u16 = 18;
    pub const GROUP: u16 = 22;
    pub const SET_FIELD: u16 = 25;
    pub const COPY_FIELD: u16 = 28;
    pub const METER: u16 = 29;
    pub const EXPERIMENTER: u16 = 0xffff;
}

/// `NXAST_*`, subtypes of Nicira's actions (OVS `lib/ofp-actions.c`, `enum ofp_raw_action_type`).
pub mod nicira_action {
    #![allow(missing_docs, reason = "the names of OVS say it")]
    pub const RESUBMIT: u16 = 1;
    pub const REG_MOVE: u16 = 6;
    pub const REG_LOAD: u16 = 7;
    pub const MULTIPATH: u16 = 10;
    pub const BUNDLE_LOAD: u16 = 13;
    pub const RESUBMIT_TABLE: u16 = 14;
    pub const OUTPUT_REG: u16 = 15;
    pub const LEARN: u16 = 16;
    pub const STACK_PUSH: u16 = 27;
    pub const STACK_POP: u16 = 28;
    pub const OUTPUT_REG2: u16 = 32;
    pub const REG_LOAD2: u16 = 33;
    pub const CT: u16 = 35;
    pub const OUTPUT_TRUNC: u16 = 39;
    pub const CLONE: u16 = 42;
    pub const LEARN2: u16 = 45;
    pub const CHECK_PKT_LARGER: u16 = 49;
    pub const DELETE_FIELD: u16 = 50;
}
