//! Short histories through the whole machine, by hand: a world of one API server and one gateway whose answers the
//! test chooses.

use std::collections::BTreeSet;

use super::*;
use crate::api::{Outcome, TestiniumGatewaySpec, TestiniumGatewayStatus};
use crate::stop::fixtures::{self, wall};
use crate::stop::{Body, CredentialRead, Envelope, GatewayView, Reply, SecretVersion};
use crate::stop::{Version, WriteResult};

/// Drives a machine: keeps the objects, carries out its effects, and notes its calls.
struct World {
    machine: Machine,
    now: u64,
    version: u64,
    run: RunView,
    bad: BTreeSet<i64>,
    status_code: u16,
    calls: Vec<Vec<i64>>,
    writes: usize,
    told: Vec<&'static str>,
}

fn reply(status: u16) -> Answer {
    let body = if status == 200 { Body::Envelope(Envelope::default()) } else { Body::Other };
    Answer::Reply(Reply { status, retry_after: None, body })
}

impl World {
    fn new(plans: Vec<i64>, stopped: Option<bool>) -> Self {
        let mut run = fixtures::run("team", "nightly", plans);
        run.spec.stopped = stopped;
        let mut world = Self {
            machine: Machine::new(7),
            now: 1_000,
            version: 10,
            run,
            bad: BTreeSet::new(),
            status_code: 200,
            calls: Vec::new(),
            writes: 0,
            told: Vec::new(),
        };
        for kind in [Kind::Gateways, Kind::Runs] {
            world.put(Input::ListBegan(kind));
        }
        world
    }

    fn with_gateway(mut self) -> Self {
        let spec: TestiniumGatewaySpec = serde_json::from_value(serde_json::json!({
            "url": "https://testinium.example.com",
            "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
        }))
        .expect("a valid gateway");
        self.put(Input::GatewaySeen(Box::new(GatewayView {
            key: Key::new("team", "default"),
            uid: "gateway-uid".into(),
            version: Version(2),
            generation: 1,
            reconcile_annotation: None,
            spec,
            status: TestiniumGatewayStatus::default(),
        })));
        self
    }

    fn listed(mut self) -> Self {
        self.put(Input::ListDone(Kind::Gateways));
        self.put(Input::RunSeen(Box::new(self.run.clone())));
        self.put(Input::ListDone(Kind::Runs));
        self
    }

    fn edit(&mut self, change: impl FnOnce(&mut RunView)) {
        change(&mut self.run);
        self.run.generation += 1;
        self.version += 1;
        self.run.version = Version(self.version);
        self.put(Input::RunSeen(Box::new(self.run.clone())));
    }

