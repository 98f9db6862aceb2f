//! Timers: the moments at which the parts of an owner are looked at again, in their order.
//!
//! Each part keeps its own timer in a field, so that it can be moved; this set finds the first of all.

use std::collections::BTreeSet;

use crate::machine::time::Millis;

/// The timers of one owner, by the keys of its parts.
#[derive(Clone, Debug)]
pub struct Timers<K>(BTreeSet<(Millis, K)>);

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

// === impl Timers ===

impl<K: Clone + Ord> Timers<K> {
    /// Moves the timer of a part, whose field `timer` is. None: it has none any more.
    pub fn set(&mut self, key: &K, timer: &mut Option<Millis>, at: Option<Millis>) {
        if *timer == at {
            return;
        }
        if let Some(before) = std::mem::replace(timer, at) {
            self.0.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.0.insert((at, key.clone()));
        }
    }

    /// Takes a timer that has run out. Its part's field has to be emptied.
    pub fn next_due(&mut self, now: Millis) -> Option<K> {
        self.wake_at().filter(|at| *at <= now)?;
        self.0.pop_first().map(|(_, key)| key)
    }

    /// The moment at which the first timer runs out.
    pub fn wake_at(&self) -> Option<Millis> {
        self.0.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_run_out_in_their_order_and_can_be_moved() {
        let (mut timers, mut a, mut b) = (Timers::default(), None, None);
        timers.set(&"a", &mut a, Some(Millis(5)));
        timers.set(&"b", &mut b, Some(Millis(3)));
        assert_eq!(timers.wake_at(), Some(Millis(3)));
        timers.set(&"b", &mut b, Some(Millis(7)));
        assert_eq!((timers.next_due(Millis(4)), timers.next_due(Millis(7))), (None, Some("a")));
        timers.set(&"b", &mut b, None);
        assert_eq!((b, timers.next_due(Millis(9)), timers.wake_at()), (None, None, None));
    }
}
