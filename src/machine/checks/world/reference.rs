//! A reference that sees all that goes in and out of the machine, and knows by its own rules what must come of it.
//!
//! An invariant is checked at the moment at which it could break: when a call or a write begins, when one lands, when an
//! answer comes. The reference knows requests by a number for each plan of each run: a plan that is asked for anew, or
//! that comes back into the spec, gets another number. Its rules of requests and of answers are its own: it calls
//! nothing of the machine that decides.

pub(in crate::machine) mod answers;
pub(in crate::machine) mod documented;
mod independence;
pub(in crate::machine) mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use self::answers::{Shown, is_proof, may_open};
use self::requests::{AskedBy, RequestReference, deadline_of};
use super::WorldCall;
use crate::api::Outcome;
use crate::machine::{Answer, Epoch, GatewayKey, GatewayView, Key, Now, RunView, Target, Uid, Version};

/// A request for the stop of one plan of one run.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::machine) struct Claim {
    pub(in crate::machine) uid: Uid,
    pub(in crate::machine) plan: i64,
    pub(in crate::machine) ask: u32,
}

/// A run as the machine has been told.
#[derive(Clone, Debug)]
pub(in crate::machine) struct KnownRun {
    pub(in crate::machine) view: Arc<RunView>,
    /// The newest version read or written.
    pub(in crate::machine) floor: Version,
    /// The list that was the latest when the floor was set.
    pub(in crate::machine) version_list: u32,
    pub(in crate::machine) listed: u32,
    pub(in crate::machine) requests: RequestReference,
    /// When the stop was asked for, by the object's times.
    pub(in crate::machine) requested: Option<Timestamp>,
    /// Plans of this request that were seen as expired.
    pub(in crate::machine) given_up: BTreeSet<i64>,
    /// The shortest deadline that this process has seen of it, in seconds.
    pub(in crate::machine) shortest: i64,
}

/// The verdicts that a record of a run has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::machine) struct RecordProgress {
    /// The outcome of each plan of its stop.
    pub(in crate::machine) outcomes: BTreeMap<i64, Outcome>,
}

/// A gateway as the machine has been told.
#[derive(Clone, Debug)]
pub(in crate::machine) struct KnownGateway {
    pub(in crate::machine) view: Arc<GatewayView>,
    /// The latest credential that was read.
    pub(in crate::machine) credential: Epoch,
    /// Grows with every edit.
    pub(in crate::machine) round: u32,
    /// A call of this round went wrong.
    pub(in crate::machine) failed: bool,
}

/// All that was told to the machine so far, and what must come of it.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Reference {
    pub(in crate::machine) known: BTreeMap<Key, KnownRun>,
    pub(in crate::machine) gateways: BTreeMap<GatewayKey, KnownGateway>,
    pub(in crate::machine) list: u32,
    pub(in crate::machine) next_ask: u32,
    /// The present request for each plan of each run, whether or not it still holds.
    pub(in crate::machine) asks: BTreeMap<(Uid, i64), u32>,
    /// When a machine was first told of each request, by its number.
    pub(in crate::machine) told: BTreeMap<u32, u64>,
    /// Claims that a call has answered with an outcome, and with which.
    pub(in crate::machine) granted: BTreeSet<(Claim, Outcome)>,
    /// Claims that a call of this term has answered with any outcome.
    pub(in crate::machine) answered: BTreeSet<Claim>,
    /// Claims whose outcome is at the API server.
    pub(in crate::machine) written: BTreeSet<Claim>,
    /// The worth of the answer that is just about to reach the machine.
    pub(in crate::machine) shown: Option<Shown>,
}

// === impl Reference ===

impl Reference {
    /// The process has died.
    pub(in crate::machine) fn crash(&mut self) {
        self.known.clear();
        self.gateways.clear();
        self.answered.clear();
        self.list = 0;
    }

