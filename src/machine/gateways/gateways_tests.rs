//! Gateways alone: when calls begin, what is told and to whom, and that one gateway's work is no other's.

use super::*;
use crate::machine::answer::{Answer, Body, Envelope, Reply};
use crate::machine::checks::fixtures::{self, wall};
use crate::machine::gateways::status::reason_of;
use crate::machine::ids::{Lane, RequestSeq, SecretVersion};
use crate::machine::limits::{READINGS_MAX, REASON_SETTLES, REMEMBERED_FOR};
use crate::machine::runs::Runs;
use crate::machine::time::Now;
use crate::machine::wait_reason::WaitReason;

const ALL: Extent = Extent { kind: Kind::Gateways, namespace: None };

fn at(mono: u64) -> Now {
    Now { mono: Millis(mono), wall: wall(mono) }
}

fn key(namespace: &str) -> GatewayKey {
    GatewayKey::new(namespace, "default")
}

fn waiter(run: u64) -> Waiter {
    Waiter { run: RunId(run), request_seq: RequestSeq(1), lane: Lane(1) }
}

/// Effects in short: which gateway's Secret is read, which plans are called for.
fn told(effects: &[Effect]) -> Vec<String> {
    let told = |effect: &Effect| match effect {
        Effect::ReadCredential { gateway, .. } => format!("read {}", gateway.key.namespace),
        Effect::Post { gateway, plans, .. } => {
            format!("post {} {:?}", gateway.namespace, plans.iter().map(|plan| plan.0).collect::<Vec<_>>())
        }
        Effect::Disconnect(gateway) => format!("disconnect {}", gateway.namespace),
        other => format!("{other:?}"),
    };
    effects.iter().map(told).collect()
}

fn turn(gateways: &mut Gateways, now: u64) -> Vec<String> {
    let mut out = Vec::new();
    gateways.start_calls(at(now), &Runs::default(), &mut out);
    told(&out)
}

fn have() -> CredentialRead {
    CredentialRead::Have { version: SecretVersion("1".to_owned()), good_for: None }
}

/// A gateway whose credential is being read.
fn reading(gateways: &Gateways) -> Option<(GatewayKey, Epoch)> {
    gateways.iter().find_map(|gateway| Some((gateway.key.clone(), gateway.credential.reading?)))
}

/// A gateway in each of these namespaces, with its credential, when calls may begin.
fn ready(namespaces: &[&str]) -> Gateways {
    let mut gateways = Gateways::new(OriginLimits::default(), 7);
    gateways.list_began(&ALL);
    for namespace in namespaces {
        gateways.observe(fixtures::gateway(namespace), Millis(0), &mut Vec::new());
    }
    gateways.list_ended(&ALL, Millis(0), &mut Vec::new());
    gateways.allow_calls(&ALL);
    turn(&mut gateways, 0);
    while let Some((key, epoch)) = reading(&gateways) {
        gateways.credential_read(&key, epoch, have(), Millis(0));
        turn(&mut gateways, 0);
    }
    turn(&mut gateways, 0);
    gateways.publish(Millis(0));
    gateways.touch_all(&ALL);
    gateways.publish(REASON_SETTLES);
    gateways.touched.clear();
    gateways
}

fn clean() -> Answer {
    Answer::Reply(Reply { status: 200, retry_after: None, body: Body::Envelope(Envelope::default()) })
}

#[test]
fn a_call_begins_when_nothing_stands_in_its_way() {
    type Change = fn(&mut Gateways);
    let suspend: Change = |gateways| {
        let mut view = fixtures::gateway("a");
        view.spec.suspend = Some(true);
        gateways.observe(view, Millis(1), &mut Vec::new());
    };
    let rows: [(&str, Change, &[&str]); 5] = [
        ("all is well", |_| {}, &["post a [1, 2]"]),
        ("runs are not listed yet, or the end is near", |gateways| gateways.end_calls(), &[]),
        ("it is suspended", suspend, &["read a"]),
        ("it is gone", |gateways| gateways.gone(&key("a"), None, Millis(1), &mut Vec::new()), &[]),
        (
            "its runs wait no more",
            |gateways| gateways.withdraw(&key("a"), &[PlanId(1), PlanId(2)], RunId(1)),
            &[],
        ),
    ];
    for (name, change, expected) in rows {
        let mut gateways = ready(&["a"]);
        gateways.offer(&key("a"), &[PlanId(1), PlanId(2)], waiter(1));
        change(&mut gateways);
        assert_eq!(turn(&mut gateways, 1), expected, "{name}");
    }
}

