//! The worth of an answer for the gateway, by the table of `docs/verdicts.md` and told in another way than the machine
//! does: whether it shows that the credential was accepted, and whether it may open a gate that is shut.
//!
//! The reference judges by this and calls nothing of the machine, so that a fault there can't hide itself.

use crate::machine::words::Sense;
use crate::machine::{Answer, Body, Epoch, GatewayKey, Reply, ReportedError};

/// An answer to a call at the gateway's present address, and what it shows.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Shown {
    pub(in crate::machine) gateway: GatewayKey,
    /// The credential of the call.
    pub(in crate::machine) credential: Epoch,
    /// The gateway has accepted the credential.
    pub(in crate::machine) is_proof: bool,
    /// A gate that was shut may open.
    pub(in crate::machine) may_open: bool,
}

/// Whether an answer shows that the credential was accepted. Only Testinium's own word does, and only one on plans:
/// not an error about the credential, nor about a service that does not work.
pub(in crate::machine) fn is_proof(answer: &Answer) -> bool {
    let Answer::Reply(Reply { status, body: Body::Envelope(envelope), retry_after: _ }) = answer else {
        return false;
    };
    let is_of_plans = |error: &ReportedError| match error.sense {
        Sense::Credential | Sense::Trouble => false,
        Sense::NotRunning | Sense::Other => true,
    };
    let words = envelope.errors.iter().all(is_of_plans);
    match status {
        200..=202 | 400 => words,
        404 | 409 | 410 | 422 => words && !envelope.errors.is_empty(),
        203..=299 | 413 => true,
        _ => false,
    }
}

/// Whether an answer to a single plan may open the gate: a proof does, and so does other JSON on which a plan is given
/// up. A page never does.
pub(in crate::machine) fn may_open(answer: &Answer) -> bool {
    match answer {
        Answer::Reply(Reply { status: 200..=299 | 400, body: Body::Json, retry_after: _ }) => true,
        Answer::Reply(_) | Answer::Lost(_) => is_proof(answer),
    }
}
