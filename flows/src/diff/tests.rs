use proptest::{collection::hash_map, prelude::*};

use super::*;
use crate::model::{Action, Field, Match, MatchField, OfPort, Purpose, TableId};

/// Few keys, so that desired and observed flows often meet.
fn flows() -> impl Strategy<Value = Vec<Flow>> {
    hash_map((0_u8..3, 0_u16..3, 0_u128..3), (0_u32..2, 0_u32..3), 0..12).prop_map(|flows| {
        flows
            .into_iter()
            .map(|((t, priority, reg), (port, out))| flow(t, priority, reg, port, out))
            .collect()
    })
}

fn flow(table: u8, priority: u16, reg: u128, port: u32, out: u32) -> Flow {
    let matching = Match::new(vec![MatchField::exact(Field::reg(15), reg)]);
    Flow::new(
        FlowKey { table: TableId(table), priority, matching },
        Cookie::new(Purpose::ToPod, OfPort(port)),
        vec![Action::output(OfPort(out))],
    )
}

/// What the switch does with the changes, as a bundle does: in order.
fn apply(changes: &[Change], observed: &mut Observed) {
    for change in changes {
        match change {
            Change::Delete(key, cookie) => {
                assert!(cookie.is_ours());
                assert!(observed.remove(key), "deletes what is there");
            }
            Change::Install(flow) => observed.insert(flow.clone()),
        }
    }
}

/// Those with the same cookie come in any order.
fn sorted(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_by_cached_key(|change| format!("{change:?}"));
    changes
}

fn set(flows: &[Flow]) -> FlowSet {
    flows.iter().cloned().collect()
}

proptest! {
    #[test]
    fn the_changes_lead_to_the_desired_flows_and_then_there_are_none(desired in flows(), observed in flows()) {
        let desired = set(&desired);
        let mut table: Observed = observed.into_iter().collect();
        apply(&diff(&desired, table.flows()), &mut table);
        prop_assert_eq!(table.flows(), &desired);
        prop_assert_eq!(diff(&desired, table.flows()), vec![]);
    }

    #[test]
    fn right_flows_are_left_alone(desired in flows(), observed in flows()) {
        let table = set(&observed);
        for change in diff(&set(&desired), &table) {
            match change {
                Change::Delete(key, _) => prop_assert!(desired.iter().all(|flow| flow.key != key)),
                Change::Install(flow) => prop_assert!(!table.contains(&flow)),
            }
        }
    }

    #[test]
    fn foreign_flows_are_never_touched(desired in flows(), foreign in flows()) {
        let foreign = foreign.into_iter().map(|flow| Flow { cookie: Cookie(flow.cookie.0 ^ 1 << 63), ..flow });
        let table: Observed = foreign.collect();
        prop_assert!(table.flows().is_empty());
        let changes = diff(&set(&desired), table.flows());
        prop_assert!(changes.iter().all(|change| matches!(change, Change::Install(_))));
    }

    #[test]
    fn what_is_found_by_looking_at_changes_only_is_all_that_differs(
        first in flows(), second in flows(), later in flows(), wanted in flows()
    ) {
        let (mut table, mut desired): (Observed, _) = (first.into_iter().collect(), set(&second));
        table.take_changed();
        let mut divergence = Divergence::anywhere(&desired, table.flows());
        divergence.changes(&desired, table.flows());
        // Others change the switch; then we want something else.
        table.replace(later.into_iter().collect());
        divergence.suspect(table.take_changed(), &desired, table.flows());
        let changes = divergence.changes(&desired, table.flows());
        prop_assert_eq!(sorted(changes), sorted(diff(&desired, table.flows())));
        let keys = desired.keys().cloned().chain(wanted.iter().map(|flow| flow.key.clone())).collect();
        desired = set(&wanted);
        divergence.suspect(Changed::Keys(keys), &desired, table.flows());
        let changes = divergence.changes(&desired, table.flows());
        prop_assert_eq!(sorted(changes.clone()), sorted(diff(&desired, table.flows())));
        apply(&changes, &mut table);
        divergence.suspect(table.take_changed(), &desired, table.flows());
        prop_assert_eq!(divergence.changes(&desired, table.flows()), vec![]);
        prop_assert!(divergence.suspects.is_empty());
    }
}

#[test]
fn a_flow_with_other_actions_is_replaced_not_deleted() {
    let desired = flow(0, 1, 1, 1, 2);
    let changes = diff(&set(std::slice::from_ref(&desired)), &set(&[flow(0, 1, 1, 1, 1)]));
    assert_eq!(changes, [Change::Install(desired)]);
}

#[test]
fn what_goes_comes_before_what_comes() {
    let changes = diff(&set(&[flow(0, 1, 2, 1, 1)]), &set(&[flow(0, 1, 1, 1, 1)]));
    assert!(matches!(changes.as_slice(), [Change::Delete(..), Change::Install(_)]), "{changes:?}");
}
