//! Runs alone: the demands of each observation, the moment at which a status is due, and runs that are only a timer.

use jiff::SignedDuration;

use super::*;
use crate::machine::call::Settled;
use crate::machine::checks::fixtures::{self, wall};
use crate::machine::ids::Kind;
use crate::machine::limits::{BETWEEN_PARTS, CLOCK_CHECK, DUE_READS_MAX, QUICK_ANSWER, READ_AGAIN};
use crate::machine::list::Extent;
use crate::machine::runs::census::Census;
use crate::machine::runs::request::Source;
use crate::machine::runs::run::Due;
use crate::machine::view::RunView;
use crate::machine::wait_reason::{Cause, WaitReason};

const ALL: Extent = Extent { kind: Kind::Runs, namespace: None };

fn at(mono: u64) -> Now {
    Now { mono: Millis(mono), wall: wall(mono) }
}

/// A run of two plans.
fn view(stopped: Option<bool>) -> RunView {
    let mut view = fixtures::run("team", "nightly", vec![1, 2]);
    view.spec.stopped = stopped;
    view
}

fn newer(view: &RunView, change: impl FnOnce(&mut RunView)) -> RunView {
    let mut view = view.clone();
    view.version.0 += 1;
    change(&mut view);
    view
}

/// The demands of the runs in short, in their order.
fn told(demands: &[Demand]) -> Vec<String> {
    let told = |demand: &Demand| match demand {
        Demand::Offer { gateway, plans, .. } => format!("offer {} {:?}", gateway.name, ids(plans)),
        Demand::Withdraw { gateway, plans, .. } => format!("withdraw {} {:?}", gateway.name, ids(plans)),
        Demand::Hurry(gateway) => format!("hurry {}", gateway.name),
        Demand::HurryForRequest(gateway) => format!("hurry {} for a request", gateway.name),
        Demand::Tell(event) => format!("tell {}", event.reason.as_str()),
        Demand::Observed(..) => "observed".to_owned(),
        Demand::Reschedule(_) => "reschedule".to_owned(),
        Demand::Forgotten(_) => "forgotten".to_owned(),
        Demand::Read(key) => format!("read {}", key.name),
        Demand::Settled(outcome) => format!("settled {outcome:?}"),
        Demand::Ended(end, took) => format!("ended {end:?} after {} ms", took.0),
        Demand::Deleting(_, gateway) => format!("deleting, waits: {}", gateway.is_some()),
        Demand::LetGo(why) => format!("let go: {why:?}"),
        Demand::Panicked => "panicked".to_owned(),
    };
    demands.iter().map(told).collect()
}

fn ids(plans: &[PlanId]) -> Vec<i64> {
    plans.iter().map(|plan| plan.0).collect()
}

fn observe(runs: &mut Runs, view: &RunView, now: u64) -> Vec<String> {
    let mut demands = Vec::new();
    runs.observe(view, at(now), &mut demands);
    told(&demands)
}

/// The plans of the only run have had this progress in call 1.
fn progress(runs: &mut Runs, progress: &Progress, now: u64) -> Vec<String> {
    let run = runs.by_id.values().next().expect("a run");
    let id = runs.by_key[&run.key];
    let waiter = Waiter { run: id, request_seq: run.request_seq, lane: run.lane };
    let all = run.plans.iter().map(|plan| CallProgress {
        waiter,
        plan: plan.id,
        call: CallId(1),
        progress: progress.clone(),
    });
    let (all, mut demands): (Vec<_>, _) = (all.collect(), Vec::new());
    runs.apply_progress(all, at(now), &mut demands);
    told(&demands)
}

fn only(runs: &Runs) -> &Run {
    runs.by_id.values().next().expect("a run")
}

