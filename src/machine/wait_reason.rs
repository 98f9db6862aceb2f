//! Why plans wait: a closed set of reasons for programs, and a sentence with a detail for people.

use crate::api::reason;
use crate::machine::gateways::credential::Problem;
use crate::machine::gateways::gate::Shut;
use crate::machine::gateways::verdict::TroubleKind;

/// Why plans wait for a call. Each has its own word in conditions, which scripts match on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum WaitReason {
    GatewayNotFound,
    /// Whether there is such a gateway is not known, since gateways can't be listed.
    GatewayNotListed,
    Suspended,
    SecretNotFound,
    InvalidCredential,
    AuthenticationFailed,
    Forbidden,
    Unreachable,
    Misconfigured,
}

/// Who has to act before plans that wait go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Acts {
    /// Somebody must change something.
    Person,
    /// It passes, or is tried again by itself.
    Time,
    /// Somebody wants it so.
    Nobody,
}

/// Why plans wait, with a sentence that says so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    pub reason: WaitReason,
    pub message: String,
}

/// What makes plans wait, before it is put into words, which cost more than most callers need.
#[derive(Clone, Copy, Debug)]
pub enum WaitCause<'a> {
    NoGateway,
    /// Whether there is one is not known, and why not.
    NotListed(&'a str),
    Suspended,
    Credential(&'a Problem),
    Shut(&'a Shut),
}

// === impl WaitReason ===

impl WaitReason {
    /// The word in conditions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GatewayNotFound => reason::GATEWAY_NOT_FOUND,
            Self::GatewayNotListed => reason::GATEWAY_NOT_LISTED,
            Self::Suspended => reason::SUSPENDED,
            Self::SecretNotFound => reason::SECRET_NOT_FOUND,
            Self::InvalidCredential => reason::INVALID_CREDENTIAL,
            Self::AuthenticationFailed => reason::AUTHENTICATION_FAILED,
            Self::Forbidden => reason::FORBIDDEN,
            Self::Unreachable => reason::UNREACHABLE,
            Self::Misconfigured => reason::MISCONFIGURED,
        }
    }

    pub fn who_acts(self) -> Acts {
        match self {
            Self::Unreachable => Acts::Time,
            Self::Suspended => Acts::Nobody,
            Self::GatewayNotFound
            | Self::GatewayNotListed
            | Self::SecretNotFound
            | Self::InvalidCredential
            | Self::AuthenticationFailed
            | Self::Forbidden
            | Self::Misconfigured => Acts::Person,
        }
    }
}

// === impl WaitCause ===

impl<'a> WaitCause<'a> {
    /// What it means that no such gateway is known. `listed`: whether gateways could be listed, and if not, why.
    pub fn unknown_gateway(listed: Result<(), &'a str>) -> Self {
        listed.map_or_else(Self::NotListed, |()| Self::NoGateway)
    }

    pub fn reason(self) -> WaitReason {
        match self {
            Self::NoGateway => WaitReason::GatewayNotFound,
            Self::NotListed(_) => WaitReason::GatewayNotListed,
            Self::Suspended => WaitReason::Suspended,
            Self::Credential(Problem::Missing(_)) => WaitReason::SecretNotFound,
            Self::Credential(Problem::Invalid(_)) => WaitReason::InvalidCredential,
            Self::Credential(Problem::Refused(_)) => WaitReason::AuthenticationFailed,
            Self::Credential(Problem::Failed(_)) => WaitReason::Unreachable,
            Self::Shut(shut) => match shut.kind {
                TroubleKind::Unauthorized => WaitReason::AuthenticationFailed,
                TroubleKind::Forbidden => WaitReason::Forbidden,
                TroubleKind::Down => WaitReason::Unreachable,
                TroubleKind::Misconfigured => WaitReason::Misconfigured,
            },
        }
    }

    /// In words, of the gateway with this name.
    pub fn told_of(self, name: &str) -> Waiting {
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
        Waiting { reason: self.reason(), message }
    }
}
