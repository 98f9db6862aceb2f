//! Tests of rules: when they run, and what their statuses say.

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::api::{ConditionStatus, TestPlanCleanupStatus, condition, reason};
use crate::machine::checks::fixtures::{self, wall};
use crate::machine::time::whole_seconds;

/// A world of one rule. Its clock begins at eight o'clock.
struct Stage {
    cleanups: Cleanups,
    now: u64,
    /// Seconds by which the wall clock is off.
    skew: i64,
    view: CleanupView,
    /// The times for which it has run, and the events that it has told.
    ran: Vec<String>,
    told: Vec<EventReason>,
    writes: usize,
}

impl Stage {
    /// A rule with this schedule, and more in its spec.
    fn new(schedule: &str, change: impl FnOnce(&mut CleanupView)) -> Self {
        let mut view = fixtures::cleanup("team", schedule);
        change(&mut view);
        let (cleanups, ran, told) = (Cleanups::new(7), Vec::new(), Vec::new());
        let mut stage = Self { cleanups, now: 0, skew: 0, view, ran, told, writes: 0 };
        stage.show();
        stage
    }

    fn at(&self) -> Now {
        let skew = SignedDuration::from_secs(self.skew);
        Now { mono: Millis(self.now), wall: wall(self.now) + skew }
    }

    /// The watch shows the object as it now is.
    fn show(&mut self) {
        let mut demands = Vec::new();
        self.cleanups.observe(self.view.clone(), self.at(), &mut demands);
        self.meet(demands);
    }

    fn edit(&mut self, change: impl FnOnce(&mut CleanupView)) {
        let before = self.view.spec.clone();
        change(&mut self.view);
        self.view.version.0 += 1;
        self.view.generation += i64::from(self.view.spec != before);
        self.show();
    }

    /// Lists are empty, and statuses are written at once.
    fn meet(&mut self, mut demands: Vec<CleanupDemand>) {
        while let Some(demand) = demands.pop() {
            match demand {
                CleanupDemand::List { serial, .. } => {
                    let page = RunsPage::Page { runs: Vec::new(), unreadable: Vec::new(), next: None };
                    self.cleanups.listed(serial, page, self.at(), &mut demands);
                }
                CleanupDemand::Tell(event) => self.told.push(event.reason),
                CleanupDemand::Reschedule(key) => self.write(&key),
                CleanupDemand::Write(..)
                | CleanupDemand::DropWrite(_)
                | CleanupDemand::Forgotten(_)
                | CleanupDemand::Counted(..) => {}
            }
        }
    }

    fn write(&mut self, key: &CleanupKey) {
        let Some((to, WriteBody::CleanupStatus(status))) = self.cleanups.state(key, self.at()) else {
            return;
        };
        self.writes += 1;
        self.view.version = Version(to.version.0 + 1);
        self.view.status = (*status).clone();
        self.cleanups.stated(key, WriteResult::Done(self.view.version), self.at());
        let run = status.last_run.clone().filter(|run| run.completion_time.is_some());
        let time = run.and_then(|run| run.time).map(|time| time.0.to_string());
        if time.is_some() && self.ran.last() != time.as_ref() {
            self.ran.extend(time);
        }
    }

    /// Time passes; the rule wakes when it wants to.
    fn pass(&mut self, seconds: u64) {
        let until = self.now + seconds * 1000;
        while let Some(at) = self.cleanups.wake_at().filter(|at| at.0 <= until) {
            self.now = self.now.max(at.0);
            let mut demands = Vec::new();
            self.cleanups.run_timers(self.at(), &mut demands);
            self.meet(demands);
        }
        self.now = until;
    }

    /// The operator ends, and another one begins so much later.
    fn restart_after(&mut self, seconds: u64) {
        (self.cleanups, self.now) = (Cleanups::new(8), self.now + seconds * 1000);
        self.show();
    }

    fn status(&self) -> &TestPlanCleanupStatus {
        &self.view.status
    }

