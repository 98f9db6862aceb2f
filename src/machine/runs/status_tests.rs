//! The status of a run: which conditions hold in which situation, and the counts beside them.

use super::*;
use crate::api::{PlanReason, Trigger};
use crate::machine::answer::{Gist, NoAnswer};
use crate::machine::call::Settled;
use crate::machine::checks::fixtures::wall;
use crate::machine::ids::CallId;
use crate::machine::runs::plan::PlanState;
use crate::machine::wait_reason::WaitReason;

const ASKED: StopState = StopState::Asked(Trigger::Spec);
const WITHDRAWN: StopState = StopState::Withdrawn(Trigger::Spec);

/// A run whose plans have these outcomes.
fn status(
    stop: StopState,
    outcomes: &[Outcome],
    waiting: Option<&Waiting>,
    unasked: &[i64],
) -> TestPlanRunStatus {
    let plans: Vec<_> = (1..).zip(outcomes).map(|(id, outcome)| plan(id, *outcome)).collect();
    let unasked: Vec<_> = unasked.iter().copied().map(PlanId).collect();
    let observed = Observed { stop, gateway: Some("default".into()), ..Observed::default() };
    build_status(StatusInput {
        generation: 3,
        total: 9,
        memo: &StatusMemo::default(),
        key: &RunKey::new("team", "nightly"),
        created: None,
        observed: &observed,
        request: None,
        withdrawal: None,
        plans: &plans,
        unasked: &unasked,
        waiting,
        gateway_uid: None,
        reopened: false,
        without_messages: false,
        now: wall(0),
    })
}

fn plan(id: i64, outcome: Outcome) -> Plan {
    let state = match outcome {
        Outcome::Pending => PlanState::InFlight(CallId(1)),
        outcome => PlanState::Settled(Settled::plain(outcome)),
    };
    Plan { state, ..Plan::queued(PlanId(id), None) }
}

/// Each condition as `Type=Status:Reason`.
fn told(status: &TestPlanRunStatus) -> Vec<String> {
    let told = |condition: &crate::api::Condition| {
        format!("{}={:?}:{}", condition.type_, condition.status, condition.reason)
    };
    status.conditions.iter().map(told).collect()
}