#[test]
fn what_an_observation_asks_for() {
    let first = view(None);
    let stopped = newer(&first, |view| view.spec.stopped = Some(true));
    let added = newer(&stopped, |view| view.spec.plans.push(3));
    let removed = newer(&stopped, |view| view.spec.plans = vec![2]);
    let hurried = newer(&stopped, |view| view.reconcile_annotation = Some("now".to_owned()));
    let withdrawn = newer(&stopped, |view| view.spec.stopped = Some(false));
    let moved = newer(&stopped, |view| {
        view.spec.gateway_ref =
            serde_json::from_value(serde_json::json!({"name": "other"})).expect("a reference");
    });
    let rows: [(&str, Option<&RunView>, &RunView, &[&str]); 8] = [
        ("a run that asks for nothing", None, &first, &["reschedule"]),
        (
            "a stop at first sight",
            None,
            &stopped,
            &["offer default [1, 2]", "hurry default for a request", "reschedule"],
        ),
        (
            "a stop later",
            Some(&first),
            &stopped,
            &["observed", "offer default [1, 2]", "hurry default for a request", "reschedule"],
        ),
        ("a plan added", Some(&stopped), &added, &["observed", "offer default [3]", "reschedule"]),
        ("a plan removed", Some(&stopped), &removed, &["observed", "withdraw default [1]", "reschedule"]),
        ("a reconcile request", Some(&stopped), &hurried, &["observed", "hurry default", "reschedule"]),
        (
            "taken back",
            Some(&stopped),
            &withdrawn,
            &["observed", "withdraw default [1, 2]", "tell StopWithdrawn", "reschedule"],
        ),
        (
            "moved to another gateway",
            Some(&stopped),
            &moved,
            &["observed", "withdraw default [1, 2]", "tell StopWithdrawn", "reschedule"],
        ),
    ];
    for (name, before, now, expected) in rows {
        let mut runs = Runs::default();
        before.into_iter().for_each(|before| drop(observe(&mut runs, before, 0)));
        assert_eq!(observe(&mut runs, now, 10), expected, "{name}");
    }
}

#[test]
fn an_older_version_and_an_older_object_change_nothing() {
    let mut runs = Runs::default();
    let old = view(None);
    let stopped = newer(&old, |view| view.spec.stopped = Some(true));
    observe(&mut runs, &stopped, 0);
    assert!(observe(&mut runs, &old, 10).is_empty(), "an echo of the past");
    let mut demands = Vec::new();
    runs.deleted(&old.key, Some(&"another".into()), &mut demands);
    assert!(demands.is_empty(), "another object of that name has gone");
    runs.deleted(&old.key, Some(&old.uid), &mut demands);
    assert_eq!(told(&demands), ["tell StopAbandoned", "withdraw default [1, 2]", "forgotten"]);
}

#[test]
fn a_list_that_did_not_bring_a_run_ends_it() {
    let mut runs = Runs::default();
    let stopped = view(Some(true));
    runs.list_began(&ALL);
    observe(&mut runs, &stopped, 0);
    let mut demands = Vec::new();
    runs.list_ended(&ALL, &mut demands);
    assert!(demands.is_empty());
    runs.list_began(&ALL);
    runs.list_ended(&ALL, &mut demands);
    assert_eq!(told(&demands), ["tell StopAbandoned", "withdraw default [1, 2]", "forgotten"]);
    assert!(runs.lanes.is_empty(), "a namespace without runs has no lane");
}

#[test]
fn a_list_ends_no_run_and_no_parked_one_of_another_namespace() {
    let mut runs = Runs::default();
    let in_namespace = |namespace: &str, view: &RunView| RunView {
        key: RunKey::new(namespace, view.key.name.clone()),
        uid: namespace.into(),
        ..view.clone()
    };
    let mut parked = parked(30_000);
    parked.key = RunKey::new("team", "parked");
    for namespace in ["a", "b"] {
        runs.list_began(&Extent::of(Kind::Runs, namespace));
        observe(&mut runs, &in_namespace(namespace, &view(Some(true))), 0);
        observe(&mut runs, &in_namespace(namespace, &parked), 0);
    }
    let mut demands = Vec::new();
    let mut list = |namespace: &str, runs: &mut Runs| {
        runs.list_ended(&Extent::of(Kind::Runs, namespace), &mut demands);
        (runs.count(), runs.parked.count())
    };
    assert_eq!(list("a", &mut runs), (2, 2));
    assert_eq!(list("b", &mut runs), (2, 2));
    runs.list_began(&Extent::of(Kind::Runs, "a"));
    assert_eq!(list("a", &mut runs), (1, 1), "a list of a that brings nothing");
    assert!(runs.id_of(&RunKey::new("b", "nightly")).is_some());
}

