//! The demands that runs make of the other parts of the machine.

use crate::api::{EventReason, Outcome};
use crate::machine::call::Waiter;
use crate::machine::effect::Event;
use crate::machine::ids::{GatewayKey, PlanId, RunId, RunKey, Version};
use crate::machine::runs::deletion::LetGo;
use crate::machine::time::Millis;

/// One demand of a run. The machine hands it on; runs know none of the other parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Demand {
    /// These plans are to be stopped at this gateway.
    Offer {
        gateway: GatewayKey,
        plans: Vec<PlanId>,
        waiter: Waiter,
    },
    /// The run does not wait for these plans any more.
    Withdraw {
        gateway: GatewayKey,
        plans: Vec<PlanId>,
        run: RunId,
    },
    /// A person asks to try the gateway now.
    Hurry(GatewayKey),
    /// A stop is asked for anew, which is worth a try.
    HurryForRequest(GatewayKey),
    Tell(Event),
    /// The object of the run was seen in this version.
    Observed(RunId, Version),
    /// The run's status may be due now, or at another time than before.
    Reschedule(RunId),
    /// The run has no record any more.
    Forgotten(RunId),
    /// The object is to be read by itself.
    Read(RunKey),
    /// A plan has its outcome, which a metric counts.
    Settled(Outcome),
    /// A stop has ended in this way, so long after it was asked for, and status tells it. Metrics count it.
    Ended(EventReason, Millis),
    /// The deletion of a run waits until its plans are stopped at this gateway; or it waits no more.
    Deleting(RunId, Option<GatewayKey>),
    /// The deletion of a run waits no longer although plans are left to be stopped, which a metric counts.
    LetGo(LetGo),
    /// A panic was caught, which a metric counts.
    Panicked,
}
