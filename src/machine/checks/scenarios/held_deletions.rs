//! Deletions whose plans can't be stopped at once, and those of a namespace that is torn down.

use super::deletions::{
    delete, forget, is_over, is_there, last_seen, step, step_with, suspended_later, told, world,
};
use super::{message, suspend};
use crate::api::Outcome::{Accepted, Expired};
use crate::api::{DeletionPolicy, EventReason};
use crate::machine::checks::fixtures::wall;
use crate::machine::checks::world::{How, Nature, ServerOp, ServerRequest, World, gateway_key, run_key};
use crate::machine::{Kind, LetGo, WriteBody, WriteResult};

// --- it can't be sent ---

#[test]
fn rule_17_a_gateway_that_is_down_holds_an_object_for_300_seconds_and_no_longer() {
    for crashes in [false, true] {
        let mut world = world();
        suspended_later(&mut world);
        delete(&mut world);
        let begun = world.now;
        if crashes {
            world.live(100_000, How::Unreachable);
            world.crash();
        }
        world.live(begun + 288_000 - world.now, How::Unreachable);
        assert!(is_there(&world), "not before");
        assert!(world.trace.posts.len() > 3, "it is tried all the time");
        let last = last_seen(&mut world, |world| step_with(world, How::Unreachable));
        assert!(world.now <= begun + 301_000, "{}", world.now - begun);
        let outcomes: Vec<_> = last.status.plans.iter().map(|plan| plan.outcome).collect();
        assert_eq!((outcomes, told(&world, EventReason::StopExpired)), (vec![Expired, Expired], 1));
        world.flow(How::Unreachable);
        is_over(&world);
        assert_eq!(world.machine.take_tally().let_go, [LetGo::TimeOver]);
    }
}

#[test]
fn rule_17_an_operator_that_comes_late_tries_one_call() {
    let mut world = world();
    suspended_later(&mut world);
    delete(&mut world);
    world.live(10_000, How::Unreachable);
    world.crash();
    world.now += 1_000_000;
    world.jump(0);
    forget(&mut world);
    world.live(14_000, How::Unreachable);
    assert!(is_there(&world) && !world.trace.posts.is_empty());
    world.live(3_000, How::Unreachable);
    is_over(&world);
}

#[test]
fn rule_17_a_call_that_hangs_holds_the_object_no_longer() {
    let mut world = world();
    delete(&mut world);
    world.hear_all();
    for _ in 0..200 {
        world.write_all();
        world.hear_all();
        if !is_there(&world) {
            break;
        }
        world.tick();
    }
    assert!(world.now <= 300_000, "{}", world.now);
    is_over(&world);
    world.answered(How::ByNature);
    assert_eq!(world.machine.active(), 0, "its answer comes too late");
}

#[test]
fn rule_17_where_nothing_can_be_sent_the_object_goes_at_once() {
    type Break = fn(&mut World);
    let breaks: [(&str, Break); 3] = [
        ("the gateway is suspended", |world| suspend(world, true)),
        ("there was never a gateway", |world| {
            world.edit("one", |run| {
                run.spec.gateway_ref = Some(crate::api::GatewayRef { name: Some("missing".to_owned()) });
            });
        }),
        ("there was never a Secret", |world| {
            world.fake_gateway.secret_missing = true;
            world.crash();
        }),
    ];
    for (name, break_it) in breaks {
        let mut world = world();
        break_it(&mut world);
        world.flow(How::ByNature);
        forget(&mut world);
        delete(&mut world);
        world.live(3_000, How::ByNature);
        assert!(!is_there(&world), "{name}: {}", message(&world, "one"));
        assert_eq!(world.trace.posts.len(), 0, "{name}");
        assert_eq!(
            (told(&world, EventReason::StopExpired), told(&world, EventReason::StopAbandoned)),
            (1, 0)
        );
        assert_eq!(world.machine.take_tally().let_go, [LetGo::NothingToSend], "{name}");
    }
}

#[test]
fn a_deletion_is_worth_a_try_at_a_gate_that_is_shut() {
    let mut world = world();
    suspended_later(&mut world);
    world.stop("one");
    world.live(120_000, How::Unreachable);
    forget(&mut world);
    world.fake_gateway.unreachable = false;
    delete(&mut world);
    world.live(1_500, How::ByNature);
    is_over(&world);
}

// --- a namespace is torn down ---

#[test]
fn rule_17_a_gateway_and_a_secret_that_go_first_are_remembered() {
    let mut world = world();
    world.fake_gateway.secret_missing = true;
    world.server.delete_gateway(&gateway_key("default"));
    world.hear(Kind::Gateways);
    assert!(world.trace.disconnected.is_empty());
    world.live(30_000, How::ByNature);
    delete(&mut world);
    world.flow(How::ByNature);
    is_over(&world);
    assert_eq!(world.trace.posts, [[1, 2]]);
    world.live(100_000, How::ByNature);
    assert_eq!(world.trace.disconnected, [gateway_key("default")], "it is forgotten in the end");
}

