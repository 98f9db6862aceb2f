//! Somebody edits, deletes or makes anew while a call or a write is under way.

use super::suspend;
use crate::api::Outcome::{Accepted, Unknown};
use crate::api::reason;
use crate::machine::checks::world::{How, Nature, World, gateway_key, run_key};
use crate::machine::limits::REMEMBERED_FOR;
use crate::machine::{Extent, Input, Kind, ObjectKey};

/// The newer object says that the stop is taken back: status tells that, and what had been stopped by then.
#[test]
fn h02_conflict_because_the_user_withdrew() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.answered(How::ByNature);
    world.edit_unseen("one", |run| run.spec.stopped = Some(false));
    world.write_all();
    assert!(world.run("one").status.plans.is_empty(), "the write met a newer object");
    world.run_until_settled();
    assert_eq!((world.stopped("one"), world.outcomes("one")), (reason::NOT_REQUESTED, vec![Accepted]));
    assert_eq!(world.trace.posts, [[1]]);
}

/// What is settled stays so, the new id is sent alone, and one write tells of both.
#[test]
fn h03_conflict_because_the_user_added_an_id() {
    let mut world = World::of(&[("one", &[1, 2])]);
    world.stop("one");
    world.answered(How::ByNature);
    world.edit_unseen("one", |run| run.spec.plans.push(3));
    world.write_all();
    world.run_until_settled();
    assert_eq!(world.trace.posts, [vec![1, 2], vec![3]]);
    assert_eq!((world.trace.writes.len(), world.outcomes("one")), (1, vec![Accepted; 3]));
}

/// A call that began before a request can't fulfil it: its verdict is dropped, and the id is sent again.
#[test]
fn h04_asked_for_again_while_the_call_is_in_flight() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.withdraw("one");
    world.stop("one");
    assert_eq!(world.under_way(), [[1]], "one call an id at a time");
    world.answered(How::ByNature);
    assert!(world.trace.writes.is_empty());
    world.pass(50);
    assert_eq!(world.under_way(), [[1]], "sent again");
    world.run_until_settled();
    assert_eq!((world.trace.posts.len(), world.outcomes("one")), (2, vec![Accepted]));
}

/// What a complete list does not bring is gone: struck out of the queue, and its call's verdict goes nowhere.
#[test]
fn h08_deleted_while_the_watch_was_broken() {
    let mut world = World::of(&[("one", &[1]), ("two", &[2])]);
    world.stop("one");
    world.stop("two");
    assert_eq!((world.under_way().len(), world.machine.queued()), (1, 1));
    world.server.delete_run(&run_key("one"));
    world.server.delete_run(&run_key("two"));
    world.runs.at = crate::machine::Version(world.server.revision);
    world.relist(Kind::Runs);
    world.hear_all();
    assert_eq!((world.machine.queued(), world.machine.active()), (0, 0));
    world.answered(How::ByNature);
    world.live(60_000, How::ByNature);
    assert_eq!((world.trace.posts.len(), world.ops.len()), (1, 0));
}

/// The new run's ids wait for the end of the old one's call and are sent again. A late write with the old uid is
/// refused by the API server.
#[test]
fn h09_recreated_under_the_same_name_with_a_call_in_flight() {
    for broken in [false, true] {
        let mut world = World::of(&[("one", &[1])]);
        world.stop("one");
        world.pass(1_000);
        assert_eq!(world.ops.len(), 1, "a write is under way");
        world.recreate_unseen("one", |run| run.spec.stopped = Some(true));
        if broken {
            world.runs.at = crate::machine::Version(world.server.revision);
            world.relist(Kind::Runs);
        }
        world.hear(Kind::Runs);
        assert_eq!(world.under_way().len(), 1, "the id is in a call");
        world.reply(world.request());
        assert!(world.run("one").status.plans.is_empty(), "the late write met another object");
        world.run_until_settled();
        assert_eq!((world.trace.posts.len(), world.outcomes("one")), (2, vec![Accepted]));
        assert_eq!(world.unsettled(), None);
    }
}

/// Who stays gets the verdict. Who withdrew is told of it as well; if none came, that the id was sent without an
/// answer. In that case the id goes on for the other.
#[test]
fn h10_one_of_two_runs_withdraws_in_flight() {
    let rows =
        [(How::ByNature, (reason::NOT_REQUESTED, Accepted), 1), (How::Lost, (reason::WITHDRAWN, Unknown), 2)];
    for (how, (reason, withdrawn), calls) in rows {
        let mut world = World::of(&[("one", &[1]), ("two", &[1])]);
        suspend(&mut world, true);
        world.stop("one");
        world.stop("two");
        suspend(&mut world, false);
        assert_eq!(world.under_way(), [[1]], "one call for both");
        world.withdraw("one");
        world.answered(how);
        world.run_until_settled();
        assert_eq!((world.stopped("one"), world.outcomes("one")), (reason, vec![withdrawn]));
        assert_eq!(world.outcomes("two"), [Accepted]);
        assert_eq!(world.trace.posts.len(), calls, "{how:?}");
    }
}

/// An id that nobody wants any more falls out when the turn of its half comes. An empty half is no call.
#[test]
fn h11_withdrawn_or_deleted_during_a_split() {
    for deleted in [false, true] {
        let mut world = World::of(&[("one", &[1, 2]), ("two", &[3, 4])]);
        world.fake_gateway.natures.insert(2, Nature::Rejected);
        world.edit_gateway("default", |gateway| {
            gateway.spec.suspend = Some(true);
            gateway.spec.limits.as_mut().expect("the fixture has limits").max_in_flight = Some(1);
        });
        world.stop("one");
        world.stop("two");
        suspend(&mut world, false);
        world.answered(How::ByNature);
        assert_eq!(world.under_way(), [[1, 2]], "the first half");
        if deleted {
            world.server.delete_run(&run_key("two"));
        } else {
            world.edit_unseen("two", |run| run.spec.stopped = Some(false));
        }
        world.hear(Kind::Runs);
        world.run_until_settled();
        assert_eq!(world.trace.posts, [vec![1, 2, 3, 4], vec![1, 2], vec![1], vec![2]]);
    }
}

