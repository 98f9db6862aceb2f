//! A request for a stop: its author, and its time by two clocks.
//!
//! People read the API server's time. Deadlines count by this process's monotonic clock, which never jumps (R24).
//!
//! **R25.** The age of a request. Its time is the one that status tells; or else the time of the field or annotation in
//! the object's managedFields; or else now. Its age is worked out once, when the request is first seen. For an object
//! that comes by a watch the API server's own times give the age, because the object was written just now and the
//! request at its field's time. An object that comes in a list may be of any age, so the wall clock counts too, and the
//! greater age wins; the same is true of a request that a deadline makes, for nothing is written at that moment.
//! Tests: `rule_11_a_request_seen_by_the_watch_is_as_old_as_the_api_servers_clock_says`,
//! `rule_11_an_outage_makes_no_request_of_a_list_young`, `rule_11_a_lost_status_makes_no_old_request_young`,
//! `rule_11_what_is_seen_by_the_watch_is_of_now_whatever_the_clock_says`,
//! `rule_11_a_deadline_that_passed_while_no_operator_ran_is_as_old_as_it_is`, `h01_crash_between_post_and_answer`.

use jiff::Timestamp;

use crate::api::Trigger;
use crate::machine::runs::deadline::asked_by_deadline;
use crate::machine::runs::intent::DecidingField;
use crate::machine::time::{Millis, Now};
use crate::machine::view::{FieldSet, RunView};

/// A moment at which a stop was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment {
    /// For people, and for the next process.
    pub time: Timestamp,
    /// By the monotonic clock, in milliseconds; less than zero if it was before that clock began.
    pub mono: i64,
}

/// A request for a stop, as status tells it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    pub asked: Moment,
    pub requested_by: Option<Box<str>>,
    pub field_manager: Option<Box<str>>,
    pub reason: Option<Box<str>>,
}

/// A withdrawal: a stop was taken back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Withdrawal {
    pub time: Timestamp,
    pub by: Option<Box<str>>,
}

/// The way in which an object has come, which tells which clock its times are compared with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// A watch: it was written just now.
    Watch,
    /// A list: it may be of any age.
    List,
}

/// Times in an object are whole seconds, so a difference of two of them may be too large by nearly a second. A request
/// is rather tried a second too long than given up a second too early.
const TRUNCATED: Millis = Millis(999);

// === impl Moment ===

impl Moment {
    /// The moment at which a field of this object was set, or now if that is not known.
    pub fn of_field(time: Option<Timestamp>, view: &RunView, source: Source, now: Now) -> Self {
        time.map_or_else(|| Self::now(now), |time| Self::at(time, view, source, now))
    }

    /// The moment that an object's time tells.
    pub fn at(time: Timestamp, view: &RunView, source: Source, now: Now) -> Self {
        let by_object = view.written.map(|written| between(time, written));
        let by_clock = between(time, now.wall);
        let age = match (source, by_object) {
            (Source::Watch, age) => age.unwrap_or(by_clock).saturating_sub(TRUNCATED),
            (Source::List, age) => by_clock.max(age.unwrap_or_default()),
        };
        Self { time, mono: signed(now.mono) - signed(age) }
    }

    /// The moment at which this field of an object has asked for a stop.
    pub fn asked_by(field: Option<DecidingField>, view: &RunView, source: Source, now: Now) -> Self {
        match field {
            // The object may have been written long before: only the clock knows how long ago the deadline has passed.
            Some(DecidingField::Deadline) => Self::of_field(asked_by_deadline(view), view, Source::List, now),
            Some(DecidingField::Deletion) => Self::of_field(view.deleted, view, source, now),
            Some(field) => Self::of_field(field.set(view).and_then(|set| set.time), view, source, now),
            None => Self::now(now),
        }
    }

    fn now(now: Now) -> Self {
        Self { time: now.wall, mono: signed(now.mono) }
    }

    /// The time from this moment until now.
    pub fn age(self, now: Now) -> Millis {
        Millis(u64::try_from(signed(now.mono).saturating_sub(self.mono)).unwrap_or(0))
    }

    /// The later of two; the first if they are the same.
    pub fn max(self, other: Self) -> Self {
        if other.mono > self.mono { other } else { self }
    }

    /// The moment from which on nothing begins any more.
    pub fn deadline(self, seconds: i64) -> Millis {
        let at = self.mono.saturating_add(seconds.saturating_mul(1000));
        Millis(u64::try_from(at).unwrap_or(0))
    }
}

// === impl Request ===

impl Request {
    /// A request that is made by this field.
    pub fn new(asked_by: Option<DecidingField>, view: &RunView, source: Source, now: Now) -> Self {
        let set = asked_by.and_then(|field| field.set(view));
        // The value of an annotation says why its author has set it; the spec's reason may be an earlier one's. The policy
        // that stamps who asks does not watch the annotation that asks again.
        let (value, is_stamped) = match asked_by {
            Some(DecidingField::Annotation) => (view.stop_annotation.as_deref(), true),
            Some(DecidingField::Retry) => (view.retry_annotation.as_deref(), false),
            Some(DecidingField::Deadline | DecidingField::Deletion) => (None, false),
            // The value names the rule and its time.
            Some(DecidingField::Cleanup) => (view.cleanup_annotation.as_deref(), false),
            Some(DecidingField::Stopped | DecidingField::GatewayRef | DecidingField::DeletionPolicy)
            | None => (None, true),
        };
        Self {
            asked: Moment::asked_by(asked_by, view, source, now),
            requested_by: view.requested_by.as_deref().filter(|_| is_stamped).map(Box::from),
            field_manager: set.map(|set| set.manager.as_str().into()),
            reason: value.or(view.spec.reason.as_deref()).map(Box::from),
        }
    }

