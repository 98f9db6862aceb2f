//! The meaning of an answer, for the plans of the call and for the gateway: the table of `docs/verdicts.md`.
//!
//! A pure function of the answer, the plans that were asked for, and whether the gateway's address has answered in
//! Testinium's form before. It fails closed: nothing but Testinium's own form without an error is
//! [`Outcome::Accepted`], and an answer in another form is somebody else's word, which says nothing of a plan.
//!
//! **R17.** Refused credentials. A 401 is the credential's: the gate shuts, the Secret is read, and a login is made
//! anew; another version of the Secret opens the gate at once. A 403 may be the account's or one plan's: it shuts the
//! gate and strikes the plans, and only a plan that is alone and to blame for it (R16) is Rejected. Failures of a
//! credential are forgotten only by an answer in Testinium's own form that a valid credential alone can get: a login
//! that works and a token that does not must not chase each other.
//! Tests: `h12_one_of_two_calls_is_unauthorized`, `h28_a_rotated_token_is_found_however_the_old_one_is_refused`,
//! `forbidden_is_a_verdict_only_in_testiniums_form_and_only_if_others_are_served`,
//! `only_testiniums_own_word_proves_anything`, `an_answer_proves_what_the_reference_says`; the reference checks after
//! every input that nothing else proves a credential.

use std::borrow::Cow;

use crate::api::{Outcome, PlanReason};
use crate::machine::answer::{Answer, Body, Envelope, NoAnswer, Reply, ReportedError};
use crate::machine::call::Settled;
use crate::machine::ids::PlanId;
use crate::machine::limits::STRIKES;
use crate::machine::time::Millis;
use crate::machine::wait_reason::{NO_SUCH_HOST, NOT_CONNECTED};
use crate::machine::words::Sense;

/// The meaning of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The same for every plan of the call.
    Settled(Settled),
    /// For the plans that the answer names; the others are asked for again.
    Named(Vec<(PlanId, Settled)>),
    /// Something is wrong with one plan or several, and only smaller calls will tell with which.
    Split(Parts),
    /// Nothing about any plan: the gateway has to be waited for.
    Wait(Trouble),
}

/// Into how many calls a call is split.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Parts {
    /// Two: mostly one plan is wrong, which halving finds with the fewest calls.
    #[default]
    Halves,
    /// As many as each of them then has plans: for what takes long to find out.
    Several,
    /// Each plan alone: mostly all of them are wrong.
    Singles,
}

// === impl Parts ===

impl Parts {
    /// The number of plans in each part, if so many are split.
    pub fn size_of(self, plans: usize) -> usize {
        let size = match self {
            Self::Halves => plans.div_ceil(2),
            Self::Several => plans.isqrt(),
            Self::Singles => 1,
        };
        size.max(1)
    }
}

/// The trouble for which the whole gateway has to be waited for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    pub kind: TroubleKind,
    /// The trouble in words, which stay the same while the trouble does.
    pub text: Cow<'static, str>,
    pub retry_after: Option<Millis>,
    /// The number of strikes against the plans of the call, which may be the cause; at `STRIKES` they are to blame,
    /// if the gateway answers others. Zero: the trouble is the gateway's alone.
    pub strikes: u8,
    /// The plans may have been stopped all the same.
    pub maybe_stopped: bool,
    /// The credential may be the cause: a login is made anew.
    pub doubts_credential: bool,
    /// The outcome of a plan that is to blame for it, if it has one.
    pub blamed: Option<Settled>,
}

/// The kind of trouble, by the party that has to act.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum TroubleKind {
    /// The credential is not accepted.
    Unauthorized,
    /// The credential is accepted for nothing so far.
    Forbidden,
    /// The gateway does not work, or can't be reached.
    Down,
    /// The gateway object says something wrong, such as an address that redirects.
    Misconfigured,
}

/// Judges an answer to a call for `plans`. `spoken`: the gateway's address has answered in Testinium's form since it
/// was last edited.
pub fn verdict(answer: &Answer, plans: &[PlanId], spoken: bool) -> Verdict {
    match answer {
        Answer::Lost(no_answer) => Verdict::Wait(lost(*no_answer)),
        Answer::Reply(reply) => replied(reply, plans, spoken),
    }
}

/// Whether an answer with this verdict shows that the gateway works and takes the credential: only Testinium's own
/// word does.
pub fn proves(answer: &Answer, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Settled(_) | Verdict::Named(_) | Verdict::Split(_) => answer.is_own(),
        Verdict::Wait(_) => false,
    }
}

