//! The gate of one gateway: open, or shut until a single plan has been tried with success.

use std::borrow::Cow;

use super::retry::Backoff;
use super::types::{CallId, Millis};
use super::verdict::{Trouble, TroubleKind};

/// Whether calls may begin.
///
/// ```text
///            trouble                          trouble (n + 1)
///   Open ----------------> Shut, waiting <------------------- Shut, probing
///    ^                          |          until                   |
///    |                          +--------------------------------->+
///    +---- new credential, edit, or the probe was answered <-------+
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Gate {
    #[default]
    Open,
    Shut(Shut),
}

/// A gate that is shut.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shut {
    pub kind: TroubleKind,
    pub text: Cow<'static, str>,
    /// When to try again.
    pub until: Millis,
    /// Failures in a row.
    pub failures: u8,
    /// The call that tries.
    pub probe: Option<CallId>,
}

impl Gate {
    /// Shuts the gate, or keeps it shut for longer. `failures`: those before, of this kind.
    pub fn shut(&mut self, trouble: Trouble, failures: u8, now: Millis, backoff: Backoff, chance: u64) {
        let failures = failures.saturating_add(1);
        let until = now + backoff.delay(failures, chance, trouble.retry_after);
        *self = Gate::Shut(Shut { kind: trouble.kind, text: trouble.text, until, failures, probe: None });
    }

    pub fn failures(&self) -> u8 {
        match self {
            Gate::Open => 0,
            Gate::Shut(shut) => shut.failures,
        }
    }

    pub fn is_probe(&self, call: CallId) -> bool {
        matches!(self, Gate::Shut(shut) if shut.probe == Some(call))
    }

    /// The probe has ended without telling anything.
    pub fn forget_probe(&mut self, call: CallId) {
        if let Gate::Shut(shut) = self
            && shut.probe == Some(call)
        {
            shut.probe = None;
        }
    }

    /// Ends the wait: the next probe may begin at once.
    pub fn hurry(&mut self, now: Millis) {
        if let Gate::Shut(shut) = self {
            shut.until = shut.until.min(now);
        }
    }

    /// The trouble that shut it.
    pub fn trouble(&self) -> Option<TroubleKind> {
        match self {
            Gate::Open => None,
            Gate::Shut(shut) => Some(shut.kind),
        }
    }
}
