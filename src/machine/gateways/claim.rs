//! The claim of a gateway's status: made of the gateway, put into conditions, and read back from them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{ConditionStatus, TestiniumGatewayStatus, condition, reason};
use crate::machine::condition_draft::{ConditionDraft, foreign};
use crate::machine::gateways::wait_cause::{WaitCause, cause_told, is_about_credential};
use crate::machine::ids::GatewayKey;
use crate::machine::wait_reason::{Acts, Cause, WaitReason};

/// The claim that a status makes of its gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Claim {
    /// Calls wait.
    Waits(Cause),
    /// The credential has not been read since the last edit.
    BeingRead,
    /// The credential is there, and nothing is known of its worth.
    NotTried,
    /// An answer has shown that the gateway works and takes the credential.
    Proven,
}

/// A claim with the sentence that says it to people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Said {
    pub claim: Claim,
    pub message: String,
}

/// What is known of a gateway, and from where.
#[derive(Clone, Copy, Debug)]
pub enum Knowledge<'a> {
    Waits(WaitCause<'a>),
    /// Nothing has been seen in this term that replaces what the status says.
    Inherited(&'a Said),
    BeingRead,
    NotTried,
    Proven,
}

const BEING_READ: &str = "the credential has not been read yet, or the login with it has not ended";
const NOT_TRIED: &str = "the credential is there, but unproven: Testinium has answered no call with it yet";
const PROVEN: &str = "Testinium has answered, and accepts the credential";

// === impl Claim ===

impl Claim {
    /// The reason of the condition Ready.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waits(cause) => cause.reason.as_str(),
            Self::BeingRead => reason::PROGRESSING,
            Self::NotTried => reason::NOT_TRIED,
            Self::Proven => reason::SUCCEEDED,
        }
    }
}

// === impl Said ===

impl Said {
    /// The claim of a status, if it makes one that this operator knows.
    pub fn read(status: &TestiniumGatewayStatus, name: &str) -> Option<Self> {
        let ready = status.conditions.iter().find(|other| other.type_ == condition::READY)?;
        let claim = match ready.reason.as_str() {
            reason::PROGRESSING => Claim::BeingRead,
            reason::NOT_TRIED => Claim::NotTried,
            reason::SUCCEEDED => Claim::Proven,
            word => Claim::Waits(cause_told(WaitReason::of_word(word)?, &ready.message, name)),
        };
        Some(Self { claim, message: ready.message.clone() })
    }

    /// Whether it is about the credential as it was read, and not about a call.
    pub fn is_about_credential(&self, name: &str) -> bool {
        is_about_credential(&self.message, name)
    }
}

// === impl Knowledge ===

impl Knowledge<'_> {
    pub fn claim(&self) -> Claim {
        match self {
            Self::Waits(cause) => Claim::Waits(cause.cause()),
            Self::Inherited(said) => said.claim,
            Self::BeingRead => Claim::BeingRead,
            Self::NotTried => Claim::NotTried,
            Self::Proven => Claim::Proven,
        }
    }

    /// The claim with its sentence.
    pub fn say(&self, gateway: &GatewayKey) -> Said {
        let message = match self {
            Self::Waits(cause) => cause.in_words(gateway).message,
            Self::Inherited(said) => match said.claim {
                Claim::Waits(cause) if cause.reason == WaitReason::Suspended => {
                    WaitCause::Suspended.in_words(gateway).message
                }
                Claim::Waits(_) => said.message.clone(),
                Claim::BeingRead => BEING_READ.to_owned(),
                Claim::NotTried => NOT_TRIED.to_owned(),
                Claim::Proven => PROVEN.to_owned(),
            },
            Self::BeingRead => BEING_READ.to_owned(),
            Self::NotTried => NOT_TRIED.to_owned(),
            Self::Proven => PROVEN.to_owned(),
        };
        Said { claim: self.claim(), message }
    }
}

/// The status of a gateway.
pub fn build_gateway_status(
    base: &TestiniumGatewayStatus,
    generation: i64,
    said: &Said,
    now: &Time,
) -> TestiniumGatewayStatus {
    use ConditionStatus::{False, True, Unknown};
    let Said { claim, message } = said;
    let word = claim.word();
    let ready = |status| ConditionDraft::new(condition::READY, status, word, message);
    // Ready has the sentence that says what is. The other condition says in its own words what that means.
    let beside = |type_, reason, message: &str| ConditionDraft::new(type_, True, reason, message);
    let drafts = match claim {
        Claim::Proven | Claim::NotTried => vec![ready(True)],
        Claim::BeingRead => vec![
            ready(Unknown),
            beside(condition::RECONCILING, reason::PROGRESSING, "the operator is preparing its calls"),
        ],
        Claim::Waits(cause) => match cause.reason.who_acts() {
            Acts::Person => vec![
                ready(False),
                beside(
                    condition::STALLED,
                    word,
                    "calls go on once somebody has changed what the condition Ready names",
                ),
            ],
            Acts::Time => vec![
                ready(False),
                beside(
                    condition::RECONCILING,
                    reason::PROGRESSING_WITH_RETRY,
                    "the operator tries again by itself while a run waits",
                ),
            ],
            // It is as somebody wants it: who waits for it to be ready would wait for ever.
            Acts::Nobody => vec![ready(True)],
        },
    };
    let since = |type_: &str, status| {
        let before = base.conditions.iter().find(|other| other.type_ == type_ && other.status == status)?;
        Some(before.last_transition_time.0)
    };
    let own = drafts.into_iter().map(|draft| draft.into_condition(since, generation, now));
    let conditions = own.chain(foreign(&base.conditions).cloned()).collect();
    TestiniumGatewayStatus { observed_generation: Some(generation), conditions }
}
