//! Texts for people: an error with its causes in one line, and no more of a stranger's words than fit.

use std::error::Error;

/// The longest line on an error of the Kubernetes API: enough for its sentence on missing permissions, wherever it is
/// shown.
pub const LINE_BYTES_MAX: usize = 400;

const ELLIPSIS: &str = "...";

/// An error with all its causes, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        // Many errors repeat their cause in their own text.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    text
}

/// An error with its causes, cut to what fits a line of a log or a condition.
pub fn error_line(error: &dyn Error) -> String {
    bounded(chain(error), LINE_BYTES_MAX)
}

/// A text of at most so many bytes, so that no stranger's words fill a status or the log. A text that was longer ends
/// in an ellipsis.
pub fn bounded(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(cut(&text, bytes_max.saturating_sub(ELLIPSIS.len())).len());
        text.push_str(ELLIPSIS);
    }
    text
}

/// The beginning of a text: at most so many bytes, and no part of a character.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Outer {
        text: &'static str,
        source: io::Error,
    }

    #[test]
    fn causes_follow_once_each() {
        for (text, expected) in [
            ("failed to read", "failed to read: no such place"),
            ("failed to read: no such place", "failed to read: no such place"),
            ("no such place, as it seems", "no such place, as it seems"),
        ] {
            let error = Outer { text, source: io::Error::other("no such place") };
            assert_eq!(chain(&error), expected);
        }
        let error = Outer { text: "failed", source: io::Error::other("x".repeat(9000)) };
        assert_eq!(error_line(&error).len(), LINE_BYTES_MAX);
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        for bytes in 3..12 {
            let text = bounded("ä€ä€ä€".to_owned(), bytes);
            assert!(text.len() <= bytes && text.ends_with(ELLIPSIS), "{bytes}: {text}");
        }
        assert_eq!(bounded("abc".to_owned(), 3), "abc");
        assert_eq!((cut("ä€", 4), cut("ä€", 5), cut("ä€", 9)), ("ä", "ä€", "ä€"));
    }
}