    /// `record`: how the machine's record of the run stands, if it has one. With one it knows what a wiped status does
    /// not tell; and which plans have a verdict by now can't be seen from outside.
    pub(in crate::machine) fn run_seen(&mut self, view: &RunView, record: Option<&RecordProgress>, now: Now) {
        let remembered = record.is_some();
        let list = self.list;
        let known = self.known.get_mut(&view.key);
        let before = match known {
            Some(known) if view.version < known.floor && known.version_list >= list => {
                if known.view.uid == view.uid {
                    known.listed = list;
                }
                return;
            }
            Some(known) if known.view.uid == view.uid && (remembered || !is_wiped(&known.view, view)) => {
                Some(known.clone())
            }
            _ => None,
        };
        let first = before.is_none();
        if before.as_ref().is_some_and(|known| is_wiped(&known.view, view)) {
            // Whatever was written is there no more.
            self.answered.retain(|claim| claim.uid != view.uid);
            self.written.retain(|claim| claim.uid != view.uid);
        }
        let stop = view.status.stop.clone().unwrap_or_default();
        // The machine knows a run at rest by its status alone, which a write of an earlier term may have changed.
        let remembered = before.as_ref().zip(record);
        let (mut requests, seen, settled, requested) = match remembered {
            Some((known, record)) => {
                let settled = record.outcomes.values().all(|outcome| *outcome != Outcome::Pending);
                (known.requests.clone(), Some(known.view.generation), settled, known.requested)
            }
            None => (
                RequestReference::of_status(&view.status),
                view.status.observed_generation,
                stop.completion_time.is_some(),
                stop.request_time.map(|time| time.0),
            ),
        };
        let set = view.stopped_set.as_ref().and_then(|set| set.time);
        let unseen_flip = settled
            && seen.is_some_and(|seen| seen + 2 <= view.generation)
            && set.zip(requested).is_some_and(|(set, asked)| set > asked);
        let left = left(view, record);
        let asked_by = requests.show(view, unseen_flip, (!left.is_empty(), !settled), now.wall);
        // They are asked for once more, and no others are.
        let again = if asked_by == Some(AskedBy::OfSome) { left } else { BTreeSet::new() };
        let asked_by = asked_by.filter(|by| *by != AskedBy::OfSome);
        let requested = asked_by.map_or(requested, |by| asked_at(by, view).or(Some(now.wall)));
        let seconds = deadline_seconds(view);
        let earlier = before.as_ref().filter(|_| asked_by.is_none()).map(|known| known.given_up.clone());
        let mut given_up = earlier.unwrap_or_default();
        let expired = view.status.plans.iter().filter(|plan| plan.outcome == Outcome::Expired);
        given_up.extend(expired.map(|plan| plan.id));
        let known = KnownRun {
            given_up,
            view: Arc::new(view.clone()),
            floor: view.version,
            version_list: list,
            listed: list,
            requests,
            requested,
            shortest: before.map_or(seconds, |known| known.shortest.min(seconds)),
        };
        self.number(&known, asked_by.is_some(), &again, first, now);
        self.known.insert((*view.key).clone(), known);
    }

    /// Gives every plan of a run its number, and another one to those that are asked for again.
    fn number(&mut self, known: &KnownRun, new: bool, again: &BTreeSet<i64>, first: bool, now: Now) {
        let (view, uid) = (&known.view, &known.view.uid);
        if first && !new {
            self.take_over(view);
        }
        if !known.requests.stands() {
            return;
        }
        let plans: BTreeSet<i64> = view.spec.plans.iter().copied().collect();
        self.asks.retain(|(other, plan), _| other != uid || (plans.contains(plan) && !again.contains(plan)));
        for plan in plans {
            let ask = self.asks.get(&(uid.clone(), plan)).copied().filter(|_| !new);
            let is_written = view.status.plans.iter().any(|other| other.id == plan);
            match ask {
                // A machine that has no record of the run knows of no earlier time than the object tells.
                Some(ask) if first && !is_written => drop(self.told.insert(ask, now.mono.0)),
                Some(_) => {}
                None => {
                    self.next_ask += 1;
                    self.asks.insert((uid.clone(), plan), self.next_ask);
                    self.told.insert(self.next_ask, now.mono.0);
                }
            }
        }
        let asks = &self.asks;
        let present = |claim: &Claim| asks.get(&(claim.uid.clone(), claim.plan)) == Some(&claim.ask);
        self.granted.retain(|(claim, _)| present(claim));
        self.written.retain(present);
        self.answered.retain(present);
    }