fn replied(reply: &Reply, plans: &[PlanId], spoken: bool) -> Verdict {
    use Body::{Envelope, Json, Other};
    use TroubleKind::{Down, Misconfigured};
    let several = plans.len() > 1;
    match (reply.status, &reply.body) {
        (200..=202, Envelope(envelope)) => {
            verdict_of_errors(reply, envelope, plans).unwrap_or_else(|| success(envelope, several))
        }
        (200..=299, Envelope(_) | Json) => unrecognized(several),
        (200..=299, Other) => Verdict::Wait(striking(reply, Down)),
        (300..=399, _) => Verdict::Wait(Trouble { doubts_credential: true, ..trouble(reply, Misconfigured) }),
        (400, Envelope(envelope)) => {
            verdict_of_errors(reply, envelope, plans).unwrap_or_else(|| malformed(reply, several, spoken))
        }
        (400, Json) => malformed(reply, several, spoken),
        (401, _) => Verdict::Wait(unauthorized(reply)),
        (403, body) => Verdict::Wait(forbidden(reply, body)),
        (404 | 409 | 410 | 422, Envelope(envelope)) => verdict_of_errors(reply, envelope, plans)
            .unwrap_or_else(|| Verdict::Wait(striking(reply, kind_of(reply.status)))),
        (413, _) if several => Verdict::Split(Parts::Halves),
        (413, Envelope(envelope)) => Verdict::Settled(refused(envelope, reply.status)),
        (408 | 425 | 429, _) => Verdict::Wait(trouble(reply, Down)),
        (503, _) if reply.retry_after.is_some() => Verdict::Wait(trouble(reply, Down)),
        (400 | 404 | 409 | 410 | 413 | 422 | 500..=599, _) => {
            Verdict::Wait(striking(reply, kind_of(reply.status)))
        }
        _ => Verdict::Wait(striking(reply, Misconfigured)),
    }
}

/// The verdict by the words of the errors that an envelope reports, if it reports any.
fn verdict_of_errors(reply: &Reply, envelope: &Envelope, plans: &[PlanId]) -> Option<Verdict> {
    let errors = &envelope.errors;
    if errors.is_empty() {
        return None;
    }
    if errors.iter().any(|error| error.sense == Sense::Credential) {
        return Some(Verdict::Wait(unauthorized(reply)));
    }
    if errors.iter().any(|error| error.sense == Sense::Trouble) {
        return Some(Verdict::Wait(Trouble {
            text: format!(
                "says that something it needs does not work (HTTP {}); it is asked again by itself",
                reply.status
            )
            .into(),
            ..striking(reply, TroubleKind::Down)
        }));
    }
    if let [plan] = plans {
        return Some(Verdict::Settled(judged(errors.iter(), *plan, reply.status)));
    }
    let named: Vec<_> =
        plans.iter().filter_map(|plan| Some((*plan, named(errors, *plan, reply.status)?))).collect();
    let all_not_running = errors.iter().all(|error| error.sense == Sense::NotRunning);
    Some(match named.is_empty() {
        false => Verdict::Named(named),
        true if all_not_running => Verdict::Split(Parts::Singles),
        true => Verdict::Split(Parts::Halves),
    })
}

/// The verdict of the errors that name this plan, if any does. An error that names no plan may be the real reason: then
/// only a call with this plan alone will tell whether it is running.
fn named(errors: &[ReportedError], plan: PlanId, status: u16) -> Option<Settled> {
    let about = errors.iter().filter(|error| error.plan == Some(plan));
    about.clone().next()?;
    let settled = judged(about, plan, status);
    let unclear = |error: &ReportedError| error.plan.is_none() && error.sense != Sense::NotRunning;
    let doubtful = settled.outcome == Outcome::NotRunning && errors.iter().any(unclear);
    (!doubtful).then_some(settled)
}

/// The verdict on one plan that has errors. It is not running only if every error says so, and none says it of another
/// plan: any other error may be the real reason.
fn judged<'a>(mut errors: impl Iterator<Item = &'a ReportedError>, plan: PlanId, status: u16) -> Settled {
    let says_so = |error: &&ReportedError| {
        error.sense == Sense::NotRunning && error.plan.is_none_or(|named| named == plan)
    };
    match errors.find(|error| !says_so(error)) {
        None => Settled::plain(Outcome::NotRunning),
        Some(error) => Settled::because(Outcome::Rejected, reason_of(status), error.text()),
    }
}

fn success(envelope: &Envelope, several: bool) -> Verdict {
    match envelope.code {
        None | Some(0) if envelope.opaque => unrecognized(several),
        None | Some(0) => Verdict::Settled(Settled::plain(Outcome::Accepted)),
        Some(_) if several => Verdict::Split(Parts::Halves),
        Some(code) => Verdict::Settled(Settled::because(
            Outcome::Rejected,
            PlanReason::GatewayError,
            Some(format!("the gateway answered with code {code}")),
        )),
    }
}

/// The verdict on a request that was refused as malformed, without a word on why. An address that has answered in
/// Testinium's form is believed.
fn malformed(reply: &Reply, several: bool, spoken: bool) -> Verdict {
    match (spoken || reply.is_own(), several) {
        (false, _) => Verdict::Wait(striking(reply, TroubleKind::Down)),
        (true, true) => Verdict::Split(Parts::Halves),
        (true, false) => Verdict::Settled(refused(&Envelope::default(), reply.status)),
    }
}

/// The outcome of one plan that is refused with a status.
fn refused(envelope: &Envelope, status: u16) -> Settled {
    let words = envelope.errors.iter().find_map(ReportedError::text);
    let words = words.unwrap_or_else(|| format!("the gateway answered HTTP {status}"));
    Settled::because(Outcome::Rejected, reason_of(status), Some(words))
}