#[test]
fn the_conditions_of_each_situation() {
    use Outcome::{Accepted, Expired, NotRunning, Pending, Rejected, Unknown, Withdrawn};
    let waiting = Waiting { reason: WaitReason::Suspended, message: "wait".to_owned() };
    let ended = ["Ready=True:NotRequested", "Stopped=False:NotRequested"].as_slice();
    let failed = |reason: &str| {
        vec![
            "Ready=False:Failed".to_owned(),
            format!("Stopped=False:{reason}"),
            format!("Stalled=True:{reason}"),
        ]
    };
    type Row<'a> = (&'a str, StopState, &'a [Outcome], Option<&'a Waiting>, &'a [i64], Vec<String>);
    let rows: Vec<Row<'_>> = vec![
        ("nothing is asked for", StopState::None, &[], None, &[], strings(ended)),
        (
            "being stopped",
            ASKED,
            &[Accepted, Pending],
            None,
            &[],
            strings(&["Ready=False:Progressing", "Stopped=Unknown:Stopping", "Reconciling=True:Progressing"]),
        ),
        (
            "it waits",
            ASKED,
            &[Accepted, Pending],
            Some(&waiting),
            &[],
            strings(&[
                "Ready=False:DependencyNotReady",
                "Stopped=Unknown:Suspended",
                "Reconciling=True:ProgressingWithRetry",
            ]),
        ),
        (
            "all accepted",
            ASKED,
            &[Accepted, NotRunning],
            None,
            &[],
            strings(&["Ready=True:Succeeded", "Stopped=True:Accepted"]),
        ),
        (
            "none runs",
            ASKED,
            &[NotRunning],
            None,
            &[],
            strings(&["Ready=True:Succeeded", "Stopped=True:NotRunning"]),
        ),
        ("one rejected of two", ASKED, &[Accepted, Rejected], None, &[], failed("PartiallyStopped")),
        ("one unknown, none running", ASKED, &[NotRunning, Unknown], None, &[], failed("PartiallyStopped")),
        ("all rejected", ASKED, &[Rejected, Rejected], None, &[], failed("Failed")),
        ("all expired", ASKED, &[Expired, Expired], None, &[], failed("Expired")),
        ("expired and rejected", ASKED, &[Expired, Rejected], None, &[], failed("Failed")),
        ("plans added since", ASKED, &[Accepted], None, &[5], strings(ended)),
        (
            "taken back before it was sent",
            WITHDRAWN,
            &[Accepted, Withdrawn],
            None,
            &[],
            strings(&["Ready=True:Withdrawn", "Stopped=False:Withdrawn"]),
        ),
        ("taken back when all was stopped", WITHDRAWN, &[Accepted], None, &[], strings(ended)),
        (
            "taken back in a call",
            WITHDRAWN,
            &[Pending],
            None,
            &[],
            strings(&[
                "Ready=False:Progressing",
                "Stopped=Unknown:Withdrawn",
                "Reconciling=True:Progressing",
            ]),
        ),
    ];
    for (name, stop, outcomes, waiting, unasked, expected) in rows {
        assert_eq!(told(&status(stop, outcomes, waiting, unasked)), expected, "{name}");
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn every_condition_says_the_generation_and_the_time() {
    for condition in status(ASKED, &[Outcome::Rejected], None, &[]).conditions {
        assert_eq!(condition.observed_generation, Some(3), "{}", condition.type_);
        assert_eq!(condition.last_transition_time, whole_seconds(wall(0)), "{}", condition.type_);
    }
}

#[test]
fn the_summary_counts_the_plans_that_have_their_outcome() {
    use Outcome::{Accepted, Pending, Rejected, Withdrawn};
    let rows: [(StopState, &[Outcome], &[i64], &str); 4] = [
        (StopState::None, &[], &[], "0/9"),
        (ASKED, &[Accepted, Pending, Rejected], &[], "2/3"),
        (ASKED, &[Accepted], &[7, 8], "1/3"),
        (WITHDRAWN, &[Accepted, Withdrawn], &[], "2/2"),
    ];
    for (stop, outcomes, unasked, expected) in rows {
        assert_eq!(status(stop, outcomes, None, unasked).summary.as_deref(), Some(expected));
    }
}

#[test]
fn messages_of_plans_are_left_out_beyond_their_number() {
    let refused = |id| {
        let settled =
            Settled::because(Outcome::Rejected, PlanReason::NotFound, Some("no such plan".to_owned()));
        Plan { state: PlanState::Settled(settled), ..Plan::queued(PlanId(id), None) }
    };
    let many: Vec<_> = (0..200).map(refused).collect();
    let observed = Observed { stop: ASKED, ..Observed::default() };
    let (memo, key) = (StatusMemo::default(), RunKey::new("team", "nightly"));
    let input = |without_messages| StatusInput {
        generation: 1,
        total: 0,
        memo: &memo,
        key: &key,
        created: None,
        observed: &observed,
        request: None,
        withdrawal: None,
        plans: &many,
        unasked: &[],
        waiting: None,
        gateway_uid: None,
        reopened: false,
        without_messages,
        now: wall(0),
    };
    let count = |status: TestPlanRunStatus| status.plans.iter().filter(|plan| plan.message.is_some()).count();
    assert_eq!(count(build_status(input(false))), MESSAGES_MAX);
    assert_eq!(count(build_status(input(true))), 0);
}

#[test]
fn a_plan_that_waits_after_a_bad_answer_tells_it() {
    let plan = Plan { last: Some(Gist::Lost(NoAnswer::Timeout)), ..plan(1, Outcome::Pending) };
    assert_eq!(plan.last_answer().as_deref(), Some("the gateway's last answer: none in time"));
}
