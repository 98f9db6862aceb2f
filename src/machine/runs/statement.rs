//! A status on its way to the API server, with the facts that it states.
//!
//! The reply to a write speaks of what was written, and of nothing that has happened since: so all that the reply will
//! need is put here when the write begins.

use crate::machine::ids::RequestSeq;
use crate::machine::runs::events::Announcement;
use crate::machine::runs::memo::StatusMemo;
use crate::machine::wait_reason::Cause;

/// A status that is being written.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The request that it is about.
    pub request_seq: RequestSeq,
    /// The memo that will be kept of it.
    pub memo: StatusMemo,
    /// The cause for which the run waits, if it does.
    pub cause: Option<Cause>,
    /// Whether it tells of outcomes that the status before did not tell.
    pub has_outcomes: bool,
    /// Whether it calls a stop complete to which plans had been added since it was complete before.
    pub closes_again: bool,
    /// The events that are made once it is known to be written: what it says for the first time.
    pub announcements: Vec<Announcement>,
    /// Whether one of them is about the first bad answer to a plan.
    pub tells_bad_answer: bool,
}
