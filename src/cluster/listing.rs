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

/// The objects that may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Touched<K> {
    None,
    One(K),
    All,
}

impl<K: Ord + Clone, V: PartialEq> Listing<K, V> {
    pub(super) fn new() -> Self {
        Self { current: BTreeMap::new(), next: BTreeMap::new(), known: false }
    }

    /// Takes in an event; returns which objects it may have changed.
    pub(super) fn apply(&mut self, event: Event<(K, V)>) -> Touched<K> {
        match event {
            Event::Init => self.next.clear(),
            Event::InitApply((name, object)) => drop(self.next.insert(name, object)),
            Event::InitDone => {
                self.current = std::mem::take(&mut self.next);
                self.known = true;
                return Touched::All;
            }
            Event::Apply((name, object)) => {
                // Most of what changes about an object is nothing to us.
                if self.current.get(&name) != Some(&object) {
                    self.current.insert(name.clone(), object);
                    return Touched::One(name);
                }
            }
            Event::Delete((name, _)) => {
                if self.current.remove(&name).is_some() {
                    return Touched::One(name);
                }
            }
        }
        Touched::None
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
        assert_eq!(listing.apply(Event::InitApply(("a", ()))), Touched::None);
        assert!(!listing.is_known());
        assert_eq!(listing.apply(Event::InitDone), Touched::All);
        assert!(listing.is_known());
        assert_eq!(listing.apply(Event::InitApply(("b", ()))), Touched::None);
        assert_eq!(names(&listing), ["a"]);
        assert_eq!(listing.apply(Event::InitDone), Touched::All);
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
        assert_eq!(listing.apply(Event::Apply(("a", ()))), Touched::One("a"));
        assert_eq!(listing.apply(Event::Apply(("a", ()))), Touched::None, "it is the same");
        assert_eq!(listing.apply(Event::Delete(("a", ()))), Touched::One("a"));
        assert_eq!(listing.apply(Event::Delete(("a", ()))), Touched::None);
        assert_eq!(listing.apply(Event::Apply(("a", ()))), Touched::One("a"), "made again");
        assert_eq!(names(&listing), ["a"]);
    }
}
