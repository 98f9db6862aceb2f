//! How a world is meant to be, and what a test may want to know of what happened in it.

use crate::stop::Key;
use crate::stop::rules::Rule;

/// How the world is meant to be.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::stop) struct Options {
    pub(in crate::stop) without: Option<Rule>,
    /// Gateway statuses are written at once and have no echo: fewer states.
    pub(in crate::stop) quiet_gateways: bool,
    /// Deadlines are so short that a stop may be given up.
    pub(in crate::stop) expires: bool,
    /// Secrets are read as slowly as runs are.
    pub(in crate::stop) slow_secrets: bool,
    /// A broken invariant is noted, but nobody is told of it by a panic.
    pub(in crate::stop) lenient: bool,
}

/// What a test may want to count.
#[derive(Clone, Debug, Default)]
pub(in crate::stop) struct Diary {
    pub(in crate::stop) posts: Vec<Vec<i64>>,
    /// Statuses of runs that landed.
    pub(in crate::stop) writes: Vec<Key>,
    pub(in crate::stop) told: Vec<&'static str>,
    /// Readings of a Secret.
    pub(in crate::stop) readings: usize,
    pub(in crate::stop) drained: bool,
}
