//! Guards: rules that keep the machine right when inputs come late, twice, or in another order than they happened.
//!
//! Each guard acts in one place. It has a name so that a test can switch it off: the model checker must then find a
//! history that breaks an invariant, or it would not notice if the guard were missing. The product can't switch guards
//! off, and there they cost nothing. Each rule stands in full in the file that keeps it.

/// A guard that a test can switch off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Guard {
    /// R1, in `runs/observe.rs`: an object older than the newest version known is ignored.
    KnownVersion,
    /// R2, in `runs/observe.rs`: another uid under the same name is another run.
    OtherUid,
    /// R3, in `runs/observe.rs`: a run that a complete list did not bring is gone.
    Unlisted,
    /// R8, in `gateways/queue.rs`: an id is in one call at a time.
    OneCallAnId,
    /// R13, in `gateways/calls.rs`: an answer from a former address says nothing of the plans.
    Endpoint,
    /// R14, in `gateways/calls.rs`: a call from before the gate last moved does not move it.
    Sequence,
    /// R28, in `gateways/second_look.rs`: before a verdict gives a plan up, the Secret is read once more.
    Reread,
    /// R15, in `runs/mod.rs`: a verdict counts only for the request that its call was made for.
    PresentRequest,
}

/// The guards that are on: all of them, outside of tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guards {
    #[cfg(test)]
    off: Option<Guard>,
}

// === impl Guards ===

impl Guards {
    #[cfg(test)]
    pub fn without(rule: Guard) -> Self {
        Self { off: Some(rule) }
    }

    #[cfg(test)]
    pub fn is_on(self, rule: Guard) -> bool {
        self.off != Some(rule)
    }

    #[cfg(not(test))]
    #[inline(always)]
    pub fn is_on(self, _rule: Guard) -> bool {
        true
    }

    /// Whether none is switched off.
    #[cfg(debug_assertions)]
    pub fn all_on(self) -> bool {
        #[cfg(test)]
        return self.off.is_none();
        #[cfg(not(test))]
        return true;
    }
}
