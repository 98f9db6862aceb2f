//! What stands between the plans that wait and a call: in one word for programs, in a sentence for people.

use super::credential::Problem;
use super::gate::Shut;
use super::verdict::TroubleKind;
use crate::api::reason;

/// Why a stop can't go on now, as a status tells it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Obstacle {
    pub reason: &'static str,
    pub message: String,
}

/// The same before it is put into words, which cost more than most who ask need.
#[derive(Clone, Copy, Debug)]
pub enum Hindrance<'a> {
    NoGateway,
    /// Whether there is one is not known, and why not.
    NotListed(&'a str),
    Suspended,
    Credential(&'a Problem),
    Shut(&'a Shut),
}

// === impl Hindrance ===

impl<'a> Hindrance<'a> {
    /// What it means that no such gateway is known. `listed`: whether gateways could be listed, and if not, why.
    pub fn unknown_gateway(listed: Result<(), &'a str>) -> Self {
        listed.map_or_else(Self::NotListed, |()| Self::NoGateway)
    }

    pub fn reason(self) -> &'static str {
        match self {
            Self::NoGateway => reason::GATEWAY_NOT_FOUND,
            Self::NotListed(_) => reason::GATEWAY_NOT_LISTED,
            Self::Suspended => reason::SUSPENDED,
            Self::Credential(Problem::Missing(_)) => reason::SECRET_NOT_FOUND,
            Self::Credential(Problem::Invalid(_)) => reason::INVALID_CREDENTIAL,
            Self::Credential(Problem::Refused(_)) => reason::AUTHENTICATION_FAILED,
            Self::Credential(Problem::Failed(_)) => reason::UNREACHABLE,
            Self::Shut(shut) => match shut.kind {
                TroubleKind::Unauthorized => reason::AUTHENTICATION_FAILED,
                TroubleKind::Forbidden => reason::FORBIDDEN,
                TroubleKind::Down => reason::UNREACHABLE,
                TroubleKind::Misconfigured => reason::MISCONFIGURED,
            },
        }
    }

    /// In words, of the gateway with this name.
    pub fn told_of(self, name: &str) -> Obstacle {
        let message = match self {
            Self::NoGateway => format!(
                "there is no TestiniumGateway \"{name}\" in this namespace; create it, and the stop goes on"
            ),
            Self::NotListed(why) => format!("gateways can't be listed: {why}"),
            Self::Suspended => {
                format!("gateway \"{name}\" is suspended; set its spec.suspend to false to let stops go on")
            }
            Self::Credential(problem) => format!("gateway \"{name}\": {}", problem.text()),
            Self::Shut(shut) => format!("gateway \"{name}\" {}", shut.text),
        };
        Obstacle { reason: self.reason(), message }
    }
}
