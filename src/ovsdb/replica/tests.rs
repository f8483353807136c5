use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::value::to_raw_value;

use super::*;
use crate::ovsdb::Ofport;

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

impl Replica {
    fn take(&mut self, updates: Value) -> Result<(), ReplicaError> {
        self.apply(&to_raw_value(&updates).unwrap())
    }
}

fn interface(number: u128, update: Value) -> Value {
    json!({"Interface": {uuid(number).to_string(): update}})
}

/// A bridge with ports 11 and 12, of which only 11 is there, with interface 21.
fn one_port() -> Replica {
    let id = |number| json!(["uuid", uuid(number)]);
    let mut replica = Replica::default();
    replica
        .take(json!({
            "Bridge": {uuid(1).to_string(): {"initial": {
                "name": "br-int", "ports": ["set", [id(11), id(12)]], "mirrors": id(31)}}},
            "Port": {uuid(11).to_string(): {"initial": {"name": "pod1", "interfaces": id(21)}}},
            "Interface": {uuid(21).to_string(): {"initial": {
                "name": "pod1", "ofport": 7, "external_ids": ["map", [["a", "1"], ["b", "2"]]]}}},
        }))
        .unwrap();
    replica
}

#[test]
fn references_to_rows_that_are_not_there_yet_are_passed_over() {
    let mut replica = one_port();
    let snapshot = replica.snapshot();
    let names = |snapshot: &Snapshot| -> Vec<String> {
        let bridge = snapshot.bridge("br-int").unwrap();
        snapshot.ports_of(bridge).map(|port| port.name.clone()).collect()
    };
    assert_eq!(names(&snapshot), ["pod1"]);
    assert_eq!(snapshot.mirrors_of(snapshot.bridge("br-int").unwrap()).count(), 0);
    replica.take(json!({"Port": {uuid(12).to_string(): {"insert": {"name": "pod2"}}}})).unwrap();
    assert_eq!(names(&replica.snapshot()), ["pod1", "pod2"]);
}

#[test]
fn a_port_is_found_by_its_name_however_rows_come_and_go() {
    let mut replica = one_port();
    let port = |number, update: Value| (uuid(number).to_string(), update);
    let mut found = |rows: [(String, Value); 2], name| {
        replica.take(json!({"Port": Map::from_iter(rows)})).unwrap();
        replica.snapshot().port_named(name).map(|port| port.uuid)
    };
    let (gone, named) = (json!({"delete": null}), |name: &str| json!({"insert": {"name": name}}));
    let others = |number| port(number, named(&format!("other{number}")));
    assert_eq!(found([others(13), others(14)], "pod1"), Some(uuid(11)));
    // It is made again under another number, before and after the one that it had.
    assert_eq!(found([port(11, gone.clone()), port(12, named("pod1"))], "pod1"), Some(uuid(12)));
    assert_eq!(found([port(12, gone.clone()), port(11, named("pod1"))], "pod1"), Some(uuid(11)));
    let renamed = json!({"modify": {"name": "pod2"}});
    assert_eq!(found([port(11, renamed), others(15)], "pod1"), None);
    assert_eq!(found([others(16), others(17)], "pod2"), Some(uuid(11)));
    assert_eq!(found([port(11, gone), others(18)], "pod2"), None);
}

#[test]
fn a_difference_of_a_map_adds_changes_and_removes() {
    let mut replica = one_port();
    let difference = ["map".into(), json!([["a", "1"], ["b", "3"], ["c", "4"]])];
    replica.take(interface(21, json!({"modify": {"external_ids": difference}}))).unwrap();
    let snapshot = replica.snapshot();
    let ids = &snapshot.interface(&uuid(21)).unwrap().external_ids;
    assert_eq!(Vec::from_iter(ids), [(&"b".to_owned(), &"3".into()), (&"c".into(), &"4".into())]);
}

#[test]
fn a_difference_of_an_optional_value_is_the_new_value() {
    let mut replica = one_port();
    for (value, expected) in [
        (json!(7), Ofport::Number(7)),
        (json!(["set", []]), Ofport::Unset),
        (json!(["set", [9]]), Ofport::Number(9)),
        (json!(-1), Ofport::Failed),
    ] {
        replica.take(interface(21, json!({"modify": {"ofport": value}}))).unwrap();
        assert_eq!(replica.snapshot().interface(&uuid(21)).unwrap().ofport, expected);
    }
}

