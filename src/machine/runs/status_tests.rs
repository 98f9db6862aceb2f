//! The status of a run: which conditions hold in which situation, and the counts beside them.

use super::*;
use crate::api::{PlanReason, Trigger};
use crate::machine::answer::{Gist, NoAnswer};
use crate::machine::call::Settled;
use crate::machine::checks::fixtures::wall;
use crate::machine::ids::{CallId, PlanId, RunKey};
use crate::machine::runs::memo::StatusMemo;
use crate::machine::runs::observed::Observed;
use crate::machine::runs::plan::PlanState;
use crate::machine::runs::request::{Moment, Request};
use crate::machine::wait_reason::{Cause, WaitReason, Waiting};

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
    let (memo, key) = (StatusMemo::default(), RunKey::new("team", "nightly"));
    build_status(StatusInput {
        total: 9,
        unasked: &unasked,
        waiting,
        ..input(&memo, &key, &observed, &plans)
    })
}

/// What is known of a run of which nothing else is known.
fn input<'a>(
    memo: &'a StatusMemo,
    key: &'a RunKey,
    observed: &'a Observed,
    plans: &'a [Plan],
) -> StatusInput<'a> {
    StatusInput {
        generation: 3,
        total: 0,
        memo,
        key,
        created: None,
        observed,
        request: None,
        withdrawal: None,
        plans,
        unasked: &[],
        waiting: None,
        reopened: false,
        without_messages: false,
        deadline_seconds: 3600,
        kept_for: None,
        deletion_skipped: None,
        now: wall(0),
    }
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
    let waiting = Waiting { cause: Cause::of_reason(WaitReason::Suspended), message: "wait".to_owned() };
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
fn the_status_says_the_generation_once_and_every_condition_its_time() {
    let status = status(ASKED, &[Outcome::Rejected], None, &[]);
    assert_eq!(status.observed_generation, Some(3));
    for condition in status.conditions {
        assert_eq!(condition.observed_generation, None, "{}", condition.type_);
        assert_eq!(condition.last_transition_time, whole_seconds(wall(0)), "{}", condition.type_);
    }
}

