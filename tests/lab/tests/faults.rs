//! What `make bench-faults` compares, of a handful of faults: nobody is worse off with an agent.

use lab::{FaultOptions, Result, faults};

#[test]
fn faults_cost_pods_no_more_with_an_agent_than_without() -> Result {
    // Of each kind one: the agent's, a database's, the datapath's, the flows', the mirror NIC's, the Pods'.
    let only = [
        "agent killed and started",
        "ovsdb-server restarts",
        "datapath's flows flushed",
        "our flows deleted ten times",
        "mirror NIC flaps",
        "an annotation flaps",
    ];
    let only = only.map(str::to_owned).to_vec();
    let good = faults(&FaultOptions { rounds: 1, only, json: None })?;
    assert!(good, "somebody was worse off with an agent; the table is above");
    Ok(())
}
