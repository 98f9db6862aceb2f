//! The gateway's truth: what kind of plan each id is, and so how a call with it is answered.

use std::collections::BTreeMap;

use super::Flight;
use crate::api::Outcome;
use crate::machine::words::Sense;
use crate::machine::{Answer, Body, Complaint, CredentialRead, Envelope, Loss, Reply, SecretVersion};

/// What kind of plan an id is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::machine) enum Nature {
    /// Spoils every call that it is in.
    Bad,
    /// Is not running; the gateway complains of it as of a bad one, with other words.
    Finished,
    /// Makes the gateway fail.
    Poison,
}

/// How a call ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::machine) enum How {
    /// As its plans would have it.
    Truth,
    /// With this status and somebody else's page, whatever the plans.
    Status(u16),
    /// With this status and somebody else's JSON.
    Json(u16),
    /// With this status in Testinium's form, and a word on the credential, whatever the plans.
    Expired(u16),
    /// With this status in Testinium's form, and a word on something else, whatever the plans.
    Own(u16),
    /// No answer comes in time.
    Late,
    /// The connection breaks.
    Lost,
}

/// What an answer is worth, as the one knows who gave it.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Worth {
    /// What it means for the plans that it means something for.
    pub(in crate::machine) outcomes: Vec<(i64, Outcome)>,
    /// It is about the gateway rather than about plans.
    pub(in crate::machine) is_trouble: bool,
}

/// The gateway, and the Secret with its credential.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Truth {
    /// Everything else is a plan that runs and can be stopped.
    pub(in crate::machine) natures: BTreeMap<i64, Nature>,
    /// Version of the Secret.
    pub(in crate::machine) secret: u32,
    /// How a call is answered that carries an earlier version of it; as if it were the present one, if none.
    pub(in crate::machine) stale: Option<How>,
    /// Why no credential can be made of it.
    pub(in crate::machine) secret_missing: bool,
}

// === impl Truth ===

impl Truth {
    /// The answer to a call, and what it is worth.
    pub(in crate::machine) fn answer(&self, flight: &Flight, how: How) -> (Answer, Worth) {
        let how = match self.stale {
            Some(stale) if how == How::Truth && flight.secret != self.secret => stale,
            _ => how,
        };
        let answer = match how {
            How::Truth => return self.by_nature(&flight.plans),
            How::Lost => Answer::Lost(Loss::Broken),
            How::Late => Answer::Lost(Loss::Timeout),
            How::Own(status) => own(status, "no", Sense::Other),
            How::Status(status) => reply(status, Body::Other),
            How::Json(status) => reply(status, Body::Json),
            How::Expired(status) => own(status, "the token has expired", Sense::Credential),
        };
        (answer, Worth { outcomes: Vec::new(), is_trouble: true })
    }

    fn by_nature(&self, plans: &[i64]) -> (Answer, Worth) {
        let of = |plan: &i64| self.natures.get(plan).copied();
        let worst = plans.iter().filter_map(of).max();
        let about = |answer, outcomes| (answer, Worth { outcomes, is_trouble: false });
        match (worst, plans) {
            (None, _) => {
                let clean = reply(200, Body::Envelope(Envelope::default()));
                about(clean, plans.iter().map(|plan| (*plan, Outcome::Accepted)).collect())
            }
            (Some(Nature::Poison), _) => {
                (reply(500, Body::Other), Worth { outcomes: Vec::new(), is_trouble: true })
            }
            (Some(Nature::Bad), [plan]) => {
                about(own(400, "no such plan", Sense::Other), vec![(*plan, Outcome::Rejected)])
            }
            (Some(Nature::Finished), [plan]) => {
                about(own(400, "plan is not running", Sense::NotRunning), vec![(*plan, Outcome::NotRunning)])
            }
            (Some(Nature::Bad | Nature::Finished), _) => {
                about(own(400, "something is wrong", Sense::Other), Vec::new())
            }
        }
    }

    pub(in crate::machine) fn expected(&self, plan: i64) -> Outcome {
        match self.natures.get(&plan) {
            None => Outcome::Accepted,
            Some(Nature::Bad) => Outcome::Rejected,
            Some(Nature::Finished) => Outcome::NotRunning,
            Some(Nature::Poison) => Outcome::Expired,
        }
    }

    pub(in crate::machine) fn credential(&self, known_bad: Option<SecretVersion>) -> CredentialRead {
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

fn reply(status: u16, body: Body) -> Answer {
    Answer::Reply(Reply { status, retry_after: None, body })
}

/// A complaint in Testinium's form.
fn own(status: u16, text: &str, sense: Sense) -> Answer {
    let complaint = Complaint { message: Some(text.to_owned()), sense, ..Complaint::default() };
    reply(status, Body::Envelope(Envelope { errors: vec![complaint], ..Envelope::default() }))
}