    /// An outcome that status tells at first sight was checked when an earlier term wrote it.
    fn take_over(&mut self, view: &RunView) {
        for plan in view.status.plans.iter().filter(|plan| is_settled(view, plan.id)) {
            self.next_ask += 1;
            let claim = Claim { uid: view.uid.clone(), plan: plan.id, ask: self.next_ask };
            self.asks.insert((claim.uid.clone(), claim.plan), claim.ask);
            self.written.insert(claim.clone());
            self.granted.insert((claim, plan.outcome));
        }
    }

    /// A run that was read by itself: news only of a run that the machine still has a record of.
    pub(in crate::machine) fn run_read(&mut self, view: &RunView, record: Option<&RecordProgress>, now: Now) {
        let is_news = |known: &KnownRun| known.view.uid == view.uid && known.floor <= view.version;
        if record.is_some() && self.known.get(&view.key).is_some_and(is_news) {
            self.run_seen(view, record, now);
        }
    }

    /// The machine has set a run aside: it will know no more of it than what the object tells.
    pub(in crate::machine) fn set_aside(&mut self, key: &Key) {
        if let Some(known) = self.known.remove(key) {
            self.asks.retain(|(uid, _), _| *uid != known.view.uid);
            self.answered.retain(|claim| claim.uid != known.view.uid);
        }
    }

    /// A write was acknowledged.
    pub(in crate::machine) fn acknowledged(&mut self, to: &Target, version: Version) {
        let list = self.list;
        if let Some(known) = self.known.get_mut(&to.key).filter(|known| known.view.uid == to.uid) {
            known.floor = known.floor.max(version);
            known.version_list = list;
        }
    }

    pub(in crate::machine) fn run_gone(&mut self, key: &Key, uid: &Uid) {
        if self.known.get(key).is_some_and(|known| known.view.uid == *uid) {
            self.known.remove(key);
        }
    }

    /// A credential was read. Replies to any but the latest reading are of an earlier spec and mean nothing.
    pub(in crate::machine) fn new_credential(&mut self, key: &GatewayKey, epoch: Epoch) {
        if let Some(known) = self.gateways.get_mut(key).filter(|known| known.credential < epoch) {
            known.credential = epoch;
            known.round += 1;
        }
        self.doubt_refusals();
    }

    /// Another credential, or another address: what was refused may be asked for once more, unless that is written.
    fn doubt_refusals(&mut self) {
        let granted = &self.granted;
        let refused = |claim: &Claim| {
            [Outcome::Rejected, Outcome::Unknown]
                .into_iter()
                .any(|outcome| granted.contains(&(claim.clone(), outcome)))
        };
        self.answered.retain(|claim| !refused(claim));
    }

    /// A call has failed for what is the gateway's.
    pub(in crate::machine) fn failed(&mut self, call: &WorldCall) {
        if let Some(known) = self.gateways.get_mut(&call.gateway.key) {
            known.failed |= known.round == call.round;
        }
    }

    pub(in crate::machine) fn runs_listed(&mut self) {
        let list = self.list;
        self.known.retain(|_, known| known.listed == list);
    }

    pub(in crate::machine) fn gateway_seen(&mut self, view: &GatewayView) {
        let before = self.gateways.remove(&view.key);
        let edited = before.as_ref().is_none_or(|b| b.view.uid != view.uid || b.view.spec != view.spec);
        let mut known = before.unwrap_or(KnownGateway {
            view: Arc::new(view.clone()),
            credential: Epoch(0),
            round: 0,
            failed: false,
        });
        known.view = Arc::new(view.clone());
        if edited {
            known.round += 1;
            known.failed = false;
        }
        self.gateways.insert(view.key.clone(), known);
        if edited {
            self.doubt_refusals();
        }
    }

    /// Everyone who wants a plan stopped at a gateway, as far as the machine has been told.
    pub(in crate::machine) fn claims(&self, gateway: &GatewayKey, plan: i64) -> Vec<Claim> {
        let wants = |known: &&KnownRun| {
            known.view.key.namespace == gateway.namespace
                && known.requests.stands_at.as_deref() == Some(&*gateway.name)
                && known.view.spec.plans.contains(&plan)
        };
        let claim = |known: &KnownRun| {
            let uid = known.view.uid.clone();
            let ask = *self.asks.get(&(uid.clone(), plan))?;
            Some(Claim { uid, plan, ask })
        };
        self.known.values().filter(wants).filter_map(claim).collect()
    }

