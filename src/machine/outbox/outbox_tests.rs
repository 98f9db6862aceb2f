//! The outbox alone: slots, order, what follows from each result, and changes beside the status.

use super::*;
use crate::machine::effect::MetadataChange;
use crate::machine::ids::{GatewayKey, RunId};

const BASE: Version = Version(7);
const NOW: Millis = Millis(1_000);

fn run(id: u64) -> EntryKey {
    EntryKey::Run(RunId(id))
}

fn gateway() -> EntryKey {
    EntryKey::Gateway(Box::new(GatewayKey::new("team", "default")))
}

fn outbox(entries: &[(EntryKey, &str, u64, Urgency)]) -> Outbox {
    let mut outbox = Outbox::default();
    for (key, namespace, at, urgency) in entries {
        outbox.schedule(key, &Arc::from(*namespace), Some((Millis(*at), *urgency)), NOW);
    }
    outbox
}

/// Begins the write of everything that is due, as far as there are slots, in the order of urgency.
fn begin_all(outbox: &mut Outbox) -> Vec<(EntryKey, WriteSerial)> {
    let mut begun = Vec::new();
    for urgency in [Urgency::Outcome, Urgency::Gateway, Urgency::Situation] {
        while let Some((key, next)) = outbox.take(urgency) {
            let serial = outbox.begin(&key, BASE, next);
            begun.push((key, serial));
        }
    }
    begun
}

/// An outbox with one write of one run, which has just ended so; and how the run's entry stands then.
fn after(result: WriteResult, known: Version) -> (Outbox, WriteState, u8) {
    let mut outbox = outbox(&[(run(1), "team", 0, Urgency::Outcome)]);
    let (_, serial) = begin_all(&mut outbox).remove(0);
    let ended = outbox.ended(serial).expect("it was under way");
    outbox.conclude(&ended, result, known, NOW, 50);
    let entry = &outbox.entries[&run(1)];
    let (state, failures) = (entry.state, entry.failures);
    (outbox, state, failures)
}

#[test]
fn what_follows_from_a_write() {
    let conflict = WriteState::Conflict { base: BASE, read_at: NOW + CONFLICT_READ };
    let backoff =
        |millis, without_messages| WriteState::Backoff { until: NOW + Millis(millis), without_messages };
    let failed = |millis: Option<u64>| WriteResult::Failed { retry_after: millis.map(Millis) };
    let rows = [
        ("written", WriteResult::Done(Version(8)), BASE, WriteState::Idle, 0),
        ("a conflict with something unseen", WriteResult::Conflict, BASE, conflict, 0),
        ("a conflict with something seen", WriteResult::Conflict, Version(8), WriteState::Idle, 0),
        ("gone, as the watch will tell", WriteResult::Gone, BASE, conflict, 0),
        ("refused: at once without messages", WriteResult::Refused(422), BASE, backoff(0, true), 1),
        ("without a right: the same", WriteResult::Refused(403), BASE, backoff(0, true), 1),
        ("failed", failed(None), BASE, backoff(50, false), 1),
        ("failed, and told when", failed(Some(9_000)), BASE, backoff(9_000, false), 1),
        ("failed, and told too long", failed(Some(90_000)), BASE, backoff(30_000, false), 1),
    ];
    for (name, result, known, expected, failures) in rows {
        let (_, state, counted) = after(result, known);
        assert_eq!((state, counted), (expected, failures), "{name}");
    }
}

#[test]
fn a_second_refusal_waits_for_five_minutes_and_one_for_want_of_a_right_for_seconds() {
    for (status, at_most) in [(422, REFUSED_WRITE_PAUSE), (403, WRITE_RETRY_MAX)] {
        let (mut outbox, ..) = after(WriteResult::Refused(status), BASE);
        outbox.schedule(&run(1), &Arc::from("team"), Some((Millis(0), Urgency::Outcome)), NOW);
        assert!(outbox.is_without_messages(&run(1)));
        let (_, serial) = begin_all(&mut outbox).remove(0);
        let ended = outbox.ended(serial).expect("it was under way");
        outbox.conclude(&ended, WriteResult::Refused(status), BASE, NOW, u64::MAX);
        assert!(!outbox.waits_beyond(&run(1), NOW + at_most), "{status}");
        let is_rare = outbox.waits_beyond(&run(1), NOW + WRITE_RETRY_MAX);
        assert_eq!(is_rare, status == 422, "{status}");
    }
}

