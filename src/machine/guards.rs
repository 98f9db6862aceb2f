//! Rules that keep the machine right when things come late, twice, or in another order than they happened.
//!
//! Each acts in one place. They have names so that a test can switch one off: the model checker must then find a
//! history that breaks an invariant, or it would not notice if the rule were missing. The product can't switch them
//! off, and there this costs nothing.

/// A rule that a test can switch off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Guard {
    /// R1: a state older than the newest one read or written is an echo of the past, and ignored.
    KnownVersion,
    /// R2: another uid under the same name is another run.
    OtherUid,
    /// R3: what a complete list did not bring is gone.
    Unlisted,
    /// R8: an id is in one call at a time; who comes later waits for the next one.
    OneCallAnId,
    /// R13: an answer from an address that is no longer the gateway's says nothing of its plans.
    Endpoint,
    /// R14: an answer to a call from before the gate last moved moves it no more.
    Sequence,
    /// R28: before a verdict gives a plan up, the Secret is read once more.
    Reread,
    /// R15: a verdict counts only for the request that its call was made for.
    PresentRequest,
}

/// The rules that hold: all of them, outside of tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guards {
    #[cfg(test)]
    off: Option<Guard>,
}

// === impl Rules ===

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
