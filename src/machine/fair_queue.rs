//! Things that wait, by namespace: namespaces take turns, and within one the least goes first.
//!
//! So a namespace that asks for thousands of things does not hold up another one that asks for a few.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// What waits for its turn.
#[derive(Clone, Debug)]
pub struct FairQueue<T> {
    waiting: BTreeMap<Arc<str>, BTreeSet<T>>,
    pub(super) last_served: Option<Arc<str>>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), last_served: None }
    }
}

// === impl Turns ===

impl<T: Copy + Ord> FairQueue<T> {
    pub fn put(&mut self, namespace: &Arc<str>, thing: T) {
        let things = match self.waiting.get_mut(namespace) {
            Some(things) => things,
            None => self.waiting.entry(namespace.clone()).or_default(),
        };
        things.insert(thing);
    }

    /// Does nothing if it does not wait.
    pub fn remove(&mut self, namespace: &str, thing: T) {
        let Some(things) = self.waiting.get_mut(namespace) else { return };
        things.remove(&thing);
        if things.is_empty() {
            self.waiting.remove(namespace);
        }
    }

    /// Takes the next one.
    pub fn next(&mut self) -> Option<T> {
        let namespace = self.next_namespace()?;
        let thing = *self.waiting.get(&namespace)?.first()?;
        self.remove(&namespace, thing);
        self.last_served = Some(namespace);
        Some(thing)
    }

    fn next_namespace(&self) -> Option<Arc<str>> {
        let after = self.last_served.as_deref().and_then(|last| {
            let bounds = (Bound::Excluded(last), Bound::Unbounded);
            self.waiting.range::<str, _>(bounds).next()
        });
        after.or_else(|| self.waiting.first_key_value()).map(|(namespace, _)| namespace.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_take_turns_and_the_least_goes_first() {
        let mut turns = FairQueue::default();
        for (namespace, thing) in [("b", 4), ("a", 3), ("a", 1), ("a", 1), ("c", 5), ("a", 2)] {
            turns.put(&Arc::from(namespace), thing);
        }
        turns.remove("c", 5);
        turns.remove("c", 5);
        let order: Vec<_> = std::iter::from_fn(|| turns.next()).collect();
        assert_eq!(order, [1, 4, 2, 3]);
    }

    #[test]
    fn whoever_comes_late_waits_for_one_of_each_other_namespace() {
        let mut turns = FairQueue::default();
        (0..100).for_each(|thing| turns.put(&Arc::from("large"), thing));
        turns.next();
        turns.put(&Arc::from("small"), 1000);
        assert_eq!(turns.next(), Some(1000));
    }
}
