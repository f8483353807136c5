//! The transactions of the agent, as lists of operations; nothing here touches a socket.
//!
//! Each begins with waits that hold only if the rows are still what the caller saw. Whoever comes
//! second is refused with [`Cause::TimedOut`](super::Cause::TimedOut) and looks again, so two
//! agents never make a port twice and never change a row that was replaced under its name.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    operation::{Columns, Condition, Mutation, Operation, existing, map, named, row_is, set},
    tables::{Bridge, Interface, Mirror, Port, Row},
};

/// A port to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPort {
    /// Name of the port, of its interface and of the device; at most 15 bytes.
    pub name: String,
    /// Where the device comes from.
    pub kind: PortKind,
    /// MTU in bytes that the switch is to set; none leaves it alone.
    pub mtu_request: Option<u32>,
    /// Marks on the [`Port`] row by which it is known again.
    pub external_ids: BTreeMap<String, String>,
}

/// Where the device of a new port comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// The switch makes it.
    Internal,
    /// It exists on the host already.
    Device,
}

/// Makes a port of one interface on `bridge`.
///
/// Refused when the bridge is gone, or when a port or interface of that name exists anywhere.
pub fn create_port(bridge: &Bridge, port: &NewPort) -> Vec<Operation> {
    let name = &port.name;
    let mut interface = columns([("name", json!(name))]);
    match port.kind {
        PortKind::Internal => interface.insert("type".into(), json!("internal")),
        PortKind::Device => None,
    };
    if let Some(mtu) = port.mtu_request {
        interface.insert("mtu_request".into(), json!(mtu));
    }
    vec![
        still_named(Bridge::TABLE, bridge.uuid, &bridge.name),
        none_named(Port::TABLE, name),
        none_named(Interface::TABLE, name),
        Operation::Insert { table: Interface::TABLE, row: interface, uuid_name: "interface" },
        Operation::Insert {
            table: Port::TABLE,
            row: columns([
                ("name", json!(name)),
                ("interfaces", named("interface")),
                ("external_ids", map(&port.external_ids)),
            ]),
            uuid_name: "port",
        },
        Operation::Mutate {
            table: Bridge::TABLE,
            conditions: vec![row_is(bridge.uuid)],
            mutations: vec![Mutation("ports", "insert", named("port"))],
        },
        comment(format_args!("add port {name} to bridge {}", bridge.name)),
    ]
}

/// Takes a port off its bridge; its rows go with it.
///
/// Refused when the port is gone or no longer bears `key=value` in its external IDs.
pub fn remove_port(bridge: &Bridge, port: &Port, (key, value): (&str, &str)) -> Vec<Operation> {
    let mark = Condition("external_ids", "includes", json!(["map", [[key, value]]]));
    vec![
        Operation::expect(
            Port::TABLE,
            vec![row_is(port.uuid), mark],
            vec!["name"],
            vec![columns([("name", json!(port.name))])],
        ),
        Operation::Mutate {
            table: Bridge::TABLE,
            conditions: vec![row_is(bridge.uuid)],
            mutations: vec![Mutation("ports", "delete", existing(port.uuid))],
        },
        comment(format_args!("remove port {} from bridge {}", port.name, bridge.name)),
    ]
}

/// Asks the switch for an MTU in bytes, or with none no longer for any.
///
/// Refused when the interface is gone.
pub fn request_mtu(interface: &Interface, mtu: Option<u32>) -> Vec<Operation> {
    vec![
        still_named(Interface::TABLE, interface.uuid, &interface.name),
        Operation::Update {
            table: Interface::TABLE,
            conditions: vec![row_is(interface.uuid)],
            row: columns([("mtu_request", set(mtu.map(|mtu| json!(mtu))))]),
        },
        comment(format_args!("set the MTU of {}", interface.name)),
    ]
}

/// Sets keys among the external IDs of a port, and leaves the others alone.
///
/// Refused when the port is gone.
pub fn set_external_ids(port: &Port, external_ids: &BTreeMap<String, String>) -> Vec<Operation> {
    let keys = set(external_ids.keys().map(|key| json!(key)));
    vec![
        still_named(Port::TABLE, port.uuid, &port.name),
        Operation::Mutate {
            table: Port::TABLE,
            conditions: vec![row_is(port.uuid)],
            // Inserting alone would keep the value of a key that is there.
            mutations: vec![
                Mutation("external_ids", "delete", keys),
                Mutation("external_ids", "insert", map(external_ids)),
            ],
        },
        comment(format_args!("mark port {}", port.name)),
    ]
}

/// Lets mirrors select nothing any more. Their rows stay, for whoever made them counts on them: Kube-OVN sets up no Pod
/// without its own.
///
/// Mirrors that are gone already are no failure.
pub fn empty_mirrors<'a>(mirrors: impl IntoIterator<Item = &'a Mirror>) -> Vec<Operation> {
    let nothing = || set(None::<Value>);
    let mut operations: Vec<_> = mirrors
        .into_iter()
        .map(|mirror| Operation::Update {
            table: Mirror::TABLE,
            conditions: vec![row_is(mirror.uuid)],
            row: columns([
                ("select_all", json!(false)),
                ("select_src_port", nothing()),
                ("select_dst_port", nothing()),
            ]),
        })
        .collect();
    operations.push(comment(format_args!("let mirrors select nothing")));
    operations
}

fn columns<const N: usize>(columns: [(&str, Value); N]) -> Columns {
    columns.into_iter().map(|(column, value)| (column.to_owned(), value)).collect()
}

fn still_named(table: &'static str, uuid: Uuid, name: &str) -> Operation {
    let rows = vec![columns([("name", json!(name))])];
    Operation::expect(table, vec![row_is(uuid)], vec!["name"], rows)
}

fn none_named(table: &'static str, name: &str) -> Operation {
    let named = Condition("name", "==", json!(name));
    Operation::expect(table, vec![named], vec!["name"], vec![])
}

fn comment(text: std::fmt::Arguments<'_>) -> Operation {
    Operation::Comment { comment: format!("ofmirror: {text}") }
}
