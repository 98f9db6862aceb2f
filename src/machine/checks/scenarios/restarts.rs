//! The process dies, loses its Lease, or is told to end.

use jiff::Timestamp;

use super::suspend;
use crate::api::Outcome::{Accepted, Expired, NotRunning, Pending};
use crate::machine::checks::world::{How, Nature, World, gateway_key};
use crate::machine::limits::WRITES_MAX;
use crate::machine::{Answer, FieldSet, Input, Kind, NoAnswer};

/// No trace of the call is in status, so it is made again; a plan that it had stopped is not running any more. The
/// deadline counts from when the field was set, not from when the new process saw it.
#[test]
fn h01_crash_between_post_and_answer() {
    let mut world = World::of(&[("one", &[1, 2])]);
    let asked = Timestamp::from_second(1_800_000_000).expect("a valid time");
    world.edit("one", |run| {
        run.spec.stopped = Some(true);
        run.stopped_set = Some(FieldSet { manager: "kubectl".to_owned(), time: Some(asked) });
    });
    assert_eq!(world.under_way(), [[1, 2]]);
    world.fake_gateway.natures.insert(1, Nature::NotRunning);
    world.crash();
    world.now += 30_000;
    world.hear_all();
    assert_eq!(world.under_way(), [[1, 2]], "sent again");
    world.run_until_settled();
    assert_eq!(world.outcomes("one"), [NotRunning, Accepted]);
    let stop = world.run("one").status.stop.clone().expect("a stop is told");
    assert_eq!(stop.request_time.map(|time| time.0), Some(asked));
}

/// Nobody saw `false`. The later `true` is a new request if its field was set after the stop was asked for; within the
/// same second nobody can tell. The annotation is the request that can't be missed.
#[test]
fn h05_false_and_true_again_while_no_operator_ran() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.flow(How::ByNature);
    let settled = world.run("one").status.stop.clone();
    let flip = |world: &mut World, later: u64| {
        world.now += later;
        world.edit_unseen("one", |run| run.spec.stopped = Some(false));
        world.edit_unseen("one", |run| run.spec.stopped = Some(true));
        world.crash();
        world.run_until_settled();
        world.trace.posts.len()
    };
    assert_eq!(flip(&mut world, 0), 1, "the same second");
    assert_eq!(&world.run("one").status.stop, &settled);
    assert_eq!(flip(&mut world, 2_000), 2);

    // The same is true if the process dies before it has written that the stop was taken back.
    world.now += 2_000;
    world.withdraw("one");
    world.lose(world.request());
    assert_eq!(flip(&mut world, 0), 3);

    world.edit_unseen("one", |run| run.stop_annotation = Some("once more".to_owned()));
    world.crash();
    world.run_until_settled();
    assert_eq!((world.trace.posts.len(), world.outcomes("one")), (4, vec![Accepted]));
}

/// A term is over when the Lease is lost, as if the process had died. The old term's reply finds no call.
#[test]
fn h13_lease_lost_with_a_call_in_flight() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    let old = *world.calls.keys().next().expect("a call is under way");
    world.crash();
    world.feed(Input::Answered(old, Answer::Lost(NoAnswer::Timeout)));
    assert!(world.under_way().is_empty(), "no call before the list");
    world.hear_all();
    assert_eq!(world.under_way(), [[1]]);
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.unsettled()), (vec![Accepted], None));
}

/// A jump of the wall clock is noticed within a minute, whatever timers were set before. After a restart monotonic
/// delays begin anew: a gateway that was down is tried at once.
#[test]
fn h19_wall_clock_jumps_and_restart() {
    let mut world = World::of(&[("one", &[1])]);
    world.edit_gateway("default", |gateway| gateway.spec.retry = None);
    world.stop("one");
    world.live(600_000, How::Status(503));
    let calls = world.trace.posts.len();
    world.crash();
    world.jump(i64::try_from(world.now).expect("a small time") - 5);
    world.now = 5;
    world.hear_all();
    assert_eq!(world.trace.posts.len(), calls + 1, "tried at once");
    world.flow(How::Status(503));
    for jump in [7_200_000, -14_400_000, 7_200_000] {
        world.jump(jump);
        world.live(61_000, How::Status(503));
        assert_eq!(world.outcomes("one"), [Pending], "after a jump of {jump} ms");
    }
    world.live(2_700_000, How::Status(503));
    assert_eq!(world.outcomes("one"), [Pending], "the outage counts, and no more than that");
    world.live(200_000, How::Status(503));
    assert_eq!(world.outcomes("one"), [Expired]);
}

