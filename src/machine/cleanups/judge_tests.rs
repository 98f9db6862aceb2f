//! Tests of what becomes of one run.

use serde_json::{Value, json};

use super::*;
use crate::machine::checks::fixtures;
use crate::machine::ids::Version;
use crate::machine::view::Marks;

const MARK: &str = "sweep/2026-11-27T22:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn now() -> Timestamp {
    time("2026-11-27T22:00:00Z")
}

fn rule(action: CleanupAction, older_than: i64) -> Rule {
    let mut spec = fixtures::cleanup("team", "@daily").spec;
    (spec.action, spec.older_than_seconds) = (action, Some(older_than));
    Rule::of(&spec)
}

/// A run of plans 1 and 2 that was created an hour ago, with this status of its stop and plans.
fn run(stop: Value, outcomes: [&str; 2]) -> Candidate {
    let view = fixtures::run("team", "nightly", vec![1, 2]);
    let plans: Vec<_> = [1, 2].iter().zip(outcomes).filter(|(_, outcome)| !outcome.is_empty()).collect();
    let plans: Vec<_> = plans.iter().map(|(id, outcome)| json!({"id": id, "outcome": outcome})).collect();
    Candidate {
        key: view.key,
        uid: view.uid,
        version: Version(1),
        generation: 1,
        created: Some(time("2026-11-27T21:00:00Z")),
        is_being_deleted: false,
        keep_until: None,
        mark: None,
        stop_annotation: None,
        retry_annotation: None,
        marks: Marks { managers: vec!["kubectl-create".to_owned()], ..Marks::default() },
        spec: view.spec,
        status: serde_json::from_value(json!({"observedGeneration": 1, "stop": stop, "plans": plans}))
            .expect("a status"),
    }
}

fn idle() -> Candidate {
    run(json!({}), ["", ""])
}

fn stopped() -> Candidate {
    run(done("Spec"), ["Accepted", "NotRunning"])
}

fn done(trigger: &str) -> Value {
    json!({"trigger": trigger, "completionTime": "2026-11-27T21:30:00Z"})
}

fn fate(run: &Candidate, action: CleanupAction) -> Fate {
    judge(run, &rule(action, 0), now(), MARK, &SparedPlans::default())
}

#[test]
fn the_state_of_the_stop_decides_what_there_is_to_do() {
    use CleanupAction::{Delete, Stop, StopThenDelete};
    let asked = json!({"trigger": "Annotation"});
    let withdrawn = json!({"trigger": "Spec", "completionTime": "2026-11-27T21:30:00Z", "withdrawnTime": "2026-11-27T21:40:00Z"});
    let elsewhere = json!({"trigger": "Spec", "completionTime": "2026-11-27T21:30:00Z",
        "gateway": {"kind": "TestiniumGateway", "name": "other"}});
    let unseen = |asks: bool| {
        let mut run = idle();
        (run.spec.stopped, run.generation) = (Some(asks), 2);
        run
    };
    let mut grown = stopped();
    grown.spec.plans.push(3);
    let rows = [
        ("never stopped", idle(), Fate::Stop, Fate::Nothing, Fate::Stop),
        ("being stopped", run(asked, ["Accepted", "Pending"]), Fate::Nothing, Fate::Nothing, Fate::Nothing),
        ("stopped", stopped(), Fate::Nothing, Fate::Delete, Fate::Delete),
        ("failed", run(done("Spec"), ["Accepted", "Rejected"]), Fate::Stop, Fate::Nothing, Fate::Stop),
        ("expired", run(done("Spec"), ["Expired", "Accepted"]), Fate::Stop, Fate::Nothing, Fate::Stop),
        ("taken back", run(withdrawn, ["Accepted", "Accepted"]), Fate::Stop, Fate::Nothing, Fate::Stop),
        (
            "stopped elsewhere",
            run(elsewhere, ["Accepted", "Accepted"]),
            Fate::Stop,
            Fate::Nothing,
            Fate::Stop,
        ),
        ("a plan was added", grown, Fate::Stop, Fate::Nothing, Fate::Stop),
        ("asked just now", unseen(true), Fate::Nothing, Fate::Nothing, Fate::Nothing),
        ("asked for nothing", unseen(false), Fate::Stop, Fate::Nothing, Fate::Stop),
    ];
    for (name, run, stop, delete, both) in rows {
        let fates = (fate(&run, Stop), fate(&run, Delete), fate(&run, StopThenDelete));
        assert_eq!(fates, (stop, delete, both), "{name}");
    }
}

