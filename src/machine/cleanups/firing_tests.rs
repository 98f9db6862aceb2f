//! Tests of one time at which a rule runs.

use super::*;
use crate::api::CleanupAction;
use crate::machine::checks::fixtures::{self, wall};
use crate::machine::ids::Version;

const NOW: Now = Now { mono: Millis(1_000), wall: Timestamp::UNIX_EPOCH };

fn rule(change: impl FnOnce(&mut crate::api::TestPlanCleanupSpec)) -> Rule {
    let mut spec = fixtures::cleanup("team", "@daily").spec;
    change(&mut spec);
    Rule::of(&spec)
}

fn firing(rule: &Rule) -> Firing {
    Firing::new("sweep", wall(0), rule, 0, NOW.mono)
}

fn run(name: &str) -> Candidate {
    let view = fixtures::run("team", name, vec![1]);
    Candidate {
        key: view.key,
        uid: view.uid,
        version: Version(3),
        generation: 1,
        created: Some(wall(0)),
        is_being_deleted: false,
        keep_until: None,
        mark: None,
        stop_annotation: None,
        retry_annotation: None,
        marks: crate::machine::Marks::default(),
        spec: view.spec,
        status: view.status,
    }
}

fn marked(name: &str) -> Candidate {
    Candidate { mark: Some(format!("sweep/{}", wall(0))), ..run(name) }
}

fn page(runs: &[Candidate], next: Option<&str>) -> RunsPage {
    RunsPage::Page { runs: runs.to_vec(), unreadable: Vec::new(), next: next.map(str::to_owned) }
}

/// Lists a page, and yields the names of the runs that are written then.
fn show(firing: &mut Firing, rule: &Rule, runs: &[Candidate], next: Option<&str>) -> Vec<String> {
    firing.wake(Millis(u64::MAX));
    assert_eq!(firing.step, Step::Ready);
    firing.list(PageSerial(1));
    let writes = firing.page(page(runs, next), rule, NOW, 0);
    writes.into_iter().map(|(run, _)| run.name.to_string()).collect()
}

fn wrote(firing: &mut Firing, name: &str, result: WriteResult) -> Option<Cleaned> {
    firing.wrote(&RunKey::new("team", name), result, NOW, 0).map(|(change, _)| change)
}

const DONE: WriteResult = WriteResult::Done(Version(9));

#[test]
fn every_page_is_looked_through_before_anything_is_stopped() {
    let rule = rule(|_| {});
    let mut firing = firing(&rule);
    let kept = Candidate { keep_until: Some("for ever".to_owned()), ..run("z") };
    assert!(show(&mut firing, &rule, &[run("a")], Some("1")).is_empty(), "the first page of the scan");
    assert!(show(&mut firing, &rule, std::slice::from_ref(&kept), None).is_empty(), "the last one");
    assert!(show(&mut firing, &rule, &[run("a")], Some("1")).is_empty(), "it shares plan 1 with a later one");
    assert!(show(&mut firing, &rule, &[kept], None).is_empty());
    assert_eq!(firing.step, Step::Done);
    assert_eq!(firing.counts, Counts { matched: 2, spared: 2, ..Counts::default() });
    let why = ["a: shares a plan with a run that is spared", "z: testinium.io/keep-until"];
    assert_eq!(firing.spared_names, why);
}

#[test]
fn a_page_is_written_before_the_next_one_is_listed() {
    let rule = rule(|_| {});
    let mut firing = firing(&rule);
    show(&mut firing, &rule, &[run("a"), run("b"), run("c")], None);
    assert_eq!(show(&mut firing, &rule, &[run("a"), run("b")], Some("2")), ["a", "b"]);
    assert_eq!(firing.step, Step::Writing);
    assert_eq!(wrote(&mut firing, "b", DONE), Some(Cleaned::Stopped));
    assert_eq!(firing.step, Step::Writing);
    assert_eq!(wrote(&mut firing, "a", DONE), Some(Cleaned::Stopped));
    assert_eq!(show(&mut firing, &rule, &[run("c")], None), ["c"]);
    wrote(&mut firing, "c", WriteResult::Gone);
    assert_eq!(firing.step, Step::Done);
    assert_eq!(firing.counts, Counts { matched: 3, stopped: 2, ..Counts::default() });
    assert_eq!(firing.names, ["b", "a"]);
}

#[test]
fn a_mark_names_the_rule_and_the_time_and_the_version_that_was_read() {
    let rule = rule(|_| {});
    let mut firing = firing(&rule);
    show(&mut firing, &rule, &[run("a")], None);
    firing.list(PageSerial(2));
    let writes = firing.page(page(&[run("a")], None), &rule, NOW, 0);
    let mark = "sweep/2027-01-15T08:00:00Z".to_owned();
    let key = RunKey::new("team", "a");
    assert_eq!(writes, [(key.clone(), What::Metadata(MetadataChange::CleanupMark(mark)))]);
    let target = firing.target(&key).expect("it is being written");
    assert_eq!((target.version, &*target.uid), (Version(3), "team-a"));
}