fn unrecognized(several: bool) -> Verdict {
    if several {
        return Verdict::Split(Parts::Halves);
    }
    let message = "the gateway's answer is not one that Testinium documents";
    Verdict::Settled(Settled::because(
        Outcome::Unknown,
        PlanReason::UnrecognizedAnswer,
        Some(message.to_owned()),
    ))
}

fn unauthorized(reply: &Reply) -> Trouble {
    let text =
        format!("does not accept the credential (HTTP {}); put a valid one into its Secret", reply.status);
    Trouble { text: text.into(), doubts_credential: true, ..trouble(reply, TroubleKind::Unauthorized) }
}

/// The trouble of a 403: it may be about the account or about one plan, and about a plan only in Testinium's form
/// (R17).
fn forbidden(reply: &Reply, body: &Body) -> Trouble {
    let trouble = Trouble { doubts_credential: true, ..striking(reply, TroubleKind::Down) };
    match body {
        Body::Envelope(envelope) => Trouble {
            kind: TroubleKind::Forbidden,
            text: "forbids this credential to stop plans (HTTP 403); use one that may, or set spec.companyID if it has \
                   none"
                .into(),
            blamed: Some(refused(envelope, reply.status)),
            ..trouble
        },
        Body::Json | Body::Other => trouble,
    }
}

fn kind_of(status: u16) -> TroubleKind {
    if status == 404 { TroubleKind::Misconfigured } else { TroubleKind::Down }
}

fn reason_of(status: u16) -> PlanReason {
    match status {
        400 => PlanReason::InvalidRequest,
        403 => PlanReason::Forbidden,
        404 => PlanReason::NotFound,
        409 => PlanReason::Conflict,
        410 => PlanReason::Gone,
        413 => PlanReason::TooLarge,
        422 => PlanReason::Unprocessable,
        _ => PlanReason::GatewayError,
    }
}

/// The trouble of an answer that says nothing of any plan, nor against one.
fn trouble(reply: &Reply, kind: TroubleKind) -> Trouble {
    let status = reply.status;
    let says_nothing =
        matches!(status, 200..=299 | 400 | 403 | 404 | 409 | 410 | 413 | 422) && !reply.is_own();
    let text = match (status, kind) {
        (300..=399, _) => {
            format!("answered with a redirect (HTTP {status}); spec.url must be where the answer comes from")
        }
        (_, TroubleKind::Misconfigured) => {
            let form = if says_nothing { ", not in Testinium's form" } else { "" };
            format!(
                "answered (HTTP {status}{form}); check that POST <spec.url>/stop/execution leads to Testinium"
            )
        }
        (_, TroubleKind::Down | TroubleKind::Forbidden | TroubleKind::Unauthorized) if says_nothing => {
            format!(
                "answered (HTTP {status}, not in Testinium's form); it is asked again by itself; if it stays so, check \
             spec.url and what stands before Testinium"
            )
        }
        (_, TroubleKind::Down | TroubleKind::Forbidden | TroubleKind::Unauthorized) => {
            format!("answered (HTTP {status}); it is asked again by itself")
        }
    };
    Trouble {
        kind,
        text: text.into(),
        retry_after: reply.retry_after,
        strikes: 0,
        maybe_stopped: false,
        doubts_credential: false,
        blamed: None,
    }
}

/// The same trouble, but the plans may be its cause. A refusal has stopped nothing; after a failure nobody knows.
fn striking(reply: &Reply, kind: TroubleKind) -> Trouble {
    let maybe_stopped = !matches!(reply.status, 400..=499 | 503);
    Trouble { strikes: 1, maybe_stopped, ..trouble(reply, kind) }
}

/// The trouble of a call that got no answer.
pub fn lost(no_answer: NoAnswer) -> Trouble {
    // A time-out costs so much that one is enough, once others are answered.
    let (kind, text, strikes) = match no_answer {
        NoAnswer::Timeout => {
            (TroubleKind::Down, "did not answer in time; it is asked again by itself", STRIKES)
        }
        NoAnswer::Broken => (
            TroubleKind::Down,
            "closed the connection before its answer was complete; it is asked again by itself",
            1,
        ),
        NoAnswer::Dns => (TroubleKind::Down, NO_SUCH_HOST, 0),
        NoAnswer::Connect => (TroubleKind::Down, NOT_CONNECTED, 0),
        NoAnswer::Tls => {
            (TroubleKind::Down, "can't be reached over TLS; check its certificate and spec.tls", 0)
        }
        NoAnswer::AddressRefused => (
            TroubleKind::Misconfigured,
            "resolves to an address that gateways must not have (loopback, link-local or the API server's); \
             --allow-gateway-cidr permits it",
            0,
        ),
    };
    Trouble {
        kind,
        text: text.into(),
        retry_after: None,
        strikes,
        maybe_stopped: strikes > 0,
        doubts_credential: false,
        blamed: None,
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