/// Answers don't wait for writes. Plans that were answered and whose outcome is not yet written are asked for again after
/// a crash, and no others are.
#[test]
fn h22_answers_faster_than_writes() {
    let names: Vec<_> = (0..30).map(|number| format!("run-{number}")).collect();
    let plans: Vec<_> = (1..=30).map(|plan| [plan]).collect();
    let runs: Vec<_> = names.iter().map(String::as_str).zip(plans.iter().map(<[i64; 1]>::as_slice)).collect();
    let mut world = World::of(&runs);
    names.iter().for_each(|name| world.edit_unseen(name, |run| run.spec.stopped = Some(true)));
    world.hear_all();
    while !world.calls.is_empty() {
        world.answered(How::ByNature);
        world.pass(60);
    }
    let sent: usize = world.trace.posts.iter().map(Vec::len).sum();
    assert_eq!(
        (sent, world.ops.len()),
        (30, WRITES_MAX),
        "every plan is sent, and as many writes are under way as may be"
    );
    let written: Vec<_> = world.ops.keys().copied().take(5).collect();
    written.iter().for_each(|id| world.land(*id));
    world.ops.retain(|id, _| written.contains(id));
    world.trace.posts.clear();
    world.crash();
    world.run_until_settled();
    let again: usize = world.trace.posts.iter().map(Vec::len).sum();
    assert_eq!((again, world.unsettled()), (25, None));
}

/// Nothing new begins, outcomes are written, and runs that wait are left to the next term.
#[test]
fn h23_sigterm() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2])]);
    world.stop("one");
    world.stop("two");
    assert_eq!((world.under_way(), world.machine.queued()), (vec![&[1_i64] as &[i64]], 1));
    world.feed(Input::Drain);
    world.pass(3_000);
    assert!(!world.trace.drained && world.ops.is_empty(), "a call is under way, and no situation is written");
    world.answered(How::ByNature);
    assert!(!world.trace.drained, "its outcome is not written");
    world.write_all();
    assert!(world.trace.drained);
    assert_eq!((world.outcomes("one"), world.outcomes("two")), (vec![Accepted], Vec::new()));
    world.hear(Kind::Runs);
    world.pass(10_000);
    assert_eq!(world.trace.posts, [[1]]);
}

/// A gateway that hangs holds up its own call, not the next replica: what is still under way is sent again by it.
#[test]
fn an_end_waits_some_seconds_for_calls_and_then_only_for_what_they_have_brought() {
    let mut world = World::of(&[("one", &[1]), ("b/two", &[2])]);
    world.stop("one");
    world.stop("b/two");
    assert_eq!(world.under_way(), [&[1_i64] as &[i64], &[2]]);
    world.feed(Input::Drain);
    world.pass(3_000);
    world.answered(How::ByNature);
    world.pass(500);
    assert_eq!(world.under_way().len(), 1, "one call hangs");
    assert!(!world.trace.drained, "the outcome of the other is not written");
    world.write_all();
    assert!(world.trace.drained, "and then nothing else is waited for");

    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.feed(Input::Drain);
    world.pass(3_500);
    assert!(world.trace.drained, "a call that hangs is not waited for");
    world.crash();
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.unsettled()), (vec![Accepted], None));
}

/// A part of the outcomes is written before the end, although the run still waits and no situation is told any more.
#[test]
fn what_was_answered_in_part_is_written_before_the_end() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.edit_gateway("default", |gateway| {
        gateway.spec.batching.as_mut().expect("the fixture has one").max_plans = Some(1);
    });
    world.stop("one");
    world.answered(How::ByNature);
    world.feed(Input::Drain);
    world.answered(How::Status(503));
    world.pass(10_000);
    world.write_all();
    assert!(world.trace.drained);
    assert_eq!(world.outcomes("one"), [Accepted, Pending]);
}

/// Runs that wait, each for another cause: a new process finds in their statuses what it would write, and writes nothing
/// until it knows better.
#[test]
fn a_restart_writes_nothing_of_runs_that_go_on_waiting() {
    type Cause = (&'static str, fn(&mut World), How);
    let causes: [Cause; 7] = [
        ("suspended", |world| suspend(world, true), How::ByNature),
        ("no gateway", |world| world.server.delete_gateway(&gateway_key("default")), How::ByNature),
        ("trouble", |_| {}, How::Status(503)),
        ("a page of somebody else", |_| {}, How::Status(404)),
        ("a credential that is no good", |_| {}, How::Expired(401)),
        ("no answer in time", |_| {}, How::Late),
        ("no connection", |_| {}, How::Unreachable),
    ];
    for (name, cause, how) in causes {
        let mut world = World::of(&[("one", &[1, 2]), ("two", &[3])]);
        world.edit_gateway("default", |gateway| gateway.spec.retry = None);
        cause(&mut world);
        world.hear_all();
        world.stop("one");
        world.stop("two");
        world.live(600_000, how);
        let (writes, told) = (world.trace.writes.len(), world.trace.told.len());
        world.crash();
        world.live(60_000, how);
        assert_eq!(world.trace.writes.len(), writes, "{name}: {:?}", world.run("one").status.conditions);
        assert_eq!(world.trace.told.len(), told, "{name}: {:?}", world.trace.told);
    }
}