#[test]
fn rule_17_a_gateway_is_used_that_goes_while_the_deletion_waits() {
    let mut world = world();
    suspended_later(&mut world);
    delete(&mut world);
    world.live(5_000, How::Unreachable);
    world.server.delete_gateway(&gateway_key("default"));
    world.live(120_000, How::Unreachable);
    assert!(is_there(&world), "it is waited for, for as long as the deletion waits");
    world.fake_gateway.unreachable = false;
    world.live(10_000, How::ByNature);
    is_over(&world);
    assert_eq!(world.machine.take_tally().let_go, []);
}

#[test]
fn a_gateway_that_went_long_ago_is_not_remembered() {
    let mut world = world();
    world.server.delete_gateway(&gateway_key("default"));
    world.live(61_000, How::ByNature);
    assert_eq!(world.trace.disconnected, [gateway_key("default")]);
    delete(&mut world);
    world.flow(How::ByNature);
    is_over(&world);
    assert!(world.trace.posts.is_empty());
}

#[test]
fn a_gateway_that_is_remembered_serves_nobody_else() {
    let mut world = World::of(&[("one", &[1, 2]), ("two", &[3])]);
    world.server.delete_gateway(&gateway_key("default"));
    world.hear(Kind::Gateways);
    world.stop("two");
    world.live(30_000, How::ByNature);
    assert_eq!((world.stopped("two"), world.trace.posts.len()), ("GatewayNotFound", 0));
}

#[test]
fn runs_that_are_deleted_one_after_the_other_do_not_keep_a_gateway_for_ever() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2]), ("three", &[3])]);
    for name in ["one", "two", "three"] {
        world.edit(name, |run| run.spec.deletion_policy = Some(DeletionPolicy::Stop));
    }
    world.flow(How::ByNature);
    suspended_later(&mut world);
    world.server.delete_gateway(&gateway_key("default"));
    world.live(50_000, How::Unreachable);
    for name in ["one", "two", "three"] {
        world.server.wall = wall(world.now);
        world.server.delete_run(&run_key(name));
        world.live(250_000, How::Unreachable);
    }
    assert_eq!(world.trace.disconnected, [gateway_key("default")]);
    assert!(world.server.runs.is_empty());
}

#[test]
fn a_status_that_is_refused_holds_no_deletion_up_for_ever() {
    let mut world = world();
    suspended_later(&mut world);
    delete(&mut world);
    let begun = world.now;
    for _ in 0..2_000 {
        let status = world.ops.iter().find(|(_, op)| is_status(op)).map(|(id, _)| *id);
        match (status, world.ops.keys().next().copied()) {
            (Some(id), _) => world.refuse(id),
            (None, Some(id)) => world.reply(id),
            (None, None) if world.calls.is_empty() => world.tick(),
            (None, None) => world.answered(How::Unreachable),
        }
        world.hear_all();
        if !is_there(&world) {
            break;
        }
    }
    assert!(!is_there(&world) && world.now <= begun + 301_000, "{}", world.now - begun);
}

fn is_status(op: &ServerOp) -> bool {
    matches!(&op.request, ServerRequest::Write { body: WriteBody::RunStatus(_), .. })
}

/// Its outcome is not told yet when the deletion comes, and nothing is left to ask for.
#[test]
fn rule_17_an_outcome_that_is_still_to_be_written_is_told_before_the_object_goes() {
    let mut world = world();
    world.stop("one");
    world.answered(How::ByNature);
    let write = world.request();
    world.server.wall = wall(world.now);
    world.server.delete_run(&run_key("one"));
    world.hear(Kind::Runs);
    world.answer_write(write, WriteResult::Failed { retry_after: None });
    let last = last_seen(&mut world, step);
    assert_eq!(last.status.plans.iter().map(|plan| plan.outcome).collect::<Vec<_>>(), [Accepted, Accepted]);
}

// --- the operator dies ---

#[test]
fn whenever_the_operator_dies_the_plans_are_stopped_and_the_object_goes() {
    for steps in 0..12 {
        let mut world = world();
        world.fake_gateway.natures.insert(2, Nature::Rejected);
        delete(&mut world);
        for _ in 0..steps {
            if is_there(&world) {
                step(&mut world);
            }
        }
        world.crash();
        world.live(400_000, How::ByNature);
        is_over(&world);
        let sent: Vec<_> = world.trace.posts.iter().flatten().collect();
        assert!(sent.contains(&&1) && sent.contains(&&2), "after {steps} steps: {:?}", world.trace.posts);
    }
}
