//! The objects of one kind, as last heard.

use std::collections::BTreeMap;

use kube::runtime::watcher::Event;

/// Objects by name. A new listing replaces them at once when it is whole, so that none is missing meanwhile.
#[derive(Debug)]
pub(super) struct Listing<K, V> {
    current: BTreeMap<K, V>,
    /// What a listing that has begun has brought so far.
    next: BTreeMap<K, V>,
    /// Whether there has been a whole listing.
    known: bool,
}

impl<K: Ord, V> Listing<K, V> {
    pub(super) fn new() -> Self {
        Self { current: BTreeMap::new(), next: BTreeMap::new(), known: false }
    }

    /// Takes in an event; returns whether the objects may have changed by it.
    pub(super) fn apply(&mut self, event: Event<(K, V)>) -> bool {
        match event {
            Event::Init => self.next.clear(),
            Event::InitApply((name, object)) => drop(self.next.insert(name, object)),
            Event::InitDone => {
                self.current = std::mem::take(&mut self.next);
                self.known = true;
                return true;
            }
            Event::Apply((name, object)) => {
                self.current.insert(name, object);
                return true;
            }
            Event::Delete((name, _)) => return self.current.remove(&name).is_some(),
        }
        false
    }

    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    pub(super) fn objects(&self) -> &BTreeMap<K, V> {
        &self.current
    }
}
