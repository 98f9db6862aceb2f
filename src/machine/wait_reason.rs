//! The reasons for which plans wait: a closed set for programs, and a sentence for people.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

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

/// A cause for which plans wait: the reason, and a digest of the words that say more of it. If it changes, that is news
/// for people, even if the reason is still the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cause {
    pub reason: WaitReason,
    pub(in crate::machine) text: u64,
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

/// A cause for waiting, with a sentence that says it to people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    pub cause: Cause,
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

    /// Whether no call can be made at all until a person changes something that is known to be wrong.
    pub fn leaves_nothing_to_send(self) -> bool {
        match self {
            Self::GatewayNotFound | Self::Suspended | Self::SecretNotFound => true,
            Self::GatewayNotListed
            | Self::GatewayUnreadable
            | Self::InvalidCredential
            | Self::AuthenticationFailed
            | Self::Forbidden
            | Self::Unreachable
            | Self::Misconfigured => false,
        }
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

/// The words for gateways that no connection can be made to.
pub const NO_SUCH_HOST: &str = "has a host name that can't be resolved; check spec.url";
pub const NOT_CONNECTED: &str = "can't be connected to; it is tried again by itself";
const NO_CONNECTION: [&str; 2] = [NO_SUCH_HOST, NOT_CONNECTED];

/// The digest of words that are not known.
const NOT_KNOWN: u64 = 0;

// === impl Cause ===

impl Cause {
    /// A cause of which the reason alone is known, such as one that a status has told.
    pub fn of_reason(reason: WaitReason) -> Self {
        Self { reason, text: NOT_KNOWN }
    }

    /// Whether it is that no connection can be made. That is told without a call, too.
    pub fn is_of_no_connection(self) -> bool {
        NO_CONNECTION.iter().any(|text| self == Self::new(WaitReason::Unreachable, text))
    }

    /// Whether a person who was told the one would learn nothing from the other.
    pub fn says_the_same_as(self, other: Self) -> bool {
        let is_same_text = self.text == other.text || [self.text, other.text].contains(&NOT_KNOWN);
        self.reason == other.reason && is_same_text
    }

    /// Of all words that say more of the reason, those count that stay the same while the cause does: names, and the
    /// status of an HTTP answer, but no other numbers, such as times, ports and addresses.
    pub fn new(reason: WaitReason, text: &str) -> Self {
        let mut hash = DefaultHasher::new();
        let mut before = "";
        for word in text.split_whitespace() {
            let is_number = word.contains(|c: char| c.is_ascii_digit());
            if !is_number || word.contains('"') || before.ends_with("HTTP") {
                word.hash(&mut hash);
            }
            before = word;
        }
        Self { reason, text: hash.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_as_its_reason() {
        for reason in WaitReason::VARIANTS {
            assert_eq!(WaitReason::of_word(reason.as_str()), Some(*reason));
            assert!(reason::OF_STOPPED.contains(&reason.as_str()), "users are told of it");
        }
        assert_eq!(WaitReason::of_word(reason::SUCCEEDED), None);
    }

    #[test]
    fn a_cause_is_told_apart_by_what_a_person_has_to_know_and_by_no_other_number() {
        let cause = |text| Cause::new(WaitReason::Unreachable, text);
        for (one, other) in [
            ("answered (HTTP 500)", "answered (HTTP 503)"),
            ("there is no Secret \"a1\"", "there is no Secret \"a2\""),
            ("can't be connected to", "did not answer in time"),
        ] {
            assert_ne!(cause(one), cause(other), "{one}, {other}");
        }
        for (one, other) in [
            ("no answer after 20 ms", "no answer after 3017 ms"),
            ("closed by 10.0.0.1:6443 (HTTP 503)", "closed by [fd00::1]:443 (HTTP 503)"),
        ] {
            assert_eq!(cause(one), cause(other), "{one}, {other}");
        }
    }
}
