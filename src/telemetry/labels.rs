//! Labels of metrics, each made of a closed enum.
//!
//! The enum itself lists the values that a label can have, so a new variant brings its series along, and no user can
//! make the number of series grow.

use std::fmt;
use std::hash::Hash;

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use strum::{IntoStaticStr, VariantArray};

use crate::api::{EventReason, Outcome};
use crate::machine::{Answer, Body, CleanupResult, Kind, LetGo, NoAnswer, WaitReason, WriteResult};

/// An enum that is the only label of a family. The value of the label is the name of the variant.
pub(super) trait Label: Copy + Eq + Hash + Into<&'static str> + VariantArray {
    /// The name of the label.
    const NAME: &'static str;

    /// Tells whether a series can have this value.
    fn is_counted(self) -> bool {
        true
    }
}

/// The labels of one series.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Labels<L>(L);

/// A counter for each value of a label.
pub(super) type Counters<L> = Family<Labels<L>, Counter>;

/// The end of a call to a gateway.
#[derive(Clone, Copy, Debug, Eq, Hash, IntoStaticStr, PartialEq, VariantArray)]
pub(super) enum CallResult {
    /// 2xx with the envelope that Testinium documents.
    Envelope,
    /// 2xx with another body, or a status below 200 or above 599.
    Unrecognised,
    Redirect,
    Unauthorized,
    Forbidden,
    /// 429.
    Throttled,
    /// Another 4xx.
    Refused,
    /// 5xx.
    ServerError,
    Timeout,
    Dns,
    Connect,
    Tls,
    Broken,
    AddressRefused,
}

/// The end of a status write.
#[derive(Clone, Copy, Debug, Eq, Hash, IntoStaticStr, PartialEq, VariantArray)]
pub(super) enum WriteClass {
    Done,
    Conflict,
    Gone,
    Refused,
    Failed,
}

/// Counters that all start at zero: one for each value that the label can have.
pub(super) fn counters<L: Label>() -> Counters<L> {
    let counters = Counters::<L>::default();
    for value in L::VARIANTS.iter().copied().filter(|value| value.is_counted()) {
        drop(counters.get_or_create(&Labels(value)));
    }
    counters
}

/// A gauge for each value of a label.
pub(super) type Gauges<L> = Family<Labels<L>, Gauge>;

/// Gauges that all start at zero: one for each value that the label can have.
pub(super) fn gauges<L: Label>() -> Gauges<L> {
    let gauges = Gauges::<L>::default();
    set_all(&gauges, |_| 0);
    gauges
}

/// Sets the gauge of each value.
pub(super) fn set_all<L: Label>(gauges: &Gauges<L>, count: impl Fn(L) -> usize) {
    for value in L::VARIANTS.iter().copied().filter(|value| value.is_counted()) {
        gauges.get_or_create(&Labels(value)).set(i64::try_from(count(value)).unwrap_or(i64::MAX));
    }
}

/// Adds to the counter of this value.
pub(super) fn count_many<L: Label>(counters: &Counters<L>, value: L, count: u64) {
    counters.get_or_create(&Labels(value)).inc_by(count);
}

/// Adds one to the counter of this value.
pub(super) fn count<L: Label>(counters: &Counters<L>, value: L) {
    count_many(counters, value, 1);
}

// === impl Label ===

impl Label for CallResult {
    const NAME: &'static str = "result";
}

impl Label for WriteClass {
    const NAME: &'static str = "result";
}

impl Label for Outcome {
    const NAME: &'static str = "outcome";

    /// A pending plan is not settled.
    fn is_counted(self) -> bool {
        self != Self::Pending
    }
}

impl Label for EventReason {
    const NAME: &'static str = "end";

    /// The other events tell of no end of a stop.
    fn is_counted(self) -> bool {
        matches!(
            self,
            Self::StopAccepted
                | Self::StopNotNeeded
                | Self::PartiallyStopped
                | Self::StopFailed
                | Self::StopExpired
        )
    }
}

impl Label for WaitReason {
    const NAME: &'static str = "reason";
}

impl Label for CleanupResult {
    const NAME: &'static str = "result";
}

impl Label for LetGo {
    const NAME: &'static str = "why";
}

impl Label for Kind {
    const NAME: &'static str = "kind";
}

// === impl Labels ===

impl<L: Label + fmt::Debug> EncodeLabelSet for Labels<L> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        EncodeLabelSet::encode(&[(L::NAME, self.0.into())], encoder)
    }
}

// === impl CallResult ===

impl From<&Answer> for CallResult {
    fn from(answer: &Answer) -> Self {
        match answer {
            Answer::Reply(reply) => match (reply.status, &reply.body) {
                (200..=299, Body::Envelope(_)) => Self::Envelope,
                (300..=399, _) => Self::Redirect,
                (401, _) => Self::Unauthorized,
                (403, _) => Self::Forbidden,
                (429, _) => Self::Throttled,
                (400..=499, _) => Self::Refused,
                (500..=599, _) => Self::ServerError,
                _ => Self::Unrecognised,
            },
            Answer::Lost(NoAnswer::Timeout) => Self::Timeout,
            Answer::Lost(NoAnswer::Dns) => Self::Dns,
            Answer::Lost(NoAnswer::Connect) => Self::Connect,
            Answer::Lost(NoAnswer::Tls) => Self::Tls,
            Answer::Lost(NoAnswer::Broken) => Self::Broken,
            Answer::Lost(NoAnswer::AddressRefused) => Self::AddressRefused,
        }
    }
}

// === impl WriteClass ===

impl From<WriteResult> for WriteClass {
    fn from(result: WriteResult) -> Self {
        match result {
            WriteResult::Done(_) => Self::Done,
            WriteResult::Conflict => Self::Conflict,
            WriteResult::Gone => Self::Gone,
            WriteResult::Refused(_) => Self::Refused,
            WriteResult::Failed { .. } => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Reply;

    #[test]
    fn answers_have_their_class() {
        let reply =
            |status, body| CallResult::from(&Answer::Reply(Reply { status, retry_after: None, body }));
        let envelope = || Body::Envelope(Default::default());
        assert_eq!(reply(200, envelope()), CallResult::Envelope);
        for (status, class) in [
            (200, CallResult::Unrecognised),
            (302, CallResult::Redirect),
            (400, CallResult::Refused),
            (401, CallResult::Unauthorized),
            (403, CallResult::Forbidden),
            (429, CallResult::Throttled),
            (503, CallResult::ServerError),
            (700, CallResult::Unrecognised),
        ] {
            assert_eq!(reply(status, Body::Other), class, "{status}");
        }
        assert_eq!(reply(500, envelope()), CallResult::ServerError);
    }
}
