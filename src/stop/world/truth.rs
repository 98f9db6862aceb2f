//! The gateway's truth: what kind of plan each id is, and so how a call with it is answered.

use std::collections::BTreeMap;

use super::Flight;
use crate::api::Outcome;
use crate::stop::verdict::proves_credential;
use crate::stop::{Answer, Body, Complaint, CredentialRead, Envelope, Loss, Reply, SecretVersion};

/// What kind of plan an id is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::stop) enum Nature {
    /// Spoils every call that it is in.
    Bad,
    /// Is not running; the gateway complains of it as of a bad one, with other words.
    Finished,
    /// Makes the gateway fail.
    Poison,
}

/// How a call ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::stop) enum How {
    /// As its plans would have it.
    Truth,
    /// With this status, whatever the plans.
    Status(u16),
    /// No answer comes.
    Lost,
}

/// The gateway, and the Secret with its credential.
#[derive(Clone, Debug, Default)]
pub(in crate::stop) struct Truth {
    /// Everything else is a plan that runs and can be stopped.
    pub(in crate::stop) natures: BTreeMap<i64, Nature>,
    /// Version of the Secret.
    pub(in crate::stop) secret: u32,
    /// Why no credential can be made of it.
    pub(in crate::stop) secret_missing: bool,
}

// === impl Truth ===

impl Truth {
    /// The answer to a call, and what it means for the plans that it means something for.
    pub(in crate::stop) fn answer(&self, flight: &Flight, how: How) -> (Answer, Vec<(i64, Outcome)>) {
        let status = match how {
            How::Truth => return self.by_nature(&flight.plans),
            How::Lost => return (Answer::Lost(Loss::Broken), Vec::new()),
            How::Status(status) => status,
        };
        (reply(status, None), Vec::new())
    }

    fn by_nature(&self, plans: &[i64]) -> (Answer, Vec<(i64, Outcome)>) {
        let of = |plan: &i64| self.natures.get(plan).copied();
        let worst = plans.iter().filter_map(of).max();
        match (worst, plans) {
            (None, _) => (reply(200, None), plans.iter().map(|plan| (*plan, Outcome::Accepted)).collect()),
            (Some(Nature::Poison), _) => (reply(500, None), Vec::new()),
            (Some(Nature::Bad), [plan]) => {
                (reply(400, Some("no such plan")), vec![(*plan, Outcome::Rejected)])
            }
            (Some(Nature::Finished), [plan]) => {
                (reply(400, Some("plan is not running")), vec![(*plan, Outcome::NotRunning)])
            }
            (Some(Nature::Bad | Nature::Finished), _) => (reply(400, Some("something is wrong")), Vec::new()),
        }
    }

    pub(in crate::stop) fn expected(&self, plan: i64) -> Outcome {
        match self.natures.get(&plan) {
            None => Outcome::Accepted,
            Some(Nature::Bad) => Outcome::Rejected,
            Some(Nature::Finished) => Outcome::NotRunning,
            Some(Nature::Poison) => Outcome::Expired,
        }
    }

    pub(in crate::stop) fn credential(&self, known_bad: Option<SecretVersion>) -> CredentialRead {
        let version = SecretVersion(self.secret.to_string());
        if self.secret_missing {
            CredentialRead::Missing("there is no Secret \"token\"".to_owned())
        } else if known_bad.as_ref() == Some(&version) {
            CredentialRead::Unchanged
        } else {
            CredentialRead::Have { version, good_for: None }
        }
    }
}

fn reply(status: u16, complaint: Option<&str>) -> Answer {
    let errors = complaint.map(|text| Complaint { message: Some(text.to_owned()), ..Complaint::default() });
    let body = match status {
        200 => Body::Envelope(Envelope::default()),
        _ if errors.is_some() => {
            Body::Envelope(Envelope { code: None, errors: errors.into_iter().collect() })
        }
        _ => Body::Other,
    };
    Answer::Reply(Reply { status, retry_after: None, body })
}

/// Whether an answer is about the gateway rather than about plans.
pub(super) fn is_trouble(answer: &Answer) -> bool {
    !proves_credential(answer)
}