    fn put(&mut self, input: Input) {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = Now { mono: Millis(self.now), wall: wall(self.now) };
            let mut effects = Vec::new();
            self.machine.handle(now, input, &mut effects);
            effects.into_iter().for_each(|effect| inputs.extend(self.carry_out(effect)));
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Vec<Input> {
        match effect {
            Effect::Post { call, plans, .. } => {
                let plans: Vec<_> = plans.iter().map(|plan| plan.0).collect();
                let bad = plans.iter().any(|plan| self.bad.contains(plan));
                self.calls.push(plans);
                vec![Input::Answered(call, reply(if bad { 400 } else { self.status_code }))]
            }
            Effect::Write { run, serial, to, status } => {
                assert_eq!(to.version, self.run.version, "a write is based on the present version");
                assert_ne!(*status, self.run.status, "a write changes something");
                self.writes += 1;
                self.version += 1;
                self.run.version = Version(self.version);
                self.run.status = *status;
                let echo = Input::RunSeen(Box::new(self.run.clone()));
                vec![Input::Wrote(run, serial, WriteResult::Done(self.run.version)), echo]
            }
            Effect::ReadCredential { gateway, epoch, .. } => {
                let read = CredentialRead::Have { version: SecretVersion("1".to_owned()), good_for: None };
                vec![Input::Credential(gateway.key.clone(), epoch, read)]
            }
            Effect::ReadRun(key) => {
                vec![Input::Read(key, ReadResult::Found(Box::new(self.run.clone())))]
            }
            Effect::Tell(event) => {
                self.told.push(event.reason);
                Vec::new()
            }
            Effect::WriteGateway { .. } | Effect::Drained => Vec::new(),
        }
    }

    /// Lets time pass from timer to timer, until nothing is left to do or `limit` turns have gone.
    fn run_for(&mut self, millis: u64) {
        let end = self.now + millis;
        for _ in 0..10_000 {
            match self.machine.wake_at() {
                Some(at) if at.0 <= end => {
                    self.now = self.now.max(at.0);
                    self.put(Input::Wake);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the machine does not come to rest");
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.run.status.plans.iter().map(|plan| plan.outcome).collect()
    }

    fn stopped(&self) -> &str {
        let stopped =
            self.run.status.conditions.iter().find(|other| other.type_ == crate::api::condition::STOPPED);
        &stopped.expect("a status has the condition Stopped").reason
    }
}

#[test]
fn a_stop_is_one_call_and_one_write_and_then_forgotten() {
    let mut world = World::new(vec![614, 615, 614], None).with_gateway().listed();
    assert_eq!((world.stopped(), world.writes, world.machine.active()), ("NotRequested", 1, 0));
    world.edit(|run| run.spec.stopped = Some(true));
    assert_eq!(world.calls, [[614, 615]]);
    assert_eq!((world.outcomes(), world.stopped()), (vec![Outcome::Accepted; 2], "Accepted"));
    assert_eq!((world.writes, world.machine.active()), (2, 0));
    assert_eq!((world.machine.queued(), world.machine.in_flight()), (0, 0));
    assert_eq!(world.machine.take_tally().settled, [Outcome::Accepted, Outcome::Accepted]);
    assert!(world.machine.take_tally().settled.is_empty(), "counted once");
    world.run_for(3_600_000);
    assert_eq!((world.calls.len(), world.writes), (1, 2), "quiet means silent");
}

#[test]
fn what_is_settled_is_not_sent_again_after_a_restart() {
    let mut before = World::new(vec![614], Some(true)).with_gateway().listed();
    before.run_for(60_000);
    let mut after = World::new(vec![614], Some(true)).with_gateway();
    after.run = before.run.clone();
    let mut after = after.listed();
    after.run_for(60_000);
    assert_eq!((after.calls.len(), after.writes, after.machine.active()), (0, 0, 0));
}

#[test]
fn one_bad_id_among_64_costs_at_most_13_calls() {
    let mut world = World::new((1..=64).collect(), None).with_gateway();
    world.bad.insert(37);
    let mut world = world.listed();
    world.edit(|run| run.spec.stopped = Some(true));
    world.run_for(60_000);
    assert!(world.calls.len() <= 13, "{} calls", world.calls.len());
    let rejected: Vec<_> =
        world.run.status.plans.iter().filter(|plan| plan.outcome == Outcome::Rejected).collect();
    assert_eq!(rejected.iter().map(|plan| plan.id).collect::<Vec<_>>(), [37]);
    let accepted = world.outcomes().iter().filter(|outcome| **outcome == Outcome::Accepted).count();
    assert_eq!((accepted, world.stopped()), (63, "PartiallyStopped"));
}

#[test]
fn a_gateway_that_is_down_costs_two_writes_however_long_it_lasts() {
    let mut world = World::new(vec![1, 2], None).with_gateway().listed();
    world.status_code = 503;
    world.edit(|run| run.spec.stopped = Some(true));
    world.run_for(1_800_000);
    assert_eq!((world.stopped(), world.outcomes()), ("Unreachable", vec![Outcome::Pending; 2]));
    assert!(world.writes <= 3, "{} writes, one of them before the stop", world.writes);
    world.status_code = 200;
    world.run_for(600_000);
    assert_eq!((world.stopped(), world.outcomes()), ("Accepted", vec![Outcome::Accepted; 2]));
}

#[test]
fn a_stop_that_is_not_delivered_in_time_expires() {
    let mut world = World::new(vec![1], None).with_gateway().listed();
    world.status_code = 503;
    world.edit(|run| run.spec.stopped = Some(true));
    world.run_for(3_700_000);
    assert_eq!((world.stopped(), world.outcomes()), ("Expired", vec![Outcome::Expired]));
    let calls = world.calls.len();
    world.status_code = 200;
    world.run_for(3_700_000);
    assert_eq!(world.calls.len(), calls, "nothing is sent after the deadline");
}

#[test]
fn a_stop_withdrawn_before_its_call_is_not_sent() {
    let mut world = World::new(vec![1], Some(true)).listed();
    world.run_for(2_000);
    assert_eq!(world.stopped(), "GatewayNotFound");
    world.edit(|run| run.spec.stopped = Some(false));
    let mut world = world.with_gateway();
    world.run_for(60_000);
    assert_eq!((world.stopped(), world.outcomes()), ("Rearmed", vec![Outcome::Withdrawn]));
    assert!(world.calls.is_empty());
    world.edit(|run| run.spec.stopped = Some(true));
    assert_eq!((world.stopped(), world.outcomes()), ("Accepted", vec![Outcome::Accepted]));
}

#[test]
fn a_changed_annotation_stops_again_and_is_told_when_it_is_done() {
    let mut world = World::new(vec![1], Some(false)).with_gateway().listed();
    for (calls, value) in [(1, "monday"), (1, "monday"), (2, "tuesday"), (2, "false"), (3, "tuesday")] {
        world.edit(|run| run.stop_annotation = Some(value.to_owned()));
        world.run_for(60_000);
        assert_eq!(world.calls.len(), calls, "after {value}");
    }
    let stop = world.run.status.stop.as_ref().expect("a stop is told");
    assert_eq!(stop.last_handled_request.as_deref(), Some("tuesday"));
}

#[test]
fn an_event_tells_what_is_new_and_nothing_twice() {
    let mut world = World::new(vec![1], None).with_gateway().listed();
    world.edit(|run| run.spec.stopped = Some(true));
    world.run_for(60_000);
    world.edit(|run| run.spec.reason = Some("a better one".to_owned()));
    world.run_for(60_000);
    assert_eq!((world.writes, world.told.as_slice()), (3, ["StopAccepted"].as_slice()));
    world.edit(|run| run.stop_annotation = Some("again".to_owned()));
    world.run_for(60_000);
    assert_eq!(world.told, ["StopAccepted", "StopAccepted"]);
}
