//! What an answer means, for the plans of the call and for the gateway.
//!
//! A pure function of the answer, the plans that were asked for, and whether the credential has proven itself. It
//! fails closed: nothing but the documented envelope without a complaint is [`Outcome::Accepted`].

use std::borrow::Cow;

use super::answer::{Answer, Body, Complaint, Envelope, Loss, Reply};
use super::types::{Millis, PlanId};
use crate::api::Outcome;

/// What became of one plan, as far as a call can tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settled {
    pub outcome: Outcome,
    /// Boxed because the plans of an ordinary run have none.
    pub detail: Option<Box<Detail>>,
}

/// Why an outcome is what it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Detail {
    /// One CamelCase word.
    pub reason: Cow<'static, str>,
    pub message: Option<String>,
}

impl Settled {
    pub fn plain(outcome: Outcome) -> Self {
        Self { outcome, detail: None }
    }

    pub fn because(outcome: Outcome, reason: &'static str, message: Option<String>) -> Self {
        Self { outcome, detail: Some(Box::new(Detail { reason: Cow::Borrowed(reason), message })) }
    }
}

/// What an answer means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The same for every plan of the call.
    Settled(Settled),
    /// For the plans that the answer names; the others are asked for again.
    Named(Vec<(PlanId, Settled)>),
    /// Something is wrong with one plan or several, and only smaller calls will tell with which.
    Split,
    /// Nothing about any plan: the gateway has to be waited for.
    Wait(Trouble),
}

/// Why the whole gateway has to be waited for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    pub kind: TroubleKind,
    /// What happened, in words that stay the same while the trouble does.
    pub text: Cow<'static, str>,
    pub retry_after: Option<Millis>,
    /// The plans may be the cause, or may have been stopped: they stay together until more is known.
    pub suspicious: bool,
}

/// Who has to act.
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

/// Words by which a complaint says that a plan is not running: matched anywhere in its code or text, in any case.
/// Testinium answers in the language of the site; add a language here.
pub const NOT_RUNNING_WORDS: &[&str] = &[
    "not_available",
    "not available",
    "not running",
    "not_running",
    "çalışmıyor",
    "calismiyor",
    "mevcut değil",
    "uygun değil",
];

/// Judges an answer to a call for `plans`. `proven`: the credential of the call has had an answer that only a valid
/// credential gets.
pub fn verdict(answer: &Answer, plans: &[PlanId], proven: bool) -> Verdict {
    match answer {
        Answer::Lost(loss) => Verdict::Wait(lost(*loss)),
        Answer::Reply(reply) => replied(reply, plans, proven),
    }
}

/// Whether an answer shows that its credential is a valid one. What a proxy in between may say proves nothing.
pub fn proves_credential(answer: &Answer) -> bool {
    match answer {
        Answer::Lost(_) => false,
        Answer::Reply(reply) => matches!(reply.status, 200..=299 | 400 | 404 | 409 | 413 | 422),
    }
}

fn replied(reply: &Reply, plans: &[PlanId], proven: bool) -> Verdict {
    use TroubleKind::{Down, Forbidden, Misconfigured, Unauthorized};
    let several = plans.len() > 1;
    let waits = |kind, what, advice| Verdict::Wait(trouble(reply, kind, what, advice));
    match reply.status {
        200 => success(&reply.body, plans),
        201..=299 => unrecognized(several),
        300..=399 => {
            waits(Misconfigured, "answered with a redirect", "spec.url must be where the answer comes from")
        }
        400 | 404 | 409 | 413 | 422 if several => Verdict::Split,
        400 | 404 | 409 | 413 | 422 => Verdict::Settled(refused(reply)),
        401 => waits(Unauthorized, "does not accept the credential", "put a valid one into its Secret"),
        403 if !proven => waits(
            Forbidden,
            "forbids this credential to stop plans",
            "use one that may, or set spec.companyID if it has none",
        ),
        403 if several => Verdict::Split,
        403 => Verdict::Settled(refused(reply)),
        408 | 425 | 429 | 500..=599 => waits(Down, "answered", "it is asked again by itself"),
        _ => waits(Misconfigured, "answered", "check that POST <spec.url>/stop/execution leads to Testinium"),
    }
}