#[test]
fn a_change_leaves_all_other_rows_shared() {
    let mut replica = one_port();
    let before = replica.snapshot();
    replica.take(interface(22, json!({"insert": {"name": "pod2"}}))).unwrap();
    let after = replica.snapshot();
    assert!(before.ports.ptr_eq(&after.ports));
    assert!(Arc::ptr_eq(&before.interfaces[&uuid(21)], &after.interfaces[&uuid(21)]));
    assert_eq!(before.interfaces.len(), 1);
}

#[test]
fn a_malformed_value_is_named_and_stops_no_other() {
    let mut replica = one_port();
    replica
        .take(json!({"Interface": {
            uuid(22).to_string(): {"insert": {
                "name": "pod2", "ofport": "nine", "external_ids": ["map", [["a"]]], "mtu": 1500}},
            uuid(23).to_string(): {"insert": {"name": "pod3"}},
        }}))
        .unwrap();
    let snapshot = replica.snapshot();
    let faults: Vec<_> = snapshot.faults().map(ToString::to_string).collect();
    let row = format!("table Interface, row {}, column", uuid(22));
    let expected = [
        format!(r#"{row} external_ids: expected a map of strings, found ["map",[["a"]]]"#),
        format!(r#"{row} ofport: expected a set of integers, found "nine""#),
    ];
    assert_eq!(faults, expected);
    let pod2 = snapshot.interface(&uuid(22)).unwrap();
    assert_eq!((pod2.ofport, pod2.mtu), (Ofport::Unset, Some(1500)));
    assert!(snapshot.interface_named("pod3").is_some());

    // A new value mends the one; only the whole row mends the other.
    let mended = json!({"ofport": 9, "external_ids": ["map", [["b", "2"]]]});
    replica.take(interface(22, json!({"modify": mended}))).unwrap();
    assert_eq!(replica.snapshot().faults().count(), 1);
    replica.take(interface(22, json!({"delete": null}))).unwrap();
    assert_eq!(replica.snapshot().faults().count(), 0);
}

#[test]
fn updates_that_do_not_fit_the_copy_are_an_error() {
    let nothing = json!({"Port": {uuid(9).to_string(): {}}});
    for (updates, complaint) in [
        (interface(99, json!({"modify": {"ofport": 1}})), "modified, never there"),
        (interface(99, json!({"delete": null})), "deleted, never there"),
        (nothing, "neither initial"),
        (json!({"Port": {"no-uuid": {"insert": {}}}}), "\"no-uuid\" names no row"),
        (json!({"Port": []}), "row updates of table Port"),
        (json!([]), "table updates"),
        (interface(9, json!({"insert": 7})), "expected a map"),
        (interface(9, json!({"insert": {"name": "x".repeat(MAX_ROW_BYTES)}})), "longer than"),
    ] {
        let error = one_port().take(updates).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
}

#[test]
fn tables_and_columns_that_were_not_asked_for_are_passed_over() {
    let mut replica = one_port();
    let before = replica.snapshot();
    replica.take(json!({"Queue": {"x": [7]}})).unwrap();
    replica.take(interface(21, json!({"modify": {"statistics": 7}}))).unwrap();
    assert_eq!(replica.snapshot(), before);
}

#[test]
fn a_server_cannot_fill_the_memory_with_rows() {
    let mut replica = Replica::default();
    let name = "x".repeat(MAX_ROW_BYTES - 100);
    let error = (0..100)
        .find_map(|row| replica.take(interface(row, json!({"insert": {"name": name}}))).err())
        .unwrap();
    assert!(error.to_string().contains("the rows take more than"), "{error}");
    // What is forgotten makes room: the count follows what is held.
    let mut replica = Replica::default();
    for _ in 0..3 {
        replica.take(interface(1, json!({"insert": {"name": name}}))).unwrap();
        replica.take(interface(1, json!({"modify": {"name": "y"}}))).unwrap();
        replica.take(interface(1, json!({"delete": null}))).unwrap();
    }
    assert_eq!(replica.bytes, 0);
}

#[test]
fn only_columns_of_the_schema_are_asked_for_and_none_that_churns() {
    let text = std::fs::read_to_string("/usr/share/openvswitch/vswitch.ovsschema")
        .expect("the schema is installed: apt-get install openvswitch-switch");
    let schema: Value = serde_json::from_str(&text).unwrap();
    let requests = monitor_requests();
    for (table, request) in requests.as_object().unwrap() {
        for column in request[0]["columns"].as_array().unwrap() {
            let column = column.as_str().unwrap();
            assert!(schema["tables"][table]["columns"][column].is_object(), "{table}.{column}");
            assert!(!["statistics", "status", "link_resets"].contains(&column));
        }
    }
    assert_eq!(requests.as_object().unwrap().len(), 4);
}

type Ids = BTreeMap<String, String>;

/// What the server sends for a map that changes, by ovsdb-server(7), 4.1.14.
fn map_difference(before: &Ids, now: &Ids) -> Value {
    let gone = before.iter().filter(|(key, _)| !now.contains_key(*key));
    let new = now.iter().filter(|(key, value)| before.get(*key) != Some(*value));
    json!(["map", gone.chain(new).collect::<Vec<_>>()])
}

/// An update that is at least of the right shape.
fn any_updates() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[a-c]{0,2}".prop_map(Value::from),
        prop::sample::select(vec!["set", "map", "uuid"]).prop_map(Value::from),
        (0..3_u128).prop_map(|row| json!(["uuid", uuid(row)])),
        (-2..70000_i64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    let value =
        leaf.prop_recursive(4, 16, 3, |inner| prop::collection::vec(inner, 0..4).prop_map_into());
    let columns: Vec<_> = [Bridge::COLUMNS, Port::COLUMNS, Interface::COLUMNS, Mirror::COLUMNS]
        .concat()
        .into_iter()
        .map(String::from)
        .collect();
    let row = prop::collection::hash_map(prop::sample::select(columns), value, 0..6);
    let verb = prop::sample::select(vec!["initial", "insert", "modify", "delete"]);
    let table = prop::sample::select(vec!["Bridge", "Port", "Interface", "Mirror"]);
    (table, 0..3_u128, verb, row).prop_map(
        |(table, row, verb, columns)| json!({table: {uuid(row).to_string(): {verb: columns}}}),
    )
}

proptest! {
    #[test]
    fn a_map_follows_its_differences(
        states in prop::collection::vec(
            prop::collection::btree_map("[a-e]", "[xy]", 0..5), 1..10),
    ) {
        let mut replica = Replica::default();
        replica.take(interface(1, json!({"insert": {"name": "pod1"}}))).unwrap();
        let mut before = Ids::new();
        for now in states {
            let difference = map_difference(&before, &now);
            replica.take(interface(1, json!({"modify": {"external_ids": difference}}))).unwrap();
            let snapshot = replica.snapshot();
            prop_assert_eq!(&snapshot.interface(&uuid(1)).unwrap().external_ids, &now);
            before = now;
        }
    }

    #[test]
    fn a_set_follows_its_differences(
        states in prop::collection::vec(prop::collection::btree_set(0..9_u128, 0..6), 1..10),
    ) {
        let mut replica = Replica::default();
        let port = |update| json!({"Port": {uuid(1).to_string(): update}});
        replica.take(port(json!({"insert": {"name": "pod1"}}))).unwrap();
        let mut before = BTreeSet::new();
        for now in states {
            let now: BTreeSet<_> = now.into_iter().map(uuid).collect();
            let mut difference: Vec<_> =
                before.symmetric_difference(&now).map(|row| json!(["uuid", row])).collect();
            // The server writes a set of one without its brackets.
            let difference = match difference.len() {
                1 => difference.remove(0),
                _ => json!(["set", difference]),
            };
            replica.take(port(json!({"modify": {"interfaces": difference}}))).unwrap();
            let snapshot = replica.snapshot();
            prop_assert_eq!(&snapshot.port(&uuid(1)).unwrap().interfaces, &now);
            before = now;
        }
    }

    #[test]
    fn strange_updates_do_no_harm_and_the_memory_is_counted_right(
        updates in prop::collection::vec(any_updates(), 0..30),
    ) {
        let mut replica = Replica::default();
        for update in updates {
            if replica.take(update).is_err() {
                break;
            }
            let Snapshot { bridges, ports, interfaces, mirrors, .. } = &replica.snapshot;
            let held = bridges.values().map(|row| row.bytes()).sum::<usize>()
                + ports.values().map(|row| row.bytes()).sum::<usize>()
                + interfaces.values().map(|row| row.bytes()).sum::<usize>()
                + mirrors.values().map(|row| row.bytes()).sum::<usize>();
            prop_assert_eq!(replica.bytes, held);
        }
    }

    #[test]
    fn arbitrary_json_does_no_harm(text in "[{}\\[\\]\":,0-9a-z ]{0,100}") {
        if let Ok(raw) = RawValue::from_string(text) {
            let _ = one_port().apply(&raw);
        }
    }
}
