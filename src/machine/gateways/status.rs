//! The status of a gateway: its content, and the moment at which it is due.
//!
//! A status is written when the reason changes, not when only a text does, and only once the change has stood for a
//! moment: an outage that comes and goes must not become a stream of writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{ConditionStatus, TestiniumGatewayStatus, condition, reason};
use crate::machine::condition_draft::{ConditionDraft, foreign};
use crate::machine::input::WriteResult;
use crate::machine::limits::{BETWEEN_GATEWAY_WRITES, GATEWAY_STATUS_SETTLES};
use crate::machine::time::Millis;
use crate::machine::wait_reason::{Acts, WaitReason, Waiting};

/// The published state of a gateway.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The reason for which runs wait, if they do, and the moment since which that is so.
    pub reason: Option<WaitReason>,
    pub since: Millis,
    /// The reason that was last told to the runs that wait.
    pub waiters_notified: Option<Option<WaitReason>>,
    /// Generation and reason that the status says.
    pub written: Option<(i64, String)>,
    pub not_before: Millis,
}

// === impl Published ===

impl Published {
    /// Begins anew for another object: its status says what has been published of it.
    pub fn restart(&mut self, status: &TestiniumGatewayStatus, now: Millis) {
        let ready = status.conditions.iter().find(|other| other.type_ == condition::READY);
        let written = ready.and_then(|ready| Some((status.observed_generation?, ready.reason.clone())));
        *self = Self { reason: self.reason, since: now, written, ..Self::default() };
    }

    /// The moment from which on the status is to be written, if it does not say what it should.
    pub fn due(&self, generation: i64) -> Option<Millis> {
        let is_right = |(g, word): &(i64, String)| *g == generation && word == ready_reason(self.reason);
        if self.written.as_ref().is_some_and(is_right) {
            return None;
        }
        let settles = if self.written.is_none() { Millis(0) } else { GATEWAY_STATUS_SETTLES };
        Some((self.since + settles).max(self.not_before))
    }

    /// The status is being written for this generation of the object.
    pub fn begin_write(&mut self, generation: i64) {
        self.written = Some((generation, ready_reason(self.reason).to_owned()));
    }

    /// The write has ended.
    pub fn end_write(&mut self, result: WriteResult, now: Millis) {
        self.not_before = now + BETWEEN_GATEWAY_WRITES;
        match result {
            WriteResult::Done(_) | WriteResult::Gone => {}
            WriteResult::Conflict | WriteResult::Refused(_) | WriteResult::Failed { .. } => {
                self.written = None;
            }
        }
    }
}

/// The reason of the condition Ready.
fn ready_reason(reason: Option<WaitReason>) -> &'static str {
    reason.map_or(reason::SUCCEEDED, WaitReason::as_str)
}

/// The status of a gateway.
pub fn build_gateway_status(
    base: &TestiniumGatewayStatus,
    generation: i64,
    waiting: Option<&Waiting>,
    now: &Time,
) -> TestiniumGatewayStatus {
    use ConditionStatus::{False, True};
    let mut drafts = Vec::new();
    let mut draft = |type_, status, reason, message: &str| {
        drafts.push(ConditionDraft::new(type_, status, reason, message))
    };
    match waiting {
        None => draft(
            condition::READY,
            True,
            reason::SUCCEEDED,
            "the credential is there, and no call has failed since",
        ),
        Some(Waiting { reason, message }) => {
            let word = reason.as_str();
            draft(condition::READY, False, word, message);
            match reason.who_acts() {
                Acts::Person => draft(condition::STALLED, True, word, message),
                Acts::Time => draft(condition::RECONCILING, True, reason::PROGRESSING_WITH_RETRY, message),
                Acts::Nobody => {}
            }
        }
    }
    let since = |type_: &str, status| {
        let before = base.conditions.iter().find(|other| other.type_ == type_ && other.status == status)?;
        Some(before.last_transition_time.0)
    };
    let own = drafts.into_iter().map(|draft| draft.into_condition(since, generation, now));
    let conditions = own.chain(foreign(&base.conditions).cloned()).collect();
    TestiniumGatewayStatus { observed_generation: Some(generation), conditions }
}
