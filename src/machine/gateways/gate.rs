//! The gate of one gateway: open, or shut until a single plan has been tried with success.
//!
//! **R18.** Probes. While a gate is shut, one call at a time tries it: a single plan, no earlier than `until`. A good
//! answer opens the gate; a bad one shuts it again, for longer. `until` is the later of the jittered backoff and the
//! gateway's Retry-After, but no later than `maxDelaySeconds`. An edit of the gateway or another credential opens the
//! gate; a reconcile request, or a new request for a stop, ends the wait. Fresh plans and suspects take turns as
//! probes, and a probe goes to the back, so that one bad plan can't keep the gate shut. A credential that is missing is
//! read again after 1 to 15 s while a plan waits, since the person who has just made its Secret is watching.
//! Tests: `a_new_request_is_worth_a_try_at_once_but_not_in_a_flood`, `probes_go_round`,
//! `quarantined_plans_probe_in_their_time_and_in_turn_with_others`,
//! `a_quarantined_plan_does_not_hammer_a_gateway_that_was_down`,
//! `a_lone_plan_that_breaks_the_gateway_does_not_keep_its_gate_shut_for_a_blamed_group`; the reference checks after
//! every input that a gate opens for one of these reasons only.

use std::borrow::Cow;

use crate::machine::backoff::Backoff;
use crate::machine::gateways::verdict::{Trouble, TroubleKind};
use crate::machine::ids::CallId;
use crate::machine::limits::BETWEEN_TRIES;
use crate::machine::time::Millis;

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
    /// The moment of the next try.
    pub until: Millis,
    /// The earliest time at which a new request is worth a try: soon, unless the gateway has asked for more.
    pub worth_a_try_at: Millis,
    /// Failures in a row.
    pub failures: u8,
    /// The call that tries.
    pub probe: Option<CallId>,
}

impl Gate {
    /// Shuts the gate, or keeps it shut for longer. `failures`: the number of earlier ones in a row.
    pub fn shut(&mut self, trouble: Trouble, failures: u8, now: Millis, backoff: Backoff, chance: u64) {
        let failures = failures.saturating_add(1);
        let until = now + backoff.delay(failures, chance, trouble.retry_after);
        let asked = trouble.retry_after.unwrap_or_default().max(BETWEEN_TRIES);
        *self = Gate::Shut(Shut {
            kind: trouble.kind,
            text: trouble.text,
            until,
            worth_a_try_at: until.min(now + asked),
            failures,
            probe: None,
        });
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

    /// Forgets the probe that has ended.
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

    /// Shortens the wait for a new request: it is worth a try, however long the backoff has grown. The outage may be
    /// over.
    pub fn hurry_for_request(&mut self, now: Millis) {
        if let Gate::Shut(shut) = self {
            shut.until = shut.until.min(shut.worth_a_try_at.max(now));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(retry_after: Option<u64>) -> Trouble {
        Trouble {
            kind: TroubleKind::Down,
            text: "can't be connected to".into(),
            retry_after: retry_after.map(Millis),
            strikes: 0,
            maybe_stopped: false,
            doubts_credential: false,
            blamed: None,
        }
    }

    /// The moment of the next try, after a failure at 10 s and a request at `asked`.
    fn tried_at(retry_after: Option<u64>, asked: u64) -> Option<u64> {
        let mut gate = Gate::Open;
        let backoff = Backoff { initial: Millis(300_000), max: Millis(300_000) };
        gate.shut(trouble(retry_after), 0, Millis(10_000), backoff, 300_000);
        gate.hurry_for_request(Millis(asked));
        match gate {
            Gate::Open => None,
            Gate::Shut(shut) => Some(shut.until.0),
        }
    }

    #[test]
    fn a_new_request_is_worth_a_try_at_once_but_not_in_a_flood() {
        assert_eq!(tried_at(None, 60_000), Some(60_000));
        assert_eq!(tried_at(None, 10_001), Some(11_000), "one a second");
        assert_eq!(tried_at(Some(30_000), 20_000), Some(40_000), "the gateway has asked for a pause");
        assert_eq!(tried_at(None, 400_000), Some(310_000), "it is due already");
    }
}
