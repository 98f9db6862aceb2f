//! How far the model is explored, and what must be found when a rule is switched off.
//!
//! `MODEL=large` goes further: one world after the other, depth first. Breadth first the shortest way to a bad state is
//! found, but what waits to be looked at are whole worlds, and they are a part of all states; depth first they are as
//! many as one path has branches, and of all others only a digest is kept.

use std::collections::BTreeMap;
#[allow(clippy::disallowed_types, reason = "tests take turns, not the machine")]
use std::sync::{Mutex, MutexGuard, PoisonError};

use stateright::UniformChooser;
use stateright::report::{ReportData, ReportDiscovery, Reporter};

use super::*;

const NOTHING: Budget = Budget {
    requests: 0,
    deadlines: 0,
    additions: 0,
    deletions: 0,
    policies: 0,
    edits: 0,
    troubles: 0,
    lost_replies: 0,
    relists: 0,
    rotations: 0,
    crashes: 0,
    ticks: 0,
};

/// One run with one plan that can be stopped, at a gateway that fails in no way.
const PLAIN: Explored = Explored {
    runs: &[("one", &[1])],
    bad: &[],
    troubles: &[],
    stale: None,
    slow_secrets: false,
    room: None,
    has_deadlines: false,
    has_finalizers: false,
    budget: NOTHING,
    without: None,
};

const TROUBLES: &[How] = &[How::Status(401), How::Status(500), How::Lost];

/// Too many for looking at every history.
const ALL_TROUBLES: &[How] = &[
    How::Status(401),
    How::Status(500),
    How::Status(404),
    How::Status(403),
    How::Status(302),
    How::Json(403),
    How::Expired(400),
    How::Own(403),
    How::Late,
    How::Lost,
];

fn is_large() -> bool {
    variable("MODEL").is_some_and(|value| value == "large")
}

/// At how many states to end, those counted that were seen before.
fn most_states() -> Option<usize> {
    variable("STATES").map(|value| value.parse().expect("STATES is a number"))
}

fn variable(name: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "how far a test goes is no decision of the machine")]
    std::env::var(name).ok()
}

/// Looks at every history within the bounds.
fn explore(name: &str, explored: Explored) {
    if is_large() {
        return explore_far(name, explored);
    }
    let checker = explored.checker().threads(2).spawn_bfs().join();
    println!("{name}: {} unique states, depth {}", checker.unique_state_count(), checker.max_depth());
    assert!(checker.unique_state_count() > 1_000, "the bounds leave too little to look at");
    expect_nothing(&checker);
}

/// The same in little memory.
fn explore_far(name: &str, explored: Explored) {
    let _turn = take_turn();
    let mut builder = explored.checker().threads(2);
    if let Some(states) = most_states() {
        builder = builder.target_state_count(states);
    }
    let checker = builder.spawn_dfs().join_and_report(&mut Progress { name, told: 0 });
    expect_nothing(&checker);
}

/// Looks at histories drawn by chance, up to this many states.
fn walk(name: &str, explored: Explored, states: usize) {
    let _turn = take_turn();
    let states = most_states().unwrap_or(states);
    let checker = explored.checker().target_state_count(states).spawn_simulation(1, UniformChooser);
    let checker =
        if is_large() { checker.join_and_report(&mut Progress { name, told: 0 }) } else { checker.join() };
    println!("{name}: {} states at random, depth {}", checker.state_count(), checker.max_depth());
    expect_nothing(&checker);
}

/// Large worlds are looked at one after the other: each takes all processors.
#[allow(clippy::disallowed_types, reason = "tests take turns, not the machine")]
fn take_turn() -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    // One that failed has left nothing half done.
    is_large().then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Says how far it is, twice a minute and at the end.
struct Progress<'a> {
    name: &'a str,
    told: u64,
}

impl Progress<'_> {
    fn end(&self, data: &ReportData) -> &'static str {
        match (data.done, most_states()) {
            (false, _) => "so far",
            (true, Some(most)) if data.total_states >= most => "cut short",
            (true, _) => "the end",
        }
    }
}

impl Reporter<Explored> for Progress<'_> {
    fn report_checking(&mut self, data: ReportData) {
        let seconds = data.duration.as_secs();
        if data.done || seconds / 30 > self.told {
            self.told = seconds / 30;
            let (name, end) = (self.name, self.end(&data));
            let ReportData { unique_states, total_states, max_depth, .. } = data;
            println!(
                "{name}: {unique_states} unique states of {total_states}, depth {max_depth}, after {seconds} s, {end}"
            );
        }
    }

    // The caller tells of them.
    fn report_discoveries(&mut self, _: &Explored, _: BTreeMap<&'static str, ReportDiscovery<Explored>>) {}
}

fn expect_nothing(checker: &impl Checker<Explored>) {
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        panic!("{}", told(property, path));
    }
}