/// The next leader finds the marks of the one before.
#[test]
fn marks_of_this_time_count_towards_the_most_wherever_they_are() {
    let rule = rule(|spec| spec.max_per_run = Some(2));
    let mut firing = firing(&rule);
    let runs = [run("a"), run("b"), marked("c")];
    show(&mut firing, &rule, &runs, None);
    assert_eq!(show(&mut firing, &rule, &runs, None), ["a"], "one of two is left");
    wrote(&mut firing, "a", DONE);
    assert_eq!(firing.counts, Counts { matched: 3, stopped: 2, ..Counts::default() });
}

#[test]
fn deletions_that_an_earlier_leader_has_told_count_as_well() {
    let rule = rule(|spec| (spec.max_per_run, spec.action) = (Some(3), CleanupAction::Delete));
    let mut firing = Firing::new("sweep", wall(0), &rule, 2, NOW.mono);
    let runs = ["a", "b"].map(stopped);
    assert_eq!(show(&mut firing, &rule, &runs, None), ["a"], "nothing has to be scanned first");
    assert_eq!(wrote(&mut firing, "a", DONE), Some(Cleaned::Deleted));
    assert_eq!(firing.counts, Counts { matched: 4, deleted: 3, ..Counts::default() });
}

fn stopped(name: &str) -> Candidate {
    let mut run = run(name);
    run.status = serde_json::from_value(serde_json::json!({
        "observedGeneration": 1, "plans": [{"id": 1, "outcome": "Accepted"}],
        "stop": {"trigger": "Spec", "completionTime": "2027-01-15T07:00:00Z"},
    }))
    .expect("a status");
    run
}

#[test]
fn a_run_that_was_edited_meanwhile_is_judged_anew_and_delays_no_other() {
    let rule = rule(|_| {});
    let mut firing = firing(&rule);
    show(&mut firing, &rule, &[run("a"), run("b")], None);
    assert_eq!(show(&mut firing, &rule, &[run("a"), run("b")], None), ["a", "b"]);
    assert_eq!(wrote(&mut firing, "a", WriteResult::Conflict), None);
    wrote(&mut firing, "b", DONE);
    assert!(matches!(firing.step, Step::Resting(_)), "{:?}", firing.step);
    let kept = Candidate { keep_until: Some("2030-01-01T00:00:00Z".to_owned()), ..run("a") };
    assert!(show(&mut firing, &rule, &[kept, marked("b")], None).is_empty(), "it is to be kept now");
    assert_eq!(firing.step, Step::Done);
    assert_eq!(firing.counts, Counts { matched: 2, stopped: 1, spared: 1, ..Counts::default() });
}

#[test]
fn a_write_that_never_succeeds_ends_as_a_failure() {
    let rule = rule(|_| {});
    let mut firing = firing(&rule);
    show(&mut firing, &rule, &[run("a")], None);
    let mut passes = 0;
    while firing.step != Step::Done {
        assert_eq!(show(&mut firing, &rule, &[run("a")], None), ["a"]);
        wrote(&mut firing, "a", WriteResult::Failed { retry_after: None });
        passes += 1;
    }
    assert_eq!((passes, firing.counts.failed), (usize::from(CLEANUP_PASSES_MAX) + 1, 1));
    assert!(firing.why.is_some());
}

#[test]
fn a_refused_write_is_not_tried_again_and_leaves_its_place_to_another() {
    let rule = rule(|spec| spec.max_per_run = Some(1));
    let mut firing = firing(&rule);
    let runs = [run("a"), run("b")];
    show(&mut firing, &rule, &runs, None);
    assert_eq!(show(&mut firing, &rule, &runs, None), ["a"]);
    wrote(&mut firing, "a", WriteResult::Refused(403));
    assert_eq!(show(&mut firing, &rule, &runs, None), ["b"]);
    wrote(&mut firing, "b", DONE);
    assert_eq!(firing.step, Step::Done);
    assert_eq!((firing.counts.stopped, firing.counts.failed), (1, 1));
    assert_eq!(firing.why.as_deref(), Some("the API server refuses the write of run \"a\" with HTTP 403"));
}

