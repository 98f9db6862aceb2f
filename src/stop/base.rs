//! What of a run's status matters once it has been read or written: enough to make the next one from, and to know
//! whether that one says anything new.
//!
//! Ten thousand runs may be waiting for a gateway that is down, and a status in memory is several times its JSON.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::io;

use jiff::Timestamp;

use crate::api::{Condition, ConditionStatus, StopStatus, TestPlanRunStatus, condition};

/// What is kept of a status.
#[derive(Clone, Debug)]
pub struct Base {
    pub start_time: Option<Timestamp>,
    pub stop: Option<Box<StopStatus>>,
    /// Of the condition Stopped.
    reason: Option<Box<str>>,
    since: Box<[Since]>,
    /// Of the whole. Two statuses of one run have the same one by chance once in 2^64 times.
    digest: u64,
    /// The model tells states apart by it, and every comparison is held against it.
    #[cfg(test)]
    pub(super) whole: Box<TestPlanRunStatus>,
}

/// Since when a condition stands as it does.
#[derive(Clone, Debug)]
struct Since {
    type_: &'static str,
    status: ConditionStatus,
    time: Timestamp,
}

// === impl Base ===

impl Base {
    pub fn of(status: &TestPlanRunStatus) -> Self {
        Self {
            start_time: status.start_time.as_ref().map(|time| time.0),
            stop: status.stop.clone().map(Box::new),
            reason: reason(status).map(Box::from),
            since: status.conditions.iter().filter_map(Since::of).collect(),
            digest: digest(status),
            #[cfg(test)]
            whole: Box::new(status.clone()),
        }
    }

    /// Whether this is the status that it was made of.
    pub fn is_of(&self, status: &TestPlanRunStatus) -> bool {
        let same = self.digest == digest(status);
        #[cfg(test)]
        assert_eq!(same, *self.whole == *status, "a digest tells what a comparison does");
        same
    }

    /// Since when a condition stands as it now shall; none if that is new.
    pub fn since(&self, type_: &str, status: ConditionStatus) -> Option<Timestamp> {
        let since = self.since.iter().find(|since| since.type_ == type_ && since.status == status)?;
        Some(since.time)
    }

    /// Whether a status tells of another request, or of another way in which it stands.
    pub fn is_news(&self, status: &TestPlanRunStatus) -> bool {
        self.stop.as_deref() != status.stop.as_ref() || self.reason.as_deref() != reason(status)
    }
}

// === impl Since ===

impl Since {
    fn of(condition: &Condition) -> Option<Self> {
        const TYPES: [&str; 4] =
            [condition::READY, condition::STOPPED, condition::RECONCILING, condition::STALLED];
        let type_ = TYPES.into_iter().find(|type_| *type_ == condition.type_)?;
        Some(Self { type_, status: condition.status, time: condition.last_transition_time.0 })
    }
}

/// The condition that scripts wait for.
pub fn stopped(status: &TestPlanRunStatus) -> Option<&Condition> {
    status.conditions.iter().find(|other| other.type_ == condition::STOPPED)
}

fn reason(status: &TestPlanRunStatus) -> Option<&str> {
    stopped(status).map(|stopped| stopped.reason.as_str())
}

/// A hash of what would be sent: a field that is added later is in it by itself.
fn digest(status: &TestPlanRunStatus) -> u64 {
    struct Digest(DefaultHasher);
    impl io::Write for Digest {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut digest = Digest(DefaultHasher::new());
    // Nothing in a status can fail to become JSON; what would, would fail the same way each time.
    let _ = serde_json::to_writer(&mut digest, status);
    digest.0.finish()
}
