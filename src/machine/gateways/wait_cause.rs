//! The cause for which plans wait at a gateway.

use crate::machine::gateways::credential::CredentialError;
use crate::machine::gateways::gate::Shut;
use crate::machine::gateways::verdict::TroubleKind;
use crate::machine::wait_reason::{WaitReason, Waiting};

/// The cause for which plans wait. It is not yet put into words, which cost time and are seldom needed.
#[derive(Clone, Copy, Debug)]
pub enum WaitCause<'a> {
    NoGateway,
    /// Whether there is such a gateway is not known, for this reason.
    NotListed(&'a str),
    /// There is such a gateway, and its object can't be read, for this reason.
    Unreadable(&'a str),
    Suspended,
    Credential(&'a CredentialError),
    Shut(&'a Shut),
}

// === impl WaitCause ===

impl<'a> WaitCause<'a> {
    /// The cause if no such gateway is known. `listed`: whether gateways could be listed, and if not, why. `unreadable`:
    /// why its object can't be read, if there is one.
    pub fn unknown_gateway(listed: Result<(), &'a str>, unreadable: Option<&'a str>) -> Self {
        match (unreadable, listed) {
            (Some(why), _) => Self::Unreadable(why),
            (None, Err(why)) => Self::NotListed(why),
            (None, Ok(())) => Self::NoGateway,
        }
    }

    pub fn reason(self) -> WaitReason {
        match self {
            Self::NoGateway => WaitReason::GatewayNotFound,
            Self::NotListed(_) => WaitReason::GatewayNotListed,
            Self::Unreadable(_) => WaitReason::GatewayUnreadable,
            Self::Suspended => WaitReason::Suspended,
            Self::Credential(CredentialError::Missing(_)) => WaitReason::SecretNotFound,
            Self::Credential(CredentialError::Invalid(_)) => WaitReason::InvalidCredential,
            Self::Credential(CredentialError::Refused(_)) => WaitReason::AuthenticationFailed,
            Self::Credential(CredentialError::Failed(_)) => WaitReason::Unreachable,
            Self::Shut(shut) => match shut.kind {
                TroubleKind::Unauthorized => WaitReason::AuthenticationFailed,
                TroubleKind::Forbidden => WaitReason::Forbidden,
                TroubleKind::Down => WaitReason::Unreachable,
                TroubleKind::Misconfigured => WaitReason::Misconfigured,
            },
        }
    }

    /// The cause in words, for the gateway with this name.
    pub fn in_words(self, name: &str) -> Waiting {
        let message = match self {
            Self::NoGateway => format!(
                "there is no TestiniumGateway \"{name}\" in this namespace; create it, and the stop goes on"
            ),
            Self::NotListed(why) => format!("gateways can't be listed: {why}"),
            Self::Unreadable(why) => {
                format!("gateway \"{name}\" can't be read: {why}; correct it, and the stop goes on")
            }
            Self::Suspended => {
                format!("gateway \"{name}\" is suspended; set its spec.suspend to false to let stops go on")
            }
            Self::Credential(error) => format!("gateway \"{name}\": {}", error.text()),
            Self::Shut(shut) => format!("gateway \"{name}\" {}", shut.text),
        };
        Waiting { reason: self.reason(), message }
    }
}
