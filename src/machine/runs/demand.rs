//! What runs ask of the other parts of the machine.

use crate::api::Outcome;
use crate::machine::call::Waiter;
use crate::machine::effect::Event;
use crate::machine::ids::{GatewayKey, PlanId, RunId, RunKey, Version};

/// Something that a run asks for. The machine hands it on; runs know none of the others.
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
    /// The record of the run is no more.
    Forgotten(RunId),
    /// The object is to be read by itself.
    Read(RunKey),
    /// A plan has its outcome, and somebody counts.
    Settled(Outcome),
    /// A panic was contained, and somebody counts.
    Panicked,
}
