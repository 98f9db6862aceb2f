//! A queue of lanes, such as namespaces: lanes take turns, and within a lane the least entry goes first.
//!
//! So a namespace with thousands of entries does not hold up another namespace with a few.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Entries that wait for their turn.
#[derive(Clone, Debug)]
pub struct FairQueue<L, T> {
    pub(in crate::machine) lanes: BTreeMap<L, BTreeSet<T>>,
    pub(in crate::machine) last_served: Option<L>,
    len: usize,
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

    /// Adds an entry; one that waits already is not added twice.
    pub fn put(&mut self, lane: &L, thing: T) {
        let things = match self.lanes.get_mut(lane) {
            Some(things) => things,
            None => self.lanes.entry(lane.clone()).or_default(),
        };
        self.len += usize::from(things.insert(thing));
    }

    /// Removes an entry, if it waits.
    pub fn remove(&mut self, lane: &L, thing: &T) {
        let Some(things) = self.lanes.get_mut(lane) else { return };
        self.len -= usize::from(things.remove(thing));
        if things.is_empty() {
            self.lanes.remove(lane);
        }
    }

    #[cfg(debug_assertions)]
    pub fn contains(&self, lane: &L, thing: &T) -> bool {
        self.lanes.get(lane).is_some_and(|things| things.contains(thing))
    }

    /// Takes the next entry.
    pub fn next(&mut self) -> Option<T> {
        let lane = self.next_lane()?;
        let thing = self.lanes.get(&lane)?.first()?.clone();
        self.remove(&lane, &thing);
        self.last_served = Some(lane);
        Some(thing)
    }

    fn next_lane(&self) -> Option<L> {
        let after = self.last_served.as_ref().and_then(|last| {
            let bounds = (Bound::Excluded(last), Bound::Unbounded);
            self.lanes.range(bounds).next()
        });
        after.or_else(|| self.lanes.first_key_value()).map(|(lane, _)| lane.clone())
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
    fn a_thing_that_comes_late_waits_for_one_of_each_other_lane() {
        let mut queue = FairQueue::default();
        (0..100).for_each(|thing| queue.put(&"large", thing));
        queue.next();
        queue.put(&"small", 1000);
        assert_eq!(queue.next(), Some(1000));
    }
}