/// Without the rule there must be a history that breaks one of these invariants: which of several is found first is
/// chance.
fn breaks(rule: Guard, invariants: &[&str], explored: Explored) {
    let explored = Explored { without: Some(rule), ..explored };
    let checker = explored.checker().threads(1).spawn_bfs().join();
    let (property, path) =
        checker.discoveries().into_iter().next().expect("the model does not notice that the rule is missing");
    let told = told(property, path);
    println!("without {rule:?}: {} states, {told}", checker.unique_state_count());
    assert!(
        invariants.iter().any(|invariant| told.starts_with(invariant)),
        "expected a violation of {invariants:?}: {told}"
    );
    let kept = Explored { without: None, ..checker.model().clone() };
    let checker = kept.checker().threads(2).spawn_bfs().join();
    assert!(checker.discoveries().is_empty(), "it breaks with the rule as well");
}

fn told(property: &str, path: stateright::Path<State, Act>) -> String {
    let last = path.last_state().clone();
    let violation = last.world.violation.as_ref().map(|(invariant, text)| format!("{invariant}: {text}"));
    let what = violation.or_else(|| last.unsettled()).unwrap_or_else(|| property.to_owned());
    format!("{what}, after {:?}", path.into_actions())
}

#[test]
fn without_the_floor_an_echo_is_taken_for_news() {
    let budget = Budget { requests: 1, ticks: 1, ..NOTHING };
    breaks(Guard::KnownVersion, &["I9"], Explored { budget, ..PLAIN });
}

#[test]
fn without_uids_a_run_inherits_the_outcomes_of_another() {
    let budget = Budget { requests: 1, deletions: 1, relists: 1, ..NOTHING };
    breaks(Guard::OtherUid, &["I1", "I7"], Explored { budget, ..PLAIN });
}

#[test]
fn without_marks_a_deleted_run_is_stopped() {
    let budget = Budget { requests: 1, deletions: 1, relists: 1, troubles: 1, ticks: 1, ..NOTHING };
    breaks(Guard::Unlisted, &["I4", "I7", "L2"], Explored { budget, troubles: TROUBLES, ..PLAIN });
}

#[test]
fn without_one_call_an_id_it_is_in_two() {
    let budget = Budget { requests: 3, ticks: 1, ..NOTHING };
    breaks(Guard::OneCallAnId, &["I2"], Explored { budget, ..PLAIN });
}

#[test]
fn without_endpoints_the_old_address_speaks_for_the_new_one() {
    let budget = Budget { requests: 1, edits: 1, ..NOTHING };
    breaks(Guard::Endpoint, &["I1"], Explored { budget, ..PLAIN });
}

#[test]
fn without_a_sequence_the_past_shuts_the_gate() {
    let budget = Budget { requests: 1, edits: 1, troubles: 1, ..NOTHING };
    breaks(Guard::Sequence, &["R14"], Explored { budget, troubles: TROUBLES, ..PLAIN });
}

#[test]
fn without_a_second_look_a_rotated_token_gives_a_plan_up() {
    let budget = Budget { requests: 1, rotations: 1, ticks: 1, ..NOTHING };
    let explored = Explored { stale: Some(How::Own(400)), budget, ..PLAIN };
    breaks(Guard::Reread, &["L1"], explored);
}

#[test]
fn one_run_whose_verdicts_wait_for_the_secret() {
    let budget = Budget { requests: 2, rotations: 1, lost_replies: 1, ticks: 1, ..NOTHING };
    let large = Budget { edits: 1, crashes: 1, lost_replies: 0, ..budget };
    let budget = if is_large() { large } else { budget };
    explore("one run, held", Explored { bad: &[1], slow_secrets: true, budget, ..PLAIN });
}

#[test]
fn without_asks_an_old_verdict_fulfils_a_new_request() {
    let budget = Budget { requests: 3, ..NOTHING };
    breaks(Guard::PresentRequest, &["I1"], Explored { budget, ..PLAIN });
}

#[test]
fn one_run_with_a_bad_plan_and_faults() {
    let budget = Budget { requests: 1, troubles: 1, lost_replies: 1, crashes: 1, ticks: 1, ..NOTHING };
    let large = Budget { requests: 2, relists: 1, ..budget };
    let budget = if is_large() { large } else { budget };
    explore(
        "one run",
        Explored { runs: &[("one", &[1, 2])], bad: &[2], troubles: TROUBLES, budget, ..PLAIN },
    );
}

#[test]
fn one_run_that_is_edited() {
    let budget = Budget { requests: 2, additions: 1, edits: 1, ticks: 1, ..NOTHING };
    let large = Budget { troubles: 1, ..budget };
    let budget = if is_large() { large } else { budget };
    explore("one run, edited", Explored { troubles: TROUBLES, budget, ..PLAIN });
}