#[test]
fn the_summary_counts_the_plans_that_are_stopped() {
    use Outcome::{Accepted, Pending, Rejected, Withdrawn};
    let rows: [(StopState, &[Outcome], &[i64], &str); 4] = [
        (StopState::None, &[], &[], "0/9"),
        (ASKED, &[Accepted, Pending, Rejected], &[], "1/3"),
        (ASKED, &[Accepted], &[7, 8], "1/3"),
        (WITHDRAWN, &[Accepted, Withdrawn], &[], "1/2"),
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
    let input = |without_messages| StatusInput { without_messages, ..input(&memo, &key, &observed, &many) };
    let count = |status: TestPlanRunStatus| status.plans.iter().filter(|plan| plan.message.is_some()).count();
    assert_eq!(count(build_status(input(false))), MESSAGES_MAX);
    assert_eq!(count(build_status(input(true))), 0);
}

#[test]
fn a_plan_that_waits_after_a_bad_answer_tells_it() {
    let plan = Plan { last: Some(Gist::Lost(NoAnswer::Timeout)), ..plan(1, Outcome::Pending) };
    assert_eq!(plan.last_answer().as_deref(), Some("the gateway's last answer: none in time"));
}

#[test]
fn three_hundred_plans_of_which_fifteen_were_refused_name_the_first_five() {
    let outcomes: Vec<_> =
        (0..300).map(|id| if id % 20 == 0 { Outcome::Rejected } else { Outcome::Accepted }).collect();
    let status = status(ASKED, &outcomes, None, &[]);
    let stopped = crate::machine::runs::memo::stopped(&status).expect("it tells").message.clone();
    assert!(stopped.starts_with("plans 1, 21, 41, 61, 81 and 10 more were not stopped"), "{stopped}");
    assert!(stopped.contains("(285 accepted, 15 rejected)"), "{stopped}");
    assert_eq!(status.summary.as_deref(), Some("285/300"));
}

/// What `kubectl describe` shows of conditions and of the event beside them: no sentence stands there twice.
#[test]
fn no_sentence_is_told_twice() {
    use Outcome::{Accepted, Expired, NotRunning, Pending, Rejected, Withdrawn};
    let waiting = Waiting {
        cause: Cause::of_reason(WaitReason::SecretNotFound),
        message: "there is no Secret".to_owned(),
    };
    type Row<'a> = (StopState, &'a [Outcome], Option<&'a Waiting>, &'a [i64]);
    let rows: [Row<'_>; 10] = [
        (StopState::None, &[], None, &[]),
        (ASKED, &[Pending], None, &[]),
        (ASKED, &[Pending], Some(&waiting), &[]),
        (ASKED, &[Accepted], None, &[]),
        (ASKED, &[NotRunning], None, &[]),
        (ASKED, &[Accepted, Rejected], None, &[]),
        (ASKED, &[Expired], None, &[]),
        (ASKED, &[Accepted], None, &[2]),
        (WITHDRAWN, &[Accepted, Withdrawn], None, &[]),
        (WITHDRAWN, &[Pending], None, &[]),
    ];
    for (stop, outcomes, waiting, unasked) in rows {
        let status = status(stop, outcomes, waiting, unasked);
        let event =
            crate::machine::runs::events::transition(&status, waiting.map(|waiting| waiting.cause.reason));
        let messages = status.conditions.iter().map(|condition| condition.message.clone());
        let mut sentences: Vec<_> = messages
            .chain(event.map(|event| event.message))
            .flat_map(|message| message.split("; ").map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let count = sentences.len();
        sentences.sort();
        sentences.dedup();
        assert_eq!(sentences.len(), count, "{stop:?} {outcomes:?}: {sentences:?}");
    }
}

#[test]
fn the_end_of_a_stop_names_the_user_who_has_asked_if_one_is_known() {
    for (user, expected) in [
        (None, r#"the stop at gateway "default" has ended: 1 accepted"#),
        (
            Some("jane@corp"),
            r#"the stop at gateway "default", asked for by "jane@corp", has ended: 1 accepted"#,
        ),
    ] {
        let request = Request {
            asked: Moment { time: wall(0), mono: 0 },
            requested_by: user.map(Box::from),
            field_manager: Some("kubectl-patch".into()),
            reason: None,
        };
        let plans = [plan(1, Outcome::Accepted)];
        let observed = Observed { stop: ASKED, gateway: Some("default".into()), ..Observed::default() };
        let (memo, key) = (StatusMemo::default(), RunKey::new("team", "nightly"));
        let status =
            build_status(StatusInput { request: Some(&request), ..input(&memo, &key, &observed, &plans) });
        assert_eq!(status.stop.as_ref().and_then(|stop| stop.requested_by.as_deref()), user);
        let event = crate::machine::runs::events::transition(&status, None).expect("it is told");
        assert_eq!(event.message, expected);
    }
}

#[test]
fn a_plan_that_is_asked_again_is_named_with_the_answer_the_calls_and_the_end() {
    let request = Request {
        asked: Moment { time: wall(0), mono: 0 },
        requested_by: None,
        field_manager: None,
        reason: None,
    };
    let gist = Gist::Status { status: 500, own: true };
    let told = |attempts| {
        let bad = Plan { last: Some(gist), attempts, ..plan(2, Outcome::Pending) };
        let plans = [plan(1, Outcome::Accepted), bad];
        let observed = Observed { stop: ASKED, gateway: Some("default".into()), ..Observed::default() };
        let (memo, key) = (StatusMemo::default(), RunKey::new("team", "nightly"));
        let status = build_status(StatusInput {
            request: Some(&request),
            deadline_seconds: 60,
            ..input(&memo, &key, &observed, &plans)
        });
        status.conditions.into_iter().map(|condition| condition.message).collect::<Vec<_>>()
    };
    let once = told(1);
    assert!(once[1].contains("plan 2, which was asked for once") && once[1].contains("HTTP 500"), "{once:?}");
    let end = wall(60_000).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert!(once[2].contains(&format!("until {end}")), "{once:?}");
    assert!(told(7)[1].contains("at least 4 times"), "{:?}", told(7));
    assert_eq!(told(4), told(7), "a number that seldom changes");
}