#[test]
fn age_counts_from_the_scheduled_time() {
    let of = |older_than, created: Option<&str>| {
        let run = Candidate { created: created.map(time), ..idle() };
        judge(&run, &rule(CleanupAction::Stop, older_than), now(), MARK, &SparedPlans::default())
    };
    assert_eq!(of(3600, Some("2026-11-27T21:00:00Z")), Fate::Stop);
    assert_eq!(of(3601, Some("2026-11-27T21:00:00Z")), Fate::NotMatched);
    assert_eq!(of(0, Some("2026-11-27T22:00:00Z")), Fate::Stop);
    assert_eq!(of(0, Some("2026-11-27T22:00:01Z")), Fate::NotMatched, "after the scheduled time");
    assert_eq!(of(0, None), Fate::NotMatched);
}

#[test]
fn keep_until_spares_a_run_and_one_that_cannot_be_read_keeps_it_for_ever() {
    let of =
        |until: &str| fate(&Candidate { keep_until: Some(until.to_owned()), ..idle() }, CleanupAction::Stop);
    for until in
        ["2026-11-27T22:00:01Z", "2026-11-28T00:59:59+02:00", " 2027-01-01T00:00:00Z ", "", "tomorrow", "yes"]
    {
        assert_eq!(of(until), Fate::Spare(Spared::Kept), "{until}");
    }
    for until in ["2026-11-27T22:00:00Z", "2026-11-27T23:00:00+02:00", "2020-01-01T00:00:00Z"] {
        assert_eq!(of(until), Fate::Stop, "{until}");
    }
    let kept = Candidate { keep_until: Some("2027-01-01T00:00:00Z".to_owned()), ..stopped() };
    assert_eq!(fate(&kept, CleanupAction::Delete), Fate::Spare(Spared::Kept));
    assert_eq!(fate(&kept, CleanupAction::Stop), Fate::Nothing, "there is nothing to spare it from");
}

/// Annotations raise no generation: a status of before them says nothing of what they ask for or take back.
#[test]
fn a_run_whose_status_has_not_seen_its_annotations_is_left_alone() {
    let again = |value: &str| Candidate { stop_annotation: Some(value.to_owned()), ..stopped() };
    let retried = Candidate { retry_annotation: Some("1".to_owned()), ..stopped() };
    for run in [again("now"), again("no"), retried] {
        for action in [CleanupAction::Stop, CleanupAction::Delete, CleanupAction::StopThenDelete] {
            assert_eq!(fate(&run, action), Fate::Nothing, "{:?} {:?}", run.stop_annotation, action);
        }
    }
    let mut removed = stopped();
    removed.status.stop.as_mut().expect("a stop").observed_request = Some("before".to_owned());
    assert_eq!(fate(&removed, CleanupAction::Delete), Fate::Nothing, "its removal was not seen");
    let mut seen = again("now");
    seen.status.stop.as_mut().expect("a stop").observed_request = Some("now".to_owned());
    assert_eq!(fate(&seen, CleanupAction::Delete), Fate::Delete);
}

