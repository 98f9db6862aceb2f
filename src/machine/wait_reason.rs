//! The reasons for which plans wait: a closed set for programs, and a sentence for people.

use strum::VariantArray;

use crate::api::reason;

/// A reason for which plans wait. Each has its own word in conditions, which scripts match on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, VariantArray)]
pub enum WaitReason {
    GatewayNotFound,
    /// Whether there is such a gateway is not known, since gateways can't be listed.
    GatewayNotListed,
    /// There is such a gateway, but this version of the operator can't read its object.
    GatewayUnreadable,
    Suspended,
    SecretNotFound,
    InvalidCredential,
    AuthenticationFailed,
    Forbidden,
    Unreachable,
    Misconfigured,
}

/// The party that has to act before waiting plans go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Acts {
    /// A person must change something.
    Person,
    /// The trouble passes by itself, and calls are tried again.
    Time,
    /// A person wants it so.
    Nobody,
}

/// A reason for waiting, with a sentence that says it to people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    pub reason: WaitReason,
    pub message: String,
}

// === impl WaitReason ===

impl WaitReason {
    /// The word in conditions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GatewayNotFound => reason::GATEWAY_NOT_FOUND,
            Self::GatewayNotListed => reason::GATEWAY_NOT_LISTED,
            Self::GatewayUnreadable => reason::GATEWAY_UNREADABLE,
            Self::Suspended => reason::SUSPENDED,
            Self::SecretNotFound => reason::SECRET_NOT_FOUND,
            Self::InvalidCredential => reason::INVALID_CREDENTIAL,
            Self::AuthenticationFailed => reason::AUTHENTICATION_FAILED,
            Self::Forbidden => reason::FORBIDDEN,
            Self::Unreachable => reason::UNREACHABLE,
            Self::Misconfigured => reason::MISCONFIGURED,
        }
    }

    /// The reason with this word; none if no reason for waiting has it.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|reason| reason.as_str() == word)
    }

    pub fn who_acts(self) -> Acts {
        match self {
            Self::Unreachable => Acts::Time,
            Self::Suspended => Acts::Nobody,
            Self::GatewayNotFound
            | Self::GatewayNotListed
            | Self::GatewayUnreadable
            | Self::SecretNotFound
            | Self::InvalidCredential
            | Self::AuthenticationFailed
            | Self::Forbidden
            | Self::Misconfigured => Acts::Person,
        }
    }
}

impl From<WaitReason> for &'static str {
    fn from(reason: WaitReason) -> Self {
        reason.as_str()
    }
}
