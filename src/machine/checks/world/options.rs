//! Options of a world, and a trace of the events in it for tests that ask.

use std::sync::Arc;

use crate::api::TestPlanCleanupStatus;
use crate::machine::guards::Guard;
use crate::machine::{Event, GatewayKey, Key};

/// Options of a world.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::machine) struct Options {
    pub(in crate::machine) without: Option<Guard>,
    /// Gateway statuses are written at once and have no echo: fewer states.
    pub(in crate::machine) quiet_gateways: bool,
    /// Deadlines are so short that a stop may be given up.
    pub(in crate::machine) expires: bool,
    /// Secrets are read as slowly as runs are.
    pub(in crate::machine) slow_secrets: bool,
    /// Records have room for one run of so many plans; for very many if none is given.
    pub(in crate::machine) room: Option<usize>,
    /// The operator may not put finalizers on.
    pub(in crate::machine) without_finalizers: bool,
    /// A broken invariant is noted, but does not panic.
    pub(in crate::machine) lenient: bool,
}

/// Events that a test may want to count.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Trace {
    pub(in crate::machine) posts: Vec<Vec<i64>>,
    /// Statuses of runs that were written.
    pub(in crate::machine) writes: Vec<Key>,
    /// Statuses of gateways that were written.
    pub(in crate::machine) gateway_writes: usize,
    pub(in crate::machine) told: Vec<&'static str>,
    /// The same with their messages.
    pub(in crate::machine) events: Vec<Event>,
    /// Readings of a Secret.
    pub(in crate::machine) readings: usize,
    /// Connections that were tried without a call.
    pub(in crate::machine) looks: usize,
    /// Gateways whose connections were dropped.
    pub(in crate::machine) disconnected: Vec<GatewayKey>,
    pub(in crate::machine) drained: bool,
    /// Pages of runs that were listed for cleanup rules.
    pub(in crate::machine) pages: usize,
    /// The last status of a cleanup rule that was written.
    pub(in crate::machine) cleanup_status: Option<Arc<TestPlanCleanupStatus>>,
}
