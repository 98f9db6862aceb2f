//! A status on its way to the API server, with the facts that it states.

use std::sync::Arc;

use crate::api::TestPlanRunStatus;
use crate::machine::ids::RequestSeq;
use crate::machine::runs::memo::StatusMemo;
use crate::machine::wait_reason::WaitReason;

/// A status that is being written.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The request that it is about.
    pub request_seq: RequestSeq,
    /// The memo that will be kept of it.
    pub memo: StatusMemo,
    pub status: Arc<TestPlanRunStatus>,
    /// The reason for which the run waits, if it does.
    pub reason: Option<WaitReason>,
    /// Whether it tells of outcomes that the status before did not tell.
    pub has_outcomes: bool,
    /// Whether it says something that an event should tell a person.
    pub is_transition: bool,
}