/// Each mark of each tool, and each way in which an object can belong to somebody.
#[test]
fn a_run_that_somebody_would_create_again_is_never_deleted() {
    let notes = [
        "kustomize.toolkit.fluxcd.io/name",
        "kustomize.toolkit.fluxcd.io/namespace",
        "helm.toolkit.fluxcd.io/name",
        "argocd.argoproj.io/tracking-id",
        "argocd.argoproj.io/instance",
        "app.kubernetes.io/instance",
        "meta.helm.sh/release-name",
        "applyset.kubernetes.io/part-of",
    ];
    let managers = [
        "argocd-controller",
        "argocd-application-controller",
        "kustomize-controller",
        "helm-controller",
        "helm",
        "fleetagent",
        "Terraform",
        "pulumi-kubernetes",
    ];
    let names = |name: &str| Marks { names: vec!["load".to_owned(), name.to_owned()], ..Marks::default() };
    let noted = notes.map(|note| Candidate { marks: names(note), ..stopped() });
    let managed = managers.map(|manager| {
        let managers = vec!["kubectl".to_owned(), manager.to_owned()];
        Candidate { marks: Marks { managers, ..Marks::default() }, ..stopped() }
    });
    let controller = Some("Workflow nightly".to_owned());
    let owned = Candidate { marks: Marks { controller, ..Marks::default() }, ..stopped() };
    for run in noted.into_iter().chain(managed).chain([owned]) {
        let why = format!("{:?}", run.marks);
        for action in [CleanupAction::Delete, CleanupAction::StopThenDelete] {
            assert_eq!(fate(&run, action), Fate::Spare(Spared::CreatedAgain), "{why}");
        }
    }
    let free = Candidate { marks: names("app.kubernetes.io/name"), ..stopped() };
    assert_eq!(fate(&free, CleanupAction::Delete), Fate::Delete);
    let tool = Candidate { marks: names(notes[0]), ..idle() };
    assert_eq!(fate(&tool, CleanupAction::Stop), Fate::Stop, "it may be stopped");
}

#[test]
fn rule_18_a_run_that_shares_a_plan_with_a_spared_one_is_left_alone() {
    let rule = rule(CleanupAction::Stop, 0);
    let mut kept = Candidate { keep_until: Some("2027-01-01T00:00:00Z".to_owned()), ..idle() };
    kept.spec.plans = vec![2, 7];
    let mut spared = SparedPlans::default();
    assert!(needs_its_plans(&kept, &rule, now()));
    spared.add(&kept);
    assert_eq!(spared.count(), 2);
    let of = |run: &Candidate| judge(run, &rule, now(), MARK, &spared);
    assert_eq!(of(&idle()), Fate::Spare(Spared::SharesPlan));
    let mut elsewhere = idle();
    elsewhere.spec.gateway_ref = Some(crate::api::GatewayRef { name: Some("other".to_owned()) });
    assert_eq!(of(&elsewhere), Fate::Stop, "the same number at another gateway is another plan");
    let mut other = idle();
    other.spec.plans = vec![1, 3];
    assert_eq!(of(&other), Fate::Stop);
}

#[test]
fn plans_are_needed_by_runs_that_are_young_or_kept_unless_they_are_stopped() {
    let old = rule(CleanupAction::Stop, 7200);
    assert!(needs_its_plans(&idle(), &old, now()), "young");
    assert!(!needs_its_plans(&stopped(), &old, now()), "young, and stopped");
    assert!(!needs_its_plans(&idle(), &rule(CleanupAction::Stop, 0), now()), "old");
}

#[test]
fn a_run_with_the_mark_of_this_time_was_asked_for_and_one_of_another_time_was_not() {
    let of = |mark: &str| fate(&Candidate { mark: Some(mark.to_owned()), ..idle() }, CleanupAction::Stop);
    assert_eq!(of(MARK), Fate::Marked);
    assert_eq!(of("sweep/2026-11-26T22:00:00Z"), Fate::Stop);
    assert_eq!(of("other/2026-11-27T22:00:00Z"), Fate::Stop);
    let deleted = Candidate { is_being_deleted: true, ..idle() };
    assert_eq!(fate(&deleted, CleanupAction::Stop), Fate::NotMatched);
}
