//! What the wire said to a call, sorted but not yet judged.
//!
//! The HTTP side turns bytes into these types; what an answer *means* is [`verdict`](super::verdict)'s business.

use super::types::{Millis, PlanId};

/// How a call ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The gateway answered.
    Reply(Reply),
    /// No answer came, or none that could be read to its end. The stop may have happened all the same.
    Lost(Loss),
}

/// A reply of the gateway.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    pub status: u16,
    /// From the Retry-After header, already as a delay.
    pub retry_after: Option<Millis>,
    pub body: Body,
}

/// The body of a reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// The envelope that Testinium documents.
    Envelope(Envelope),
    /// Nothing, HTML, other JSON, too large: nothing of it is kept.
    Other,
}

/// What an envelope said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Envelope {
    /// `result.code`, where there is one.
    pub code: Option<i64>,
    /// Every complaint in it; empty means none. Texts are cut to 128 bytes and free of control characters.
    pub errors: Vec<Complaint>,
}

/// One error in an envelope.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Complaint {
    pub code: Option<String>,
    pub message: Option<String>,
    /// The plan that it names plainly: by an id field, as a key of a map, or as "plan 614" in its text.
    pub plan: Option<PlanId>,
}

/// Why no answer came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Loss {
    /// The time for one call was up.
    Timeout,
    /// The host's name could not be resolved.
    Dns,
    /// No connection could be made.
    Connect,
    /// The TLS handshake failed: certificate, CA or client certificate.
    Tls,
    /// The connection broke before the answer was whole.
    Broken,
    /// The address is one that gateways must not have (loopback, link-local, the API server).
    AddressRefused,
}