#[test]
fn a_newer_object_ends_a_conflict_and_any_sight_of_it_ends_a_pause() {
    let rows = [
        ("newer", WriteResult::Conflict, Version(8), WriteState::Idle),
        (
            "the same",
            WriteResult::Conflict,
            BASE,
            WriteState::Conflict { base: BASE, read_at: NOW + CONFLICT_READ },
        ),
        (
            "a pause",
            WriteResult::Failed { retry_after: Some(Millis(9_000)) },
            BASE,
            WriteState::Backoff { until: Millis(2_000), without_messages: false },
        ),
    ];
    for (name, result, seen, expected) in rows {
        let (mut outbox, ..) = after(result, BASE);
        outbox.observed(&run(1), seen, Millis(2_000));
        assert_eq!(outbox.entries[&run(1)].state, expected, "{name}");
    }
}

#[test]
fn a_conflict_ends_when_the_object_was_read() {
    let (mut outbox, ..) = after(WriteResult::Conflict, BASE);
    let namespace = Arc::from("team");
    outbox.schedule(&run(1), &namespace, Some((Millis(0), Urgency::Outcome)), NOW);
    assert_eq!(outbox.run_timers(NOW + CONFLICT_READ), [Fired::Conflict(run(1))]);
    assert_eq!(outbox.read_ended(&run(1)), Some(BASE), "the version that was known when it began");
    outbox.retry(&run(1));
    assert!(outbox.is_idle(&run(1)));
}

#[test]
fn a_conflict_is_looked_at_again_and_again() {
    let (mut outbox, ..) = after(WriteResult::Conflict, BASE);
    outbox.schedule(&run(1), &Arc::from("team"), Some((Millis(0), Urgency::Outcome)), NOW);
    for _ in 0..3 {
        let at = outbox.wake_at().expect("a conflict has a timer");
        assert_eq!(outbox.run_timers(at), [Fired::Conflict(run(1))]);
        outbox.read_ended(&run(1));
        outbox.schedule(&run(1), &Arc::from("team"), Some((Millis(0), Urgency::Outcome)), at);
    }
}

#[test]
fn outcomes_go_first_and_gateways_before_situations() {
    let mut outbox = outbox(&[
        (run(1), "team", 1, Urgency::Situation),
        (gateway(), "team", 2, Urgency::Gateway),
        (run(2), "team", 3, Urgency::Outcome),
    ]);
    let order: Vec<_> = begin_all(&mut outbox).into_iter().map(|(key, _)| key).collect();
    assert_eq!(order, [run(2), gateway(), run(1)]);
}

#[test]
fn no_more_writes_than_slots_and_one_of_an_object() {
    let many: Vec<_> = (0..40).map(|id| (run(id), "team", id, Urgency::Outcome)).collect();
    let mut outbox = outbox(&many);
    let begun = begin_all(&mut outbox);
    assert_eq!(begun.len(), WRITES_MAX);
    outbox.schedule(&run(0), &Arc::from("team"), Some((Millis(0), Urgency::Outcome)), NOW);
    let ended = outbox.ended(begun[5].1).expect("it was under way");
    outbox.conclude(&ended, WriteResult::Done(Version(8)), Version(8), NOW, 0);
    let next: Vec<_> = begin_all(&mut outbox).into_iter().map(|(key, _)| key).collect();
    assert_eq!(next, [run(24)], "the run whose write is under way waits for its end");
}

#[test]
fn an_object_that_is_forgotten_keeps_its_slot_until_its_write_has_ended() {
    let mut outbox = outbox(&[(run(1), "team", 0, Urgency::Outcome)]);
    let (_, serial) = begin_all(&mut outbox).remove(0);
    outbox.forget(&run(1));
    assert_eq!((outbox.in_flight(), outbox.is_idle(&run(1))), (1, true));
    assert!(outbox.ended(serial).is_none(), "nobody waits for it");
    assert_eq!(outbox.in_flight(), 0);
}

