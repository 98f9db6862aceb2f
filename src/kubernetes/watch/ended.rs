//! The ends of lists and watches.

/// The reason for which a list or watch ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The API server does not know the version any more that the watch was to start from.
    Expired,
    Failed(String),
    /// A right is missing.
    Forbidden(String),
    /// The machine takes no more inputs.
    Closed,
}

// === impl Ended ===

impl Ended {
    /// The failure that a person should hear of, if it is one.
    pub(super) fn why(&self) -> Option<&str> {
        match self {
            Self::Failed(why) | Self::Forbidden(why) => Some(why),
            Self::Expired | Self::Closed => None,
        }
    }
}