#[test]
fn when_a_status_is_due() {
    let suspended = Some(Cause::new(WaitReason::Suspended, "of this"));
    let (settles_at, words_settle_at) = (Millis(31_000), Millis(41_000));
    let other_words = Some(Cause::new(WaitReason::Suspended, "of that"));
    let of_a_status = Some(Cause::of_reason(WaitReason::Suspended));
    let accepted = Progress::Settled(Settled::plain(Outcome::Accepted));
    type Row = (&'static str, Vec<Progress>, Option<Option<Cause>>, Option<(Millis, Due)>);
    let rows: Vec<Row> = vec![
        ("a new request that has no answer yet", vec![], None, Some((QUICK_ANSWER, Due::Situation))),
        ("it waits, and that is published", vec![], Some(suspended), None),
        ("it waits, as a status has told before", vec![], Some(of_a_status), None),
        ("it waits for another reason", vec![], Some(None), Some((settles_at, Due::Situation))),
        ("it waits in other words", vec![], Some(other_words), Some((words_settle_at, Due::Situation))),
        ("all settled", vec![Progress::Began, accepted], None, Some((Millis(0), Due::Outcome))),
    ];
    for (name, steps, published, expected) in rows {
        let mut runs = Runs::default();
        observe(&mut runs, &view(Some(true)), 0);
        steps.iter().for_each(|step| drop(progress(&mut runs, step, 10)));
        let run = runs.by_id.values_mut().next().expect("a run");
        run.published = published;
        assert_eq!(run.status_due(suspended, (settles_at, words_settle_at)), expected, "{name}");
    }
}

#[test]
fn a_part_of_the_outcomes_waits_for_the_rest_for_a_while() {
    let mut runs = Runs::default();
    observe(&mut runs, &view(Some(true)), 0);
    let run = runs.by_id.values_mut().next().expect("a run");
    (run.published, run.unwritten) = (Some(None), true);
    assert_eq!(run.status_due(None, (Millis(0), Millis(0))), Some((BETWEEN_PARTS, Due::Outcome)));
    run.tried_at = Some(Millis(2_000));
    assert_eq!(
        run.status_due(None, (Millis(0), Millis(0))),
        Some((Millis(2_000) + BETWEEN_PARTS, Due::Outcome))
    );
}

#[test]
fn the_progress_of_a_call_reaches_the_request_that_it_was_made_for_alone() {
    let mut runs = Runs::default();
    let stopped = view(Some(true));
    observe(&mut runs, &stopped, 0);
    assert_eq!(progress(&mut runs, &Progress::Began, 1), ["reschedule"]);
    let id = runs.by_key[&stopped.key];
    let settled = Progress::Settled(Settled::plain(Outcome::Accepted));
    let stranger = CallProgress {
        waiter: Waiter { run: id, request_seq: crate::machine::ids::RequestSeq(9), lane: only(&runs).lane },
        plan: PlanId(1),
        call: CallId(1),
        progress: settled.clone(),
    };
    let mut demands = Vec::new();
    runs.apply_progress(vec![stranger], at(2), &mut demands);
    assert!(demands.is_empty(), "the answer is for another request");
    let expected = ["settled Accepted", "settled Accepted", "reschedule"];
    assert_eq!(progress(&mut runs, &settled, 2), expected);
}

#[test]
fn plans_are_given_up_at_their_deadline() {
    let mut runs = Runs::default();
    let stopped = newer(&view(Some(true)), |view| view.spec.stop_deadline_seconds = Some(60));
    observe(&mut runs, &stopped, 0);
    runs.arm(runs.by_key[&stopped.key], None);
    let mut demands = Vec::new();
    runs.run_timers(at(59_999), &mut demands);
    assert!(demands.is_empty());
    assert_eq!(runs.wake_at(), Some(Millis(60_000)));
    runs.run_timers(at(60_000), &mut demands);
    let expected = ["settled Expired", "settled Expired", "withdraw default [1, 2]", "reschedule"];
    assert_eq!(told(&demands), expected);
}

// === parked runs ===

/// The same run with a deadline, so many milliseconds from zero.
fn with_deadline(view: &RunView, due: u64) -> RunView {
    let mut view = view.clone();
    view.created = Some(wall(0));
    view.spec.active_deadline_seconds = Some(i64::try_from(due / 1_000).expect("a small time"));
    view
}

/// A run at rest that waits for a deadline, so many milliseconds from zero.
fn parked(due: u64) -> RunView {
    let mut view = with_deadline(&view(None), due);
    let (run, _) = Run::new(&view, Lane(1), Source::Watch, at(0));
    view.status = run.status(None, false, at(0));
    view
}

#[test]
fn a_run_at_rest_that_waits_for_its_deadline_is_read_when_it_has_come() {
    let mut runs = Runs::default();
    let view = parked(30_000);
    assert!(observe(&mut runs, &view, 0).is_empty());
    assert_eq!((runs.count(), runs.parked.count()), (0, 1));
    let mut demands = Vec::new();
    runs.run_timers(at(29_999), &mut demands);
    assert!(demands.is_empty());
    let wake = runs.wake_at().expect("it has a timer");
    runs.run_timers(Now { mono: wake, wall: wall(wake.0) }, &mut demands);
    assert_eq!(told(&demands), ["read nightly"]);
    demands.clear();
    let stopped = newer(&view, |view| view.spec.stopped = Some(true));
    runs.observe_without_record(&stopped, at(30_100), &mut demands);
    assert_eq!(told(&demands)[0], "offer default [1, 2]");
    assert_eq!(only(&runs).watched_version, view.version, "the watch has told no more");
}

#[test]
fn a_clock_that_jumps_is_noticed_within_a_minute() {
    let mut runs = Runs::default();
    observe(&mut runs, &parked(3_600_000), 0);
    assert_eq!(runs.wake_at(), Some(CLOCK_CHECK));
    let mut demands = Vec::new();
    let jumped = Now { mono: CLOCK_CHECK, wall: wall(CLOCK_CHECK.0) + SignedDuration::from_hours(2) };
    runs.run_timers(jumped, &mut demands);
    assert_eq!(told(&demands), ["read nightly"]);
    assert_eq!(runs.wake_at(), None, "it is being read");
}

#[test]
fn a_parked_run_is_forgotten_with_its_object() {
    let view = parked(30_000);
    type Step<'a> = (&'a str, &'a dyn Fn(&mut Runs));
    let gone = |runs: &mut Runs| runs.deleted(&view.key, Some(&view.uid), &mut Vec::new());
    let unlisted = |runs: &mut Runs| {
        runs.list_began(&ALL);
        runs.list_ended(&ALL, &mut Vec::new());
    };
    let seen = |runs: &mut Runs| {
        drop(observe(runs, &newer(&view, |view| view.spec.active_deadline_seconds = None), 10))
    };
    let steps: [Step<'_>; 3] =
        [("it is deleted", &gone), ("a list lacks it", &unlisted), ("it waits no more", &seen)];
    for (name, step) in steps {
        let mut runs = Runs::default();
        observe(&mut runs, &view, 0);
        step(&mut runs);
        assert_eq!((runs.parked.count(), runs.parked.wake_at()), (0, None), "{name}");
    }
}

#[test]
fn a_reading_that_fails_is_tried_again() {
    let mut runs = Runs::default();
    let view = parked(1_000);
    observe(&mut runs, &view, 0);
    let mut demands = Vec::new();
    runs.run_timers(at(1_001), &mut demands);
    runs.read_failed(&view.key, at(1_100));
    assert_eq!((runs.parked.count(), told(&demands)), (1, vec!["read nightly".to_owned()]));
    demands.clear();
    runs.run_timers(at(2_000 + READ_AGAIN.0), &mut demands);
    assert_eq!(told(&demands), ["read nightly"]);
}

#[test]
fn a_run_that_could_not_be_read_rests_and_delays_no_other() {
    let mut runs = Runs::default();
    let (nightly, mut weekly, mut monthly) = (parked(1_000), parked(3_000), parked(9_000_000));
    (weekly.key, weekly.uid) = (RunKey::new("team", "weekly"), "weekly".into());
    (monthly.key, monthly.uid) = (RunKey::new("team", "monthly"), "monthly".into());
    observe(&mut runs, &nightly, 0);
    observe(&mut runs, &weekly, 0);
    let mut demands = Vec::new();
    runs.run_timers(at(2_000), &mut demands);
    runs.read_failed(&nightly.key, at(2_100));
    observe(&mut runs, &monthly, 2_200);
    demands.clear();
    runs.run_timers(at(2_300), &mut demands);
    assert!(told(&demands).is_empty(), "another run that is parked is no reason to read it again");
    runs.run_timers(at(4_000), &mut demands);
    assert_eq!(told(&demands), ["read weekly"]);
    demands.clear();
    assert_eq!(runs.wake_at(), Some(Millis(2_100 + READ_AGAIN.0)));
    runs.run_timers(at(2_100 + READ_AGAIN.0), &mut demands);
    assert_eq!(told(&demands), ["read nightly"]);
}

#[test]
fn a_run_that_is_read_before_its_deadline_after_all_is_parked_again() {
    let mut runs = Runs::default();
    let view = parked(30_000);
    observe(&mut runs, &view, 0);
    let mut demands = Vec::new();
    let ahead = Now { mono: Millis(30_000), wall: wall(90_000) };
    runs.run_timers(ahead, &mut demands);
    assert_eq!(told(&demands), ["read nightly"]);
    demands.clear();
    let set_back = Now { mono: Millis(30_001), wall: wall(10_000) };
    runs.observe_without_record(&view, set_back, &mut demands);
    assert!(demands.is_empty(), "it has not come");
    assert_eq!((runs.count(), runs.parked.count()), (0, 1));
    assert_eq!(runs.wake_at(), Some(Millis(50_001)));
}

/// A record has no list of the plans of the spec, so the run is read also while it is there.
#[test]
fn a_run_with_a_record_is_read_at_its_deadline() {
    let mut runs = Runs::default();
    let stopped = with_deadline(&view(Some(true)), 30_000);
    observe(&mut runs, &stopped, 0);
    assert_eq!((runs.count(), runs.parked.count()), (1, 1));
    let mut demands = Vec::new();
    runs.run_timers(at(29_999), &mut demands);
    assert!(demands.is_empty());
    runs.run_timers(at(30_000), &mut demands);
    assert_eq!(told(&demands), ["read nightly"]);
    // A reading that is older than what the watch has told meanwhile is of no use.
    let newer = newer(&stopped, |view| view.reconcile_annotation = Some("now".to_owned()));
    let mut early = at(29_000);
    early.mono = Millis(30_001);
    runs.observe(&newer, early, &mut demands);
    demands.clear();
    runs.run_timers(at(31_001), &mut demands);
    assert_eq!(told(&demands), ["read nightly"], "by a clock that was set back in between");
    demands.clear();
    assert_eq!(runs.known_by_read(&stopped, None), None);
    runs.observe_without_record(&stopped, at(31_002), &mut demands);
    assert!(demands.is_empty() && runs.count() == 1, "it makes no second record");
    let again = Millis(31_002) + READ_AGAIN;
    assert_eq!(runs.wake_at(), Some(again));
    runs.run_timers(Now { mono: again, wall: wall(again.0) }, &mut demands);
    assert_eq!(told(&demands), ["read nightly"]);
    let id = runs.known_by_read(&newer, None).expect("it says what is known");
    runs.observe_known(id, &newer, Source::Watch, at(40_000), &mut demands);
    assert_eq!(runs.parked.count(), 0, "the deadline has passed");
}

#[test]
fn runs_with_one_deadline_are_read_a_few_at_a_time() {
    let mut runs = Runs::default();
    let all: Vec<_> = (0..DUE_READS_MAX + 3)
        .map(|number| {
            let name = format!("run-{number:03}");
            let mut view = parked(30_000);
            (view.key, view.uid) = (RunKey::new("team", name.clone()), name.into());
            view
        })
        .collect();
    all.iter().for_each(|view| drop(observe(&mut runs, view, 0)));
    let mut demands = Vec::new();
    runs.run_timers(at(30_000), &mut demands);
    assert_eq!(demands.len(), DUE_READS_MAX);
    assert_eq!(runs.wake_at(), None, "the end of a reading wakes the others");
    demands.clear();
    runs.read_failed(&all[0].key, at(30_001));
    runs.deleted(&all[1].key, None, &mut demands);
    runs.run_timers(at(30_002), &mut demands);
    assert_eq!(told(&demands), ["read run-016", "read run-017"]);
    demands.clear();
    runs.observe_without_record(&all[2], at(30_003), &mut Vec::new());
    runs.run_timers(at(30_004), &mut demands);
    assert_eq!(told(&demands), ["read run-018"]);
}

/// Runs that wait, by what their statuses tell, and the age of the oldest stop.
#[test]
fn the_census_counts_what_waits() {
    let mut runs = Runs::new(usize::MAX);
    let mut demands = Vec::new();
    for (name, asked) in [("one", true), ("two", true), ("three", false)] {
        let mut view = fixtures::run("team", name, vec![1]);
        view.spec.stopped = Some(asked);
        runs.observe(&view, at(1_000), &mut demands);
    }
    assert_eq!(runs.census(at(61_000)), Census { waiting: [].into(), oldest: Some(Millis(60_000)) });
    let id = runs.id_of(&RunKey::new("team", "one")).expect("it waits");
    runs.by_id.get_mut(&id).expect("it waits").published =
        Some(Some(Cause::of_reason(WaitReason::Suspended)));
    assert_eq!(runs.census(at(61_000)).waiting, [(WaitReason::Suspended, 1)].into());
    assert_eq!(Runs::new(usize::MAX).census(at(61_000)), Census::default());
}
