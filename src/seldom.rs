//! A line of the log that would come again and again: told once, then when it changes, then rarely.
//!
//! A gateway that is down is called every few seconds, and each failed call would be a line. What is left out is
//! counted in the next line that is told.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Things that go wrong, each under a name, with what was told of each.
#[derive(Debug)]
pub struct Seldom {
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    by_name: BTreeMap<String, Trouble>,
}

#[derive(Debug)]
struct Trouble {
    digest: u64,
    at: Instant,
    left_out: u64,
}

/// The time after which the same is told once more.
const AGAIN: Duration = Duration::from_secs(600);
/// The most troubles that are kept in mind. Those beyond are not told: so many at a time have one cause, which the
/// others tell.
const TROUBLES_MAX: usize = 200;

// === impl Seldom ===

impl Seldom {
    pub const fn new() -> Self {
        Self { told: Mutex::new(Told { by_name: BTreeMap::new() }) }
    }

    /// Whether this trouble is to be told now; if so, how often it was left out since it was told last.
    pub fn is_due(&self, name: &str, text: &str) -> Option<u64> {
        self.told().is_due(name, text, Instant::now())
    }

    /// All is well. Yields whether trouble was told before: then this is worth a line as well.
    pub fn is_over(&self, name: &str) -> bool {
        self.told().by_name.remove(name).is_some()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Seldom {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Told ===

impl Told {
    fn is_due(&mut self, name: &str, text: &str, now: Instant) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let digest = hasher.finish();
        if let Some(trouble) = self.by_name.get_mut(name) {
            if trouble.digest == digest && now.saturating_duration_since(trouble.at) < AGAIN {
                trouble.left_out += 1;
                return None;
            }
            (trouble.digest, trouble.at) = (digest, now);
            return Some(std::mem::take(&mut trouble.left_out));
        }
        if self.by_name.len() >= TROUBLES_MAX {
            self.by_name.retain(|_, trouble| now.saturating_duration_since(trouble.at) < AGAIN);
        }
        if self.by_name.len() >= TROUBLES_MAX {
            return None;
        }
        self.by_name.insert(name.to_owned(), Trouble { digest, at: now, left_out: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_then_on_change_then_rarely() {
        let mut told = Told { by_name: BTreeMap::new() };
        let start = Instant::now();
        let rows = [
            (0, "refused", Some(0)),
            (1, "refused", None),
            (2, "refused", None),
            (3, "reset", Some(2)),
            (4, "reset", None),
            (602, "reset", None),
            (603, "reset", Some(2)),
            (604, "reset", None),
        ];
        for (second, text, expected) in rows {
            assert_eq!(told.is_due("a", text, start + Duration::from_secs(second)), expected, "{second}");
        }
        assert_eq!(told.is_due("b", "reset", start), Some(0), "another one");
    }

    #[test]
    fn the_end_of_a_trouble_is_told_once() {
        let seldom = Seldom::new();
        assert!(!seldom.is_over("a"));
        assert_eq!(seldom.is_due("a", "refused"), Some(0));
        assert!(seldom.is_over("a") && !seldom.is_over("a"));
        assert_eq!(seldom.is_due("a", "refused"), Some(0), "it is news again");
    }

    #[test]
    fn many_troubles_take_bounded_memory_and_lines() {
        let mut told = Told { by_name: BTreeMap::new() };
        let start = Instant::now();
        let due = |told: &mut Told, now| {
            (0..10_000).filter(|number| told.is_due(&number.to_string(), "refused", now).is_some()).count()
        };
        assert_eq!(due(&mut told, start), TROUBLES_MAX);
        assert_eq!(due(&mut told, start + AGAIN), TROUBLES_MAX, "later there is room for others");
        assert_eq!(told.by_name.len(), TROUBLES_MAX);
    }
}