/// An answer from the old address says nothing of the new one: its ids are sent there. Another Secret voids nothing.
#[test]
fn h14_gateway_edited_in_flight() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    let moved = "https://elsewhere.example.com";
    world.edit_gateway("default", |gateway| gateway.spec.url = moved.to_owned());
    world.answered(How::ByNature);
    world.pass(50);
    assert_eq!(world.calls.values().map(|call| &*call.gateway.spec.url).collect::<Vec<_>>(), [moved]);
    world.run_until_settled();
    assert_eq!((world.trace.posts.len(), world.outcomes("one")), (2, vec![Accepted]));

    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.fake_gateway.secret += 1;
    world.edit_gateway("default", |gateway| gateway.spec.timeout_seconds = Some(9));
    world.answered(How::ByNature);
    world.run_until_settled();
    assert_eq!((world.trace.posts.len(), world.outcomes("one")), (1, vec![Accepted]));
}

/// Without its gateway a run waits and says so. Another object of that name is another address.
#[test]
fn h15_gateway_deleted_and_made_again() {
    let mut world = World::of(&[("one", &[1])]);
    let old = (*world.server.gateways[&gateway_key("default")]).clone();
    world.server.delete_gateway(&old.key);
    world.hear(Kind::Gateways);
    world.stop("one");
    world.live(2_000, How::ByNature);
    assert_eq!((world.stopped("one"), world.trace.posts.len()), (reason::GATEWAY_NOT_FOUND, 0));
    for (calls, uid) in [(1, "second"), (2, "third")] {
        let mut new = old.clone();
        new.uid = uid.into();
        world.server.put_gateway(new);
        world.hear(Kind::Gateways);
        world.flow(if calls == 1 { How::Lost } else { How::ByNature });
        assert_eq!(world.trace.posts.len(), calls, "gateway {uid}");
        if calls == 1 {
            world.server.delete_gateway(&old.key);
            world.hear(Kind::Gateways);
        }
    }
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.unsettled()), (vec![Accepted], None));
}

/// With its object a gateway's connection goes, once, however the machine learns of it. The call under way still ends
/// with its verdict, and a gateway of the same name gets a connection of its own.
#[test]
fn a_deleted_gateway_is_disconnected() {
    for how in ["watch", "list", "unreadable"] {
        let mut world = World::of(&[("one", &[1]), ("other/two", &[2])]);
        world.stop("one");
        let old = (*world.server.gateways[&gateway_key("default")]).clone();
        world.edit_gateway("default", |gateway| gateway.spec.timeout_seconds = Some(9));
        world.feed(Input::Gone(ObjectKey::Gateway(old.key.clone()), "another".into()));
        assert!(world.trace.disconnected.is_empty(), "{how}: the gateway is still there");

        match how {
            "watch" => world.server.delete_gateway(&old.key),
            "list" => {
                world.server.delete_gateway(&old.key);
                world.gateways.at = crate::machine::Version(world.server.revision);
                world.relist(Kind::Gateways);
            }
            _ => {
                let (uid, version) = (old.uid.clone(), old.version);
                world.feed(Input::Unreadable(
                    ObjectKey::Gateway(old.key.clone()),
                    uid,
                    version,
                    "broken".to_owned(),
                ));
                world.server.delete_gateway(&old.key);
            }
        }
        world.hear(Kind::Gateways);
        // Runs that are deleted soon after it may still be stopped there.
        let at_once = !["watch", "list"].contains(&how);
        assert_eq!(!world.trace.disconnected.is_empty(), at_once, "{how}");
        world.pass(REMEMBERED_FOR.0);
        assert_eq!(world.trace.disconnected, [gateway_key("default")], "{how}");
        world.answered(How::ByNature);
        world.write_all();
        assert_eq!(world.outcomes("one"), [Accepted], "{how}");

        world.server.put_gateway(old);
        world.edit("one", |run| run.status = Default::default());
        world.run_until_settled();
        assert_eq!((world.trace.posts.len(), world.trace.disconnected.len()), (2, 1), "{how}");
    }
}

/// The object asks and shows no outcome, so its plans are sent again.
#[test]
fn h25_status_wiped_by_hand() {
    let mut world = World::of(&[("one", &[1])]);
    world.stop("one");
    world.run_until_settled();
    world.edit("one", |run| run.status = Default::default());
    world.run_until_settled();
    assert_eq!((world.trace.posts.len(), world.outcomes("one")), (2, vec![Accepted]));
}

/// Runs wait with the text of the refusal, and go on as soon as gateways can be listed.
#[test]
fn h26_gateways_can_not_be_listed() {
    let mut world = World::new(&[("one", &[1])], Default::default());
    let refusal = "no permission to list them".to_owned();
    world.feed(Input::ListFailed(Extent::all(Kind::Gateways), refusal));
    world.hear(Kind::Runs);
    world.stop("one");
    world.pass(1_000);
    world.write_all();
    assert_eq!(world.stopped("one"), reason::GATEWAY_NOT_LISTED);
    let says = |condition: &&crate::api::Condition| condition.message.contains("no permission to list them");
    assert!(world.run("one").status.conditions.iter().find(says).is_some());
    world.hear(Kind::Gateways);
    world.run_until_settled();
    assert_eq!((world.outcomes("one"), world.unsettled()), (vec![Accepted], None));
}
