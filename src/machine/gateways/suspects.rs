//! Groups of suspects: plans of calls that went wrong, with their history.

use crate::machine::gateways::verdict::Parts;
use crate::machine::ids::PlanId;
use crate::machine::limits::STRIKES;
use crate::machine::time::Millis;

/// Plans that stay together.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Suspects {
    pub(in crate::machine) serial: u32,
    pub(in crate::machine) plans: Vec<PlanId>,
    pub(in crate::machine) history: SuspectHistory,
}

/// The history of a group of suspects.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SuspectHistory {
    /// The number of bad answers to the group. For a plan that is alone and to blame: how often it was sent since.
    pub strikes: u8,
    /// The latest call that had begun when the first strike fell. Only the answer to a later call shows that the
    /// gateway has served others meanwhile: an earlier call may have been served before the trouble began.
    pub begun_before_strike: u32,
    /// Whether the group is to blame: the gateway has answered others while this group failed three times.
    pub quarantined: bool,
    /// The number of its calls in a row that were forbidden in Testinium's form, and the latest call when the first one
    /// was. They are counted by themselves: a group that is to blame for another failure is not forbidden by that.
    pub forbidden: u8,
    pub begun_before_forbidden: u32,
    /// The parts that it is split into then.
    pub parts: Parts,
    /// Nothing is known of the group: it need not stay together.
    pub pooled: bool,
    /// The group that waits for the answer to this one: the other half of one that holds a bad plan.
    pub other_half: Option<u32>,
    /// The group that a plan which tries a shut gate was taken from, if the rest of the group is still there.
    pub home: Option<u32>,
    /// The moment before which it is not sent.
    pub not_before: Millis,
}

/// The share of bad plans, as far as a search has found it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::machine) struct Search {
    pub(in crate::machine) good: usize,
    pub(in crate::machine) bad: usize,
    /// The plans of the call with which it began: one in so many is the first guess.
    pub(in crate::machine) first: usize,
}

// === impl Search ===

impl Search {
    /// The number of plans of which nothing is known that one call takes: it is accepted with a chance of about one half
    /// if `share` of all plans are bad and it has ln 2 / `share` of them.
    pub fn draw(&self) -> usize {
        let Self { good, bad, first } = self;
        ((good + bad + first) * 7 / 10 / (bad + 1)).max(1)
    }

    /// Counts plans. What is long past counts for less.
    pub fn count(&mut self, good: usize, bad: usize) {
        (self.good, self.bad) = (self.good + good, self.bad + bad);
        if self.good + self.bad > COUNTED_MAX {
            (self.good, self.bad, self.first) = (self.good / 2, self.bad / 2, self.first / 2);
        }
    }
}

// === impl SuspectHistory ===

impl SuspectHistory {
    /// Whether the group is to blame: it has failed often enough, and the gateway has answered others since it first
    /// did. `served`: the latest call with a good answer.
    pub fn is_to_blame(&self, served: u32) -> bool {
        self.strikes >= STRIKES && served > self.begun_before_strike
    }

    /// The same for calls that were forbidden.
    pub fn is_forbidden(&self, served: u32) -> bool {
        self.forbidden >= STRIKES && served > self.begun_before_forbidden
    }

    /// Counts one more bad answer. `forbids`: it was a 403 in Testinium's form. `begun`: the latest call that has
    /// begun.
    pub fn strike(&mut self, strikes: u8, forbids: bool, begun: u32) {
        if self.strikes == 0 {
            self.begun_before_strike = begun;
            self.parts = Parts::Halves;
        }
        self.strikes = self.strikes.saturating_add(strikes);
        if strikes >= STRIKES {
            self.parts = Parts::Several;
        }
        self.pooled = false;
        if !forbids {
            self.forbidden = 0;
        } else {
            if self.forbidden == 0 {
                self.begun_before_forbidden = begun;
            }
            self.forbidden = self.forbidden.saturating_add(1);
        }
    }

    /// The history of a part of a group that was split after a verdict. It begins at no strikes.
    pub fn of_part(&self) -> Self {
        Self { quarantined: self.quarantined, parts: self.parts, ..Self::default() }
    }

    /// The history of a part of a group that was split since it is to blame.
    pub fn of_blamed_part(&self) -> Self {
        Self {
            forbidden: self.forbidden,
            begun_before_forbidden: self.begun_before_forbidden,
            ..self.of_part()
        }
    }
}

/// The most plans that count for the share of bad ones.
const COUNTED_MAX: usize = 2_000;