    fn ready(&self) -> (ConditionStatus, &str, &str) {
        let ready =
            self.status().conditions.iter().find(|other| other.type_ == condition::READY).expect("Ready");
        (ready.status, &ready.reason, &ready.message)
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

#[test]
fn a_schedule_fires_at_its_time_and_once() {
    let mut stage = Stage::new("30 8 * * *", |_| {});
    assert_eq!(stage.status().next_schedule_time, Some(whole_seconds(time("2027-01-15T08:30:00Z"))));
    stage.pass(1799);
    assert_eq!(stage.ran, [""; 0], "one second is left");
    stage.pass(1);
    assert_eq!(stage.ran, ["2027-01-15T08:30:00Z"]);
    let status = stage.status().clone();
    assert_eq!(status.last_schedule_time, Some(whole_seconds(time("2027-01-15T08:30:00Z"))));
    assert_eq!(status.next_schedule_time, Some(whole_seconds(time("2027-01-16T08:30:00Z"))));
    stage.pass(24 * 3600);
    assert_eq!(stage.ran, ["2027-01-15T08:30:00Z", "2027-01-16T08:30:00Z"]);
}

#[test]
fn a_rule_that_has_nothing_to_tell_is_not_written() {
    let mut stage = Stage::new("0 9 * * *", |_| {});
    assert_eq!(stage.writes, 1);
    stage.show();
    stage.edit(|view| view.generation += 0);
    stage.pass(1800);
    stage.restart_after(1);
    assert_eq!(stage.writes, 1);
}

#[test]
fn times_that_were_missed_run_once() {
    let mut stage = Stage::new("*/5 * * * *", |view| view.spec.starting_deadline_seconds = Some(3600));
    stage.pass(60);
    stage.restart_after(1900);
    assert_eq!(stage.ran, ["2027-01-15T08:30:00Z"], "six times have passed");
    stage.restart_after(10);
    assert_eq!(stage.ran, ["2027-01-15T08:30:00Z"], "a restart repeats nothing");
    assert_eq!(stage.told, []);
}

#[test]
fn a_time_that_was_missed_by_too_much_is_skipped_and_told_once() {
    let mut stage = Stage::new("0 9 * * *", |_| {});
    stage.restart_after(3600 + 601);
    assert_eq!((stage.ran.len(), stage.told.as_slice()), (0, &[EventReason::ScheduleMissed][..]));
    stage.restart_after(10);
    assert_eq!((stage.ran.len(), stage.told.len()), (0, 1), "a restart tells nothing anew");
    let mut late = Stage::new("0 9 * * *", |_| {});
    late.restart_after(3600 + 599);
    assert_eq!((late.ran.as_slice(), late.told.len()), (&["2027-01-15T09:00:00Z".to_owned()][..], 0));
}

#[test]
fn what_fires_while_it_is_suspended_is_not_made_up_for() {
    let mut stage = Stage::new("*/10 * * * *", |view| view.spec.suspend = Some(true));
    assert_eq!(stage.status().next_schedule_time, None);
    assert_eq!(stage.ready().1, reason::SUSPENDED);
    stage.pass(605);
    stage.edit(|view| view.spec.suspend = None);
    assert_eq!((stage.ran.len(), stage.told.len()), (0, 0));
    stage.pass(600);
    assert_eq!(stage.ran, ["2027-01-15T08:20:00Z"]);
}

#[test]
fn another_schedule_has_no_past() {
    let mut stage = Stage::new("@yearly", |_| {});
    stage.pass(1900);
    stage.edit(|view| view.spec.schedule = "30 8 * * *".to_owned());
    assert_eq!((stage.ran.len(), stage.told.len()), (0, 0), "half past eight was before the edit");
    stage.edit(|view| view.spec.time_zone = Some("Europe/Istanbul".to_owned()));
    let next = stage.status().next_schedule_time.as_ref().map(|next| next.0);
    assert_eq!(next, Some(time("2027-01-16T05:30:00Z")));
}

#[test]
fn an_object_that_was_made_after_the_scheduled_time_does_not_run_for_it() {
    let stage = Stage::new("0 8 * * *", |view| view.created = Some(wall(0)));
    assert_eq!((stage.ran.len(), stage.told.len()), (0, 0));
}

#[test]
fn run_now_runs_once_a_value_even_while_suspended() {
    let mut stage = Stage::new("@yearly", |view| view.spec.suspend = Some(true));
    stage.pass(10);
    let annotate = |stage: &mut Stage, value: Option<&str>| {
        stage.edit(|view| view.run_now = value.map(str::to_owned));
    };
    annotate(&mut stage, Some("1"));
    assert_eq!(stage.ran, ["2027-01-15T08:00:10Z"]);
    assert_eq!(stage.status().observed_run_now.as_deref(), Some("1"));
    assert_eq!(stage.status().last_schedule_time, None, "no schedule has fired");
    stage.show();
    stage.restart_after(10);
    assert_eq!(stage.ran.len(), 1);
    annotate(&mut stage, Some(""));
    assert_eq!(stage.ran.len(), 1, "an empty value asks for nothing");
    annotate(&mut stage, Some("2"));
    assert_eq!(stage.ran.len(), 2);
    annotate(&mut stage, None);
    stage.pass(5);
    annotate(&mut stage, Some("2"));
    assert_eq!(stage.ran.len(), 3, "its removal was seen");
}

#[test]
fn a_rule_that_came_out_of_a_backup_does_not_run_at_once() {
    let stage = Stage::new("@yearly", |view| {
        view.run_now = Some("1".to_owned());
        view.restored = Some("backup".to_owned());
    });
    assert_eq!(stage.ran.len(), 0);
    assert_eq!(stage.status().observed_run_now.as_deref(), Some("1"));
}

#[test]
fn what_an_earlier_leader_has_begun_goes_on_under_the_same_time() {
    let begun = |change: fn(&mut CleanupView)| {
        let mut stage = Stage::new("0 9 * * *", |_| {});
        stage.view.status.last_run = serde_json::from_value(serde_json::json!({
            "time": "2027-01-15T07:00:00Z", "matched": 3, "stopped": 2, "deleted": 1, "spared": 0, "failed": 0,
        }))
        .ok();
        change(&mut stage.view);
        stage.restart_after(5);
        stage
    };
    let stage = begun(|_| {});
    assert_eq!(stage.ran, ["2027-01-15T07:00:00Z"]);
    assert_eq!(stage.status().last_run.as_ref().map(|run| run.deleted), Some(1));
    let edited = begun(|view| view.generation += 1);
    assert_eq!(edited.status().last_run.as_ref().map(|run| run.stopped), Some(2), "an edit has ended it");
    assert!(edited.status().last_run.as_ref().is_some_and(|run| run.completion_time.is_some()));
}

#[test]
fn a_clock_that_jumps_is_noticed_within_a_minute() {
    let mut stage = Stage::new("0 12 * * *", |_| {});
    stage.pass(10);
    stage.skew = 4 * 3600;
    stage.pass(61);
    assert_eq!(stage.ran, ["2027-01-15T12:00:00Z"]);
    stage.skew = 0;
    stage.pass(4 * 3600 + 60);
    assert_eq!(stage.ran.len(), 1, "it does not run for the same time again");
}

#[test]
fn a_schedule_that_cannot_fire_is_told_with_what_is_wrong() {
    let rows = [
        ("5-1 * * * *", None, reason::INVALID_SCHEDULE, "a range that ends before it begins"),
        ("0 0 30 2 *", None, reason::INVALID_SCHEDULE, "never comes"),
        ("@daily", Some("Mars/Olympus"), reason::UNKNOWN_TIME_ZONE, "Mars/Olympus"),
    ];
    for (schedule, zone, word, text) in rows {
        let stage = Stage::new(schedule, |view| view.spec.time_zone = zone.map(str::to_owned));
        let (status, reason, message) = stage.ready();
        assert_eq!((status, reason), (ConditionStatus::False, word), "{schedule}");
        assert!(message.contains(text), "{message}");
        let stalled = stage.status().conditions.iter().find(|other| other.type_ == condition::STALLED);
        assert_eq!(stalled.map(|other| other.status), Some(ConditionStatus::True), "{schedule}");
        assert_eq!(stage.status().next_schedule_time, None);
    }
}

#[test]
fn a_failure_is_told_until_a_later_time_succeeds() {
    let mut stage = Stage::new("*/10 * * * *", |_| {});
    stage.pass(60);
    let key = stage.view.key.clone();
    stage.now = 600_000;
    let mut demands = Vec::new();
    stage.cleanups.run_timers(stage.at(), &mut demands);
    for _ in 0..20 {
        for demand in std::mem::take(&mut demands) {
            match demand {
                CleanupDemand::List { serial, .. } => {
                    let page = RunsPage::Failed { why: "no right".to_owned(), retry_after: None };
                    stage.cleanups.listed(serial, page, stage.at(), &mut demands);
                }
                CleanupDemand::Tell(event) => stage.told.push(event.reason),
                _ => {}
            }
        }
        stage.now += 30_000;
        stage.cleanups.run_timers(stage.at(), &mut demands);
        if stage.told.contains(&EventReason::CleanupIncomplete) {
            break;
        }
    }
    stage.write(&key);
    let (status, word, message) = stage.ready();
    assert_eq!((status, word), (ConditionStatus::False, reason::FAILED));
    assert!(message.contains("could not be listed: no right"), "{message}");
    stage.meet(demands);
    stage.pass(700);
    assert_eq!(stage.ready().1, reason::SCHEDULED);
}

#[test]
fn a_rule_that_is_gone_asks_for_nothing() {
    let mut stage = Stage::new("*/10 * * * *", |_| {});
    let mut demands = Vec::new();
    let key = stage.view.key.clone();
    stage.cleanups.gone(&key, Some(&"another".into()), &mut demands);
    assert!(demands.is_empty(), "another object of that name");
    stage.cleanups.gone(&key, Some(&stage.view.uid.clone()), &mut demands);
    assert_eq!(demands, [CleanupDemand::Forgotten(key)]);
    assert_eq!(stage.cleanups.wake_at(), None);
    stage.show();
    stage.cleanups.list_began(&Extent::all(crate::machine::Kind::Cleanups));
    demands.clear();
    stage.cleanups.list_ended(&Extent::all(crate::machine::Kind::Cleanups), &mut demands);
    assert_eq!(demands.len(), 1, "the list did not bring it");
}

#[test]
fn a_timer_for_the_status_comes_once() {
    let mut stage = Stage::new("@yearly", |_| {});
    let key = stage.view.key.clone();
    stage.cleanups.arm_status(&key, Some(Millis(5_000)), stage.at());
    assert_eq!(stage.cleanups.wake_at(), Some(Millis(5_000)));
    stage.now = 5_000;
    let mut demands = Vec::new();
    stage.cleanups.run_timers(stage.at(), &mut demands);
    assert_eq!(demands, [CleanupDemand::Reschedule(key)]);
    assert!(stage.cleanups.wake_at() > Some(Millis(5_000)));
}

#[test]
fn two_runs_within_a_second_have_marks_of_their_own() {
    let mut stage = Stage::new("@yearly", |view| view.run_now = Some("1".to_owned()));
    stage.edit(|view| view.run_now = Some("2".to_owned()));
    assert_eq!(stage.ran, ["2027-01-15T08:00:00Z", "2027-01-15T08:00:01Z"]);
}

#[test]
fn an_echo_of_the_past_says_nothing_unless_the_datastore_has_gone_back() {
    let mut stage = Stage::new("@yearly", |view| view.version.0 = 50);
    stage.view.version.0 = 40;
    stage.view.run_now = Some("1".to_owned());
    stage.show();
    assert_eq!(stage.ran.len(), 0, "an echo");
    stage.cleanups.list_began(&Extent::all(crate::machine::Kind::Cleanups));
    stage.show();
    assert_eq!(stage.ran.len(), 1, "a later list is believed");
}

/// A page takes memory until it has come, whatever becomes of its rule meanwhile.
#[test]
fn rules_that_fire_together_take_turns_at_listing() {
    let now = Now { mono: Millis(0), wall: wall(0) };
    let (mut cleanups, mut demands) = (Cleanups::new(7), Vec::new());
    for namespace in ["a", "b", "c", "d"] {
        let mut view = fixtures::cleanup(namespace, "@daily");
        view.run_now = Some("1".to_owned());
        cleanups.observe(view, now, &mut demands);
    }
    let lists = |demands: &mut Vec<CleanupDemand>| -> Vec<(PageSerial, String)> {
        demands
            .drain(..)
            .filter_map(|demand| match demand {
                CleanupDemand::List { serial, namespace, .. } => Some((serial, namespace.to_string())),
                CleanupDemand::Write(..)
                | CleanupDemand::DropWrite(_)
                | CleanupDemand::Tell(_)
                | CleanupDemand::Reschedule(_)
                | CleanupDemand::Forgotten(_)
                | CleanupDemand::Counted(..) => None,
            })
            .collect()
    };
    let asked = lists(&mut demands);
    assert_eq!(asked.len(), PAGES_MAX, "no more at a time: {asked:?}");
    let empty = || RunsPage::Page { runs: Vec::new(), unreadable: Vec::new(), next: None };
    // Its rule goes, and its page is still on its way.
    let gone = fixtures::cleanup(&asked[0].1, "@daily").key;
    cleanups.gone(&gone, None, &mut demands);
    assert_eq!(lists(&mut demands), []);
    let mut seen: Vec<_> = asked.iter().map(|(_, namespace)| namespace.clone()).collect();
    let mut waiting = asked;
    while let Some((serial, _)) = waiting.pop() {
        cleanups.listed(serial, empty(), now, &mut demands);
        let more = lists(&mut demands);
        assert!(more.len() <= 1, "one has come, one may go: {more:?}");
        seen.extend(more.iter().map(|(_, namespace)| namespace.clone()));
        waiting.extend(more);
    }
    seen.dedup();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["a", "b", "c", "d"], "each has its turn");
}

#[test]
fn another_leader_does_not_make_up_for_times_of_before_an_edit_of_the_schedule() {
    // It is eight o'clock.
    let mut stage = Stage::new("0 3 * * *", |view| view.spec.starting_deadline_seconds = Some(86_400));
    stage.pass(10);
    let ran = stage.ran.len();
    stage.edit(|view| view.spec.schedule = "0 7 * * *".to_owned());
    stage.pass(10);
    stage.restart_after(60);
    stage.pass(600);
    assert_eq!(stage.ran.len(), ran, "seven o'clock was before the edit: {:?}", stage.ran);
}
