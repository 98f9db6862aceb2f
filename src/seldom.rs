//! A line of the log that would come again and again: told once, then when it changes, then rarely.
//!
//! A gateway that is down is called every few seconds, and each failed call would be a line. What is left out is
//! counted in the next line that is told. Each trouble has an owner, such as a namespace, so that whoever has many of
//! them leaves room for those of others.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Display;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Things that go wrong, each with what was told of it.
#[derive(Debug)]
pub struct Seldom {
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    /// By owner and name.
    troubles: BTreeMap<(String, String), Trouble>,
}

/// What was told of one trouble, in a period that begins with a line.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    /// The lines of this period, that it is over included.
    lines: u32,
    /// What was told last; none if that was that it is over.
    digest: Option<u64>,
    left_out: u64,
}

/// The time after which the same is told once more.
const AGAIN: Duration = Duration::from_secs(600);
/// The most lines on one trouble in that time: a text may be another one each time, and each second call may fail.
const LINES_MAX: u32 = 4;
/// The most troubles that are kept in mind. Those beyond are not told: so many at a time have one cause, which the
/// others tell.
const TROUBLES_MAX: usize = 200;
/// The most troubles of one owner.
const OF_OWNER_MAX: usize = 20;
/// The longest number that makes a text another one, such as a status. Longer ones are times, ports and sizes: "the
/// certificate has expired" comes with the time of day.
const DIGITS_MAX: usize = 3;

// === impl Seldom ===

impl Seldom {
    pub const fn new() -> Self {
        Self { told: Mutex::new(Told { troubles: BTreeMap::new() }) }
    }

    /// Whether this trouble is to be told now; if so, how often it was left out since it was told last.
    pub fn is_due(&self, owner: &str, name: &str, text: &str) -> Option<u64> {
        self.told().is_due(owner, name, text, Instant::now())
    }

    /// All is well. Yields whether that is worth a line: trouble was told before.
    pub fn is_over(&self, owner: &str, name: impl Display) -> bool {
        self.told().is_over(owner, name, Instant::now())
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
    fn is_due(&mut self, owner: &str, name: &str, text: &str, now: Instant) -> Option<u64> {
        let digest = digest(text);
        let key = (owner.to_owned(), name.to_owned());
        if let Some(trouble) = self.troubles.get_mut(&key) {
            return trouble.is_due(digest, now);
        }
        if !self.has_room(owner) {
            self.troubles.retain(|_, trouble| !trouble.is_past(now));
        }
        if !self.has_room(owner) {
            return None;
        }
        self.troubles.insert(key, Trouble { since: now, lines: 1, digest: Some(digest), left_out: 0 });
        Some(0)
    }

    fn is_over(&mut self, owner: &str, name: impl Display, now: Instant) -> bool {
        // Nothing is wrong nearly always: then the name is not even put together.
        if self.troubles.is_empty() {
            return false;
        }
        let key = (owner.to_owned(), name.to_string());
        let Some(trouble) = self.troubles.get_mut(&key) else { return false };
        if trouble.is_past(now) {
            let was_told = trouble.digest.is_some();
            self.troubles.remove(&key);
            return was_told;
        }
        trouble.is_over()
    }

    fn has_room(&self, owner: &str) -> bool {
        let of_owner = self.troubles.keys().filter(|(other, _)| other == owner);
        self.troubles.len() < TROUBLES_MAX && of_owner.count() < OF_OWNER_MAX
    }
}

// === impl Trouble ===

impl Trouble {
    fn is_due(&mut self, digest: u64, now: Instant) -> Option<u64> {
        if self.is_past(now) {
            (self.since, self.lines) = (now, 0);
        } else if self.digest == Some(digest) || self.lines >= LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        self.digest = Some(digest);
        Some(std::mem::take(&mut self.left_out))
    }

    /// It stays in mind, so that one that comes and goes is not news each time.
    fn is_over(&mut self) -> bool {
        let is_told = self.digest.is_some() && self.lines < LINES_MAX;
        if is_told {
            self.digest = None;
            self.lines += 1;
        }
        is_told
    }

    fn is_past(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= AGAIN
    }
}

/// A text without its long numbers, as a number.
fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    for part in text.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
        let is_long = part.len() > DIGITS_MAX && part.iter().all(u8::is_ascii_digit);
        if is_long { b"0".hash(&mut hasher) } else { part.hash(&mut hasher) }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nothing() -> Told {
        Told { troubles: BTreeMap::new() }
    }

    const WELL: &str = "";

    /// What is told of these texts of one trouble, each with its second; an empty text stands for success.
    fn told(rows: &[(u64, &str)]) -> Vec<Option<u64>> {
        let (mut told, start) = (nothing(), Instant::now());
        rows.iter()
            .map(|(second, text)| {
                let now = start + Duration::from_secs(*second);
                match *text {
                    WELL => told.is_over("team", "a", now).then_some(0),
                    text => told.is_due("team", "a", text, now),
                }
            })
            .collect()
    }

