//! A gateway that knows the nature of each plan, and so how a call with it is answered.

use std::collections::BTreeMap;

use super::WorldCall;
use crate::api::Outcome;
use crate::machine::words::Sense;
use crate::machine::{
    Answer, Body, CredentialRead, Envelope, Millis, NoAnswer, PlanId, Reached, Reply, ReportedError,
    SecretVersion,
};

/// The nature of a plan that is not simply stopped. Of several in a call the greatest decides.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::machine) enum Nature {
    /// The gateway reports an error about it.
    Rejected,
    /// The gateway reports an error about it, which says that it is not running.
    NotRunning,
    /// The whole call fails with this status: as a page if the status says that the gateway has failed, and otherwise
    /// in Testinium's form, without a word on which plan it is.
    FailsCall(u16),
}

/// How closely the gateway's reported errors say which plan they are about.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::machine) enum ErrorDetail {
    /// A 400. Only if the plan is alone does the error say what is wrong.
    #[default]
    Vague,
    /// A 200 with an error for each such plan, which does not name it.
    Listed,
    /// A 200 with an error for each such plan, which names it.
    Named,
}

/// How a call ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::machine) enum How {
    /// By the nature of its plans.
    ByNature,
    /// With this status and somebody else's page, whatever the plans.
    Status(u16),
    /// With this status and somebody else's JSON.
    Json(u16),
    /// With this status in Testinium's form, and a word on the credential, whatever the plans.
    Expired(u16),
    /// With this status in Testinium's form, and a word on something else, whatever the plans.
    Own(u16),
    /// With a 503 that asks for two seconds.
    Overloaded,
    /// No answer comes in time.
    Late,
    /// The connection breaks.
    Lost,
    /// There is no connection.
    Unreachable,
}

/// The worth of an answer, as the fake gateway knows it, which has given it.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Worth {
    /// The outcomes of the plans that it means something for.
    pub(in crate::machine) outcomes: Vec<(i64, Outcome)>,
    /// The answer is about the gateway rather than about plans.
    pub(in crate::machine) is_trouble: bool,
}

/// The gateway, and the Secret with its credential.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct FakeGateway {
    /// Every other plan runs and can be stopped.
    pub(in crate::machine) natures: BTreeMap<i64, Nature>,
    pub(in crate::machine) error_detail: ErrorDetail,
    /// Version of the Secret.
    pub(in crate::machine) secret: u32,
    /// How a call is answered that carries an earlier version of it; as if it were the present one, if none.
    pub(in crate::machine) stale: Option<How>,
    /// No connection can be made without a call.
    pub(in crate::machine) unreachable: bool,
    /// Its host has no address any more.
    pub(in crate::machine) unknown_host: bool,
    /// There is no such Secret.
    pub(in crate::machine) secret_missing: bool,
    /// There is one, without the key of the token.
    pub(in crate::machine) key_missing: bool,
}

/// The pause that an overloaded gateway asks for.
const RETRY_AFTER: Millis = Millis(2_000);

// === impl FakeGateway ===

impl FakeGateway {
    /// The answer to a call, and its worth.
    pub(in crate::machine) fn answer(&self, call: &WorldCall, how: How) -> (Answer, Worth) {
        let how = match self.stale {
            Some(stale) if how == How::ByNature && call.secret != self.secret => stale,
            _ => how,
        };
        let answer = match how {
            How::ByNature => return self.by_nature(&call.plans),
            How::Lost => Answer::Lost(NoAnswer::Broken),
            How::Late => Answer::Lost(NoAnswer::Timeout),
            How::Unreachable => Answer::Lost(NoAnswer::Connect),
            How::Overloaded => {
                Answer::Reply(Reply { status: 503, retry_after: Some(RETRY_AFTER), body: Body::Other })
            }
            How::Own(status) => own(status, [("no", Sense::Other, None)]),
            How::Status(status) => reply(status, Body::Other),
            How::Json(status) => reply(status, Body::Json),
            How::Expired(status) => own(status, [("the token has expired", Sense::Credential, None)]),
        };
        (answer, Worth { outcomes: Vec::new(), is_trouble: true })
    }

