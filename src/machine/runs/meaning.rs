//! The meaning of a value of the annotation `testinium.io/stop`.

/// The meaning of a value of the annotation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meaning {
    Asks,
    /// It takes a stop back.
    No,
    /// It says nothing.
    Empty,
}

/// The meaning of a value of the annotation.
pub fn meaning(value: &str) -> Meaning {
    let value = value.trim();
    if value.is_empty() {
        Meaning::Empty
    } else if ["false", "no", "off", "none", "0"].iter().any(|no| value.eq_ignore_ascii_case(no)) {
        Meaning::No
    } else {
        Meaning::Asks
    }
}

/// Whether a value of the annotation asks for a stop.
pub fn asks(value: &str) -> bool {
    meaning(value) == Meaning::Asks
}