    /// The request that a status tells of.
    pub fn of_status(view: &RunView, source: Source, now: Now) -> Option<Self> {
        let stop = view.status.stop.as_ref().filter(|stop| stop.trigger.is_some())?;
        let time = |set: Option<&FieldSet>| set.and_then(|set| set.time);
        let of_object = match stop.trigger? {
            Trigger::Spec => time(view.stopped_set.as_ref()),
            Trigger::Annotation => time(view.annotation_set.as_ref().or(view.retry_set.as_ref())),
            Trigger::Deadline => asked_by_deadline(view),
            Trigger::Cleanup => time(view.cleanup_set.as_ref()),
            Trigger::Deletion => view.deleted,
        };
        // A time that is lost or can't be read must not make the request young.
        let time = stop.request_time.as_ref().map(|time| time.0).or(of_object);
        Some(Self {
            asked: Moment::of_field(time, view, source, now),
            requested_by: stop.requested_by.as_deref().map(Box::from),
            field_manager: stop.field_manager.as_deref().map(Box::from),
            reason: stop.reason.as_deref().map(Box::from),
        })
    }
}

// === impl Withdrawal ===

impl Withdrawal {
    pub fn new(set: Option<&FieldSet>, now: Now) -> Self {
        Self {
            time: set.and_then(|set| set.time).unwrap_or(now.wall),
            by: set.map(|set| set.manager.as_str().into()),
        }
    }

    /// The withdrawal that a status tells of.
    pub fn of_status(view: &RunView) -> Option<Self> {
        let stop = view.status.stop.as_ref()?;
        let time = stop.withdrawn_time.as_ref()?.0;
        Some(Self { time, by: stop.withdrawn_by.as_deref().map(Box::from) })
    }
}

/// The time from one moment to another; zero if the second one is earlier.
fn between(from: Timestamp, to: Timestamp) -> Millis {
    Millis(u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0))
}

fn signed(millis: Millis) -> i64 {
    i64::try_from(millis.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::checks::fixtures::{self, wall};

    fn view(written: Option<u64>) -> RunView {
        let mut view = fixtures::run("team", "nightly", vec![1]);
        view.written = written.map(|at| whole(wall(at)));
        view
    }

    fn whole(time: Timestamp) -> Timestamp {
        Timestamp::from_second(time.as_second()).expect("a valid time")
    }

    /// Seconds until the deadline of a request that was made at `asked` and is seen at 100 s, by a wall clock that is
    /// `skew` seconds ahead.
    fn left(asked: Option<u64>, written: Option<u64>, source: Source, skew: i64) -> u64 {
        let now = Now { mono: Millis(100_000), wall: wall(100_000) + jiff::SignedDuration::from_secs(skew) };
        let set = asked.map(|at| whole(wall(at)));
        let moment = Moment::of_field(set, &view(written), source, now);
        moment.deadline(60).0.saturating_sub(100_000).div_ceil(1000)
    }

    #[test]
    fn rule_11_a_request_seen_by_the_watch_is_as_old_as_the_api_servers_clock_says() {
        let rows = [
            ("just now", Some(100_000), Some(100_000), 0, 60),
            ("just now, clock ahead", Some(100_000), Some(100_000), 120, 60),
            ("just now, clock behind", Some(100_000), Some(100_000), -120, 60),
            ("long ago, status wiped now", Some(30_000), Some(100_000), 0, 0),
            ("long ago, clock behind", Some(30_000), Some(100_000), -1000, 0),
            ("half of it", Some(70_000), Some(100_000), 0, 31),
            ("nobody owns the field", None, Some(100_000), 0, 60),
            ("no times at all", Some(70_000), None, 0, 31),
        ];
        for (name, asked, written, skew, expected) in rows {
            assert_eq!(left(asked, written, Source::Watch, skew), expected, "{name}");
        }
    }

    #[test]
    fn rule_11_an_outage_makes_no_request_of_a_list_young() {
        assert_eq!(left(Some(30_000), Some(30_000), Source::List, 0), 0, "nothing was written since");
        assert_eq!(left(Some(70_000), Some(70_000), Source::List, 0), 30);
        assert_eq!(left(Some(70_000), Some(100_000), Source::List, -1000), 30, "a clock behind");
        assert_eq!(left(Some(200_000), None, Source::List, 0), 60, "an API server's clock that is ahead");
    }

    #[test]
    fn rule_11_a_request_time_that_is_lost_from_a_status_makes_no_request_young() {
        let mut view = view(Some(100_000));
        view.stopped_set = Some(FieldSet { manager: "a".to_owned(), time: Some(whole(wall(30_000))) });
        view.status.stop = Some(crate::api::StopStatus {
            trigger: Some(Trigger::Spec),
            ..crate::api::StopStatus::default()
        });
        let now = Now { mono: Millis(100_000), wall: wall(100_000) };
        let request = Request::of_status(&view, Source::List, now).expect("there is a stop");
        assert_eq!(request.asked.mono, 30_000);
    }

    #[test]
    fn a_truncated_second_gives_nothing_up_too_early() {
        let now = Now { mono: Millis(100_012), wall: wall(100_012) };
        let moment = Moment::of_field(Some(whole(wall(99_990))), &view(Some(100_012)), Source::Watch, now);
        assert!(moment.deadline(1) > now.mono, "{moment:?}");
    }
}
