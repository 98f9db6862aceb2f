//! The status of a gateway: the moment at which it is due, and what of it is at the API server.
//!
//! A status is written when its claim changes, and only once the change has stood for a moment: an outage that comes and
//! goes must not become a stream of writes. If only the words change and not the reason, the pauses between writes grow.
//! A status that is not what was written, because somebody has wiped or changed it or because a write of an earlier
//! term was late, is written again.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{Condition, TestiniumGatewayStatus, condition};
use crate::machine::gateways::claim::{Claim, Knowledge, Said, build_gateway_status};
use crate::machine::ids::Version;
use crate::machine::input::WriteResult;
use crate::machine::limits::{
    BETWEEN_GATEWAY_WRITES, GATEWAY_STATUS_SETTLES, REASON_SETTLES, TEXT_PAUSE_MAX,
};
use crate::machine::time::Millis;
use crate::machine::view::GatewayView;
use crate::machine::wait_reason::{Cause, WaitReason};

/// The published state of a gateway.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The cause for which runs wait, if they do.
    pub cause: Lasting<Option<Cause>>,
    /// The cause that was last told to the runs that wait.
    pub waiters_notified: Option<Option<Cause>>,
    /// The claim that the status should make; none while there is no object.
    pub claim: Lasting<Option<Claim>>,
    /// What the status said when the object was first seen in this term, until something is seen that replaces it.
    pub inherited: Option<Box<Said>>,
    /// The status at the API server, as far as it is known.
    pub told: Told,
    /// The status that is being written.
    pub writing: Option<Told>,
    pub not_before: Millis,
    /// Changes of the text alone that were written in a row.
    pub texts: u8,
    /// The moment from which on another one may be written.
    pub text_at: Millis,
}

/// A value with the moment since which it has stood, and the moment since which its reason has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lasting<T> {
    pub value: T,
    pub since: Millis,
    pub reason_since: Millis,
}

/// A status at the API server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    pub version: Version,
    pub generation: Option<i64>,
    /// None if it makes no claim, or is not as this operator would write it.
    pub claim: Option<Claim>,
    /// Digest of the part that this operator writes.
    pub digest: u64,
}

// === impl Lasting ===

impl<T: Copy + PartialEq> Lasting<T> {
    fn set(&mut self, value: T, has_same_reason: bool, now: Millis) {
        if !has_same_reason {
            self.reason_since = now;
        }
        if self.value != value {
            (self.value, self.since) = (value, now);
        }
    }
}

// === impl Published ===

impl Published {
    /// Begins anew for another object: its status says what has been published of it.
    pub fn restart(&mut self, view: &GatewayView, now: Millis) {
        let is_present = view.status.observed_generation == Some(view.generation);
        let said = Said::read(&view.status, &view.key.name).filter(|said| said.claim != Claim::BeingRead);
        *self = Self {
            cause: Lasting { value: self.cause.value, since: now, reason_since: now },
            inherited: said.filter(|_| is_present).map(Box::new),
            told: Told::of(view),
            ..Self::default()
        };
    }

    /// Takes in the status of an object that was seen. If it is neither what was there nor what is being written,
    /// somebody else has written it, and it is written again, unless it turns out to be what would be written.
    pub fn observe(&mut self, view: &GatewayView) {
        if view.version <= self.told.version {
            return;
        }
        let digest = digest(&view.status);
        let known = [Some(self.told), self.writing].into_iter().flatten().find(|told| told.digest == digest);
        let told = known.unwrap_or(Told { claim: None, digest, ..Told::default() });
        self.told = Told { version: view.version, ..told };
    }

    /// Publishes the cause for which runs wait, and the claim that the status should make.
    pub fn publish(&mut self, cause: Option<Cause>, claim: Option<Claim>, now: Millis) {
        let is_same_reason = reason_of(self.cause.value) == reason_of(cause);
        self.cause.set(cause, is_same_reason, now);
        let is_same_word = self.claim.value.map(Claim::word) == claim.map(Claim::word);
        self.claim.set(claim, is_same_word, now);
    }

    /// The moment at which the runs that wait are to be told of a changed cause. One whose words change all the time
    /// holds up no change of the reason.
    pub fn notify_at(&self) -> Option<Millis> {
        let Lasting { value, since, reason_since } = self.cause;
        match self.waiters_notified {
            Some(told) if told == value => None,
            Some(told) if reason_of(told) == reason_of(value) => Some(since + REASON_SETTLES),
            Some(_) | None => Some(reason_since + REASON_SETTLES),
        }
    }

