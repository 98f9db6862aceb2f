//! Values of annotations and labels, in a length that a status can hold.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

/// The longest value, in bytes, that is kept as it is.
const WHOLE_BYTES_MAX: usize = 300;
/// The bytes that are kept of a longer one, beside its digest.
const BEGINNING_BYTES_MAX: usize = 128;

/// The value that stands for this one. An annotation may have 256 KiB, and it would stand in the status several times,
/// which etcd would refuse; so of a long one its beginning and a digest stand for it. Spaces around a long value are
/// left out first: they mean nothing.
pub(super) fn canonical(value: String) -> String {
    if value.len() <= WHOLE_BYTES_MAX {
        return value;
    }
    let trimmed = value.trim();
    if trimmed.len() <= WHOLE_BYTES_MAX {
        return trimmed.to_owned();
    }
    let end = trimmed.floor_char_boundary(BEGINNING_BYTES_MAX);
    let mut short = format!("{}~sha256:", &trimmed[..end]);
    for byte in digest(&SHA256, trimmed.as_bytes()).as_ref() {
        // Writing to a string can't fail.
        let _ = write!(short, "{byte:02x}");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_becomes_short_and_stays_itself() {
        let long = "ä".repeat(50_000);
        let short = canonical(long.clone());
        assert!(short.len() <= WHOLE_BYTES_MAX && short.starts_with("ää"), "{short}");
        assert_eq!(canonical(short.clone()), short, "what status remembers is the same value");
        assert_eq!(canonical(long.clone()), short);
        assert_ne!(canonical(format!("{long}a")), canonical(format!("{long}b")), "the last character counts");
    }

    #[test]
    fn a_short_value_is_kept_and_spaces_mean_nothing() {
        for value in ["", "no", " no ", "1732700000"] {
            assert_eq!(canonical(value.to_owned()), value);
        }
        assert_eq!(canonical(format!("{}no", " ".repeat(1000))), "no");
        assert_eq!(canonical(" ".repeat(1000)), "");
    }
}
