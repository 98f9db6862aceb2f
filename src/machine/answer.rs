//! Answers to calls, sorted but not yet judged.
//!
//! The HTTP side turns bytes into these types; [`verdict`](super::gateways::verdict) says what an answer *means*.

use std::fmt;

use strum::VariantArray;

use crate::machine::ids::PlanId;
use crate::machine::time::Millis;
use crate::machine::words::Sense;

/// The end of a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The gateway answered.
    Reply(Reply),
    /// No answer came, or none that could be read to its end. The stop may have happened all the same.
    Lost(NoAnswer),
}

/// A reply of the gateway.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    pub status: u16,
    /// From the Retry-After header, already as a delay.
    pub retry_after: Option<Millis>,
    pub body: Body,
}

/// The body of a reply, by whose form it has. Only Testinium's own proves anything.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// Testinium's: a JSON object with the keys `data` and `errors`, or with an integer `result.code`.
    Envelope(Envelope),
    /// Any other JSON object: nothing of it is kept.
    Json,
    /// Nothing, HTML, text, cut off, a key twice, too large: nothing of it is kept.
    Other,
}

/// The content of a reply in Testinium's own form.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Envelope {
    /// `result.code`, where there is one.
    pub code: Option<i64>,
    /// Every reported error in it; empty means none.
    pub errors: Vec<ReportedError>,
    /// It holds something that could mean a failure and can't be read, such as `data` that nobody documents.
    pub opaque: bool,
}

/// One error in an envelope. Texts are cut to 128 bytes and free of control characters.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ReportedError {
    pub code: Option<String>,
    pub message: Option<String>,
    /// The plan that it names plainly: by an id field, as a key of a map, or as "plan 614" in its text.
    pub plan: Option<PlanId>,
    /// The sense of its words, found before anything of them was cut or hidden.
    pub sense: Sense,
}

/// An answer that was no verdict, in short: for people who ask why a plan waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gist {
    /// A status, and whether the body had Testinium's form.
    Status {
        status: u16,
        own: bool,
    },
    Lost(NoAnswer),
}

/// The reason for which no answer came.
#[derive(Clone, Copy, Debug, Eq, PartialEq, VariantArray)]
pub enum NoAnswer {
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

// === impl Answer ===

impl Answer {
    /// The answer in short.
    pub fn gist(&self) -> Gist {
        match self {
            Self::Reply(reply) => Gist::Status { status: reply.status, own: reply.is_own() },
            Self::Lost(no_answer) => Gist::Lost(*no_answer),
        }
    }

    /// Whether it has Testinium's form.
    pub fn is_own(&self) -> bool {
        match self {
            Self::Reply(reply) => reply.is_own(),
            Self::Lost(_) => false,
        }
    }
}

impl Reply {
    /// Whether it has Testinium's form.
    pub fn is_own(&self) -> bool {
        match self.body {
            Body::Envelope(_) => true,
            Body::Json | Body::Other => false,
        }
    }
}

// === impl ReportedError ===

impl ReportedError {
    /// The text that people are told of it.
    pub fn text(&self) -> Option<String> {
        self.message.clone().or_else(|| self.code.clone())
    }
}

impl fmt::Display for Gist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, own: true } => write!(f, "HTTP {status}"),
            Self::Status { status, own: false } => write!(f, "HTTP {status}{NOT_OWN}"),
            Self::Lost(no_answer) => f.write_str(no_answer.in_words()),
        }
    }
}

const NOT_OWN: &str = ", not in Testinium's form";

// === impl Gist ===

impl Gist {
    /// The gist of which these are the words; none if they are those of nothing that this version says.
    pub fn of_words(words: &str) -> Option<Self> {
        let Some(status) = words.strip_prefix("HTTP ") else {
            let no_answer = NoAnswer::VARIANTS.iter().find(|no_answer| no_answer.in_words() == words)?;
            return Some(Self::Lost(*no_answer));
        };
        let (status, own) = status.strip_suffix(NOT_OWN).map_or((status, true), |status| (status, false));
        Some(Self::Status { status: status.parse().ok()?, own })
    }
}

// === impl NoAnswer ===

impl NoAnswer {
    fn in_words(self) -> &'static str {
        match self {
            Self::Timeout => "none in time",
            Self::Dns => "none, the host name can't be resolved",
            Self::Connect => "none, there is no connection",
            Self::Tls => "none, the TLS handshake failed",
            Self::Broken => "cut off, the connection broke",
            Self::AddressRefused => "none, the address is refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gist_is_read_back_from_its_words() {
        let lost = NoAnswer::VARIANTS.iter().map(|no_answer| Gist::Lost(*no_answer));
        let status = [(500, true), (404, false)].map(|(status, own)| Gist::Status { status, own });
        for gist in lost.chain(status) {
            assert_eq!(Gist::of_words(&gist.to_string()), Some(gist));
        }
        assert_eq!(["", "HTTP", "HTTP many", "HTTP 70000"].map(Gist::of_words), [None; 4]);
    }
}
