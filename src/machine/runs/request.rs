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
use crate::machine::runs::meaning::asks;
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
        // The value of an annotation says why its author has set it; the spec's reason may be an earlier one's.
        let value = match asked_by {
            Some(DecidingField::Annotation) => view.stop_annotation.as_deref(),
            Some(DecidingField::Retry) => view.retry_annotation.as_deref(),
            // The value names the rule and its time.
            Some(DecidingField::Cleanup) => view.cleanup_annotation.as_deref(),
            Some(
                DecidingField::Deadline
                | DecidingField::Stopped
                | DecidingField::GatewayRef
                | DecidingField::Deletion
                | DecidingField::DeletionPolicy,
            )
            | None => None,
        };
        Self {
            asked: Moment::asked_by(asked_by, view, source, now),
            requested_by: stamped_by(asked_by, view).map(Box::from),
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

/// The user whom the requester policy has written down for this field; none rather than a wrong one. The policy notes who
/// sets `stopped` to true or the annotation `testinium.io/stop` to an asking value, and nothing else, and it notes the
/// last one alone: where both fields ask and nobody has looked in between, it is the author of the later.
fn stamped_by(asked_by: Option<DecidingField>, view: &RunView) -> Option<&str> {
    let (mine, other, other_asks) = match asked_by? {
        DecidingField::Stopped => {
            (&view.stopped_set, &view.annotation_set, view.stop_annotation.as_deref().is_some_and(asks))
        }
        DecidingField::Annotation => {
            (&view.annotation_set, &view.stopped_set, view.spec.stopped == Some(true))
        }
        DecidingField::Retry
        | DecidingField::Cleanup
        | DecidingField::GatewayRef
        | DecidingField::Deletion
        | DecidingField::DeletionPolicy
        | DecidingField::Deadline => return None,
    };
    let is_later = mine.as_ref().zip(other.as_ref()).is_some_and(|(mine, other)| {
        // One request may have set both.
        mine == other || mine.time.zip(other.time).is_some_and(|(mine, other)| mine > other)
    });
    view.requested_by.as_deref().filter(|_| !other_asks || is_later)
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
    fn the_policys_stamp_names_whoever_set_the_field_that_asks_or_nobody() {
        let set = |manager: &str, at: Option<u64>| {
            Some(FieldSet { manager: manager.to_owned(), time: at.map(|at| whole(wall(at))) })
        };
        let stamped = |field, stopped_set, annotation_set, change: fn(&mut RunView)| {
            let mut view = view(None);
            (view.spec.stopped, view.stop_annotation) = (Some(true), Some("now".to_owned()));
            view.requested_by = Some("jane".to_owned());
            (view.stopped_set, view.annotation_set) = (stopped_set, annotation_set);
            change(&mut view);
            stamped_by(field, &view).is_some()
        };
        let (early, late) = (Some(10_000), Some(20_000));
        let same = |_: &mut RunView| {};
        let (stopped, annotation) = (Some(DecidingField::Stopped), Some(DecidingField::Annotation));
        for (name, field, stopped_set, annotation_set, expected) in [
            ("the later field asks", stopped, set("a", late), set("b", early), true),
            ("the later field asks", annotation, set("a", early), set("b", late), true),
            ("the earlier field asks", stopped, set("a", early), set("b", late), false),
            ("the earlier field asks", annotation, set("a", late), set("b", early), false),
            ("within a second", stopped, set("a", late), set("b", late), false),
            ("by one request", stopped, set("a", late), set("a", late), true),
            ("by one request", annotation, set("a", late), set("a", late), true),
            ("no time", stopped, set("a", None), set("b", early), false),
            ("nobody owns it", stopped, None, set("b", early), false),
            ("nobody owns the other", stopped, set("a", late), None, false),
        ] {
            assert_eq!(stamped(field, stopped_set, annotation_set, same), expected, "{name}: {field:?}");
        }
        let earlier = |field, change| stamped(field, set("a", early), set("b", early), change);
        assert!(earlier(stopped, |run| run.stop_annotation = Some("no".to_owned())), "a no asks for nothing");
        assert!(earlier(stopped, |run| run.stop_annotation = None));
        assert!(earlier(annotation, |run| run.spec.stopped = None));
        assert!(!earlier(stopped, |run| (run.requested_by, run.stop_annotation) = (None, None)), "no stamp");
        // Nobody stamps these, so a stamp is of an earlier request.
        for field in
            [DecidingField::Retry, DecidingField::Cleanup, DecidingField::Deadline, DecidingField::GatewayRef]
        {
            assert!(!stamped(Some(field), set("a", late), None, same), "{field:?}");
        }
        assert!(!stamped(None, set("a", late), None, same));
    }

    #[test]
    fn a_truncated_second_gives_nothing_up_too_early() {
        let now = Now { mono: Millis(100_012), wall: wall(100_012) };
        let moment = Moment::of_field(Some(whole(wall(99_990))), &view(Some(100_012)), Source::Watch, now);
        assert!(moment.deadline(1) > now.mono, "{moment:?}");
    }
}
