//! Edits of people and tools in a random history.

use super::{GATEWAYS, LONG_DEADLINE, RUNS, SHORT_DEADLINES, Simulation};
use crate::api::{DeletionPolicy, GatewayRef};
use crate::machine::checks::fixtures::{self, wall};
use crate::machine::checks::world::{gateway_key, run_key};
use crate::machine::{Key, Marks};

// === impl Simulation ===

impl Simulation {
    pub(in crate::machine) fn edit_gateway(&mut self) {
        let gateway = gateway_key(self.rng.of(GATEWAYS));
        let (what, version) = (self.rng.below(5), self.outside);
        let Some(view) = self.world.server.gateways.get(&gateway).cloned() else {
            return self.make_gateway(&gateway, version);
        };
        match what {
            0 => self.world.fake_gateway.secret += 1,
            1 => self.world.fake_gateway.secret_missing = !self.world.fake_gateway.secret_missing,
            4 => self.world.server.delete_gateway(&view.key),
            2 => self.world.server.edit_gateway(&gateway, |gateway| {
                gateway.spec.url = format!("https://{}.example.com/v{version}", gateway.key.namespace);
            }),
            _ => self.world.server.edit_gateway(&gateway, |gateway| {
                gateway.spec.suspend = if gateway.spec.suspend.is_some() { None } else { Some(true) };
            }),
        }
    }

    /// Another object under the name of a gateway that was deleted.
    pub(in crate::machine) fn make_gateway(&mut self, key: &Key, version: u64) {
        let mut gateway = fixtures::gateway_named(&key.namespace, &key.name);
        gateway.uid = format!("{}-{version}", gateway.uid).into();
        self.world.server.put_gateway(gateway);
    }

    /// Another object under the name of a run that was deleted.
    pub(in crate::machine) fn make_run(&mut self, name: &str, plans: &[i64], value: &str) {
        let key = run_key(name);
        let mut new = fixtures::run(&key.namespace, &key.name, plans.to_vec());
        new.uid = format!("{name}-{value}").into();
        new.created = Some(wall(self.world.now / 1_000 * 1_000));
        self.world.server.put_run(new);
    }

    pub(in crate::machine) fn edit_run(&mut self) {
        let (name, plans) = self.rng.of(RUNS);
        let value = format!("request-{}", self.outside);
        let Some(old) = self.world.server.runs.get(&run_key(name)).cloned() else {
            // It was deleted after its TTL.
            return self.make_run(name, plans, &value);
        };
        match self.rng.below(32) {
            25..27 => {
                let ttl = self.rng.of(&[None, Some(0), Some(0), Some(3), Some(60)]);
                let keep = self.rng.of(&[None, None, None, Some("soon")]);
                let mark = self.rng.one_in(4).then(|| "argocd.argoproj.io/instance".to_owned());
                let ahead = self.rng.below(20_000);
                let until = wall(self.world.now + ahead).to_string();
                let keep = if self.rng.one_in(4) { Some(until) } else { keep.map(str::to_owned) };
                self.world.edit_unseen(name, |run| {
                    (run.spec.ttl_seconds_after_finished, run.keep_until) = (ttl, keep);
                    let marks = Marks { names: mark.into_iter().collect(), ..Marks::default() };
                    run.marks = ttl.map(|_| Box::new(marks));
                });
            }
            // Something else has begun to delete it, and something holds that up.
            27 => self.world.edit_unseen(name, |run| {
                run.deleted = run.deleted.or(run.written);
                run.finalizers.push("example.com/x".to_owned());
            }),
            28..30 => {
                let policy = self.rng.of(&[
                    Some(DeletionPolicy::Stop),
                    Some(DeletionPolicy::Stop),
                    Some(DeletionPolicy::Orphan),
                    None,
                ]);
                self.world.edit_unseen(name, |run| run.spec.deletion_policy = policy);
            }
            30..32 => {
                self.world.server.wall = wall(self.world.now);
                self.world.server.delete_run(&old.key);
            }
            16 => self.world.edit_unseen(name, |run| run.stop_annotation = None),
            17 => {
                let no = self.rng.of(&["no", "off", "", "False", "0"]);
                self.world.edit_unseen(name, |run| run.stop_annotation = Some(no.to_owned()));
            }
            // A value that was there before asks again too.
            18 => self.world.edit_unseen(name, |run| run.stop_annotation = Some("always".to_owned())),
            19 => {
                let other = self.rng.of(&["other", "default", "missing"]);
                self.world.edit_unseen(name, |run| {
                    run.spec.gateway_ref = Some(GatewayRef { name: Some(other.to_owned()) });
                });
            }
            20 | 21 if self.hasty => {
                let seconds = self.rng.of(&SHORT_DEADLINES);
                let seconds = if self.rng.one_in(3) { LONG_DEADLINE } else { seconds };
                self.world.edit_unseen(name, |run| run.spec.stop_deadline_seconds = Some(seconds));
            }
            22..24 => {
                // Some have passed, and all pass within the history or soon after it.
                let ahead = self.rng.of(&[-20, -1, 0, 1, 3, 10, 60]);
                let seconds = (self.world.now as i64 / 1_000 + ahead).max(1);
                self.world.edit_unseen(name, |run| run.spec.active_deadline_seconds = Some(seconds));
            }
            24 => self.world.edit_unseen(name, |run| run.spec.active_deadline_seconds = None),
            0..4 => self.world.edit_unseen(name, |run| run.spec.stopped = Some(true)),
            4..7 => self.world.edit_unseen(name, |run| run.spec.stopped = Some(false)),
            7 => self.world.edit_unseen(name, |run| run.spec.stopped = None),
            8..11 => self.world.edit_unseen(name, |run| run.stop_annotation = Some(value)),
            11 => self.world.edit_unseen(name, |run| run.reconcile_annotation = Some(value)),
            12..14 => {
                let count = 1 + self.rng.below(4);
                let plans = (0..count).map(|_| 1 + self.rng.below(8) as i64).collect();
                self.world.edit_unseen(name, |run| run.spec.plans = plans);
            }
            // What has a finalizer stays for now.
            14 => {
                self.world.server.wall = wall(self.world.now);
                self.world.server.delete_run(&old.key);
                if self.world.server.runs.contains_key(&old.key) {
                    return;
                }
                let mut new = fixtures::run(&old.key.namespace, &old.key.name, plans.to_vec());
                new.uid = format!("{name}-{value}").into();
                (new.spec, new.marks) = (old.spec.clone(), old.marks.clone());
                new.created = Some(wall(self.world.now / 1_000 * 1_000));
                self.world.server.put_run(new);
            }
            _ => self.world.edit_unseen(name, |run| run.status = Default::default()),
        }
    }
}
