//! Every bound of the machine, with its reason, and the defaults of the bounds that users may set.

use crate::machine::time::Millis;

// === runs ===

/// The longest time of a quick answer: until then nothing is written but the outcome.
pub const QUICK_ANSWER: Millis = Millis(1_000);
/// Least time between two writes of a part of the outcomes.
pub const BETWEEN_PARTS: Millis = Millis(5_000);
/// The longest time for the delivery of a stop, where the run does not say.
pub const STOP_DEADLINE_SECONDS: i64 = 3600;
/// Plans whose outcome comes with the gateway's words, at most: a thousand plans stay under 100 KiB.
pub const MESSAGES_MAX: usize = 50;
/// Ids that a message names, at most; the others are counted.
pub const NAMED_IDS_MAX: usize = 5;
/// The longest time until a wall clock that jumps is noticed, while a run waits for a time of day.
pub const CLOCK_CHECK: Millis = Millis(60_000);

/// The pause after a reading of a run that has failed: a stop may wait for it.
pub const READ_AGAIN: Millis = Millis(5_000);
/// Readings under way at a time of runs whose deadline has come: a job may have made thousands with one deadline.
pub const DUE_READS_MAX: usize = 16;
/// The longest time for which a deletion waits until the plans of a run are stopped: a namespace that is torn down must
/// not hang. Together with `TELLS_FOR` it is five minutes.
pub const HOLDS_FOR: Millis = Millis(290_000);
/// How long it waits after that until status tells how the stop has ended.
pub const TELLS_FOR: Millis = Millis(10_000);
/// The same for an operator that comes when that time is nearly over: long enough for a call.
pub const HOLDS_FOR_LEAST: Millis = Millis(15_000);
/// How long a gateway is remembered whose object is gone, with its credential: a namespace is torn down in no order, and
/// runs may be deleted some seconds after it.
pub const REMEMBERED_FOR: Millis = Millis(60_000);
/// Readings under way at a time of runs for which there is room again.
pub const ROOM_READS_MAX: usize = 16;

// === gateways ===

/// Bad answers to a group of plans after which the group is to blame.
pub const STRIKES: u8 = 3;
/// The longest time that one half of a group of plans waits for the answer to the other half: a gateway that takes
/// longer is asked for both.
pub const HALF_WAITS: Millis = Millis(1_000);
/// Least time between two tries for new requests at a shut gate: a flood of requests must not become one of calls.
pub const BETWEEN_TRIES: Millis = Millis(1_000);
/// The time that a changed reason for waiting must stand before the runs that wait are told of it.
pub const REASON_SETTLES: Millis = Millis(30_000);
/// The time that a change must stand before the gateway's own status tells it: an outage that comes and goes must not
/// become a stream of writes.
pub const GATEWAY_STATUS_SETTLES: Millis = Millis(1_000);
/// Least time between two writes of one gateway's status.
pub const BETWEEN_GATEWAY_WRITES: Millis = Millis(5_000);
/// The longest pause before a gateway's status tells a changed text under the same reason. The pause doubles with each
/// such change in a row, and begins anew once no text has changed for this long: an outage whose words change with each
/// try must not become a stream of writes.
pub const TEXT_PAUSE_MAX: Millis = Millis(600_000);
/// A login that was refused is not tried again sooner, or the account could be locked.
pub const REFUSED_LOGIN_PAUSE: Millis = Millis(300_000);
/// The first pause between two readings of a missing Secret: the person who has just made it is watching.
pub const POLL_FIRST: Millis = Millis(1_000);
/// The longest pause between two readings of a missing Secret while a run waits.
pub const POLL_MAX: Millis = Millis(15_000);
/// The first and the longest pause between two looks at what a gateway's status calls missing or failing while nobody
/// waits: readings of a Secret, logins, connections.
pub const LOOK_FIRST: Millis = Millis(5_000);
pub const LOOK_MAX: Millis = Millis(60_000);
/// After so many looks in a row the pause is longer: nobody seems to be about to mend it.
pub const LOOKS: u8 = 16;
/// The longer pause.
pub const LOOK_LATER: Millis = Millis(300_000);
/// Least time between two readings of a Secret that an answer has put in doubt.
pub const BETWEEN_CHECKS: Millis = Millis(2_000);
/// Least time between two logins that are made although the gateway has not said that the token is no good.
pub const BETWEEN_RENEWALS: Millis = Millis(60_000);

/// The bounds that are set for the whole machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    pub origin: OriginLimits,
    /// The most bytes that records of runs take.
    pub runs_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { origin: OriginLimits::default(), runs_bytes: 64 * 1024 * 1024 }
    }
}

/// The cap of one origin, however many gateways lead to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OriginLimits {
    /// Calls under way at a time. A namespace without a call under way is not held up by it.
    pub max_in_flight: usize,
    pub calls_per_second: u64,
}

impl Default for OriginLimits {
    fn default() -> Self {
        Self { max_in_flight: 16, calls_per_second: 50 }
    }
}

/// Readings of Secrets under way at a time, logins included.
pub const READINGS_MAX: usize = 16;

// === cleanups ===

/// Runs of a page: with a thousand plans each, a page takes a few MiB.
pub const PAGE_RUNS: u32 = 100;
/// Pages that are listed at a time for all rules together: each takes its memory until it was judged. The rules of a
/// hundred namespaces may fire at one midnight.
pub const PAGES_MAX: usize = 2;
/// Names that the status of a rule tells, at most, of each sort.
pub const CLEANUP_NAMES_MAX: usize = 10;
/// Passes and lists of one firing that may fail: what is left then waits for the next time.
pub const CLEANUP_PASSES_MAX: u8 = 5;
/// The first and the longest pause after such a one.
pub const CLEANUP_RETRY_FIRST: Millis = Millis(1_000);
pub const CLEANUP_RETRY_MAX: Millis = Millis(30_000);
/// Runs that the API server may refuse to have written before a firing tries no other: a right is missing, most likely.
pub const CLEANUP_REFUSALS_MAX: usize = 100;
/// Plans of runs that are spared which a firing keeps in mind: about 10 MiB.
pub const SPARED_PLANS_MAX: usize = 200_000;
/// Least time between two writes of the status of one rule, and between those that tell of progress.
pub const BETWEEN_CLEANUP_WRITES: Millis = Millis(1_000);
pub const BETWEEN_CLEANUP_PARTS: Millis = Millis(5_000);

// === outbox ===

/// Writes under way at a time. An API server that does nothing else is as fast with 16; with more it still serves our
/// writes as fast as runs come while sixteen others keep it busy with patches.
pub const WRITES_MAX: usize = 24;
/// The time that a conflict waits for the watch to bring the newer object.
pub const CONFLICT_READ: Millis = Millis(5_000);
/// The first and the longest pause after a write that failed.
pub const WRITE_RETRY_FIRST: Millis = Millis(200);
pub const WRITE_RETRY_MAX: Millis = Millis(30_000);
/// Failures in a row after which nothing waits any more until a finalizer is put on.
pub const FINALIZER_TRIES: u8 = 2;
/// The pause after a write that was refused once more without the gateway's words.
pub const REFUSED_WRITE_PAUSE: Millis = Millis(300_000);
/// How long the end waits for calls under way: for those that take three seconds, and a little more. One that hangs may
/// take five minutes, and meanwhile no other replica may act for anybody.
pub const DRAIN_CALLS: Millis = Millis(3_500);
/// How long the end waits for a write that has failed to be tried again: long enough for an API server that is moved.
pub const DRAIN_PATIENCE: Millis = Millis(3_000);
