//! Limits as users read them: each is what the description of its field says. The machine's own numbers are not asked.

/// `spec.stopDeadlineSeconds` of a run.
pub(in crate::machine) const STOP_DEADLINE_SECONDS: i64 = 3_600;
/// `spec.limits.maxInFlight` of a gateway.
pub(in crate::machine) const MAX_IN_FLIGHT: i64 = 2;
/// `spec.batching.maxPlans` of a gateway.
pub(in crate::machine) const MAX_PLANS: i64 = 100;
/// The longest time for which a deletion waits: `spec.deletionPolicy` of a run.
pub(in crate::machine) const HOLDS_FOR_SECONDS: i64 = 300;
/// `--origin-max-in-flight` of the operator.
pub(in crate::machine) const ORIGIN_MAX_IN_FLIGHT: usize = 16;

/// The documented deadline of a stop, in milliseconds.
pub(in crate::machine) const STOP_DEADLINE: u64 = STOP_DEADLINE_SECONDS as u64 * 1_000;

#[test]
fn limits_are_as_the_descriptions_of_their_fields_say() {
    let crds: Vec<_> = crate::api::crds().iter().map(|crd| format!("{crd:?}")).collect();
    let rows = [
        (STOP_DEADLINE_SECONDS, "1 to 604800 (a week), {} if absent"),
        (MAX_IN_FLIGHT, "Calls at a time: 1 to 64, {} if absent"),
        (HOLDS_FOR_SECONDS, "{} seconds after it has seen the deletion at the"),
        (MAX_PLANS, "Most plans in a call: 1 to 1000, {} if absent"),
    ];
    assert_eq!(ORIGIN_MAX_IN_FLIGHT, crate::machine::OriginLimits::default().max_in_flight);
    for (limit, text) in rows {
        let text = text.replace("{}", &limit.to_string());
        assert!(crds.iter().any(|crd| crd.contains(&text)), "no field is described with {text:?}");
    }
}
