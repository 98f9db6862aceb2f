//! Readings of credentials: no more than so many at a time, and gateways that runs wait for go first.
//!
//! A start with a thousand gateways would otherwise open a thousand connections at once, to the API server and to token
//! endpoints, and hold up the Lease with them.

use std::collections::BTreeSet;

use crate::machine::ids::{Epoch, GatewayKey};
use crate::machine::limits::READINGS_MAX;

/// The readings under way, and the gateways that wait for one.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    pub(in crate::machine) in_flight: usize,
    /// Gateways that nobody waits for come behind the others.
    pub(in crate::machine) waiting: BTreeSet<(bool, GatewayKey)>,
    pub(in crate::machine) next_epoch: u64,
}

// === impl Readings ===

impl Readings {
    /// Begins a reading of a gateway, or lets it wait for the end of another one.
    pub fn begin(&mut self, key: &GatewayKey, is_awaited: bool) -> Option<Epoch> {
        self.leave(key);
        if self.in_flight >= READINGS_MAX {
            self.waiting.insert((!is_awaited, key.clone()));
            return None;
        }
        self.in_flight += 1;
        self.next_epoch += 1;
        Some(Epoch(self.next_epoch))
    }

    /// A gateway does not wait for a reading any more.
    pub fn leave(&mut self, key: &GatewayKey) {
        if self.waiting.is_empty() {
            return;
        }
        for is_last in [false, true] {
            self.waiting.remove(&(is_last, key.clone()));
        }
    }

    /// A reading has ended. Yields the gateway whose turn it is.
    pub fn end(&mut self) -> Option<GatewayKey> {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.waiting.pop_first().map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> GatewayKey {
        GatewayKey::new("team", name)
    }

    #[test]
    fn gateways_that_runs_wait_for_are_read_first() {
        let mut readings = Readings::default();
        for number in 0..READINGS_MAX {
            assert!(readings.begin(&key(&number.to_string()), false).is_some());
        }
        for (name, is_awaited) in [("a", false), ("b", true), ("c", false), ("d", true)] {
            assert_eq!(readings.begin(&key(name), is_awaited), None, "all are taken");
        }
        assert_eq!(readings.begin(&key("c"), true), None, "somebody waits for it now");
        readings.leave(&key("d"));
        let order: Vec<_> = std::iter::from_fn(|| readings.end()).collect();
        assert_eq!(order, [key("b"), key("c"), key("a")]);
        assert!(readings.begin(&key("e"), false).is_some());
    }
}
