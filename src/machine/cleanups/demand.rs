//! The demands that cleanup rules make of the other parts of the machine.

use std::sync::Arc;

use strum::{IntoStaticStr, VariantArray};

use crate::machine::effect::Event;
use crate::machine::ids::{CleanedRun, CleanupKey, PageSerial};
use crate::machine::outbox::What;

/// One demand of a cleanup rule. The machine hands it on; rules know none of the other parts but the form of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum CleanupDemand {
    /// A page of runs is to be listed.
    List {
        serial: PageSerial,
        namespace: Arc<str>,
        selector: String,
        next: Option<String>,
    },
    /// A run is to be written.
    Write(Box<CleanedRun>, What),
    /// A write that was asked for is not wanted any more. One under way goes on, and says nothing.
    DropWrite(Box<CleanedRun>),
    Tell(Event),
    /// The rule's status may be due now, or at another time than before.
    Reschedule(CleanupKey),
    /// The rule has no record any more.
    Forgotten(CleanupKey),
    /// Runs for which something was done, or not, which a metric counts.
    Counted(CleanupResult, u64),
}

/// What has become of a run at one time of a rule.
#[derive(Clone, Copy, Debug, Eq, Hash, IntoStaticStr, PartialEq, VariantArray)]
pub enum CleanupResult {
    Stopped,
    Deleted,
    Spared,
    Failed,
}
