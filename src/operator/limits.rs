//! Bounds of the driver, each with its reason.

use std::time::Duration;

/// The longest time in which events may be written that wait at the end, when another replica acts already.
pub(super) const LAST_EVENTS: Duration = Duration::from_secs(3);
/// Inputs of watches that wait for the machine, at most; beyond that the watches are held up.
pub(super) const INPUTS: usize = 128;
/// Inputs that the machine takes in at once, if so many wait.
pub(super) const INPUTS_PER_TICK: usize = 64;
/// Time after which the loop shows that it works, when nothing happens.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);
/// The longest time in which calls and writes under way may end after a signal. Until then no other replica acts, and
/// what one namespace's gateway or webhooks hold up would hold up all. The pod is given 45 s.
pub(super) const DRAIN: Duration = Duration::from_secs(5);
/// Least time between two counts of the runs that wait, which cost a walk over all of them.
pub(super) const BETWEEN_COUNTS: Duration = Duration::from_secs(5);