#[test]
fn plans_are_gathered_after_a_call_until_the_window_ends() {
    let mut gateways = ready(&["a"]);
    gateways.offer(&key("a"), &[PlanId(1)], waiter(1));
    assert_eq!(turn(&mut gateways, 100), ["post a [1]"]);
    gateways.offer(&key("a"), &[PlanId(2)], waiter(1));
    gateways.offer(&key("a"), &[PlanId(3)], waiter(1));
    assert!(turn(&mut gateways, 101).is_empty());
    assert_eq!(gateways.wake_at(), Some(Millis(150)));
    assert_eq!(turn(&mut gateways, 150), ["post a [2, 3]"]);
    assert_eq!(gateways.wake_at(), None, "nothing is left to begin");
}

#[test]
fn a_call_that_waits_for_a_slot_begins_when_one_is_free() {
    let mut gateways = ready(&["a"]);
    for plan in 1..=3 {
        gateways.offer(&key("a"), &[PlanId(plan)], waiter(1));
        turn(&mut gateways, 100 * plan.unsigned_abs());
    }
    assert_eq!((gateways.in_flight(), gateways.queued()), (2, 1));
    assert_eq!(gateways.wake_at(), None, "only an answer frees a slot");
    let first = *gateways.calls.keys().next().expect("two are under way");
    gateways.call_ended(first, &clean(), at(400), &Runs::default());
    assert_eq!(turn(&mut gateways, 400), ["post a [3]"]);
    assert_eq!(gateways.queued(), 0);
}

#[test]
fn a_changed_reason_is_told_to_runs_once_it_has_stood_for_a_while() {
    let mut gateways = ready(&["a"]);
    let mut view = fixtures::gateway("a");
    view.spec.suspend = Some(true);
    gateways.observe(view, Millis(1_000), &mut Vec::new());
    gateways.offer(&key("a"), &[PlanId(3)], waiter(6));
    turn(&mut gateways, 1_000);
    assert!(gateways.publish(Millis(1_000)).notified.is_empty(), "it has just begun");
    let told = gateways.wait_of(&key("a"), true, Millis(2_000));
    assert_eq!((reason_of(told.cause), told.since), (Some(WaitReason::Suspended), Millis(1_000)));
    let settled = 1_000 + REASON_SETTLES.0;
    turn(&mut gateways, settled - 1);
    assert!(gateways.publish(Millis(settled - 1)).notified.is_empty());
    turn(&mut gateways, settled);
    let notified: Vec<_> = gateways.publish(Millis(settled)).notified.into_iter().collect();
    assert_eq!(notified, [RunId(6)], "the run whose plan waits, and no other");
}

/// Reads the credential of a gateway, as if its Secret were missing in this way.
fn missing(gateways: &mut Gateways, why: &str, now: u64) -> Vec<RunId> {
    gateways.edit(&key("a"), |gateway| gateway.credential.want());
    turn(gateways, now);
    let (key, epoch) = reading(gateways).expect("it is being read");
    gateways.credential_read(&key, epoch, CredentialRead::Missing(why.to_owned()), Millis(now));
    turn(gateways, now);
    gateways.publish(Millis(now)).notified.into_iter().collect()
}

