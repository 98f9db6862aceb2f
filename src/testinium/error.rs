//! The reasons for which a gateway has no connection, sorted by who must act.

use crate::machine::Millis;

/// The reason for which there is no connection. The texts are for users and hold no secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectError {
    /// The spec or a Secret can't be used as it is; somebody must change it.
    #[error("{0}")]
    Invalid(String),
    /// The token endpoint refused the login. Another try with the same password could lock the account.
    #[error("{0}")]
    Refused(String),
    /// No login was possible just now.
    #[error("{why}")]
    Failed { why: String, retry_after: Option<Millis> },
}

pub(super) fn invalid(why: impl Into<String>) -> ConnectError {
    ConnectError::Invalid(why.into())
}