#[test]
fn of_a_status_of_the_future_nothing_is_kept() {
    let mut outbox = Outbox::default();
    let mut schedule = |at, now| {
        let status = Some((Millis(at), Urgency::Situation));
        (
            outbox.schedule(&run(1), &Arc::from("team"), status, Millis(now)),
            outbox.entries.len(),
            outbox.wake_at(),
        )
    };
    assert_eq!(schedule(5_000, 4_999), (Some(Millis(5_000)), 0, None));
    assert_eq!(schedule(5_000, 5_000), (None, 1, None));
    assert_eq!(schedule(9_000, 5_001), (Some(Millis(9_000)), 0, None), "it is due later after all");
}

#[test]
fn a_write_that_failed_waits_behind_a_timer() {
    let (mut outbox, ..) = after(WriteResult::Failed { retry_after: Some(Millis(9_000)) }, BASE);
    let schedule = |outbox: &mut Outbox, now| {
        outbox.schedule(&run(1), &Arc::from("team"), Some((Millis(0), Urgency::Outcome)), now)
    };
    schedule(&mut outbox, NOW);
    assert_eq!(outbox.wake_at(), Some(Millis(10_000)));
    assert!(outbox.run_timers(Millis(9_999)).is_empty() && begin_all(&mut outbox).is_empty());
    assert_eq!(outbox.run_timers(Millis(10_000)), [Fired::Due(run(1))]);
    schedule(&mut outbox, Millis(10_000));
    assert_eq!(begin_all(&mut outbox).len(), 1);
}

fn finalizer(order: Order) -> Change {
    let what = What::Metadata(MetadataChange::Finalizers(vec!["testinium.io/stop".to_owned()]));
    Change { what, order }
}

/// In which order the status and a change of an object are written.
#[test]
fn a_change_goes_before_the_status_or_after_it() {
    let deletion = Change { what: What::Deletion, order: Order::AfterStatus };
    let rows = [
        (finalizer(Order::BeforeStatus), [Next::Change(finalizer(Order::BeforeStatus)), Next::Status]),
        (deletion.clone(), [Next::Status, Next::Change(deletion)]),
    ];
    for (change, expected) in rows {
        let namespace = Arc::from("team");
        let mut outbox = outbox(&[(run(1), "team", 0, Urgency::Outcome)]);
        outbox.request(&run(1), &namespace, change, NOW);
        let mut written = Vec::new();
        let urgencies = [Urgency::Outcome, Urgency::Situation];
        while let Some((key, next)) = urgencies.iter().find_map(|urgency| outbox.take(*urgency)) {
            let serial = outbox.begin(&key, BASE, next);
            let ended = outbox.ended(serial).expect("it was under way");
            written.push(ended.next.clone());
            let status = outbox.entries[&key].status;
            outbox.conclude(&ended, WriteResult::Done(Version(8)), Version(8), NOW, 0);
            outbox.schedule(&key, &namespace, status, NOW);
        }
        assert_eq!(written, expected);
        assert!(outbox.is_idle(&run(1)));
    }
}

#[test]
fn a_change_is_kept_until_it_is_written() {
    let namespace = Arc::from("team");
    let rows = [
        (What::Deletion, WriteResult::Gone, true),
        (What::Deletion, WriteResult::Conflict, false),
        (What::Deletion, WriteResult::Failed { retry_after: None }, false),
        (finalizer(Order::AfterStatus).what, WriteResult::Gone, false),
        (finalizer(Order::AfterStatus).what, WriteResult::Done(Version(8)), true),
    ];
    for (what, result, is_done) in rows {
        let mut outbox = Outbox::default();
        let change = Change { what: what.clone(), order: Order::AfterStatus };
        outbox.request(&run(1), &namespace, change, NOW);
        let (key, next) = outbox.take(Urgency::Situation).expect("it is due");
        let serial = outbox.begin(&key, BASE, next);
        let ended = outbox.ended(serial).expect("it was under way");
        outbox.conclude(&ended, result, BASE, NOW, 0);
        assert_eq!(outbox.is_idle(&key), is_done, "{what:?} {result:?}");
    }
}