#[test]
fn a_changed_cause_under_the_same_reason_is_told_to_runs_once_it_has_stood_for_a_while() {
    let mut gateways = ready(&["a"]);
    let settles = REASON_SETTLES.0;
    missing(&mut gateways, "no Secret", 1_000);
    gateways.offer(&key("a"), &[PlanId(3)], waiter(6));
    assert_eq!(missing(&mut gateways, "no Secret", 1_000 + settles), [RunId(6)]);
    assert!(missing(&mut gateways, "no key", 2_000 + settles).is_empty(), "it has just begun");
    let wait = gateways.wait_of(&key("a"), true, Millis(3_000 + settles));
    let since = (Millis(2_000 + settles), Millis(1_000));
    assert_eq!(
        (reason_of(wait.cause), (wait.since, wait.reason_since)),
        (Some(WaitReason::SecretNotFound), since)
    );
    assert_eq!(missing(&mut gateways, "no key", 2_000 + 2 * settles), [RunId(6)]);
    assert!(missing(&mut gateways, "no key", 2_000 + 4 * settles).is_empty(), "it is told once");
}

#[test]
fn words_that_change_all_the_time_hold_up_no_change_of_the_reason() {
    let mut gateways = ready(&["a"]);
    missing(&mut gateways, "no key", 1_000);
    gateways.offer(&key("a"), &[PlanId(3)], waiter(6));
    for (second, why) in (2..=30).zip(["no Secret", "no key"].into_iter().cycle()) {
        assert!(missing(&mut gateways, why, 1_000 * second).is_empty());
    }
    assert_eq!(missing(&mut gateways, "no key", 1_000 + REASON_SETTLES.0), [RunId(6)]);
}

