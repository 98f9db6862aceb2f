//! A queue of lanes, such as namespaces: lanes take turns, so a namespace with thousands of entries does not hold up
//! another namespace with a few.
//!
//! Within a lane the least entry goes first ([`next_where`](FairQueue::next_where)), which suits entries that begin
//! with a time; or entries take turns too ([`next_in_turn_where`](FairQueue::next_in_turn_where)), which suits those
//! that come back, since else the first of them would go again and again and the last of them never.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Entries that wait for their turn.
#[derive(Clone, Debug)]
pub struct FairQueue<L, T> {
    pub(in crate::machine) lanes: BTreeMap<L, Entries<T>>,
    pub(in crate::machine) last_served: Option<L>,
    len: usize,
}

/// The entries of one lane.
#[derive(Clone, Debug)]
pub struct Entries<T> {
    pub(in crate::machine) waiting: BTreeSet<T>,
    /// The one that went last, if entries take turns.
    pub(in crate::machine) last: Option<T>,
}

impl<L, T> Default for FairQueue<L, T> {
    fn default() -> Self {
        Self { lanes: BTreeMap::new(), last_served: None, len: 0 }
    }
}

// === impl FairQueue ===

impl<L: Clone + Ord, T: Clone + Ord> FairQueue<L, T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an entry, and yields whether it is new: one that waits already is not added twice.
    pub fn put(&mut self, lane: &L, thing: T) -> bool {
        let entries = match self.lanes.get_mut(lane) {
            Some(entries) => entries,
            None => {
                self.lanes.entry(lane.clone()).or_insert(Entries { waiting: BTreeSet::new(), last: None })
            }
        };
        let is_new = entries.waiting.insert(thing);
        self.len += usize::from(is_new);
        is_new
    }

    /// Removes an entry, if it waits.
    pub fn remove(&mut self, lane: &L, thing: &T) {
        let Some(entries) = self.lanes.get_mut(lane) else { return };
        self.len -= usize::from(entries.waiting.remove(thing));
        if entries.waiting.is_empty() {
            self.lanes.remove(lane);
        }
    }

    /// The least entry of a lane.
    pub fn first_of(&self, lane: &L) -> Option<&T> {
        self.lanes.get(lane)?.waiting.first()
    }

    #[cfg(debug_assertions)]
    pub fn contains(&self, lane: &L, thing: &T) -> bool {
        self.lanes.get(lane).is_some_and(|entries| entries.waiting.contains(thing))
    }

    /// Takes the next entry.
    pub fn next(&mut self) -> Option<T> {
        self.next_where(|_| true)
    }

    /// Takes the least entry of the next lane that may go. Lanes that may not go keep their turn.
    pub fn next_where(&mut self, may_go: impl Fn(&L) -> bool) -> Option<T> {
        let lane = self.next_lane(may_go)?;
        let thing = self.lanes.get(&lane)?.waiting.first()?.clone();
        self.remove(&lane, &thing);
        self.last_served = Some(lane);
        Some(thing)
    }

    /// Takes an entry of the next lane that may go: the one after that which went last while others of its lane waited.
    pub fn next_in_turn_where(&mut self, may_go: impl Fn(&L) -> bool) -> Option<T> {
        let lane = self.next_lane(may_go)?;
        let entries = self.lanes.get_mut(&lane)?;
        let after = entries.last.as_ref().and_then(|last| {
            let bounds = (Bound::Excluded(last), Bound::Unbounded);
            entries.waiting.range(bounds).next()
        });
        let thing = after.or_else(|| entries.waiting.first())?.clone();
        entries.last = Some(thing.clone());
        self.remove(&lane, &thing);
        self.last_served = Some(lane);
        Some(thing)
    }

    /// The lane whose turn is next, of those that may go.
    pub fn next_lane(&self, may_go: impl Fn(&L) -> bool) -> Option<L> {
        let after = self.last_served.as_ref().and_then(|last| {
            let bounds = (Bound::Excluded(last), Bound::Unbounded);
            self.lanes.range(bounds).map(|(lane, _)| lane).find(|lane| may_go(lane))
        });
        after.or_else(|| self.lanes.keys().find(|lane| may_go(lane))).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_take_turns_and_the_least_goes_first() {
        let mut queue = FairQueue::default();
        for (lane, thing) in [("b", 4), ("a", 3), ("a", 1), ("a", 1), ("c", 5), ("a", 2)] {
            queue.put(&lane, thing);
        }
        queue.remove(&"c", &5);
        queue.remove(&"c", &5);
        assert_eq!(queue.len(), 4);
        let order: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(order, [1, 4, 2, 3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_lane_that_may_not_go_is_passed_over() {
        let mut queue = FairQueue::default();
        for (lane, thing) in [("a", 1), ("a", 2), ("b", 3), ("c", 4)] {
            queue.put(&lane, thing);
        }
        assert_eq!(queue.next_where(|lane| *lane != "a"), Some(3));
        assert_eq!(queue.next_where(|lane| *lane == "a"), Some(1));
        assert_eq!(queue.next_where(|_| false), None);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn entries_that_come_back_at_once_take_turns() {
        let mut queue = FairQueue::default();
        (1..=3).for_each(|thing| assert!(queue.put(&"a", thing)));
        let order: Vec<_> = (0..7)
            .map(|_| {
                let thing = queue.next_in_turn_where(|_| true).expect("three wait");
                queue.put(&"a", thing);
                thing
            })
            .collect();
        assert_eq!(order, [1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn a_thing_that_comes_late_waits_for_one_of_each_other_lane() {
        let mut queue = FairQueue::default();
        for thing in 0..100 {
            queue.put(&"large", thing);
        }
        queue.next();
        queue.put(&"small", 1000);
        assert_eq!(queue.next(), Some(1000));
    }
}
