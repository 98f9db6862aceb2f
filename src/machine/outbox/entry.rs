//! The writes of one object, and how far they are.

use std::sync::Arc;

use crate::machine::effect::{FinalizerChange, MetadataChange};
use crate::machine::ids::{CleanedRun, CleanupKey, GatewayKey, RunId, Version, WriteSerial};
use crate::machine::time::Millis;

/// The object that is written.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum EntryKey {
    Run(RunId),
    /// Boxed, so that the entries of runs stay small.
    Gateway(Box<GatewayKey>),
    Cleanup(Box<CleanupKey>),
    /// A run that a cleanup rule writes, which need have no record. Its entry ends with the first try: the rule lists
    /// the run again.
    Cleaned(Box<CleanedRun>),
}

/// The urgency of a write: the first variant goes first when slots are scarce.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Urgency {
    /// Outcomes of plans: until they are written, a crash sends their stop once more.
    Outcome,
    Gateway,
    /// The situation of a run that waits.
    Situation,
}

/// The progress of the present write of one object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WriteState {
    Idle,
    InFlight(WriteSerial),
    /// The object is newer than what is known here; at `read_at` at the latest it is read by itself.
    Conflict {
        base: Version,
        read_at: Millis,
    },
    /// Tried again at `until`, without the gateway's words if the API server has refused the status with them.
    Backoff {
        until: Millis,
        without_messages: bool,
    },
}

/// A write of another part of the object than its status.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub what: What,
    pub order: Order,
}

/// The part of an object that a [`Change`] writes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum What {
    Metadata(MetadataChange),
    /// Which others the object has is known when the write begins.
    Finalizer(FinalizerChange),
    Deletion,
}

/// Whether a change goes before the status, or waits until nothing of the status is left to write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    BeforeStatus,
    AfterStatus,
}

/// The next write of an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    Status,
    Change(Change),
}

/// A write under way.
#[derive(Clone, Debug)]
pub struct InFlight {
    pub key: EntryKey,
    /// The version that it replaces.
    pub base: Version,
    pub next: Next,
    /// The status was made without the gateway's words.
    pub without_messages: bool,
}

/// All that is to be written of one object.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(in crate::machine) namespace: Arc<str>,
    pub(in crate::machine) state: WriteState,
    /// The object is being read by itself: the version that the conflict was based on when the reading began.
    pub(in crate::machine) reading: Option<Version>,
    /// Writes in a row that did not succeed.
    pub(in crate::machine) failures: u8,
    /// The moment since which the status is to be written, if it is.
    pub(in crate::machine) status: Option<(Millis, Urgency)>,
    /// Changes of other parts than the status, the oldest first.
    pub(in crate::machine) changes: Vec<Change>,
    /// Its place among the entries whose time has come.
    pub(in crate::machine) queued: Option<(Millis, Urgency)>,
    pub(in crate::machine) timer: Option<Millis>,
}

// === impl InFlight ===

impl InFlight {
    pub fn is_status(&self) -> bool {
        self.next == Next::Status
    }

    /// Whether it was to delete the object.
    pub fn is_deletion(&self) -> bool {
        matches!(&self.next, Next::Change(change) if change.what == What::Deletion)
    }

    /// What it was to do with the finalizer, if that was it.
    pub fn finalizer_change(&self) -> Option<FinalizerChange> {
        match &self.next {
            Next::Change(Change { what: What::Finalizer(change), .. }) => Some(*change),
            Next::Change(_) | Next::Status => None,
        }
    }
}

// === impl Entry ===

impl Entry {
    pub fn new(namespace: Arc<str>) -> Self {
        Self {
            namespace,
            state: WriteState::Idle,
            reading: None,
            failures: 0,
            status: None,
            changes: Vec::new(),
            queued: None,
            timer: None,
        }
    }

    /// Whether the entry may be forgotten.
    pub fn is_empty(&self) -> bool {
        let is_waiting = self.state != WriteState::Idle || self.reading.is_some() || self.status.is_some();
        !is_waiting && self.failures == 0 && self.changes.is_empty()
    }

    /// The moment at which the next write may begin, and its urgency; none while one is under way or meets a conflict.
    pub fn due(&self, now: Millis) -> Option<(Millis, Urgency)> {
        let wanted = match self.changes.first() {
            Some(Change { order: Order::BeforeStatus, .. }) => {
                // It is as urgent as what waits behind it.
                Some((now, self.status.map_or(Urgency::Situation, |(_, urgency)| urgency)))
            }
            Some(Change { order: Order::AfterStatus, .. }) => self.status.or(Some((now, Urgency::Situation))),
            None => self.status,
        };
        match self.state {
            WriteState::InFlight(_) | WriteState::Conflict { .. } => None,
            WriteState::Backoff { until, .. } => wanted.map(|(at, urgency)| (at.max(until), urgency)),
            WriteState::Idle => wanted,
        }
    }

    /// Its next write.
    pub fn next(&self) -> Next {
        match self.changes.first() {
            Some(change) if change.order == Order::BeforeStatus || self.status.is_none() => {
                Next::Change(change.clone())
            }
            Some(_) | None => Next::Status,
        }
    }

    /// A change has been written, or there is nothing left to change.
    pub fn change_is_done(&mut self, ended: &InFlight) {
        if let Next::Change(change) = &ended.next {
            self.drop_change(change);
        }
    }

    /// A change that has failed goes behind the status from now on, which may well be written meanwhile.
    pub fn change_has_failed(&mut self) {
        if let Some(change) = self.changes.first_mut() {
            change.order = Order::AfterStatus;
        }
    }

    /// Drops this change, if it is still the next one.
    pub fn drop_change(&mut self, change: &Change) {
        if self.changes.first().is_some_and(|first| first.what == change.what) {
            self.changes.remove(0);
        }
    }
}
