//! All that a status is made from.

use jiff::Timestamp;

use crate::machine::ids::{PlanId, RunKey};
use crate::machine::runs::memo::StatusMemo;
use crate::machine::runs::observed::Observed;
use crate::machine::runs::plan::Plan;
use crate::machine::runs::request::{Request, Withdrawal};
use crate::machine::wait_reason::Waiting;

/// All that is known of a run.
#[derive(Clone, Copy, Debug)]
pub struct StatusInput<'a> {
    pub generation: i64,
    /// The number of different plans in the spec, where no stop was asked for.
    pub total: usize,
    /// The memo of the status that was last read or written.
    pub memo: &'a StatusMemo,
    pub key: &'a RunKey,
    /// The object's creationTimestamp.
    pub created: Option<Timestamp>,
    pub observed: &'a Observed,
    pub request: Option<&'a Request>,
    pub withdrawal: Option<&'a Withdrawal>,
    pub plans: &'a [Plan],
    /// Plans of the spec that the stop does not cover.
    pub unasked: &'a [PlanId],
    pub waiting: Option<&'a Waiting>,
    /// Plans were asked for since the stop was complete, so that it is complete once more.
    pub reopened: bool,
    /// The gateway's words are left out: the API server refused the status with them.
    pub without_messages: bool,
    /// The seconds after its request at which the stop of a plan is given up.
    pub deadline_seconds: i64,
    /// What keeps the object from being deleted after its TTL.
    pub kept_for: Option<&'a str>,
    /// Why the deletion policy is not in effect.
    pub deletion_skipped: Option<&'a str>,
    pub now: Timestamp,
}
