//! The cause for which plans wait at a gateway.

use crate::machine::advice;
use crate::machine::gateways::credential::CredentialError;
use crate::machine::gateways::gate::Shut;
use crate::machine::gateways::verdict::TroubleKind;
use crate::machine::ids::GatewayKey;
use crate::machine::wait_reason::{Cause, WaitReason, Waiting};

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

    /// The cause as far as a change of it is news.
    pub fn cause(self) -> Cause {
        let reason = self.reason();
        match self {
            Self::NoGateway | Self::Suspended => Cause::new(reason, ""),
            Self::NotListed(why) => Cause::new(reason, without_words_of_others(why)),
            Self::Unreadable(why) => Cause::new(reason, why),
            Self::Credential(error) => credential_cause(reason, error.text()),
            Self::Shut(shut) => Cause::new(reason, &shut.text),
        }
    }

    /// The cause in words, with the command that helps if there is one.
    pub fn in_words(self, gateway: &GatewayKey) -> Waiting {
        let name = &gateway.name;
        let mut message = match self {
            Self::NoGateway => format!(
                "there is no TestiniumGateway \"{name}\" in this namespace; create it, and the stop goes on"
            ),
            Self::NotListed(why) => format!("gateways can't be listed: {why}"),
            Self::Unreadable(why) => {
                format!("gateway \"{name}\" can't be read: {why}; correct it, and the stop goes on")
            }
            Self::Suspended => format!(
                "gateway \"{name}\" is suspended, and calls are held; set its spec.suspend to false to let stops go on"
            ),
            Self::Credential(error) => format!("{}{}", before_credential_error(name), error.text()),
            Self::Shut(shut) => format!("{}{}", before_trouble(name), shut.text),
        };
        if let Some((what_for, command)) = self.advice(gateway) {
            message.push_str(&format!("; {what_for}{RUN}{command}"));
        }
        Waiting { cause: self.cause(), message }
    }

    /// A command that helps, and what it is for. Texts about a missing object have their own.
    fn advice(self, gateway: &GatewayKey) -> Option<(&'static str, String)> {
        match self {
            Self::NoGateway => Some(("to see which there are", advice::list_gateways(gateway))),
            Self::Unreadable(_) => Some(("to correct it", advice::edit_gateway(gateway))),
            Self::Suspended => Some(("to do so", advice::resume(gateway))),
            Self::Credential(CredentialError::Refused(_) | CredentialError::Invalid(_)) => {
                Some(("to see where the credential comes from", advice::show_credential(gateway)))
            }
            Self::Shut(Shut { kind: TroubleKind::Unauthorized | TroubleKind::Forbidden, .. }) => {
                Some(("to see where the credential comes from", advice::show_credential(gateway)))
            }
            Self::Shut(Shut { kind: TroubleKind::Misconfigured, .. }) => {
                Some(("to correct it", advice::edit_gateway(gateway)))
            }
            Self::NotListed(_)
            | Self::Credential(CredentialError::Missing(_) | CredentialError::Failed(_))
            | Self::Shut(Shut { kind: TroubleKind::Down, .. }) => None,
        }
    }
}

/// What stands between the purpose of a command and the command.
const RUN: &str = ", run: ";

/// What stands around a trouble that nobody waits for any more.
const PAST: &str = "the last call failed: ";
const NOBODY_WAITS: &str = "; no stop waits now, and only the next one can show whether that is over";

/// The text before the command that it advises.
fn without_advice(text: &str) -> &str {
    match text.rfind("; to ") {
        Some(at) if text[at..].contains(RUN) => &text[..at],
        _ => text,
    }
}

/// The cause that a status of the gateway with this name told in these words.
pub fn cause_told(reason: WaitReason, message: &str, name: &str) -> Cause {
    let of_the_past = message.strip_prefix(PAST).and_then(|rest| rest.split_once(NOBODY_WAITS));
    let message = of_the_past.map_or(message, |(trouble, _)| trouble);
    let trouble = message.strip_prefix(&before_trouble(name));
    match (reason, message.strip_prefix(&before_credential_error(name))) {
        (WaitReason::Suspended, _) => Cause::new(reason, ""),
        (_, Some(text)) => credential_cause(reason, text),
        (_, None) => Cause::new(reason, without_advice(trouble.unwrap_or(message))),
    }
}

