//! The claim of a gateway's status: made of the gateway, put into conditions, and read back from them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{ConditionStatus, TestiniumGatewayStatus, condition, reason};
use crate::machine::condition_draft::{ConditionDraft, conditions_of};
use crate::machine::gateways::settings::Settings;
use crate::machine::gateways::wait_cause::{WaitCause, cause_told, is_about_credential, of_the_past};
use crate::machine::ids::GatewayKey;
use crate::machine::limits::{LOOK_LATER, REFUSED_LOGIN_PAUSE};
use crate::machine::view::GatewayView;
use crate::machine::wait_reason::{Acts, Cause, WaitReason, Waiting};

/// The claim that a status makes of its gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Claim {
    /// Calls wait.
    Waits(Cause),
    /// The last call met a trouble. Nobody waits any more, so it is not known whether that is over.
    Past(Cause),
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
    /// A trouble that nobody waits for.
    Past(WaitCause<'a>),
    /// Nothing has been seen in this term that replaces what the status says.
    Inherited(&'a Said),
    /// The same, and nobody waits for what it says any more.
    PastInherited(&'a Said),
    BeingRead,
    NotTried,
    Proven,
}

const BEING_READ: &str = "the credential has not been read yet, or the login with it has not ended";
const NOT_TRIED: &str = "the credential is there, but unproven: Testinium has answered no call with it yet";
const PROVEN: &str = "Testinium has answered, and accepts the credential";

// === impl Claim ===

impl Claim {
    /// The cause for which calls wait, or last waited.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Waits(cause) | Self::Past(cause) => Some(cause),
            Self::BeingRead | Self::NotTried | Self::Proven => None,
        }
    }

    /// The reason of the condition Ready.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waits(cause) | Self::Past(cause) => cause.reason.as_str(),
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
            word => {
                let cause = cause_told(WaitReason::of_word(word)?, &ready.message, name);
                if ready.status == ConditionStatus::Unknown {
                    Claim::Past(cause)
                } else {
                    Claim::Waits(cause)
                }
            }
        };
        Some(Self { claim, message: ready.message.clone() })
    }

    /// The same said of the past: nobody waits for it any more.
    pub fn past(&self, gateway: &GatewayKey) -> Self {
        match self.claim {
            Claim::Waits(cause) if cause.reason != WaitReason::Suspended => {
                let message = of_the_past(&self.message);
                Self { claim: Claim::Past(cause_told(cause.reason, &message, &gateway.name)), message }
            }
            _ => self.clone(),
        }
    }

    /// Whether it is about the credential as it was read, and not about a call.
    pub fn is_about_credential(&self, name: &str) -> bool {
        is_about_credential(&self.message, name)
    }
}

// === impl Knowledge ===

impl Knowledge<'_> {
    pub fn claim(&self, gateway: &GatewayKey) -> Claim {
        match self {
            Self::Waits(cause) => Claim::Waits(cause.cause()),
            Self::Past(_) | Self::PastInherited(_) => self.say(gateway).claim,
            Self::Inherited(said) => said.claim,
            Self::BeingRead => Claim::BeingRead,
            Self::NotTried => Claim::NotTried,
            Self::Proven => Claim::Proven,
        }
    }

    /// The claim with its sentence.
    pub fn say(&self, gateway: &GatewayKey) -> Said {
        let message = match self {
            Self::Past(cause) => {
                let Waiting { cause, message } = cause.in_words(gateway);
                return Said { claim: Claim::Waits(cause), message }.past(gateway);
            }
            Self::PastInherited(said) => return said.past(gateway),
            Self::Waits(cause) => cause.in_words(gateway).message,
            Self::Inherited(said) => match said.claim {
                Claim::Waits(cause) if cause.reason == WaitReason::Suspended => {
                    WaitCause::Suspended.in_words(gateway).message
                }
                Claim::Waits(_) | Claim::Past(_) => said.message.clone(),
                Claim::BeingRead => BEING_READ.to_owned(),
                Claim::NotTried => NOT_TRIED.to_owned(),
                Claim::Proven => PROVEN.to_owned(),
            },
            Self::BeingRead => BEING_READ.to_owned(),
            Self::NotTried => NOT_TRIED.to_owned(),
            Self::Proven => PROVEN.to_owned(),
        };
        Said { claim: self.claim(gateway), message }
    }
}

/// The status of a gateway that says this of it.
pub fn build_gateway_status(
    view: &GatewayView,
    generation: i64,
    said: &Said,
    now: &Time,
) -> TestiniumGatewayStatus {
    use ConditionStatus::{False, True, Unknown};
    let base = &view.status;
    let Said { claim, message } = said;
    let word = claim.word();
    let ready = |status| ConditionDraft::new(condition::READY, status, word, message);
    // Ready has the sentence that says what is. The other condition says in its own words what that means.
    let beside = |type_, reason, message: &str| ConditionDraft::new(type_, True, reason, message);
    let drafts = match claim {
        Claim::Proven | Claim::NotTried => vec![ready(True)],
        Claim::Past(_) => vec![ready(Unknown)],
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
                beside(condition::RECONCILING, reason::PROGRESSING_WITH_RETRY, &tries_again(view, said)),
            ],
            // It is as somebody wants it: who waits for it to be ready would wait for ever.
            Acts::Nobody => vec![ready(True)],
        },
    };
    let conditions = conditions_of(drafts, &base.conditions, generation, now);
    TestiniumGatewayStatus { observed_generation: Some(generation), conditions }
}

/// How soon the operator tries again. It names the longest pauses: the present one would be another at each try.
fn tries_again(view: &GatewayView, said: &Said) -> String {
    let longest = if said.is_about_credential(&view.key.name) {
        REFUSED_LOGIN_PAUSE
    } else {
        Settings::of(&view.spec).backoff.max
    };
    match [longest, LOOK_LATER].map(|pause| pause.0 / 1_000) {
        [waiting, idle] if waiting == idle => {
            format!("the operator tries again by itself, at least every {idle} s")
        }
        [waiting, idle] => format!(
            "the operator tries again by itself, at least every {waiting} s while a run waits, and else every {idle} s"
        ),
    }
}
