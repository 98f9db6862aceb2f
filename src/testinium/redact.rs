//! Redaction: a text from outside is shown without any piece of a secret that was sent, however it is quoted.
//!
//! `text -> printable -> (as it stands, unescaped, base64, hex) -> pieces of a secret -> hidden -> cut`
//!
//! A server may quote a request in encodings that nobody can list. So the secret is not encoded in every way; instead
//! the text is decoded in every way, and each result is searched for pieces of the secrets that were sent. The pieces
//! are in hash tables, whose keys a server can't know: each byte of a text is looked up in constant time, so the cost
//! is linear in the text and in the secrets, whatever they hold. An automaton such as Aho-Corasick would need a state
//! for each byte of each piece, and a list of encodings.
//!
//! The tables are made when the first text of an answer is cleaned, and go with the answer. Most answers have no text,
//! and tables that are kept would be ten times the size of the secret for every gateway.

mod known;
mod printable;
mod views;

use std::borrow::Cow;
use std::sync::OnceLock;

use self::known::Known;
use self::printable::printable;
use crate::text::cut;

/// The most bytes of a text that are kept.
pub const TEXT_BYTES_MAX: usize = 128;

/// The most bytes of an error that are logged.
const ERROR_BYTES_MAX: usize = 512;

/// The most bytes of a text that are looked at. Redaction may shorten a text, so this is more than is kept.
const LOOK_BYTES_MAX: usize = 1024;

/// The depth to which escapes are read. They may be escaped again, such as in JSON within JSON. Deeper ones are made on
/// purpose, and a server that wants to tell a secret needs no such trick.
const LEVELS: usize = 3;

const REDACTED: &str = "[redacted]";

/// The secrets that a request carried: the server that answers it may quote them.
#[derive(Default)]
pub struct Secrets<'a> {
    sent: Vec<Cow<'a, str>>,
    known: OnceLock<Known>,
}

// === impl Secrets ===

impl<'a> Secrets<'a> {
    /// The secrets of a request: each as it is, and in the form in which the body of a login holds it.
    pub fn new(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sent = Vec::new();
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            if form != secret {
                sent.push(Cow::Owned(form));
            }
            sent.push(Cow::Borrowed(secret));
        }
        Self { sent, known: OnceLock::new() }
    }

    /// The same, with a text in which secrets were sent, such as a header's value.
    pub fn and_sent(mut self, text: String) -> Self {
        self.sent.push(Cow::Owned(text));
        self
    }

    /// The text as it may be shown, or none if nothing of it is left.
    pub fn clean(&self, text: &str) -> Option<String> {
        let cleaned = self.cleaned(text, TEXT_BYTES_MAX);
        (!cleaned.is_empty()).then_some(cleaned)
    }

    /// An error of our side with all its causes, as it may be logged. It may quote a server, such as the names in its
    /// certificate or its words at the end of a connection.
    pub fn clean_error(&self, text: &str) -> String {
        self.cleaned(text, ERROR_BYTES_MAX)
    }

    fn cleaned(&self, text: &str, bytes_max: usize) -> String {
        let looked_at = cut(text, LOOK_BYTES_MAX);
        let redacted = self.redact(&printable(looked_at));
        cut(&redacted, bytes_max).trim().to_owned()
    }

    fn redact(&self, text: &str) -> String {
        if self.sent.is_empty() {
            return text.to_owned();
        }
        let known = self.known.get_or_init(|| Known::new(self.sent.iter().map(|secret| &**secret)));
        let mut hidden = vec![false; text.len()];
        let mut hide = |from: usize, to: usize| hidden[from..to].fill(true);
        let mut units = views::units(text);
        // A sequence that looks like an escape of one kind may be the secret's own, within a text that is escaped in
        // another way.
        for signs in [&b"%"[..], b"\\", b"&"] {
            if let Some(units) = views::unescaped(&units, signs) {
                known.find(&units, known::PLAIN, &mut hide);
            }
        }
        for _ in 0..LEVELS {
            known.find(&units, known::PLAIN, &mut hide);
            views::base64(&units, |decoded| known.find(decoded, known::BASE64, &mut hide));
            views::hex(&units, |decoded| known.find(decoded, known::HEX, &mut hide));
            match views::unescaped(&units, b"%\\&") {
                Some(next) => units = next,
                None => break,
            }
        }
        shown(text, &hidden)
    }
}

// The output shows neither the secrets nor their number.
impl std::fmt::Debug for Secrets<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

fn shown(text: &str, hidden: &[bool]) -> String {
    let mut shown = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if !hidden[at] {
            shown.push(c);
        } else if at == 0 || !hidden[at - 1] {
            shown.push_str(REDACTED);
        }
    }
    shown
}

#[cfg(test)]
mod tests;
