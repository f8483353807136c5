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
fn apply(changes: &[Change<'_>], observed: &mut Observed) {
    for change in changes {
        match change {
            Change::Delete(key, cookie) => {
                assert!(cookie.is_ours());
                assert!(observed.remove(key), "deletes what is there");
            }
            Change::Install(flow) => observed.insert((*flow).clone()),
        }
    }
}

proptest! {
    #[test]
    fn the_changes_lead_to_the_desired_flows_and_then_there_are_none(desired in flows(), observed in flows()) {
        let mut table: Observed = observed.into_iter().collect();
        let before = table.clone();
        apply(&diff(&desired, &before), &mut table);
        prop_assert_eq!(&table, &desired.iter().cloned().collect());
        prop_assert_eq!(diff(&desired, &table), vec![]);
    }

    #[test]
    fn right_flows_are_left_alone(desired in flows(), observed in flows()) {
        let table: Observed = observed.into_iter().collect();
        for change in diff(&desired, &table) {
            match change {
                Change::Delete(key, _) => prop_assert!(desired.iter().all(|flow| flow.key != *key)),
                Change::Install(flow) => prop_assert!(!table.contains(flow)),
            }
        }
    }

    #[test]
    fn foreign_flows_are_never_touched(desired in flows(), foreign in flows()) {
        let foreign = foreign.into_iter().map(|flow| Flow { cookie: Cookie(flow.cookie.0 ^ 1 << 63), ..flow });
        let table: Observed = foreign.collect();
        prop_assert!(table.is_empty());
        prop_assert!(diff(&desired, &table).iter().all(|change| matches!(change, Change::Install(_))));
    }
}

#[test]
fn a_flow_with_other_actions_is_replaced_not_deleted() {
    let observed: Observed = [flow(0, 1, 1, 1, 1)].into_iter().collect();
    let desired = flow(0, 1, 1, 1, 2);
    assert_eq!(diff(std::slice::from_ref(&desired), &observed), [Change::Install(&desired)]);
}

#[test]
fn what_goes_comes_before_what_comes() {
    let observed: Observed = [flow(0, 1, 1, 1, 1)].into_iter().collect();
    let desired = [flow(0, 1, 2, 1, 1)];
    let changes = diff(&desired, &observed);
    assert!(matches!(changes.as_slice(), [Change::Delete(..), Change::Install(_)]), "{changes:?}");
}