    fn by_nature(&self, plans: &[i64]) -> (Answer, Worth) {
        let worst = plans.iter().filter_map(|plan| self.natures.get(plan).copied()).max();
        let is_trouble = matches!(worst, Some(Nature::FailsCall(500..)));
        let answer = match (worst, self.error_detail) {
            (Some(Nature::FailsCall(status @ 500..)), _) => reply(status, Body::Other),
            (Some(Nature::FailsCall(status)), _) => own(status, [("invalid request", Sense::Other, None)]),
            (Some(_), ErrorDetail::Vague) if plans.len() > 1 => {
                own(400, [("something is wrong", Sense::Other, None)])
            }
            (Some(_), ErrorDetail::Vague) => own(400, self.errors_of(plans)),
            (None, _) | (Some(_), ErrorDetail::Listed | ErrorDetail::Named) => {
                own(200, self.errors_of(plans))
            }
        };
        (answer, Worth { outcomes: self.told_outcomes(plans, worst), is_trouble })
    }

    /// A reported error for each plan that is not simply stopped.
    fn errors_of(&self, plans: &[i64]) -> Vec<(&'static str, Sense, Option<PlanId>)> {
        let error_of = |plan: &i64| {
            let named = (self.error_detail == ErrorDetail::Named).then_some(PlanId(*plan));
            match self.natures.get(plan)? {
                Nature::Rejected => Some(("no such plan", Sense::Other, named)),
                Nature::NotRunning => Some(("plan is not running", Sense::NotRunning, named)),
                Nature::FailsCall(_) => None,
            }
        };
        plans.iter().filter_map(error_of).collect()
    }

    /// The plans whose outcome can be told from the answer: all of them if nothing is wrong with any, else one that is
    /// alone, or those that are named.
    fn told_outcomes(&self, plans: &[i64], worst: Option<Nature>) -> Vec<(i64, Outcome)> {
        let is_told = |plan: &i64| match worst {
            None => true,
            Some(Nature::FailsCall(500..)) => false,
            Some(Nature::FailsCall(_)) => plans.len() == 1,
            Some(Nature::Rejected | Nature::NotRunning) => {
                let is_named = self.error_detail == ErrorDetail::Named && self.natures.contains_key(plan);
                plans.len() == 1 || is_named
            }
        };
        plans.iter().filter(|plan| is_told(plan)).map(|plan| (*plan, self.expected(*plan))).collect()
    }

    /// The outcome that a plan of this nature must have in the end. One that makes the gateway fail is given up.
    pub(in crate::machine) fn expected(&self, plan: i64) -> Outcome {
        match self.natures.get(&plan) {
            None => Outcome::Accepted,
            Some(Nature::NotRunning) => Outcome::NotRunning,
            Some(Nature::FailsCall(500..)) => Outcome::Expired,
            Some(Nature::Rejected | Nature::FailsCall(_)) => Outcome::Rejected,
        }
    }

    /// How a connection without a call ends.
    pub(in crate::machine) fn reached(&self) -> Reached {
        match (self.unreachable, self.unknown_host) {
            (_, true) => Reached::NotOpened(NoAnswer::Dns),
            (true, false) => Reached::NotOpened(NoAnswer::Connect),
            (false, false) => Reached::Opened,
        }
    }

    pub(in crate::machine) fn credential(&self, known_bad: Option<SecretVersion>) -> CredentialRead {
        let version = SecretVersion(self.secret.to_string());
        if self.secret_missing {
            CredentialRead::Missing("there is no Secret \"token\"".to_owned())
        } else if self.key_missing {
            CredentialRead::Missing("Secret \"token\" has no key \"token\"; add it".to_owned())
        } else if known_bad.as_ref() == Some(&version) {
            CredentialRead::Unchanged
        } else {
            CredentialRead::Have { version, good_for: None }
        }
    }
}

fn reply(status: u16, body: Body) -> Answer {
    Answer::Reply(Reply { status, retry_after: None, body })
}

/// An answer in Testinium's form, with these reported errors.
fn own(status: u16, errors: impl IntoIterator<Item = (&'static str, Sense, Option<PlanId>)>) -> Answer {
    let error = |(text, sense, plan): (&str, Sense, Option<PlanId>)| ReportedError {
        message: Some(text.to_owned()),
        sense,
        plan,
        ..ReportedError::default()
    };
    let errors = errors.into_iter().map(error).collect();
    reply(status, Body::Envelope(Envelope { errors, ..Envelope::default() }))
}