#[test]
fn only_gateways_to_which_something_has_happened_are_looked_at() {
    let names: Vec<_> = (0..200).map(|number| format!("team-{number:03}")).collect();
    let mut gateways = ready(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(gateways.publish(Millis(1)).gateways.is_empty());
    gateways.offer(&key("team-007"), &[PlanId(1)], waiter(1));
    assert_eq!(gateways.touched.len(), 1);
    assert_eq!(turn(&mut gateways, 1), ["post team-007 [1]"]);
    let published: Vec<_> = gateways.publish(Millis(1)).gateways.into_iter().collect();
    assert_eq!(published, [key("team-007")]);
    assert!(gateways.touched.is_empty() && gateways.unpublished.is_empty());
}

#[test]
fn a_gateway_that_nobody_asks_for_is_forgotten_with_its_object() {
    let mut gateways = ready(&["a"]);
    let mut out = Vec::new();
    gateways.gone(&key("a"), None, Millis(1), &mut out);
    turn(&mut gateways, 1);
    assert!(out.is_empty(), "runs that are deleted soon may still be stopped there");
    let over = Millis(1) + REMEMBERED_FOR;
    assert_eq!(gateways.wake_at(), Some(over));
    assert_eq!(turn(&mut gateways, over.0), ["disconnect a"]);
    turn(&mut gateways, over.0);
    assert_eq!((gateways.iter().count(), gateways.origins.by_name.len()), (0, 0));
}

#[test]
fn a_start_with_a_thousand_gateways_reads_few_secrets_at_a_time_and_those_that_runs_wait_for_first() {
    let mut gateways = Gateways::new(OriginLimits::default(), 7);
    gateways.list_began(&Extent::all(Kind::Gateways));
    for number in 0..1_000 {
        gateways.observe(fixtures::gateway(&format!("team-{number:03}")), Millis(0), &mut Vec::new());
    }
    gateways.list_ended(&Extent::all(Kind::Gateways), Millis(1), &mut Vec::new());
    gateways.allow_calls(&Extent::all(Kind::Runs));
    let mut begun = turn(&mut gateways, 0);
    assert_eq!(begun.len(), READINGS_MAX);
    gateways.offer(&key("team-999"), &[PlanId(1)], waiter(1));
    assert!(turn(&mut gateways, 0).is_empty());
    assert!(gateways.wake_at() > Some(Millis(1_000)), "a reading that ends is what it waits for");
    let mut order = Vec::new();
    while let Some(read) = begun.pop() {
        let Some(namespace) = read.strip_prefix("read ") else { continue };
        let epoch = gateways.get(&key(namespace)).and_then(|gateway| gateway.credential.reading);
        gateways.credential_read(&key(namespace), epoch.expect("it is being read"), have(), Millis(0));
        let next = turn(&mut gateways, 0);
        order.extend(next.iter().cloned());
        begun.extend(next);
        assert!(gateways.readings.in_flight <= READINGS_MAX);
    }
    assert_eq!(order[0], "read team-999");
    assert_eq!(order.iter().filter(|told| told.starts_with("read")).count(), 1_000 - READINGS_MAX);
}

#[test]
fn a_list_of_one_namespace_ends_no_gateway_of_another_readable_or_not() {
    let mut gateways = Gateways::new(OriginLimits::default(), 7);
    let list = |gateways: &mut Gateways, namespace: &str, is_there: bool| {
        let extent = Extent::of(Kind::Gateways, namespace);
        gateways.list_began(&extent);
        if is_there {
            gateways.observe(fixtures::gateway(namespace), Millis(0), &mut Vec::new());
            let broken = GatewayKey::new(namespace, "broken");
            gateways.unreadable(&broken, "uid".into(), "no url", &mut Vec::new());
        }
        gateways.list_ended(&extent, Millis(0), &mut Vec::new());
        (gateways.iter().filter(|gateway| gateway.view.is_some()).count(), gateways.unreadable.len())
    };
    // Twice in one of them, so that the numbers of their lists are not the same.
    let rows = [("a", true, (1, 1)), ("a", true, (1, 1)), ("b", true, (2, 2)), ("a", false, (1, 1))];
    for (namespace, is_there, expected) in rows {
        assert_eq!(list(&mut gateways, namespace, is_there), expected, "{namespace} {is_there}");
    }
}

#[test]
fn a_gateway_that_cannot_be_read_says_so_until_it_can_or_is_gone() {
    type Step = fn(&mut Gateways);
    let steps: [(&str, Step, Option<WaitReason>); 4] = [
        ("it stays as it is", |_| {}, Some(WaitReason::GatewayUnreadable)),
        (
            "it is deleted",
            |gateways| gateways.gone(&key("a"), Some(&"1".into()), Millis(1), &mut Vec::new()),
            Some(WaitReason::GatewayNotFound),
        ),
        (
            "it is corrected",
            |gateways| gateways.observe(fixtures::gateway("a"), Millis(1), &mut Vec::new()),
            None,
        ),
        (
            "a list lacks it",
            |gateways| {
                gateways.list_began(&Extent::all(Kind::Gateways));
                gateways.list_ended(&Extent::all(Kind::Gateways), Millis(1), &mut Vec::new());
            },
            Some(WaitReason::GatewayNotFound),
        ),
    ];
    for (name, step, expected) in steps {
        let mut gateways = ready(&["a"]);
        gateways.offer(&key("a"), &[PlanId(1)], waiter(1));
        gateways.unreadable(&key("a"), "1".into(), "spec.url: missing", &mut Vec::new());
        step(&mut gateways);
        assert_eq!(reason_of(gateways.wait_of(&key("a"), true, Millis(2)).cause), expected, "{name}");
    }
}

#[test]
fn a_gateway_that_is_asked_for_and_is_not_there_says_so() {
    let mut gateways = Gateways::new(OriginLimits::default(), 7);
    gateways.offer(&key("a"), &[PlanId(1)], waiter(1));
    let reason = |gateways: &Gateways| reason_of(gateways.wait_of(&key("a"), true, Millis(0)).cause);
    assert_eq!(reason(&gateways), Some(WaitReason::GatewayNotListed));
    gateways.list_began(&ALL);
    gateways.list_ended(&ALL, Millis(0), &mut Vec::new());
    assert_eq!(reason(&gateways), Some(WaitReason::GatewayNotFound));
    gateways.list_failed(&ALL, "no permission".to_owned());
    assert_eq!(reason(&gateways), Some(WaitReason::GatewayNotListed));
}
