//! Verdicts that give a plan up and are held back until the Secret has been read once more.

use crate::api::Outcome;
use crate::machine::answer::Gist;
use crate::machine::call::{Member, Settled};
use crate::machine::ids::{CallId, Epoch};

/// A verdict that is held back.
#[derive(Clone, Debug)]
pub struct Held {
    pub(in crate::machine) call: CallId,
    pub(in crate::machine) endpoint: Epoch,
    /// The credential that the call was made with.
    pub(in crate::machine) credential: Epoch,
    pub(in crate::machine) gist: Gist,
    pub(in crate::machine) member: Member,
    pub(in crate::machine) settled: Settled,
    /// The reading that was under way when the answer came: it may find a Secret that is older than the answer.
    pub(in crate::machine) not_by: Option<Epoch>,
    /// The Secret has been read since.
    pub(in crate::machine) ready: bool,
}

/// What becomes of a plan whose verdict is held back no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Released {
    /// The verdict stands.
    Final,
    /// There is another credential: the plan is sent again.
    Again,
    /// The gateway has another address, or is gone: the verdict says nothing.
    Moved,
}

/// Whether a verdict gives a plan up that another credential might stop.
pub(in crate::machine) fn gives_up(settled: &Settled) -> bool {
    match settled.outcome {
        Outcome::Rejected | Outcome::Unknown => true,
        Outcome::Pending
        | Outcome::Accepted
        | Outcome::NotRunning
        | Outcome::Expired
        | Outcome::Withdrawn => false,
    }
}