    /// The moment from which on the status is to be written, if it does not say what it should.
    pub fn due(&self, generation: i64) -> Option<Millis> {
        let claim = self.claim.value.filter(|_| self.writing.is_none())?;
        if self.told.says(generation, claim) {
            return None;
        }
        let at = match self.told.claim {
            // Most credentials are read at once.
            None if claim == Claim::BeingRead => self.claim.since + GATEWAY_STATUS_SETTLES,
            None => Millis(0),
            Some(_) if self.is_text(generation, claim) => {
                (self.claim.since + GATEWAY_STATUS_SETTLES).max(self.text_at)
            }
            Some(_) => self.claim.reason_since + GATEWAY_STATUS_SETTLES,
        };
        Some(at.max(self.not_before))
    }

    /// Whether the status differs from this claim in its words alone.
    fn is_text(&self, generation: i64, claim: Claim) -> bool {
        self.told.generation == Some(generation)
            && self.told.claim.is_some_and(|told| told.word() == claim.word())
    }

    /// Begins to write a status with this claim. Yields whether there is anything to write.
    pub fn begin_write(&mut self, status: &TestiniumGatewayStatus, claim: Claim, now: Millis) -> bool {
        let next = Told {
            version: Version(0),
            generation: status.observed_generation,
            claim: Some(claim),
            digest: digest(status),
        };
        if next.digest == self.told.digest {
            self.told = Told { version: self.told.version, ..next };
            return false;
        }
        if !status.observed_generation.is_some_and(|generation| self.is_text(generation, claim)) {
            self.texts = 0;
        } else if now >= self.text_at + TEXT_PAUSE_MAX {
            self.texts = 1;
        } else {
            self.texts = self.texts.saturating_add(1);
        }
        self.writing = Some(next);
        true
    }

    /// The write has ended.
    pub fn end_write(&mut self, result: WriteResult, now: Millis) {
        self.not_before = now + BETWEEN_GATEWAY_WRITES;
        // Doubled ten times, it is longer than the longest pause.
        let pause = Millis(BETWEEN_GATEWAY_WRITES.0 << self.texts.min(10));
        self.text_at = now + pause.min(TEXT_PAUSE_MAX);
        match (result, self.writing.take()) {
            // Something newer may have been seen already.
            (WriteResult::Done(version), Some(written)) if self.told.version <= version => {
                self.told = Told { version, ..written };
            }
            (
                WriteResult::Done(_)
                | WriteResult::Gone
                | WriteResult::Conflict
                | WriteResult::Refused(_)
                | WriteResult::Failed { .. },
                _,
            ) => {}
        }
    }
}

pub(super) fn reason_of(cause: Option<Cause>) -> Option<WaitReason> {
    cause.map(|cause| cause.reason)
}

// === impl Told ===

impl Told {
    /// The status of an object as it was read.
    fn of(view: &GatewayView) -> Self {
        let status = &view.status;
        let digest = self::digest(status);
        let is_whole = |said: &Said| {
            let now = Time(Timestamp::UNIX_EPOCH);
            let said = Knowledge::Inherited(said).say(&view.key);
            let again = status.observed_generation.map(|of| build_gateway_status(view, of, &said, &now));
            again.is_some_and(|again| self::digest(&again) == digest)
        };
        let claim = Said::read(status, &view.key.name).filter(is_whole).map(|said| said.claim);
        Self { version: view.version, generation: status.observed_generation, claim, digest }
    }

    fn says(&self, generation: i64, claim: Claim) -> bool {
        self.generation == Some(generation) && self.claim == Some(claim)
    }
}

/// Digest of the part of a status that this operator writes. The time since which a condition has held counts for
/// nothing: it is taken over from what is there.
fn digest(status: &TestiniumGatewayStatus) -> u64 {
    let TestiniumGatewayStatus { observed_generation, conditions } = status;
    let mut hash = DefaultHasher::new();
    observed_generation.hash(&mut hash);
    let is_own = |other: &&Condition| condition::OWN.contains(&other.type_.as_str());
    let mut own: Vec<_> = conditions.iter().filter(is_own).collect();
    own.sort_by(|a, b| a.type_.cmp(&b.type_));
    for other in own {
        let Condition { type_, status, reason, message, last_transition_time: _, observed_generation } =
            other;
        (type_, status, reason, message, observed_generation).hash(&mut hash);
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_before_another_text_grows_and_never_shrinks() {
        let pause = |texts| {
            let mut published = Published { texts, ..Published::default() };
            published.end_write(WriteResult::Conflict, Millis(0));
            published.text_at
        };
        assert_eq!([0, 1, 2].map(pause), [5_000, 10_000, 20_000].map(Millis));
        assert!((0..u8::MAX).all(|texts| pause(texts) <= pause(texts + 1)));
        assert_eq!(pause(u8::MAX), TEXT_PAUSE_MAX);
    }
}
