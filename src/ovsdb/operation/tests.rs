use super::*;

fn two_operations() -> Vec<Operation> {
    let wait = Operation::expect("Port", vec![row_is(Uuid::nil())], vec!["name"], vec![]);
    let insert = Operation::Insert { table: "Port", row: Columns::new(), uuid_name: "port" };
    vec![wait, insert]
}

fn read(reply: Value) -> Result<Result<Vec<OperationResult>, Rejection>, serde_json::Error> {
    results(&two_operations(), &serde_json::value::to_raw_value(&reply).unwrap())
}

#[test]
fn operations_are_written_as_the_rfc_has_them() {
    let uuid = "00000000-0000-0000-0000-000000000000";
    assert_eq!(
        serde_json::to_value(two_operations()).unwrap(),
        json!([
            {"op": "wait", "table": "Port", "where": [["_uuid", "==", ["uuid", uuid]]],
             "columns": ["name"], "until": "==", "rows": [], "timeout": 0},
            {"op": "insert", "table": "Port", "row": {}, "uuid-name": "port"},
        ])
    );
}

#[test]
fn results_are_joined_to_their_operations() {
    let results = read(json!([{}, {"uuid": ["uuid", Uuid::max()]}])).unwrap().unwrap();
    assert_eq!(results[0], OperationResult::default());
    assert_eq!(results[1], OperationResult { uuid: Some(Uuid::max()), count: None });
}

#[test]
fn the_operation_that_failed_is_named() {
    let failed = json!({"error": "constraint violation", "details": "too long"});
    let error = read(json!([{}, failed])).unwrap().unwrap_err().to_string();
    assert_eq!(error, "insert into Port: constraint violation: too long");
    let error = read(json!([failed, null])).unwrap().unwrap_err().to_string();
    assert_eq!(error, "wait on Port: constraint violation: too long");
    // One more than there are operations: the commit.
    let error = read(json!([{}, {}, failed])).unwrap().unwrap_err().to_string();
    assert_eq!(error, "commit: constraint violation: too long");
}

#[test]
fn a_reply_that_makes_no_sense_is_not_taken_for_success() {
    for reply in [
        json!({}),
        json!([]),
        json!([{}]),
        json!([null, null]),
        json!([{}, {}, {}]),
        json!([{}, {"uuid": 7}]),
        json!([{}, {"error": 7}]),
        json!(null),
        json!([7, 7]),
    ] {
        assert!(read(reply.clone()).is_err(), "{reply}");
    }
}
