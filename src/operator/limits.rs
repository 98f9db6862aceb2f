//! Bounds of the driver, each with its reason.

use std::time::Duration;

/// Inputs that wait for the machine: watches are held up beyond that, answers are not many more than calls.
pub(super) const INPUTS: usize = 128;
/// Inputs that the machine takes in at once, if so many wait.
pub(super) const INPUTS_PER_TICK: usize = 64;
/// Time after which the loop shows that it works, when nothing happens.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long finishing what is under way may take; the pod is given 45 s.
pub(super) const DRAIN: Duration = Duration::from_secs(40);
