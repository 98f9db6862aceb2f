//! Requests and what takes them back, as sequences of looks at one run: each rule by its number.

use super::*;
use crate::api::TestPlanRunStatus;
use crate::machine::checks::fixtures::{self, wall};
use crate::machine::runs::deadline::Deadlines;

const TRUE: Option<bool> = Some(true);
const FALSE: Option<bool> = Some(false);
const ABSENT: Option<bool> = None;

type Look<'a> = (Option<bool>, Option<&'a str>);

fn view((stopped, annotation): Look<'_>) -> RunView {
    let mut run = fixtures::run("team", "nightly", vec![1]);
    run.spec.stopped = stopped;
    run.stop_annotation = annotation.map(str::to_owned);
    run
}

fn word(intent: &Intent) -> &'static str {
    match (intent.observed.stop, intent.is_new) {
        (StopState::Asked(_), true) => "new",
        (StopState::Asked(_), false) => "asked",
        (StopState::Withdrawn(_), _) => "withdrawn",
        (StopState::None, _) => "nothing",
    }
}

/// Looks at the run in each state in turn, and says of each how its stop stands.
fn told(looks: &[Look<'_>]) -> Vec<&'static str> {
    let mut observed = Observed::default();
    let look = |look: &Look<'_>| {
        let intent = decide_intent(&view(*look), &observed, History::default());
        observed = intent.observed.clone();
        word(&intent)
    };
    looks.iter().map(look).collect()
}

/// The notices of the last of several looks.
fn notices(looks: &[Look<'_>]) -> Vec<Notice> {
    let mut observed = Observed::default();
    let mut notices = Vec::new();
    for look in looks {
        let intent = decide_intent(&view(*look), &observed, History::default());
        (observed, notices) = (intent.observed, intent.notices);
    }
    notices
}

fn check(rows: &[(&str, &[Look<'_>], &[&str])]) {
    for (name, looks, expected) in rows {
        assert_eq!(told(looks), *expected, "{name}");
    }
}

#[test]
fn rule_02_true_is_a_state_and_an_annotation_is_an_event() {
    check(&[
        ("nothing asked for", &[(ABSENT, None), (FALSE, None)], &["nothing", "nothing"]),
        ("true stays true", &[(TRUE, None), (TRUE, None)], &["new", "asked"]),
        ("the annotation stays", &[(ABSENT, Some("a")), (ABSENT, Some("a"))], &["new", "asked"]),
        ("both at once are one request", &[(TRUE, Some("a")), (TRUE, Some("a"))], &["new", "asked"]),
    ]);
}

#[test]
fn rule_03_each_becoming_asks_anew() {
    check(&[
        ("after false", &[(TRUE, None), (FALSE, None), (TRUE, None)], &["new", "withdrawn", "new"]),
        ("after a removal", &[(TRUE, None), (ABSENT, None), (TRUE, None)], &["new", "asked", "new"]),
        ("from absent", &[(ABSENT, None), (TRUE, None)], &["nothing", "new"]),
        ("another value", &[(ABSENT, Some("a")), (ABSENT, Some("b"))], &["new", "new"]),
        (
            "an earlier value",
            &[(ABSENT, Some("a")), (ABSENT, Some("b")), (ABSENT, Some("a"))],
            &["new", "new", "new"],
        ),
        (
            "the same value after its removal was seen",
            &[(ABSENT, Some("a")), (ABSENT, None), (ABSENT, Some("a"))],
            &["new", "asked", "new"],
        ),
        (
            "the same value after an empty one",
            &[(ABSENT, Some("a")), (ABSENT, Some("")), (ABSENT, Some("a"))],
            &["new", "asked", "new"],
        ),
        (
            "the same value after a no",
            &[(ABSENT, Some("a")), (ABSENT, Some("no")), (ABSENT, Some("a"))],
            &["new", "withdrawn", "new"],
        ),
        ("an annotation over true", &[(TRUE, None), (TRUE, Some("a"))], &["new", "new"]),
        ("true over an annotation", &[(FALSE, Some("a")), (TRUE, Some("a"))], &["new", "new"]),
        ("although Git says false", &[(FALSE, Some("a")), (FALSE, Some("a"))], &["new", "asked"]),
        ("a no at first", &[(ABSENT, Some("no")), (ABSENT, Some("now"))], &["nothing", "new"]),
    ]);
}

/// Looks at a run with these retry annotations in turn, its annotation asking from the first look on if `stands`.
fn retried(stands: bool, retries: &[Option<&str>]) -> Vec<&'static str> {
    let mut observed = Observed::default();
    let look = |retry: &Option<&str>| {
        let mut run = view((ABSENT, stands.then_some("a")));
        run.retry_annotation = retry.map(str::to_owned);
        let history = History { has_failures: true, ..History::default() };
        let intent = decide_intent(&run, &observed, history);
        observed = intent.observed.clone();
        if intent.retries { "again" } else { word(&intent) }
    };
    retries.iter().map(look).collect()
}

#[test]
fn rule_03_a_retry_asks_again_by_another_value() {
    assert_eq!(retried(true, &[None, Some("1"), Some("1"), Some("2")]), ["new", "again", "asked", "again"]);
    assert_eq!(retried(true, &[None, Some("1"), None, Some("1")]), ["new", "again", "asked", "again"]);
    assert_eq!(retried(true, &[None, Some("no"), Some("")]), ["new", "asked", "asked"]);
    assert_eq!(retried(false, &[None, Some("1"), Some("1")]), ["nothing", "new", "asked"], "no stop stands");
}

#[test]
fn rule_05_memory_is_what_was_last_seen_absence_included() {
    let mut observed = Observed::default();
    for look in [(TRUE, Some("a")), (FALSE, Some("")), (ABSENT, None)] {
        observed = decide_intent(&view(look), &observed, History::default()).observed;
        assert_eq!((observed.stopped, observed.annotation.as_deref()), look);
    }
}

#[test]
fn rule_06_an_explicit_no_takes_back_whatever_asked() {
    for no in ["false", "no", "off", "none", "0", "No", " FALSE\t", "Off"] {
        check(&[
            ("its annotation", &[(ABSENT, Some("a")), (ABSENT, Some(no))], &["new", "withdrawn"]),
            ("under false", &[(FALSE, Some("a")), (FALSE, Some(no))], &["new", "withdrawn"]),
            (
                "a field that was removed since",
                &[(TRUE, None), (ABSENT, None), (ABSENT, Some(no))],
                &["new", "asked", "withdrawn"],
            ),
            ("not over true", &[(TRUE, None), (TRUE, Some(no))], &["new", "asked"]),
        ]);
    }
    check(&[
        ("its field", &[(TRUE, None), (FALSE, None), (FALSE, None)], &["new", "withdrawn", "withdrawn"]),
        (
            "absent becomes false under an annotation",
            &[(ABSENT, Some("a")), (FALSE, Some("a"))],
            &["new", "withdrawn"],
        ),
        (
            "true becomes false under an annotation",
            &[(TRUE, Some("a")), (FALSE, Some("a"))],
            &["new", "withdrawn"],
        ),
        (
            "removed, then false",
            &[(TRUE, None), (ABSENT, None), (FALSE, None)],
            &["new", "asked", "withdrawn"],
        ),
        (
            "withdrawn stays so when the field goes",
            &[(TRUE, None), (FALSE, None), (ABSENT, None)],
            &["new", "withdrawn", "withdrawn"],
        ),
    ]);
}

#[test]
fn rule_06_a_move_takes_back_whatever_asked() {
    for look in [(TRUE, None), (FALSE, Some("a")), (ABSENT, Some("a"))] {
        let first = decide_intent(&view(look), &Observed::default(), History::default());
        let mut moved = view(look);
        let gateway = crate::api::GatewayRef { name: Some("other".to_owned()) };
        moved.spec.gateway_ref = Some(gateway);
        let second = decide_intent(&moved, &first.observed, History::default());
        assert_eq!(word(&second), "withdrawn", "{look:?}");
        assert_eq!(second.taken_back, Some(DecidingField::GatewayRef));
        assert_eq!(second.observed.gateway.as_deref(), Some("default"), "the stop was for the first one");
        let third = decide_intent(&moved, &second.observed, History::default());
        assert_eq!(word(&third), "withdrawn", "the level asks for nothing at the other one");
    }
}

#[test]
fn rule_07_a_removal_and_an_empty_value_take_nothing_back() {
    check(&[
        ("the field", &[(TRUE, None), (ABSENT, None)], &["new", "asked"]),
        ("the annotation", &[(ABSENT, Some("a")), (ABSENT, None)], &["new", "asked"]),
        ("the annotation under false", &[(FALSE, Some("a")), (FALSE, None)], &["new", "asked"]),
        ("an empty value", &[(ABSENT, Some("a")), (ABSENT, Some(" "))], &["new", "asked"]),
    ]);
    let rows: &[(&[Look<'_>], &[Notice])] = &[
        (&[(TRUE, None), (ABSENT, None)], &[Notice::Continues(DecidingField::Stopped)]),
        (&[(ABSENT, Some("a")), (ABSENT, None)], &[Notice::Continues(DecidingField::Annotation)]),
        (&[(ABSENT, Some("a")), (ABSENT, Some(""))], &[Notice::Continues(DecidingField::Annotation)]),
        (&[(TRUE, Some("a")), (TRUE, None)], &[]),
        (&[(ABSENT, None), (ABSENT, Some(""))], &[Notice::EmptyAnnotation]),
        (&[(ABSENT, Some("")), (ABSENT, Some(""))], &[]),
        (&[(TRUE, None), (TRUE, Some("no"))], &[Notice::NotWithdrawn]),
        (&[(ABSENT, None), (ABSENT, Some("no"))], &[]),
    ];
    for (looks, expected) in rows {
        assert_eq!(notices(looks), *expected, "{looks:?}");
    }
}

#[test]
fn rule_08_asking_beats_taking_back_in_one_look() {
    check(&[
        ("false with a new value", &[(TRUE, None), (FALSE, Some("a"))], &["new", "new"]),
        ("true with a no", &[(ABSENT, Some("a")), (TRUE, Some("no"))], &["new", "new"]),
    ]);
    let first = decide_intent(&view((ABSENT, Some("a"))), &Observed::default(), History::default());
    let mut moved = view((ABSENT, Some("b")));
    moved.spec.gateway_ref = Some(crate::api::GatewayRef { name: Some("other".to_owned()) });
    let second = decide_intent(&moved, &first.observed, History::default());
    assert_eq!((word(&second), second.observed.gateway.as_deref()), ("new", Some("other")));
}

/// A run that was stopped at 10 s and is looked at in this generation, after its field was set at `set`.
fn flipped(generation: i64, set: u64, settled: bool) -> &'static str {
    let first = decide_intent(&view((TRUE, None)), &Observed::default(), History::default());
    let mut run = view((TRUE, None));
    run.generation = generation;
    run.stopped_set = Some(FieldSet { manager: "kubectl-patch".to_owned(), time: Some(wall(set)) });
    let history = History {
        is_first: true,
        settled,
        generation: Some(2),
        requested: Some(wall(10_000)),
        ..History::default()
    };
    word(&decide_intent(&run, &first.observed, history))
}

#[test]
fn rule_13_a_flip_that_nobody_saw_is_a_new_request() {
    assert_eq!(flipped(4, 20_000, true), "new");
    assert_eq!(flipped(3, 20_000, true), "asked", "one generation is no flip");
    assert_eq!(flipped(4, 10_000, true), "asked", "the owner of the field has not written since");
    assert_eq!(flipped(4, 20_000, false), "asked", "the stop is under way");
}

/// Looks at a run, which was made at 0 s and names this deadline, at this time. Yields the intent.
fn dated(look: Look<'_>, deadline: Option<i64>, before: &Observed, history: History<'_>, now: u64) -> Intent {
    let mut run = view(look);
    (run.created, run.spec.active_deadline_seconds) = (Some(wall(0)), deadline);
    decide_intent(&run, before, History { now: wall(now * 1_000), ..history })
}

#[test]
fn rule_02_a_deadline_is_an_event() {
    let unseen = Observed::default();
    let before = dated((FALSE, None), Some(60), &unseen, History::default(), 59);
    assert_eq!((word(&before), before.observed.deadline.passed), ("nothing", None));
    let at = dated((FALSE, None), Some(60), &before.observed, History::default(), 60);
    assert_eq!((word(&at), at.asked_by), ("new", Some(DecidingField::Deadline)));
    assert_eq!(at.observed.stop, StopState::Asked(Trigger::Deadline));
    let after = dated((FALSE, None), Some(60), &at.observed, History::default(), 61);
    assert_eq!((word(&after), after.asked_by), ("asked", None));
}

#[test]
fn rule_04_a_deadline_asks_again_only_where_something_is_left() {
    for (has_failures, retries) in [(true, true), (false, false)] {
        let asked = dated((TRUE, None), Some(60), &Observed::default(), History::default(), 0);
        let history = History { has_failures, ..History::default() };
        let at = dated((TRUE, None), Some(60), &asked.observed, history, 60);
        assert_eq!((at.is_new, at.retries), (false, retries));
        assert_eq!(at.observed.stop, StopState::Asked(Trigger::Spec), "the stop that stands goes on");
        assert_eq!(at.observed.deadline.passed, Some(wall(60_000)), "spent, whether or not it asks");
    }
}

#[test]
fn rule_06_what_takes_back_a_stop_by_deadline() {
    let asked = dated((ABSENT, None), Some(60), &Observed::default(), History::default(), 60).observed;
    type Row = (&'static str, Look<'static>, Option<i64>, Option<DecidingField>);
    let rows: [Row; 7] = [
        ("nothing", (ABSENT, None), Some(60), None),
        ("a deadline raised into the future", (ABSENT, None), Some(90), Some(DecidingField::Deadline)),
        ("a deadline lowered", (ABSENT, None), Some(30), None),
        ("a deadline removed", (ABSENT, None), None, None),
        ("false", (FALSE, None), Some(60), Some(DecidingField::Stopped)),
        ("a no", (ABSENT, Some("no")), Some(60), Some(DecidingField::Annotation)),
        ("a no with a raised one", (ABSENT, Some("no")), Some(90), Some(DecidingField::Annotation)),
    ];
    for (name, look, deadline, field) in rows {
        let intent = dated(look, deadline, &asked, History::default(), 61);
        assert_eq!((intent.taken_back, intent.is_new), (field, false), "{name}");
    }
    let raised = dated((ABSENT, None), Some(65), &asked, History::default(), 70);
    assert_eq!((word(&raised), raised.taken_back), ("asked", None), "raised, and not into the future");
    assert_eq!(raised.observed.deadline.passed, Some(wall(65_000)));
    let set_back = dated((ABSENT, None), Some(60), &asked, History::default(), 5);
    assert_eq!((word(&set_back), set_back.taken_back), ("asked", None), "a clock that was set back");
}

#[test]
fn rule_06_a_raised_deadline_takes_back_no_stop_of_another() {
    let asked = dated((TRUE, Some("a")), Some(60), &Observed::default(), History::default(), 60).observed;
    assert_eq!(asked.stop, StopState::Asked(Trigger::Spec), "whoever asks with it outweighs it");
    let raised = dated((TRUE, Some("a")), Some(90), &asked, History::default(), 61);
    assert_eq!(raised.taken_back, None);
}

#[test]
fn rule_07_the_removal_of_a_deadline_is_told_once() {
    let asked = dated((ABSENT, None), Some(60), &Observed::default(), History::default(), 60).observed;
    let removed = dated((ABSENT, None), None, &asked, History::default(), 61);
    assert_eq!(removed.notices, [Notice::Continues(DecidingField::Deadline)]);
    let again = dated((ABSENT, None), None, &removed.observed, History::default(), 62);
    assert_eq!(again.notices, []);
    // Status does not say whether the spec named a deadline.
    let remembered = Observed { deadline: Deadlines { named: None, ..asked.deadline }, ..asked };
    for (generation, told) in [(0, true), (1, false)] {
        let history = History { is_first: true, generation: Some(generation), ..History::default() };
        let first = dated((ABSENT, None), None, &remembered, history, 61);
        assert_eq!(first.notices == [Notice::Continues(DecidingField::Deadline)], told, "{generation}");
    }
}

#[test]
fn rule_12_re_arming_does_not_restart_a_deadline() {
    let mut observed = Observed::default();
    let mut look = |look: Look<'_>, deadline: Option<i64>, now: u64| {
        let intent = dated(look, deadline, &observed, History::default(), now);
        observed = intent.observed.clone();
        word(&intent)
    };
    assert_eq!(look((ABSENT, None), Some(60), 60), "new");
    assert_eq!(look((FALSE, None), Some(60), 61), "withdrawn");
    assert_eq!(look((TRUE, None), Some(60), 62), "new");
    assert_eq!(look((FALSE, None), Some(60), 63), "withdrawn");
    assert_eq!(look((FALSE, None), None, 64), "withdrawn");
    assert_eq!(look((FALSE, None), Some(60), 65), "withdrawn", "the same once more");
    assert_eq!(look((FALSE, None), Some(30), 66), "withdrawn", "an earlier one");
    assert_eq!(look((FALSE, None), Some(67), 66), "withdrawn");
    assert_eq!(look((FALSE, None), Some(67), 67), "new", "a later one");
}

#[test]
fn rule_15_a_deadline_out_of_a_backup_is_spent_also_if_it_is_to_come() {
    let mut run = restored((ABSENT, None), "monday");
    run.spec.active_deadline_seconds = Some(60);
    let history = History { is_first: true, ..History::default() };
    let first = decide_intent(&run, &Observed::default(), history);
    assert_eq!((word(&first), first.notices.as_slice()), ("nothing", &[Notice::Restored][..]));
    let later = History { now: wall(90_000), ..History::default() };
    let second = decide_intent(&run, &first.observed, later);
    assert_eq!((word(&second), second.notices.len()), ("nothing", 0));
    run.spec.active_deadline_seconds = Some(80);
    assert_eq!(word(&decide_intent(&run, &second.observed, later)), "new", "a later one is its own");
}

fn restored(look: Look<'_>, label: &str) -> RunView {
    RunView { restored: Some(label.to_owned()), created: Some(wall(0)), ..view(look) }
}

fn started(mut view: RunView, at: u64) -> RunView {
    view.status.start_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(wall(at)));
    view
}

#[test]
fn rule_15_what_comes_out_of_a_backup_counts_as_seen() {
    let first = History { is_first: true, settled: true, ..History::default() };
    let asked = Observed {
        stopped: TRUE,
        restore: Some("monday".into()),
        stop: StopState::Asked(Trigger::Spec),
        gateway: Some("default".into()),
        ..Observed::default()
    };
    let rows = [
        ("a new label, no status", restored((TRUE, Some("a")), "monday"), Observed::default(), "nothing"),
        ("another label", started(restored((TRUE, None), "tuesday"), 0), asked.clone(), "nothing"),
        ("the label as it was", started(restored((TRUE, None), "monday"), 0), asked.clone(), "asked"),
        ("the status of another object", started(restored((TRUE, None), "monday"), 1), asked, "nothing"),
    ];
    for (name, view, before, expected) in rows {
        let intent = decide_intent(&view, &before, first);
        assert_eq!(word(&intent), expected, "{name}");
        let tells = intent.notices == [Notice::Restored];
        assert_eq!(tells, expected == "nothing", "{name}");
    }
    // A request of its own asks, also before the operator has written a status.
    let seen = decide_intent(&restored((TRUE, Some("a")), "monday"), &Observed::default(), first).observed;
    let again = decide_intent(&restored((TRUE, Some("b")), "monday"), &seen, History::default());
    assert_eq!(word(&again), "new");
}

#[test]
fn rule_15_a_stop_under_way_is_not_lost_by_a_restore_in_place() {
    let running = decide_intent(&view((TRUE, None)), &Observed::default(), History::default()).observed;
    let view = started(restored((TRUE, None), "monday"), 0);
    assert_eq!(word(&decide_intent(&view, &running, History::default())), "asked");
    let settled = History { settled: true, ..History::default() };
    assert_eq!(word(&decide_intent(&view, &running, settled)), "nothing");
}

#[test]
fn rule_20_the_owner_of_the_deciding_field_is_named() {
    let mut run = view((FALSE, Some("no")));
    let set = |manager: &str| Some(FieldSet { manager: manager.to_owned(), time: None });
    run.stopped_set = set("kustomize-controller");
    run.annotation_set = set("kubectl-annotate");
    run.gateway_set = set("helm");
    let name = |field: DecidingField| field.set(&run).map(|set| set.manager.clone());
    assert_eq!(name(DecidingField::Stopped).as_deref(), Some("kustomize-controller"));
    assert_eq!(name(DecidingField::Annotation).as_deref(), Some("kubectl-annotate"));
    assert_eq!(name(DecidingField::GatewayRef).as_deref(), Some("helm"));
    let asked = decide_intent(&view((FALSE, Some("a"))), &Observed::default(), History::default());
    let back = decide_intent(&run, &asked.observed, History::default());
    assert_eq!(back.taken_back, Some(DecidingField::Annotation), "stopped was false all along");
}

#[test]
fn rule_21_managers_that_flip_stopped_in_turn_are_told() {
    let taken = Observed {
        stopped: FALSE,
        stop: StopState::Withdrawn(Trigger::Spec),
        gateway: Some("default".into()),
        ..Observed::default()
    };
    let mut run = view((TRUE, None));
    run.stopped_set = Some(FieldSet { manager: "kubectl-patch".to_owned(), time: None });
    for (asked, withdrawn, expected) in [
        ("kubectl-patch", Some("kustomize-controller"), true),
        ("kubectl-patch", Some("kubectl-patch"), false),
        ("helm", Some("kustomize-controller"), false),
        ("kubectl-patch", None, false),
    ] {
        let history = History { requested_by: Some(asked), withdrawn_by: withdrawn, ..History::default() };
        let intent = decide_intent(&run, &taken, history);
        assert!(intent.is_new, "nothing is damped");
        assert_eq!(intent.notices == [Notice::Contested], expected, "{asked}, {withdrawn:?}");
    }
}

#[test]
fn memory_goes_through_a_status_unchanged() {
    let looks: &[Look<'_>] = &[(TRUE, Some("a")), (ABSENT, None), (FALSE, Some("")), (TRUE, Some("no"))];
    for look in looks {
        let intent = decide_intent(&view(*look), &Observed::default(), History::default());
        let mut status = TestPlanRunStatus::default();
        let stop = crate::api::StopStatus {
            trigger: intent.observed.is_stop_requested().then_some(Trigger::Spec),
            observed_stopped: intent.observed.stopped,
            observed_request: intent.observed.annotation.as_deref().map(str::to_owned),
            observed_deadline: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(wall(60_000))),
            ..Default::default()
        };
        status.stop = Some(stop);
        let remembered = Observed::of_status(&status);
        assert_eq!(remembered.stopped, intent.observed.stopped);
        assert_eq!(remembered.annotation, intent.observed.annotation);
        assert_eq!(remembered.deadline, Deadlines { named: None, passed: Some(wall(60_000)) });
    }
}
