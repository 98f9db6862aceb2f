//! How the status write of one run stands.

use std::sync::Arc;

use crate::api::TestPlanRunStatus;
use crate::machine::ids::{Millis, RequestSeq, Version, WriteSerial};
use crate::machine::runs::memo::StatusMemo;
use crate::machine::wait_reason::WaitReason;

/// How the status write of a run stands.
#[derive(Clone, Debug)]
pub enum Write {
    Idle,
    InFlight(Box<Flight>),
    /// The object is newer than what is known here, at the latest to be read at `read_at`.
    Conflict {
        base: Version,
        read_at: Option<Millis>,
    },
    /// Tried again at `until`; `without_messages` without the gateway's words.
    Backoff {
        until: Millis,
        without_messages: bool,
    },
}

/// A status write under way.
#[derive(Clone, Debug)]
pub struct Flight {
    pub serial: WriteSerial,
    /// The request that it speaks of.
    pub request_seq: RequestSeq,
    /// What it replaces, and what will stand there.
    pub base: Version,
    pub next: StatusMemo,
    pub status: Arc<TestPlanRunStatus>,
    /// Why the run waits, if it does.
    pub reason: Option<WaitReason>,
    /// It says something that a person would want to be told.
    pub announce: bool,
}

/// Which write goes first when there is a queue.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Urgency {
    Outcome,
    Situation,
}
