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

    /// A listing that has begun, if any has, won't go on.
    pub(super) fn interrupt(&mut self) {
        self.next.clear();
    }

    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    pub(super) fn objects(&self) -> &BTreeMap<K, V> {
        &self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listing: &Listing<&'static str, ()>) -> Vec<&'static str> {
        listing.objects().keys().copied().collect()
    }

    #[test]
    fn a_new_listing_counts_when_it_is_whole_and_not_before() {
        let mut listing = Listing::new();
        assert!(!listing.apply(Event::InitApply(("a", ()))));
        assert!(!listing.is_known());
        assert!(listing.apply(Event::InitDone));
        assert!(listing.is_known());
        assert!(!listing.apply(Event::InitApply(("b", ()))));
        assert_eq!(names(&listing), ["a"]);
        assert!(listing.apply(Event::InitDone));
        assert_eq!(names(&listing), ["b"]);
    }

    #[test]
    fn what_an_interrupted_listing_brought_is_forgotten() {
        let mut listing = Listing::new();
        listing.apply(Event::InitApply(("gone", ())));
        listing.interrupt();
        listing.apply(Event::InitApply(("a", ())));
        listing.apply(Event::InitDone);
        assert_eq!(names(&listing), ["a"]);
    }

    #[test]
    fn objects_come_and_go() {
        let mut listing = Listing::new();
        assert!(listing.apply(Event::Apply(("a", ()))));
        assert!(listing.apply(Event::Delete(("a", ()))));
        assert!(!listing.apply(Event::Delete(("a", ()))));
        assert!(listing.apply(Event::Apply(("a", ()))), "made again under the same name");
        assert_eq!(names(&listing), ["a"]);
    }
}
