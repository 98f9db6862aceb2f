//! How gateways stand: told to the runs that wait for them, and written into their own status.
//!
//! A status speaks when the reason changes, not when a text does, and not of a change that has not stood for a moment:
//! an outage that flaps must not become a stream of writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{ConditionStatus, TestiniumGatewayStatus, condition, reason};
use crate::machine::condition_draft::ConditionDraft;
use crate::machine::gateways::gateway::Gateway;
use crate::machine::ids::{GatewayKey, Millis, Now, WriteSerial};
use crate::machine::input::{Effect, Target, WriteResult};
use crate::machine::runs::status::seconds;
use crate::machine::wait_reason::{Acts, WaitReason, Waiting};
use crate::machine::{Machine, REASON_SETTLES, WRITES_MAX};

/// What a gateway's status says, and since when it should.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// Why runs wait, if they do, and since when that is so.
    pub reason: Option<WaitReason>,
    pub since: Millis,
    /// The runs that wait have been told this reason.
    pub(in crate::machine) waiters_notified: Option<Option<WaitReason>>,
    /// Generation and reason that status says.
    pub(in crate::machine) written: Option<(i64, String)>,
    pub(in crate::machine) writing: Option<WriteSerial>,
    pub(in crate::machine) not_before: Millis,
}

/// How long a change stands before a gateway's status says it.
const SETTLES: Millis = Millis(1_000);
/// Least time between two writes of one gateway.
const PAUSE: Millis = Millis(5_000);
const REFUSED: Millis = Millis(300_000);

// === impl Told ===

impl Published {
    /// Another object: what its status says is what has been told of it.
    pub fn restart(&mut self, status: &TestiniumGatewayStatus, now: Millis) {
        let ready = status.conditions.iter().find(|other| other.type_ == condition::READY);
        let written = ready.and_then(|ready| Some((status.observed_generation?, ready.reason.clone())));
        *self = Self { reason: self.reason, since: now, written, ..Self::default() };
    }

    /// When the status is to be written, if it does not say what it should.
    fn due(&self, generation: i64) -> Option<Millis> {
        let right = self
            .written
            .as_ref()
            .is_some_and(|(g, word)| *g == generation && word == ready_reason(self.reason));
        if right || self.writing.is_some() {
            return None;
        }
        let settles = if self.written.is_none() { Millis(0) } else { SETTLES };
        Some((self.since + settles).max(self.not_before))
    }
}

// === impl Gateway ===

impl Gateway {
    /// When there will be something to say by itself.
    pub fn status_due_at(&self) -> Option<Millis> {
        let published = self
            .view
            .as_ref()
            .filter(|_| !self.credential.is_unread())
            .and_then(|view| self.published.due(view.generation));
        let notice = (self.published.waiters_notified != Some(self.published.reason) && self.awaited())
            .then(|| self.published.since + REASON_SETTLES);
        [published, notice].into_iter().flatten().min()
    }
}

// === impl Machine ===

impl Machine {
    /// Looks at how every gateway stands, tells the runs that wait of it, and writes what its status should say.
    pub(in crate::machine) fn publish_gateways(&mut self, now: Now, out: &mut Vec<Effect>) {
        let listed = self.gateways_listed();
        let changed: Vec<_> = self
            .gateways
            .iter()
            .map(|gateway| (gateway, gateway.wait_reason(listed)))
            .filter(|(gateway, reason)| {
                gateway.published.reason != *reason
                    || gateway.status_due_at().is_some_and(|at| at <= now.mono)
            })
            .map(|(gateway, reason)| (gateway.key.clone(), reason))
            .collect();
        for (key, reason) in changed {
            let mut to_notify = Vec::new();
            self.gateways.edit(&key, |gateway| {
                let published = &mut gateway.published;
                if published.reason != reason {
                    (published.reason, published.since) = (reason, now.mono);
                }
                if published.waiters_notified != Some(reason) && published.since + REASON_SETTLES <= now.mono
                {
                    published.waiters_notified = Some(reason);
                    to_notify = gateway.queue.waiters().collect();
                }
            });
            to_notify.sort_unstable();
            to_notify.dedup();
            to_notify.into_iter().for_each(|run| self.reschedule(run, now));
            self.write_gateway(&key, now, out);
        }
    }

    pub(in crate::machine) fn wrote_gateway(
        &mut self,
        key: &GatewayKey,
        serial: WriteSerial,
        result: WriteResult,
        now: Millis,
    ) {
        self.writes = self.writes.saturating_sub(1);
        self.gateways.edit(key, |gateway| {
            let published = &mut gateway.published;
            if published.writing != Some(serial) {
                return;
            }
            published.writing = None;
            published.not_before = now + PAUSE;
            match result {
                WriteResult::Done(_) | WriteResult::Gone => {}
                // The watch brings the newer object meanwhile.
                WriteResult::Conflict => published.written = None,
                WriteResult::Refused(_) => {
                    published.written = None;
                    published.not_before = now + REFUSED;
                }
                WriteResult::Failed { retry_after } => {
                    published.written = None;
                    published.not_before = now + PAUSE.max(retry_after.unwrap_or_default());
                }
            }
        });
    }

    fn write_gateway(&mut self, key: &GatewayKey, now: Now, out: &mut Vec<Effect>) {
        let listed = self.gateways_listed();
        let Some(gateway) = self.gateways.get(key) else { return };
        let Some(view) = gateway.view.clone().filter(|_| !gateway.credential.is_unread()) else { return };
        let due = gateway.published.due(view.generation).is_some_and(|at| at <= now.mono);
        if !due || self.writes >= WRITES_MAX || self.draining {
            return;
        }
        let waiting = gateway.wait_cause(listed).map(|cause| cause.told_of(&key.name));
        let status = gateway_status(&view.status, view.generation, waiting.as_ref(), &seconds(now.wall));
        self.next += 1;
        let serial = WriteSerial(self.next);
        self.gateways.edit(key, |gateway| {
            gateway.published.written =
                Some((view.generation, ready_reason(gateway.published.reason).to_owned()));
            gateway.published.writing = Some(serial);
        });
        self.writes += 1;
        let to = Target { key: view.key.clone(), uid: view.uid.clone(), version: view.version };
        out.push(Effect::WriteGateway { serial, to, status: Box::new(status) });
    }
}

/// The reason of the condition Ready.
fn ready_reason(reason: Option<WaitReason>) -> &'static str {
    reason.map_or(reason::SUCCEEDED, WaitReason::as_str)
}

/// The status of a gateway.
fn gateway_status(
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
    let conditions = drafts.into_iter().map(|draft| draft.into_condition(since, generation, now)).collect();
    TestiniumGatewayStatus { observed_generation: Some(generation), conditions }
}
