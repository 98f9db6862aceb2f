//! The content of a gateway's Secrets and ConfigMaps, and the checks that it can be a credential at all.

use std::fmt;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::limits::CREDENTIAL_BYTES_MAX;

/// The values that the Secrets and ConfigMaps of a gateway hold. Only those are there that its spec refers to.
#[derive(Default)]
pub struct CredentialData {
    /// The token of `spec.auth.bearerToken`.
    pub token: Option<SecretString>,
    /// A value of `spec.auth.password`, as are the next four.
    pub username: Option<SecretString>,
    pub password: Option<SecretString>,
    pub client_id: Option<SecretString>,
    pub client_secret: Option<SecretString>,
    /// Which state of the Secret of `spec.auth.password` these are of. Without it a login is the gateway's own.
    pub login_secret: Option<LoginSecret>,
    /// The client's key, which counts before `client_id` and `client_secret` if all are there.
    pub client_key: Option<SecretString>,
    /// The CA certificates of `spec.tls.caRef`.
    pub ca_pem: Option<String>,
    /// The client certificate of `spec.tls.clientCertificateRef`, with its chain, and its key.
    pub client_cert_pem: Option<String>,
    pub client_key_pem: Option<SecretString>,
}

/// A state of the Secret that a login is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoginSecret {
    /// Which object it is, in which version.
    pub version: String,
    /// When it was last written.
    pub written: Option<Timestamp>,
}

// === impl CredentialData ===

// Even certificates, which are meant to be public, are not shown: they may hold a key by mistake.
impl fmt::Debug for CredentialData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialData").finish_non_exhaustive()
    }
}

/// A token that can be sent in a header, or what is wrong with it, without showing it.
pub(super) fn checked_token(secret: &SecretString) -> Result<SecretString, String> {
    let token = checked_text(secret)?;
    if token.chars().any(char::is_whitespace) {
        Err("contains a space: it must be the token alone, without a word such as Bearer before it"
            .to_owned())
    } else if !token.bytes().all(|b| b.is_ascii_graphic()) {
        Err("contains a character that is not printable ASCII".to_owned())
    } else {
        Ok(token.into())
    }
}

/// A value of a Secret that looks like a credential, or what is wrong with it, without showing it. A value that doesn't
/// is most often another thing, such as a key file, and shall not be sent anywhere.
pub(super) fn checked_text(secret: &SecretString) -> Result<&str, String> {
    let text = trimmed(secret);
    if text.is_empty() {
        Err("is empty".to_owned())
    } else if text.len() > CREDENTIAL_BYTES_MAX {
        Err(format!("is longer than {CREDENTIAL_BYTES_MAX} bytes: write the credential alone"))
    } else if text.contains(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}']) {
        Err("contains a line break: write the credential alone, in one line".to_owned())
    } else if text.contains(char::is_control) {
        Err("contains a character that can't be printed: write the credential as text".to_owned())
    } else {
        Ok(text)
    }
}

/// A value of a Secret without the line break that editors and `echo` put at its end.
fn trimmed(secret: &SecretString) -> &str {
    let text = secret.expose_secret();
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::secret;
    use super::*;

    #[test]
    fn tokens_are_checked_and_never_shown() {
        for (text, expected) in [
            ("abc.DEF-123_~+/=", Ok("abc.DEF-123_~+/=")),
            ("abc\n", Ok("abc")),
            ("abc\r\n", Ok("abc")),
            ("abc\n\n", Err("line break")),
            ("ab\tc", Err("can't be printed")),
            ("ab\u{2028}c", Err("line break")),
            ("Bearer abc", Err("Bearer")),
            (" abc", Err("space")),
            ("ab\nc", Err("line break")),
            ("ab\u{0}c", Err("can't be printed")),
            ("abç", Err("ASCII")),
            ("", Err("empty")),
            ("\n", Err("empty")),
            (&"a".repeat(16_384), Ok(&"a".repeat(16_384))),
            (&"a".repeat(16_385), Err("longer than 16384 bytes")),
            ("-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n", Err("in one line")),
        ] {
            let checked = checked_token(&SecretString::from(text));
            match (&checked, expected) {
                (Ok(token), Ok(expected)) => assert_eq!(token.expose_secret(), expected, "{text:?}"),
                (Err(why), Err(part)) => {
                    assert!(why.contains(part) && !why.contains("abc"), "{text:?}: {why}")
                }
                _ => assert!(checked.is_ok() == expected.is_ok(), "{text:?}: {checked:?}"),
            }
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let marked = || secret("mark-5ecret");
        let data = CredentialData {
            token: marked(),
            username: marked(),
            password: marked(),
            client_id: marked(),
            client_secret: marked(),
            client_key: marked(),
            client_key_pem: marked(),
            login_secret: None,
            ca_pem: Some("mark-5ecret".into()),
            client_cert_pem: Some("mark-5ecret".into()),
        };
        assert!(!format!("{data:?}").contains("5ecret"));
    }
}
