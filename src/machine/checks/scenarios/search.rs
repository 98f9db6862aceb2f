//! The search for bad ids: how many calls it costs, and that every plan has the outcome of its nature whatever is
//! inferred on the way.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::subsequence;

use crate::api::Outcome::{Accepted, Rejected};
use crate::machine::backoff::chance;
use crate::machine::checks::world::{Nature, World, key};

/// Ids that a call may have, by default.
const MAX_PLANS: f64 = 100.0;

/// The number of calls that find these bad ids among so many.
fn calls(plans: i64, bad: &BTreeSet<i64>) -> usize {
    let ids: Vec<_> = (1..=plans).collect();
    let mut world = World::of(&[("one", &ids)]);
    world.edit_gateway("default", |gateway| (gateway.spec.batching, gateway.spec.limits) = (None, None));
    world.fake_gateway.natures.extend(bad.iter().map(|plan| (*plan, Nature::Rejected)));
    world.stop("one");
    world.run_until_settled();
    let expected: Vec<_> =
        ids.iter().map(|plan| if bad.contains(plan) { Rejected } else { Accepted }).collect();
    assert_eq!(world.outcomes("one"), expected);
    world.trace.posts.len()
}

/// What group testing costs: log2(n / d) calls find one of d bad ids among n, about three more confirm it and find that
/// nothing was left, and each id is in one call at first.
fn bound(plans: i64, bad: usize) -> f64 {
    let (plans, bad) = (plans as f64, bad as f64);
    bad * (plans / bad).log2() + 3.0 * bad + plans / MAX_PLANS
}

fn random_ids() -> impl Strategy<Value = (i64, BTreeSet<i64>)> {
    (2_i64..400).prop_flat_map(|plans| {
        let most = usize::try_from(plans).expect("it is positive") / 6 + 1;
        let ids: Vec<_> = (1..=plans).collect();
        (Just(plans), subsequence(ids, 1..=most).prop_map(|bad| bad.into_iter().collect()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Bad luck may cost a quarter more.
    #[test]
    fn bad_ids_are_found_within_the_bound_of_group_testing((plans, bad) in random_ids()) {
        let (calls, bound) = (calls(plans, &bad), bound(plans, bad.len()));
        prop_assert!(calls as f64 <= bound * 1.25 + 8.0, "{calls} calls for {} of {plans}, {bound:.0} allowed", bad.len());
    }

    /// Halving alone costs two calls a level.
    #[test]
    fn one_bad_id_costs_no_more_than_halving(plans in 2_i64..=100, place in any::<prop::sample::Index>()) {
        let bad = 1 + place.index(usize::try_from(plans).expect("it is positive")) as i64;
        let calls = calls(plans, &BTreeSet::from([bad]));
        let levels = u64::try_from(plans).expect("it is positive").next_power_of_two().ilog2();
        prop_assert!(calls <= 1 + 2 * levels as usize, "{calls} calls for one of {plans}");
    }
}

/// Different ids by chance, which follows from the number of the draw.
fn drawn(plans: i64, bad: usize, draw: u64) -> BTreeSet<i64> {
    let mut ids = BTreeSet::new();
    for number in 0.. {
        if ids.len() == bad {
            break;
        }
        let place = chance(draw, &key("search"), number) % plans.unsigned_abs();
        ids.insert(1 + i64::try_from(place).expect("it is small"));
    }
    ids
}

/// `cargo bench --bench machine -- search` has the figures, beside those of halving and a floor.
#[test]
fn the_search_costs_on_average_what_group_testing_promises() {
    for (plans, bad) in [(300, 1), (300, 16), (1000, 10)] {
        let sum: usize = (0..10).map(|draw| calls(plans, &drawn(plans, bad, draw))).sum();
        let (mean, bound) = (sum as f64 / 10.0, bound(plans, bad));
        assert!(mean <= bound * 1.05, "{mean} calls for {bad} of {plans}, {bound:.0} allowed");
    }
}
