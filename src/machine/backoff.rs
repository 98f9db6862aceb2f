//! The pause before another try: full-jitter exponential backoff, as a function of its inputs.

use crate::machine::ids::Key;
use crate::machine::limits::{LOOK_FIRST, LOOK_LATER, LOOK_MAX, LOOKS};
use crate::machine::time::Millis;

/// The bounds of a backoff.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    pub initial: Millis,
    pub max: Millis,
}

/// Even a lucky draw waits this long, so that a failing peer is never asked in a tight loop.
const FLOOR: Millis = Millis(50);

impl Backoff {
    /// Delay after the `n`-th failure in a row (the first is 1): anything up to `initial * 2^(n-1)`, drawn by
    /// `chance`, or longer if the peer asked for it; never longer than `max`.
    pub fn delay(self, n: u8, chance: u64, asked: Option<Millis>) -> Millis {
        let doublings = u32::from(n.saturating_sub(1)).min(32);
        let cap = self.initial.0.saturating_mul(1 << doublings).clamp(1, self.max.0.max(1));
        let jittered = Millis(chance % (cap + 1)).max(FLOOR);
        jittered.max(asked.unwrap_or_default()).min(self.max.max(FLOOR))
    }
}

/// The pause after so many looks in a row at what is missing or failing while nobody waits: it doubles up to its longest,
/// and is longer still once nobody seems to be about to mend it.
pub fn pause_of_looks(in_a_row: u8) -> Millis {
    if in_a_row < LOOKS { Millis(LOOK_FIRST.0 << in_a_row.min(4)).min(LOOK_MAX) } else { LOOK_LATER }
}

/// A number that looks drawn by chance but depends on nothing but its inputs, so that a history replays.
pub fn chance(seed: u64, key: &Key, count: u64) -> u64 {
    let mut hash = seed ^ 0xcbf2_9ce4_8422_2325;
    for byte in key.namespace.bytes().chain([b'/']).chain(key.name.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mix(hash ^ mix(count))
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Backoff = Backoff { initial: Millis(1_000), max: Millis(300_000) };

    #[test]
    fn cap_doubles_up_to_the_maximum() {
        for (n, cap) in [(1, 1_000), (2, 2_000), (5, 16_000), (9, 256_000), (10, 300_000), (255, 300_000)] {
            assert_eq!(BOUNDS.delay(n, cap, None), Millis(cap), "failure {n}");
            assert_eq!(BOUNDS.delay(n, cap + 1, None), FLOOR, "failure {n} wraps at its cap");
        }
    }

    #[test]
    fn what_the_peer_asks_for_is_honoured_up_to_the_maximum() {
        for (asked, expected) in [(7_000, 7_000), (299_000, 299_000), (86_400_000, 300_000)] {
            assert_eq!(BOUNDS.delay(1, 0, Some(Millis(asked))), Millis(expected));
        }
    }

    proptest! {
        #[test]
        fn delay_stays_within_its_bounds(n in 1_u8.., chance: u64, asked in proptest::option::of(0_u64..1_000_000)) {
            let delay = BOUNDS.delay(n, chance, asked.map(Millis));
            prop_assert!(delay >= FLOOR && delay <= BOUNDS.max);
        }

        #[test]
        fn chance_depends_on_each_input(seed: u64, count in 0_u64..1000) {
            let (a, b) = (Key::new("a", "b"), Key::new("a", "c"));
            prop_assert_eq!(chance(seed, &a, count), chance(seed, &a, count));
            prop_assert_ne!(chance(seed, &a, count), chance(seed, &b, count));
            prop_assert_ne!(chance(seed, &a, count), chance(seed, &a, count + 1));
        }
    }
}