#[test]
fn a_missing_right_is_not_asked_for_ten_thousand_times() {
    let rule = rule(|spec| spec.max_per_run = Some(10_000));
    let mut firing = firing(&rule);
    let names: Vec<_> = (0..300).map(|number| format!("run-{number:03}")).collect();
    let runs: Vec<_> = names.iter().map(|name| run(name)).collect();
    show(&mut firing, &rule, &runs, None);
    let mut refused = 0;
    for page in runs.chunks(100) {
        let is_last = page[99].key == runs[299].key;
        for name in show(&mut firing, &rule, page, (!is_last).then_some("next")) {
            wrote(&mut firing, &name, WriteResult::Refused(403));
            refused += 1;
        }
    }
    assert_eq!((refused, firing.step), (CLEANUP_REFUSALS_MAX, Step::Done));
    assert_eq!(firing.counts.failed, 100);
}

#[test]
fn a_dry_run_writes_nothing_and_says_what_it_would_do() {
    let rule = rule(|spec| (spec.dry_run, spec.action) = (Some(true), CleanupAction::StopThenDelete));
    let mut firing = firing(&rule);
    let mut old = stopped("b");
    old.spec.plans = vec![1];
    let runs = [run("a"), old];
    show(&mut firing, &rule, &runs, None);
    assert!(show(&mut firing, &rule, &runs, None).is_empty());
    assert_eq!(firing.step, Step::Done);
    assert_eq!(firing.counts, Counts { matched: 2, stopped: 1, deleted: 1, ..Counts::default() });
    assert_eq!(firing.names, ["a", "b"]);
}

#[test]
fn a_list_that_breaks_off_begins_anew_and_is_given_up_at_last() {
    let rule = rule(|_| {});
    let mut firing = firing(&rule);
    let failed = || RunsPage::Failed { why: "the list is too old".to_owned(), retry_after: None };
    firing.list(PageSerial(1));
    firing.page(failed(), &rule, NOW, 0);
    assert!(show(&mut firing, &rule, &[run("a")], None).is_empty(), "the scan begins anew");
    assert_eq!(show(&mut firing, &rule, &[run("a")], Some("1")), ["a"]);
    wrote(&mut firing, "a", DONE);
    firing.list(PageSerial(2));
    firing.page(failed(), &rule, NOW, 0);
    assert!(show(&mut firing, &rule, &[marked("a")], None).is_empty(), "so does the pass");
    assert_eq!((firing.step, firing.counts.stopped), (Step::Done, 1));

    let mut hopeless = super::Firing::new("sweep", wall(0), &rule, 0, NOW.mono);
    for _ in 0..=CLEANUP_PASSES_MAX {
        hopeless.wake(Millis(u64::MAX));
        hopeless.list(PageSerial(3));
        hopeless.page(failed(), &rule, NOW, 0);
    }
    assert_eq!((hopeless.step, hopeless.counts.failed), (Step::Done, 1));
    assert_eq!(hopeless.why.as_deref(), Some("the runs could not be listed: the list is too old"));
}

#[test]
fn an_unreadable_run_is_spared_by_name() {
    let rule = rule(|_| {});
    let mut firing = firing(&rule);
    show(&mut firing, &rule, &[], None);
    firing.list(PageSerial(2));
    let unreadable = vec![RunKey::new("team", "odd")];
    firing.page(RunsPage::Page { runs: Vec::new(), unreadable, next: None }, &rule, NOW, 0);
    assert_eq!(firing.spared_names, ["odd: can't be read"]);
    assert_eq!((firing.counts.matched, firing.counts.spared), (1, 1));
}

#[test]
fn more_spared_plans_than_can_be_kept_in_mind_stop_nothing() {
    let rule = rule(|_| {});
    let mut firing = firing(&rule);
    let mut kept = Candidate { keep_until: Some("for ever".to_owned()), ..run("a") };
    kept.spec.plans = (1..=i64::try_from(SPARED_PLANS_MAX).expect("a small number") + 1).collect();
    assert!(show(&mut firing, &rule, &[kept], Some("1")).is_empty());
    assert_eq!(firing.step, Step::Done);
    assert!(firing.why.is_some_and(|why| why.starts_with("nothing is stopped")));
}

#[test]
fn of_ten_thousand_matches_no_more_than_a_page_is_kept() {
    let rule = rule(|spec| spec.max_per_run = Some(10_000));
    let mut firing = firing(&rule);
    let pages = 100_usize;
    let runs = |page: usize| -> Vec<_> {
        (0..100).map(|number| run(&format!("run-{:05}", page * 100 + number))).collect()
    };
    for is_scan in [true, false] {
        for page in 0..pages {
            let next = (page + 1 < pages).then_some("next");
            let writes = show(&mut firing, &rule, &runs(page), next);
            assert_eq!((writes.len(), firing.writes.len()), if is_scan { (0, 0) } else { (100, 100) });
            for name in writes {
                wrote(&mut firing, &name, DONE);
            }
        }
    }
    assert_eq!((firing.step, firing.counts.stopped, firing.spared.count()), (Step::Done, 10_000, 0));
}