#[test]
fn one_run_that_is_deleted_and_made_again() {
    let budget = Budget { requests: 1, deletions: 1, relists: 1, lost_replies: 1, ticks: 1, ..NOTHING };
    let large = Budget { requests: 2, troubles: 1, ..budget };
    let budget = if is_large() { large } else { budget };
    explore("one run, made again", Explored { troubles: TROUBLES, budget, ..PLAIN });
}

/// A deadline asks once, in whatever order it passes, the stop is asked for and taken back, and the process dies: a second
/// time would be a call without a request (I5, I6), and a deadline that is lost a stop that stands and is not told (L1).
#[test]
fn a_deadline_fires_once_in_every_order() {
    let budget = Budget { requests: 2, crashes: 1, ticks: 1, ..NOTHING };
    let large = Budget { troubles: 1, lost_replies: 1, ..budget };
    let budget = if is_large() { large } else { budget };
    let explored = Explored { runs: &[("one", &[1, 2])], has_deadlines: true, budget, ..PLAIN };
    explore("one run with a deadline", Explored { troubles: TROUBLES, ..explored });
}

/// The same deadline is moved, or removed, and what was not stopped is left for it.
#[test]
fn a_deadline_that_is_moved_fires_once_in_every_order() {
    let budget = Budget { requests: 1, deadlines: 1, ticks: 1, ..NOTHING };
    let large = Budget { deadlines: 2, crashes: 1, relists: 1, ticks: 2, ..budget };
    let budget = if is_large() { large } else { budget };
    let explored = Explored { runs: &[("one", &[1, 2])], bad: &[2], has_deadlines: true, budget, ..PLAIN };
    explore("one run with a deadline that is moved", explored);
}

/// A deletion waits until the plans are stopped and told, in whatever order the stop is asked for, the policy changes, the
/// gateway goes first, and the process dies: a finalizer that goes too early breaks I18, and one that stays L5.
#[test]
fn a_deletion_is_held_until_its_plans_are_stopped_in_every_order() {
    let budget = Budget { requests: 1, deletions: 1, crashes: 1, lost_replies: 1, ..NOTHING };
    let large = Budget { policies: 1, troubles: 1, ticks: 1, ..budget };
    let budget = if is_large() { large } else { budget };
    let explored = Explored { runs: &[("one", &[1, 2])], bad: &[2], has_finalizers: true, budget, ..PLAIN };
    explore("one run that is held", Explored { troubles: TROUBLES, ..explored });
}

/// The policy changes meanwhile, or the gateway goes first.
#[test]
fn a_deletion_whose_policy_or_gateway_changes_ends_in_every_order() {
    let budget = Budget { deletions: 1, policies: 2, troubles: 1, ticks: 1, ..NOTHING };
    let large = Budget { requests: 1, crashes: 1, ..budget };
    let budget = if is_large() { large } else { budget };
    let explored = Explored { has_finalizers: true, troubles: TROUBLES, budget, ..PLAIN };
    explore("one run that is held, policies", explored);
}

#[test]
fn two_runs_that_share_their_plans() {
    let budget = Budget { requests: 2, troubles: 1, ticks: 1, ..NOTHING };
    let large = Budget { requests: 3, relists: 1, ..budget };
    let budget = if is_large() { large } else { budget };
    let explored = Explored { runs: &[("one", &[1, 2]), ("two", &[2, 1])], bad: &[2], budget, ..PLAIN };
    explore("two runs", Explored { troubles: TROUBLES, ..explored });
}

#[test]
fn two_runs_with_room_for_one() {
    let budget = Budget { requests: 2, crashes: 1, ticks: 1, ..NOTHING };
    let large = Budget { requests: 3, troubles: 1, relists: 1, ..budget };
    let budget = if is_large() { large } else { budget };
    explore(
        "two runs, room for one",
        Explored {
            runs: &[("one", &[1]), ("two", &[2])],
            room: Some(1),
            troubles: TROUBLES,
            budget,
            ..PLAIN
        },
    );
}

#[test]
fn three_runs_walked_at_random() {
    let budget = Budget {
        requests: 6,
        deadlines: 3,
        additions: 2,
        deletions: 2,
        policies: 3,
        edits: 2,
        troubles: 4,
        lost_replies: 3,
        relists: 2,
        rotations: 2,
        crashes: 2,
        ticks: 12,
    };
    let explored = Explored {
        runs: &[("one", &[1, 2, 3]), ("two", &[3, 4, 1]), ("three", &[2, 4])],
        bad: &[2],
        budget,
        ..PLAIN
    };
    let states = if is_large() { 3_000_000 } else { 20_000 };
    let stale = Some(How::Status(403));
    let explored = Explored { troubles: ALL_TROUBLES, stale, slow_secrets: true, ..explored };
    walk("three runs", explored.clone(), states);
    walk("three runs that are held", Explored { has_finalizers: true, ..explored }, states);
}
