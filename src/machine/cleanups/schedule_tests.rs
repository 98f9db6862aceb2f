//! Tests of schedules, against what robfig/cron says.

use super::*;

/// What robfig/cron 3 says: `zone | expression | after | next`, made by `go run . > ../../src/machine/cleanups/instants.txt`
/// in `tests/cron`.
const INSTANTS: &str = include_str!("instants.txt");

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn schedule(text: &str, zone: &str) -> Schedule {
    Schedule::parse(text, Some(zone)).expect("a schedule")
}

#[test]
fn every_instant_is_that_of_cronjobs_own_library() {
    let (mut rows, mut zones) = (0, std::collections::BTreeSet::new());
    for line in INSTANTS.lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<_> = line.split(" | ").collect();
        let [zone, text, after, expected] = parts[..] else { panic!("{line}") };
        let next = schedule(text, zone).next(time(after));
        let next = next.map_or_else(|| "never".to_owned(), |next| next.to_string());
        assert_eq!(next, expected, "{line}");
        zones.insert(zone);
        rows += 1;
    }
    assert!(rows > 2000 && zones.len() >= 10, "{rows} instants of {zones:?}");
}

#[test]
fn an_hour_that_is_skipped_fires_nothing_and_one_that_comes_twice_fires_twice() {
    let berlin = schedule("30 2 * * *", "Europe/Berlin");
    assert_eq!(berlin.next(time("2026-03-28T12:00:00Z")), Some(time("2026-03-30T00:30:00Z")), "in spring");
    let first = berlin.next(time("2026-10-24T12:00:00Z"));
    assert_eq!(first, Some(time("2026-10-25T00:30:00Z")));
    assert_eq!(first.and_then(|first| berlin.next(first)), Some(time("2026-10-25T01:30:00Z")), "in autumn");
}

#[test]
fn a_date_that_never_comes_is_none() {
    assert_eq!(schedule("0 0 30 2 *", "UTC").next(time("2026-01-01T00:00:00Z")), None);
}

/// Samoa had no 30th of December in 2011. There robfig/cron searches for ever.
#[test]
fn a_day_that_a_country_has_left_out_ends_the_search() {
    let apia = schedule("0 12 31 12 *", "Pacific/Apia");
    assert!(apia.next(time("2011-12-29T12:00:00Z")).is_none_or(|next| next > time("2011-12-29T12:00:00Z")));
}

#[test]
fn the_last_instant_of_several_is_found() {
    let hourly = schedule("@hourly", "UTC");
    let last = |after: &str, until: &str| hourly.last_within(time(after), time(until));
    assert_eq!(last("2026-01-01T00:00:00Z", "2026-01-01T00:59:59Z"), None, "the first one is left out");
    assert_eq!(
        last("2026-01-01T00:00:00Z", "2026-01-01T05:30:00Z"),
        Some(time("2026-01-01T05:00:00Z")),
        "several"
    );
    assert_eq!(last("2026-01-01T00:30:00Z", "2026-01-01T01:00:00Z"), Some(time("2026-01-01T01:00:00Z")));
}

#[test]
fn a_time_zone_that_is_not_known_is_told_apart_from_a_wrong_schedule() {
    let error = |text, zone| Schedule::parse(text, zone).expect_err("no schedule");
    assert!(
        matches!(error("@daily", Some("Mars/Olympus")), ScheduleError::UnknownTimeZone(why) if why.contains("Mars"))
    );
    assert!(matches!(error("@dayly", None), ScheduleError::Invalid(_)));
    assert!(Schedule::parse("@daily", None).is_ok(), "UTC");
}