    #[test]
    fn the_same_is_told_once_then_on_change_then_rarely() {
        let rows = [
            (0, "refused"),
            (1, "refused"),
            (2, "refused"),
            (3, "reset"),
            (4, "reset"),
            (599, "reset"),
            (600, "reset"),
            (601, "reset"),
        ];
        assert_eq!(told(&rows), [Some(0), None, None, Some(2), None, None, Some(2), None]);
    }

    #[test]
    fn the_end_of_a_trouble_is_told_once() {
        let rows =
            [(0, WELL), (1, "refused"), (2, WELL), (3, WELL), (4, "refused"), (700, WELL), (701, WELL)];
        assert_eq!(told(&rows), [None, Some(0), Some(0), None, Some(0), Some(0), None]);
    }

    #[test]
    fn a_trouble_that_comes_and_goes_is_a_few_lines() {
        let rows: Vec<_> =
            (0..500).map(|second| (second, if second % 2 == 0 { "reset" } else { WELL })).collect();
        let count = told(&rows).iter().flatten().count();
        assert_eq!(count, LINES_MAX as usize);
        // That it is over is told after all, if late.
        assert_eq!(
            told(&[&rows[..], &[(601, WELL)]].concat()).last(),
            Some(&None),
            "it was over when told last"
        );
        let ends_badly = [(0, "a"), (1, "b"), (2, "c"), (3, "d"), (4, WELL), (601, WELL), (602, WELL)];
        assert_eq!(told(&ends_badly)[4..], [None, Some(0), None]);
    }

    #[test]
    fn a_text_with_the_time_of_day_is_the_same_text() {
        let expired = |now: u64| {
            format!(
                "certificate expired: verification time {now} (UNIX), but certificate is not valid after 1730000000 ({} seconds ago)",
                now - 1_730_000_000
            )
        };
        assert_eq!(digest(&expired(1_732_700_000)), digest(&expired(1_732_700_061)));
        assert_eq!(digest("127.0.0.1:41234: reset"), digest("127.0.0.1:51235: reset"));
        assert_ne!(digest("HTTP 403"), digest("HTTP 500"));
        assert_ne!(digest("refused"), digest("reset"));
    }

    #[test]
    fn many_troubles_take_bounded_memory_and_lines() {
        let (mut told, start) = (nothing(), Instant::now());
        let due = |told: &mut Told, owners: usize, now| {
            let all = (0..10_000).map(|number| ((number % owners).to_string(), number.to_string()));
            all.filter(|(owner, name)| told.is_due(owner, name, "refused", now).is_some()).count()
        };
        assert_eq!(due(&mut told, 1, start), OF_OWNER_MAX);
        assert_eq!(told.is_due("another", "a", "refused", start), Some(0), "there is room for others");
        assert_eq!(due(&mut told, 100, start), TROUBLES_MAX - OF_OWNER_MAX - 1);
        assert_eq!(due(&mut told, 100, start + AGAIN), TROUBLES_MAX, "later there is room for others");
        assert_eq!(told.troubles.len(), TROUBLES_MAX);
    }

    proptest! {
        /// Whatever comes and goes: what stays wrong is told within a period, what is well is never called wrong for
        /// longer than that, and there are few lines.
        #[test]
        fn few_lines_and_none_too_late(steps in prop::collection::vec((0..200_u64, 0..4_usize), 1..300)) {
            const TEXTS: [&str; 4] = [WELL, "reset", "refused", "timed out"];
            let (mut told, start) = (nothing(), Instant::now());
            let mut lines = Vec::new();
            let (mut second, mut said) = (0, WELL);
            let mut wrong_since = None;
            for (pause, text) in steps {
                second += pause;
                let now = start + Duration::from_secs(second);
                let line = match TEXTS[text] {
                    WELL => told.is_over("team", "a", now),
                    text => told.is_due("team", "a", text, now).is_some(),
                };
                if line {
                    lines.push(second);
                    said = TEXTS[text];
                }
                if (said == WELL) == (TEXTS[text] == WELL) { wrong_since = None; }
                else {
                    let since = *wrong_since.get_or_insert(second);
                    prop_assert!(second - since < AGAIN.as_secs(), "said {:?} for {} s", said, second - since);
                }
            }
            for (index, first) in lines.iter().enumerate() {
                let within = lines[index..].iter().take_while(|line| **line < first + AGAIN.as_secs()).count();
                prop_assert!(within <= 2 * LINES_MAX as usize, "{} lines from {}", within, first);
            }
        }
    }
}