fn success(body: &Body, plans: &[PlanId]) -> Verdict {
    let envelope = match body {
        Body::Envelope(envelope) => envelope,
        Body::Other => return unrecognized(plans.len() > 1),
    };
    if envelope.errors.is_empty() {
        return match envelope.code {
            None | Some(0) => Verdict::Settled(Settled::plain(Outcome::Accepted)),
            Some(code) if plans.len() == 1 => Verdict::Settled(Settled::because(
                Outcome::Rejected,
                "GatewayError",
                Some(format!("the gateway answered with code {code}")),
            )),
            Some(_) => Verdict::Split,
        };
    }
    if plans.len() == 1 {
        return Verdict::Settled(complained(envelope, 200));
    }
    let named: Vec<_> = plans
        .iter()
        .filter_map(|plan| {
            let complaint = envelope.errors.iter().find(|complaint| complaint.plan == Some(*plan))?;
            Some((*plan, judged(complaint, 200)))
        })
        .collect();
    if named.is_empty() { Verdict::Split } else { Verdict::Named(named) }
}

/// One plan that the gateway refused with a status of its own.
fn refused(reply: &Reply) -> Settled {
    match &reply.body {
        Body::Envelope(envelope) if !envelope.errors.is_empty() => complained(envelope, reply.status),
        Body::Envelope(_) | Body::Other => Settled::because(
            Outcome::Rejected,
            reason_of(reply.status),
            Some(format!("the gateway answered HTTP {}", reply.status)),
        ),
    }
}

/// One plan that an envelope complains about. Not running only if every complaint says so: another one may be the
/// real reason.
fn complained(envelope: &Envelope, status: u16) -> Settled {
    let telling = envelope.errors.iter().find(|complaint| !says_not_running(complaint));
    match telling.or(envelope.errors.first()) {
        Some(complaint) => judged(complaint, status),
        None => Settled::because(Outcome::Rejected, reason_of(status), None),
    }
}

fn judged(complaint: &Complaint, status: u16) -> Settled {
    if says_not_running(complaint) {
        return Settled::plain(Outcome::NotRunning);
    }
    let message = match (&complaint.code, &complaint.message) {
        (_, Some(message)) => Some(message.clone()),
        (Some(code), None) => Some(code.clone()),
        (None, None) => None,
    };
    Settled::because(Outcome::Rejected, reason_of(status), message)
}

fn says_not_running(complaint: &Complaint) -> bool {
    let says = |text: &Option<String>| {
        text.as_ref().is_some_and(|text| {
            let text = folded(text);
            NOT_RUNNING_WORDS.iter().any(|word| text.contains(&folded(word)))
        })
    };
    says(&complaint.code) || says(&complaint.message)
}

/// Lower case, with one i for the four of Turkish: without a locale, I becomes i where Turkish has ı, and İ becomes i
/// with a dot of its own.
fn folded(text: &str) -> String {
    text.to_lowercase().replace('ı', "i").replace('\u{307}', "")
}

fn unrecognized(several: bool) -> Verdict {
    if several {
        return Verdict::Split;
    }
    let message = "the gateway's answer is not one that Testinium documents";
    Verdict::Settled(Settled::because(Outcome::Unknown, "UnrecognizedAnswer", Some(message.to_owned())))
}

fn reason_of(status: u16) -> &'static str {
    match status {
        400 => "InvalidRequest",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        413 => "TooLarge",
        422 => "Unprocessable",
        _ => "GatewayError",
    }
}

fn trouble(reply: &Reply, kind: TroubleKind, what: &str, advice: &str) -> Trouble {
    Trouble {
        kind,
        text: format!("{what} (HTTP {}); {advice}", reply.status).into(),
        retry_after: reply.retry_after,
        // A poisonous plan shows as 500 or as a proxy's word for "no answer"; 503 and 429 speak of the gateway.
        suspicious: matches!(reply.status, 500 | 502 | 504),
    }
}

fn lost(loss: Loss) -> Trouble {
    let (kind, text, suspicious) = match loss {
        Loss::Timeout => (TroubleKind::Down, "did not answer in time; it is asked again by itself", true),
        Loss::Broken => (
            TroubleKind::Down,
            "closed the connection before its answer was complete; it is asked again by itself",
            true,
        ),
        Loss::Dns => (TroubleKind::Down, "has a host name that can't be resolved; check spec.url", false),
        Loss::Connect => (TroubleKind::Down, "can't be connected to; it is tried again by itself", false),
        Loss::Tls => {
            (TroubleKind::Down, "can't be reached over TLS; check its certificate and spec.tls", false)
        }
        Loss::AddressRefused => (
            TroubleKind::Misconfigured,
            "resolves to an address that gateways must not have (loopback, link-local or the API server's); \
             --allow-gateway-cidr permits it",
            false,
        ),
    };
    Trouble { kind, text: text.into(), retry_after: None, suspicious }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
