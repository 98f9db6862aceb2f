//! Measurements of the pure machine: what deciding costs, without a network or an API server.
//!
//! A small world answers the machine's effects at once, and its clock jumps to whatever the machine waits for next, so
//! that the time measured is the machine's own.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use testinium_operator::api::{TestPlanRunSpec, TestPlanRunStatus, TestiniumGatewayStatus};
use testinium_operator::machine::{
    Answer, Body, CredentialRead, Effect, Envelope, Extent, GatewayKey, GatewayView, Input, Kind, Limits,
    Machine, Millis, Now, ObjectKey, ObjectView, Reached, Reply, RunKey, RunView, SecretVersion, Version,
    WriteBody, WriteResult,
};

/// Runs that are stopped together.
const RUNS: i64 = 10_000;

/// Ids that go through a gateway which refuses a whole call for one bad id and does not say which.
const IDS: i64 = 1_000_000;

/// Ids of each run of these.
const PLANS: i64 = 100;

/// One id in so many is bad.
const BAD: i64 = 100;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(10));
    targets = offers, stops, echoes, split, search, gateways
}
criterion_main!(benches);

/// Runs that want stopping are seen, and nothing may be called yet.
fn offers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("machine");
    group.throughput(Throughput::Elements(RUNS.unsigned_abs()));
    group.bench_function("offers", |bencher| {
        let ready = || (World::new(100), runs(RUNS, 1));
        let seen = |run| Input::Seen(ObjectView::Run(Box::new(run)));
        bencher.iter_batched(
            ready,
            |(mut world, runs)| {
                runs.into_iter().for_each(|run| world.put(seen(run)));
                world
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Runs are seen, sent, answered and written.
fn stops(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("machine");
    group.throughput(Throughput::Elements(RUNS.unsigned_abs()));
    group.bench_function("stops", |bencher| {
        let ready = || World::new(100).with(runs(RUNS, 1));
        bencher.iter_batched(ready, |(world, runs)| world.settle(runs), BatchSize::PerIteration);
    });
    group.finish();
}

/// Settled runs are seen again, as after every start and every write.
fn echoes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("machine");
    let (world, run) = World::new(100).with(runs(1, 3));
    let mut world = world.settle(run);
    let Some(view) = world.objects.values().next().cloned() else { return };
    group.throughput(Throughput::Elements(1));
    group.bench_function("a settled run is seen", |bencher| {
        let again = || Input::Seen(ObjectView::Run(Box::new(view.clone())));
        bencher.iter_batched(again, |seen| world.put(seen), BatchSize::SmallInput);
    });
    assert_eq!(world.machine.active(), 0, "a settled run is at rest");
    group.finish();
}

/// A million ids, of which one in a hundred makes the gateway refuse its whole call.
fn split(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("machine");
    group.throughput(Throughput::Elements(IDS.unsigned_abs()));
    group.bench_function("ids through split", |bencher| {
        let ready = || World { bad: BAD, ..World::new(100) }.with(runs(IDS / PLANS, PLANS));
        bencher.iter_batched(ready, |(world, runs)| world.settle(runs), BatchSize::PerIteration);
    });
    group.finish();
}

/// Ids of one run, and how many of them are bad: what the search for them costs.
const SEARCHES: [(i64, i64); 4] = [(300, 1), (300, 16), (1000, 10), (1000, 50)];

/// The search for bad ids: the calls that it makes on average of fifty draws, beside those of halving alone, and beside
/// the floor, which no search can beat: log2 of the number of ways in which the bad ids may lie, and one call for each of
/// them, since only its own answer settles it.
fn search(criterion: &mut Criterion) {
    println!(
        "| ids | bad | calls, mean | calls, most | halving alone | floor |\n|---:|---:|---:|---:|---:|---:|"
    );
    for (ids, bad) in SEARCHES {
        let calls: Vec<_> = (0..50).map(|draw| searched(ids, &drawn(ids, bad, draw)).calls).collect();
        let halved: usize = (0..50).map(|draw| halved(ids, &drawn(ids, bad, draw))).sum();
        let (sum, most) = (calls.iter().sum::<usize>(), calls.iter().max().copied().unwrap_or_default());
        let ways: f64 = (0..bad).map(|chosen| ((ids - chosen) as f64 / (chosen + 1) as f64).log2()).sum();
        let (mean, halved, floor) = (sum as f64 / 50.0, halved as f64 / 50.0, ways + bad as f64);
        println!("| {ids} | {bad} | {mean:.0} | {most} | {halved:.0} | {floor:.0} |");
    }
    let mut group = criterion.benchmark_group("search");
    for (ids, bad) in SEARCHES {
        let drawn = drawn(ids, bad, 0);
        group.bench_function(format!("{bad} of {ids}"), |bencher| {
            bencher.iter_batched(|| drawn.clone(), |drawn| searched(ids, &drawn), BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// A world in which the bad ids of one run have been found.
fn searched(ids: i64, bad: &BTreeSet<i64>) -> World {
    let (world, runs) = World { bad_ids: bad.clone(), ..World::new(100) }.with(runs(1, ids));
    world.settle(runs)
}

/// The calls of halving: each part is asked for as a whole.
fn halved(ids: i64, bad: &BTreeSet<i64>) -> usize {
    fn of(plans: &[i64], bad: &BTreeSet<i64>) -> usize {
        if plans.len() < 2 || !plans.iter().any(|plan| bad.contains(plan)) {
            return 1;
        }
        let (first, second) = plans.split_at(plans.len().div_ceil(2));
        1 + of(first, bad) + of(second, bad)
    }
    (1..=ids).collect::<Vec<_>>().chunks(100).map(|plans| of(plans, bad)).sum()
}

/// So many different ids among the first ones, by chance that follows from the number of the draw.
fn drawn(ids: i64, bad: i64, draw: u64) -> BTreeSet<i64> {
    let mut shuffled: Vec<_> = (1..=ids).collect();
    shuffled.sort_by_key(|id| {
        let mut hash = DefaultHasher::new();
        (draw, id).hash(&mut hash);
        hash.finish()
    });
    shuffled.into_iter().take(usize::try_from(bad).unwrap_or(0)).collect()
}

/// How many gateways there are, one a namespace, in the measurements that must not depend on it.
const GATEWAYS: [usize; 3] = [10, 1_000, 10_000];

/// What other gateways cost: a list of them, a turn in which nothing happens, and one stop among all that are idle.
fn gateways(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gateways");
    for count in GATEWAYS {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("a list of {count}"), |bencher| {
            bencher.iter_batched(|| World::new(100), |world| world.beside(count), BatchSize::PerIteration);
        });
    }
    group.throughput(Throughput::Elements(1));
    for count in GATEWAYS {
        let mut world = World::new(100).beside(count).settle(Vec::new());
        group.bench_function(format!("a turn among {count}"), |bencher| {
            bencher.iter(|| world.put(Input::Wake))
        });
    }
    for count in GATEWAYS {
        let mut world = World::new(100).beside(count).settle(Vec::new());
        let mut index = 0;
        group.bench_function(format!("a stop among {count}"), |bencher| {
            let ready = || {
                index += 1;
                run(index, 1)
            };
            bencher.iter_batched(ready, |run| world.stop(run), BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// A machine, and what answers it.
struct World {
    machine: Machine,
    mono: u64,
    wall: Timestamp,
    effects: Vec<Effect>,
    answers: VecDeque<Input>,
    version: u64,
    /// One id in so many is bad; 0: none is.
    bad: i64,
    /// These ids are bad too.
    bad_ids: BTreeSet<i64>,
    /// The calls that were made.
    calls: usize,
    /// The runs as the API server has them: each write comes back through the watch.
    objects: HashMap<RunKey, RunView>,
}

impl World {
    /// A machine with a gateway whose first credential was read.
    fn new(plans_a_call: i64) -> Self {
        let mut world = Self {
            machine: Machine::new(Limits::default(), 7),
            mono: 1_000,
            wall: Timestamp::from_second(1_800_000_000).expect("a time within range"),
            effects: Vec::new(),
            answers: VecDeque::new(),
            version: 10,
            bad: 0,
            bad_ids: BTreeSet::new(),
            calls: 0,
            objects: HashMap::new(),
        };
        world.put(Input::ListBegan(Extent::all(Kind::Gateways)));
        world.put(Input::ListBegan(Extent::all(Kind::Runs)));
        world.put(gateway("qa", plans_a_call));
        world.put(Input::ListDone(Extent::all(Kind::Gateways)));
        world
    }

    fn put(&mut self, input: Input) {
        let passed = SignedDuration::from_millis(i64::try_from(self.mono).unwrap_or(i64::MAX));
        let now = Now { mono: Millis(self.mono), wall: self.wall + passed };
        self.machine.handle(now, [black_box(input)], &mut self.effects);
        for effect in std::mem::take(&mut self.effects) {
            let answer = self.answer(effect);
            self.answers.extend(answer);
        }
    }

    /// Puts the runs into the API server; none of them is seen yet.
    fn with(mut self, runs: Vec<RunView>) -> (Self, Vec<RunView>) {
        self.objects.extend(runs.iter().map(|run| (run.key.clone(), run.clone())));
        (self, runs)
    }

    /// Lists so many more gateways, each in a namespace of its own.
    fn beside(mut self, count: usize) -> Self {
        self.put(Input::ListBegan(Extent::all(Kind::Gateways)));
        self.put(gateway("qa", 100));
        (1..count).for_each(|number| self.put(gateway(&format!("team-{number:05}"), 100)));
        self.put(Input::ListDone(Extent::all(Kind::Gateways)));
        while let Some(answer) = self.answers.pop_front() {
            self.put(answer);
        }
        self
    }

    /// Stops one run, from the sight of it to its last write.
    fn stop(&mut self, run: RunView) {
        self.objects.insert(run.key.clone(), run.clone());
        self.put(Input::Seen(ObjectView::Run(Box::new(run))));
        self.run_until_settled();
        self.objects.clear();
    }

    /// Lets everything happen that follows from seeing these runs.
    fn settle(mut self, runs: Vec<RunView>) -> Self {
        runs.into_iter().for_each(|run| self.put(Input::Seen(ObjectView::Run(Box::new(run)))));
        self.put(Input::ListDone(Extent::all(Kind::Runs)));
        self.run_until_settled();
        self
    }

    /// Answers each effect, and goes on to the next timer, until every run is at rest.
    fn run_until_settled(&mut self) {
        while self.machine.active() > 0 {
            let next = match (self.answers.pop_front(), self.machine.wake_at()) {
                (Some(answer), _) => answer,
                (None, Some(at)) => {
                    self.mono = self.mono.max(at.0);
                    Input::Wake
                }
                (None, None) => break,
            };
            self.put(next);
        }
        assert_eq!(self.machine.active(), 0, "every run comes to rest");
    }

    fn answer(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Post { call, plans, .. } => {
                self.calls += 1;
                let is_bad = |id: i64| self.bad_ids.contains(&id) || (self.bad != 0 && id % self.bad == 0);
                // Testinium refuses the whole call, and does not say for which plan.
                let status = if plans.iter().any(|plan| is_bad(plan.0)) { 400 } else { 200 };
                let body = Body::Envelope(Envelope::default());
                let reply = Reply { status, retry_after: None, body };
                Some(Input::Answered(call, Answer::Reply(reply)))
            }
            Effect::Write { serial, to, body } => {
                self.version += 1;
                let version = Version(self.version);
                self.answers.push_back(Input::Wrote(serial, WriteResult::Done(version)));
                let (ObjectKey::Run(key), WriteBody::RunStatus(status)) = (&to.key, body) else {
                    return None;
                };
                let object = self.objects.get_mut(key)?;
                (object.status, object.version) = (status.as_ref().clone(), version);
                Some(Input::Seen(ObjectView::Run(Box::new(object.clone()))))
            }
            Effect::TryConnection { gateway, number, .. } => {
                Some(Input::ConnectionTried(gateway, number, Reached::Opened))
            }
            Effect::ReadCredential { gateway, epoch, known_bad } => {
                let version = SecretVersion("1".to_owned());
                let read = match known_bad {
                    Some(known) if known == version => CredentialRead::Unchanged,
                    _ => CredentialRead::Have { version, good_for: None },
                };
                Some(Input::Credential(gateway.key.clone(), epoch, read))
            }
            Effect::Disconnect(_)
            | Effect::ReadRun(..)
            | Effect::ListRuns { .. }
            | Effect::Tell(_)
            | Effect::Drained => None,
        }
    }
}

fn gateway(namespace: &str, plans_a_call: i64) -> Input {
    let spec = serde_json::json!({
        "url": format!("https://{namespace}.example.com"),
        "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
        "batching": {"maxPlans": plans_a_call},
        "limits": {"requestsPerSecond": 1000, "maxInFlight": 64},
    });
    Input::Seen(ObjectView::Gateway(Box::new(GatewayView {
        key: GatewayKey::new(namespace, "default"),
        uid: format!("gateway-{namespace}").into(),
        version: Version(2),
        generation: 1,
        reconcile_annotation: None,
        spec: serde_json::from_value(spec).expect("a gateway that the API server would take"),
        status: TestiniumGatewayStatus::default(),
    })))
}

/// Runs that want their plans stopped; no plan is in two of them.
fn runs(count: i64, plans: i64) -> Vec<RunView> {
    (0..count).map(|index| run(index, plans)).collect()
}

fn run(index: i64, plans: i64) -> RunView {
    RunView {
        key: RunKey::new("qa", format!("nightly-regression-{index:06}")),
        uid: format!("28d8a4c0-5f2e-4b6f-9a83-{index:012}").into(),
        version: Version(3),
        generation: 2,
        stop_annotation: None,
        retry_annotation: None,
        cleanup_annotation: None,
        requested_by: None,
        reconcile_annotation: None,
        restored: None,
        keep_until: None,
        deleted: None,
        finalizers: Vec::new(),
        marks: None,
        created: None,
        written: None,
        spec: TestPlanRunSpec {
            plans: (index * plans + 1..).take(usize::try_from(plans).unwrap_or(0)).collect(),
            stopped: Some(true),
            reason: None,
            gateway_ref: None,
            active_deadline_seconds: None,
            stop_deadline_seconds: None,
            ttl_seconds_after_finished: None,
            deletion_policy: None,
        },
        status: TestPlanRunStatus::default(),
        stopped_set: None,
        annotation_set: None,
        gateway_set: None,
        plans_set: None,
        retry_set: None,
        deadline_set: None,
        cleanup_set: None,
        policy_set: None,
    }
}
