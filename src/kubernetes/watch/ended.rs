//! The ends of lists and watches.

/// Why a list or watch ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The versions known here are of no use any more.
    Expired,
    Failed(String),
    /// Nobody listens.
    Closed,
}