/// A message of a trouble that nobody waits for any more. What the operator would do about it counts no more, but what a
/// person can do.
pub fn of_the_past(message: &str) -> String {
    let (trouble, _) = message.split_once("; ").unwrap_or((message, ""));
    let advice = &message[without_advice(message).len()..];
    format!("{PAST}{trouble}{NOBODY_WAITS}{advice}")
}

/// Whether such a message was about the credential as it was read, and not about a call.
pub fn is_about_credential(message: &str, name: &str) -> bool {
    message.starts_with(&before_credential_error(name))
}

fn before_credential_error(name: &str) -> String {
    format!("gateway \"{name}\": ")
}

fn before_trouble(name: &str) -> String {
    format!("gateway \"{name}\" ")
}

fn credential_cause(reason: WaitReason, text: &str) -> Cause {
    let text = without_advice(text);
    match reason {
        // A token endpoint is quoted by its published codes alone.
        WaitReason::AuthenticationFailed => Cause::new(reason, text),
        _ => Cause::new(reason, without_words_of_others(text)),
    }
}

/// What stands before the words of somebody else, such as those of an API server, which change from time to time.
fn without_words_of_others(text: &str) -> &str {
    text.split_once(": ").map_or(text, |(own, _)| own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::gateways::gate::Gate;
    use crate::machine::gateways::verdict::Trouble;
    use crate::machine::time::Millis;

    fn shut(kind: TroubleKind, text: &'static str) -> Shut {
        let trouble = Trouble {
            kind,
            text: text.into(),
            retry_after: None,
            strikes: 0,
            maybe_stopped: false,
            doubts_credential: false,
            blamed: None,
        };
        let backoff = crate::machine::backoff::Backoff { initial: Millis(1), max: Millis(1) };
        let mut gate = Gate::Open;
        gate.shut(trouble, 0, Millis(0), backoff, 0);
        match gate {
            Gate::Open => panic!("it was shut"),
            Gate::Shut(shut) => shut,
        }
    }

    #[test]
    fn a_cause_is_read_back_from_the_words_that_told_it() {
        let errors = [
            CredentialError::Missing(
                "there is no Secret \"token\" in its namespace; create it; to do so, run: kubectl create"
                    .to_owned(),
            ),
            CredentialError::Invalid("the token contains a line break: write it in one line".to_owned()),
            CredentialError::Refused("the token endpoint refused the login: 401 (BAD: no)".to_owned()),
            CredentialError::Failed("Secret \"token\" could not be read: timeout".to_owned()),
        ];
        let gates = [
            shut(TroubleKind::Down, "answered (HTTP 503); it is asked again by itself"),
            shut(TroubleKind::Unauthorized, "does not accept the credential: (HTTP 401)"),
            shut(TroubleKind::Misconfigured, "answered (HTTP 302)"),
        ];
        let causes = errors.iter().map(WaitCause::Credential).chain(gates.iter().map(WaitCause::Shut));
        for cause in causes.chain([WaitCause::Suspended]) {
            let Waiting { cause: told, message } = cause.in_words(&GatewayKey::new("team", "default"));
            let reason = told.reason;
            assert_eq!(cause_told(reason, &message, "default"), cause.cause(), "{message}");
            let is_credential = matches!(cause, WaitCause::Credential(_));
            assert_eq!(is_about_credential(&message, "default"), is_credential, "{message}");
        }
    }

    #[test]
    fn words_of_an_api_server_make_no_other_cause_and_those_of_a_login_do() {
        let failed =
            |why: &str| CredentialError::Failed(format!("Secret \"token\" could not be read: {why}"));
        let (one, other) = (failed("etcdserver: request timed out"), failed("connection refused"));
        assert_eq!(WaitCause::Credential(&one).cause(), WaitCause::Credential(&other).cause());
        let refused = |code: &str| CredentialError::Refused(format!("the login was refused: 401 ({code})"));
        let (one, other) = (refused("INVALID_CLIENT"), refused("INVALID_GRANT"));
        assert_ne!(WaitCause::Credential(&one).cause(), WaitCause::Credential(&other).cause());
    }
}
