//! Foreign flows with a priority as high as that of our copy flows.
//!
//! Whether such a flow wins over ours or loses is undefined, or it wins for certain (priority 65535 against 65534): then
//! nothing is copied, although all of our flows are installed. OVN's priorities end at 1050, so an honest bridge has none.

use std::collections::{BTreeMap, HashSet};

use flows::{
    model::{Flow, FlowKey, TableId},
    plan::COPY_PRIORITY,
};

/// The most rivals that are kept by name. Whoever installs more of them has the table reported for as long as it takes
/// until a scan finds none.
const MOST: usize = 1024;

/// The rivals that are in the switch, by table.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    by_table: BTreeMap<TableId, HashSet<FlowKey>>,
    number: usize,
}

impl Rivals {
    /// Takes in a foreign flow that is in the switch now; does nothing if it is no rival.
    pub(super) fn insert(&mut self, flow: &Flow) {
        let known = self.by_table.get(&flow.key.table).is_some_and(|keys| keys.contains(&flow.key));
        if flow.key.priority < COPY_PRIORITY || known || self.number >= MOST {
            return;
        }
        self.by_table.entry(flow.key.table).or_default().insert(flow.key.clone());
        self.number += 1;
    }

    /// A foreign flow is gone.
    pub(super) fn remove(&mut self, key: &FlowKey) {
        let Some(keys) = self.by_table.get_mut(&key.table) else { return };
        self.number -= usize::from(keys.remove(key));
        if keys.is_empty() {
            self.by_table.remove(&key.table);
        }
    }

    /// A rival of each of these tables that has any: the first in a stable order, so that a report does not change from
    /// one look to the next.
    pub(super) fn of(&self, tables: impl IntoIterator<Item = TableId>) -> Vec<FlowKey> {
        let keys = tables.into_iter().filter_map(|table| self.by_table.get(&table));
        let first = |keys: &HashSet<FlowKey>| {
            keys.iter()
                .min_by_key(|key| (u16::MAX - key.priority, key.matching.to_string()))
                .cloned()
        };
        keys.filter_map(first).collect()
    }
}

#[cfg(test)]
mod tests {
    use flows::model::{Cookie, Field, Match, MatchField};

    use super::*;

    fn flow(table: u8, priority: u16, port: u128) -> Flow {
        let matching = Match::new([MatchField::exact(Field::IN_PORT, port)]);
        Flow::new(FlowKey { table: TableId(table), priority, matching }, Cookie(1), vec![])
    }

    #[test]
    fn a_table_is_contested_until_its_last_rival_has_gone() {
        let mut rivals = Rivals::default();
        let tables = || [TableId(0), TableId(65)];
        let (first, second) = (flow(0, 65534, 1), flow(0, 65535, 2));
        for rival in [&first, &second, &second, &flow(0, 65533, 3), &flow(7, 65535, 4)] {
            rivals.insert(rival);
        }
        assert_eq!(rivals.of(tables()), std::slice::from_ref(&second.key), "the one that wins");
        rivals.remove(&second.key);
        rivals.remove(&second.key);
        assert_eq!(rivals.of(tables()), std::slice::from_ref(&first.key));
        rivals.remove(&first.key);
        assert_eq!(rivals.of(tables()), []);
    }

    #[test]
    fn there_is_room_again_once_some_have_gone() {
        let mut rivals = Rivals::default();
        let flows: Vec<_> = (0..=MOST as u128).map(|port| flow(0, 65535, port)).collect();
        flows.iter().for_each(|flow| rivals.insert(flow));
        assert_eq!(rivals.by_table[&TableId(0)].len(), MOST);
        rivals.remove(&flows[0].key);
        rivals.insert(&flows[MOST]);
        assert!(rivals.by_table[&TableId(0)].contains(&flows[MOST].key));
    }
}