    /// Whether the deadline of a request has passed, counted from when a machine was first told of it.
    pub(in crate::machine) fn is_late(&self, claim: &Claim, now: u64, slack: u64) -> bool {
        let known = self.known.values().find(|known| known.view.uid == claim.uid);
        let (Some(known), Some(told)) = (known, self.told.get(&claim.ask)) else { return false };
        let seconds = u64::try_from(deadline_seconds(&known.view)).unwrap_or(0);
        now > told + seconds * 1000 + slack
    }

    /// The requests that a write of this run speaks of.
    pub(in crate::machine) fn asks_of(&self, uid: &Uid) -> Vec<Claim> {
        let of = self.asks.iter().filter(|((other, _), _)| other == uid);
        of.map(|((uid, plan), ask)| Claim { uid: uid.clone(), plan: *plan, ask: *ask }).collect()
    }

    /// An answer is about to reach the machine. One from a former address shows nothing.
    pub(in crate::machine) fn show(&mut self, call: &WorldCall, answer: &Answer) {
        let key = &call.gateway.key;
        let present = self.gateways.get(key).map(|known| endpoint(&known.view));
        self.shown = present.filter(|present| *present == endpoint(&call.gateway)).map(|_| Shown {
            gateway: key.clone(),
            credential: call.credential,
            is_proof: is_proof(answer),
            may_open: may_open(answer),
        });
    }

    /// A call has been answered for these of its plans.
    pub(in crate::machine) fn grant(&mut self, call: &WorldCall, outcomes: &[(i64, Outcome)]) {
        let present = self
            .gateways
            .get(&call.gateway.key)
            .is_none_or(|known| endpoint(&known.view) == endpoint(&call.gateway));
        if !present {
            return;
        }
        for (plan, outcome) in outcomes {
            for claim in call.claims.iter().filter(|claim| claim.plan == *plan) {
                self.granted.insert((claim.clone(), *outcome));
                self.answered.insert(claim.clone());
            }
        }
        if self.gateways.get(&call.gateway.key).is_some_and(|known| known.round != call.round) {
            self.doubt_refusals();
        }
    }
}

fn deadline_seconds(view: &RunView) -> i64 {
    view.spec.stop_deadline_seconds.unwrap_or(documented::STOP_DEADLINE_SECONDS)
}

/// The time of the field that has just asked for a stop.
fn asked_at(by: AskedBy, view: &RunView) -> Option<Timestamp> {
    let (set, earliest) = match by {
        AskedBy::Stopped => (&view.stopped_set, None),
        AskedBy::Annotation => (&view.annotation_set, None),
        AskedBy::Retry | AskedBy::OfSome => (&view.retry_set, None),
        AskedBy::Deadline => (&view.deadline_set, deadline_of(view)),
        AskedBy::Cleanup => (&view.cleanup_set, None),
        AskedBy::Deletion => (&None, view.deleted),
    };
    set.as_ref().and_then(|set| set.time).max(earliest)
}

/// The plans of a run that its stop has neither stopped nor is about to, by its record or else by its status.
fn left(view: &RunView, record: Option<&RecordProgress>) -> BTreeSet<i64> {
    let told = || view.status.plans.iter().map(|plan| (plan.id, plan.outcome)).collect();
    let outcomes: BTreeMap<_, _> = record.map_or_else(told, |record| record.outcomes.clone());
    let is_left = |plan: &i64| {
        let outcome = outcomes.get(plan);
        outcome.is_none_or(|outcome| {
            !matches!(outcome, Outcome::Pending | Outcome::Accepted | Outcome::NotRunning)
        })
    };
    view.spec.plans.iter().copied().filter(is_left).collect()
}

/// Where a call goes. Another object of the same name is another place.
fn endpoint(view: &GatewayView) -> (&Uid, &str, Option<&str>) {
    (&view.uid, &view.spec.url, view.spec.company_id.as_deref())
}

fn is_wiped(before: &RunView, after: &RunView) -> bool {
    before.status.stop.is_some() && after.status.stop.is_none()
}

pub(in crate::machine) fn is_settled(view: &RunView, plan: i64) -> bool {
    let settled = |outcome| !matches!(outcome, Outcome::Pending | Outcome::Withdrawn);
    view.status.plans.iter().any(|other| other.id == plan && settled(other.outcome))
}
