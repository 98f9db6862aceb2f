//! One gateway as the machine knows it: its object, its credential, its gate and its queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::machine::backoff::chance;
use crate::machine::call::Member;
use crate::machine::effect::Effect;
use crate::machine::gateways::claim::Claim;
use crate::machine::gateways::credential::{Change, Credential, CredentialError};
use crate::machine::gateways::gate::Gate;
use crate::machine::gateways::held::Held;
use crate::machine::gateways::look::Look;
use crate::machine::gateways::origin::Readiness;
use crate::machine::gateways::queue::Queue;
use crate::machine::gateways::rate::Rate;
use crate::machine::gateways::readings::Readings;
use crate::machine::gateways::settings::Settings;
use crate::machine::gateways::status::Published;
use crate::machine::gateways::suspects::SuspectHistory;
use crate::machine::gateways::verdict::{Trouble, TroubleKind};
use crate::machine::gateways::wait_cause::WaitCause;
use crate::machine::ids::{CallId, Epoch, GatewayKey, PlanId, RunId, SecretVersion};
use crate::machine::input::CredentialRead;
use crate::machine::time::Millis;
use crate::machine::view::GatewayView;

/// A gateway, or the place of one that runs wait for.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub key: GatewayKey,
    /// None while there is no such object.
    pub view: Option<Arc<GatewayView>>,
    /// What is left of its object once that is gone.
    pub remembered: Option<Remembered>,
    /// Runs whose deletion waits until their plans are stopped here. They may use what is remembered.
    pub deleting: BTreeSet<RunId>,
    /// The settings of its spec; none while no object was seen. They stay when the object goes: calls under way go on.
    pub settings: Option<Arc<Settings>>,
    /// The list that last brought it.
    pub listed_in: u32,
    /// The number of its address: an answer from another address says nothing of this one.
    pub endpoint: Epoch,
    pub credential: Credential,
    pub gate: Gate,
    /// Grows whenever the gate moves: an answer to an earlier call moves it no more.
    pub seq: u32,
    /// Whether the address has answered in Testinium's form since the object was last edited.
    pub spoken: bool,
    /// Whether an answer has shown that it works and takes the credential in use, since the object was last edited.
    pub proven: bool,
    /// The latest call with a good answer in Testinium's form.
    pub last_served_call: u32,
    /// The number of calls under way.
    pub calls: usize,
    /// The rate at which calls may follow each other.
    pub rate: Rate,
    /// The moment at which the last call with fresh ids began.
    pub last_start: Option<Millis>,
    pub queue: Queue,
    /// Ids in a call right now, or in one whose verdict is held back.
    pub in_flight: BTreeMap<PlanId, CallId>,
    pub held: Vec<Held>,
    /// Plans that were sent again after a verdict, each with the version of the Secret that it was sent again for.
    pub sent_again: BTreeMap<PlanId, Option<SecretVersion>>,
    /// Fresh ids and suspects take turns.
    pub fresh_next: bool,
    pub published: Published,
    pub look: Look,
    /// Its credential is to be read as soon as another reading ends.
    pub waits_for_reading: bool,
    /// The number of its plans in the count of all plans that wait.
    pub counted: usize,
    /// The moment at which its own status falls due.
    pub status_at: Option<Millis>,
    /// The next moment at which it acts by itself.
    pub timer: Option<Millis>,
}

/// The object of a gateway that is gone, whose connection is still there. A namespace is torn down in no order, so its
/// gateways may go before the runs that are to be stopped at them.
#[derive(Clone, Debug)]
pub struct Remembered {
    pub view: Arc<GatewayView>,
    /// It is forgotten then, or `HOLDS_FOR` later if the deletion of a run waits for it.
    pub until: Millis,
}

/// The plans of the next call of a gateway.
#[derive(Clone, Debug)]
pub struct NextCall {
    pub members: Vec<Member>,
    /// Their history as suspects; none if they are fresh.
    pub suspects: Option<SuspectHistory>,
    /// Whether it tries a shut gate.
    pub is_probe: bool,
}

// === impl Gateway ===

impl Gateway {
    pub fn new(key: GatewayKey) -> Self {
        Self {
            key,
            view: None,
            remembered: None,
            deleting: BTreeSet::new(),
            settings: None,
            listed_in: 0,
            endpoint: Epoch(0),
            credential: Credential::default(),
            gate: Gate::Open,
            seq: 0,
            spoken: false,
            proven: false,
            last_served_call: 0,
            calls: 0,
            rate: Rate::default(),
            last_start: None,
            queue: Queue::default(),
            in_flight: BTreeMap::new(),
            held: Vec::new(),
            sent_again: BTreeMap::new(),
            fresh_next: true,
            published: Published::default(),
            look: Look::default(),
            waits_for_reading: false,
            counted: 0,
            status_at: None,
            timer: None,
        }
    }

    /// Takes in the object as it now is. An edit opens the gate: the person who made it wants to see whether it helped.
    pub fn observe(&mut self, view: GatewayView, now: Millis) {
        let before = self.view.take();
        let hurried = before.as_ref().is_some_and(|b| b.reconcile_annotation != view.reconcile_annotation);
        let edited = before.as_ref().is_none_or(|b| b.uid != view.uid || b.spec != view.spec);
        let moved = before.as_ref().is_none_or(|b| {
            b.uid != view.uid || b.spec.url != view.spec.url || b.spec.company_id != view.spec.company_id
        });
        if moved {
            self.endpoint.0 += 1;
        }
        if edited {
            self.seq += 1;
            self.gate = Gate::Open;
            self.spoken = false;
            self.unprove();
            self.credential.restart();
            self.look.restart(now);
        } else if hurried {
            self.gate.hurry(now);
            self.credential.want();
            self.look.restart(now);
            self.look.at = now;
        }
        if before.as_ref().is_none_or(|b| b.uid != view.uid) {
            self.published.restart(&view, now);
        } else {
            self.published.observe(&view);
        }
        self.settings = Some(Arc::new(Settings::of(&view.spec)));
        self.view = Some(Arc::new(view));
    }

    /// The cause for which the ids here have to wait, if they have to. `unknown`: the cause if there is no object.
    pub fn wait_cause<'a>(&'a self, unknown: WaitCause<'a>) -> Option<WaitCause<'a>> {
        match (self.object(), &self.credential.error, &self.gate) {
            (None, ..) => Some(unknown),
            (Some((_, settings)), ..) if settings.is_suspended => Some(WaitCause::Suspended),
            (Some(_), Some(error), _) if !self.has_credential() => Some(WaitCause::Credential(error)),
            (Some(_), _, Gate::Shut(shut)) => Some(WaitCause::Shut(shut)),
            (Some(_), _, Gate::Open) => None,
        }
    }

    /// Nothing that is known of its calls counts any more: the object was edited, or there is another credential.
    fn unprove(&mut self) {
        self.proven = false;
        self.published.inherited = None;
    }

    /// A call with this credential was answered, and not in a way that shuts the gate. `is_proof`: only a gateway that
    /// works and takes the credential answers so.
    pub fn answered(&mut self, credential: Epoch, is_proof: bool) {
        self.proven |= is_proof && credential == self.credential.epoch;
        let is_refuted = |claim| matches!(claim, Claim::Waits(_) | Claim::Past(_));
        if self.published.inherited.as_ref().is_some_and(|said| is_refuted(said.claim)) {
            self.published.inherited = None;
        }
    }

    /// Shuts the gate for the trouble that one of its own calls met.
    pub fn shut(&mut self, trouble: Trouble, now: Millis, seed: u64) {
        self.published.inherited = None;
        self.proven &= !trouble.doubts_credential;
        let failures = if trouble.doubts_credential {
            self.credential.rejected(now, trouble.kind == TroubleKind::Unauthorized);
            // Only a proven credential ends this count: a login that works and a token that doesn't must not chase
            // each other.
            self.credential.failures.saturating_sub(1)
        } else {
            self.gate.failures()
        };
        self.look.restart(now);
        self.seq += 1;
        let chance = chance(seed, &self.key, u64::from(self.seq));
        if let Some(settings) = &self.settings {
            self.gate.shut(trouble, failures, now, settings.backoff, chance);
        }
    }

    /// Notes a good answer: groups that have failed often enough meanwhile are to blame.
    pub fn note_served(&mut self, call: CallId) {
        self.last_served_call = self.last_served_call.max(call.0 as u32);
        self.queue.blame(self.last_served_call);
    }

    pub fn open(&mut self) {
        if self.gate != Gate::Open {
            self.seq += 1;
            self.gate = Gate::Open;
        }
    }

    /// Begins to read the credential if that is due, and if no more than so many readings are under way.
    pub fn read_credential(&mut self, readings: &mut Readings, now: Millis, out: &mut Vec<Effect>) {
        self.waits_for_reading = false;
        let Some((view, settings)) = self.object() else { return readings.leave(&self.key) };
        let (view, is_login) = (view.clone(), settings.is_login);
        let doubted = self.doubts_secrets();
        if !self.credential.due(now, self.awaited(), doubted) {
            return readings.leave(&self.key);
        }
        let Some(epoch) = readings.begin(&self.key, self.awaited()) else {
            self.waits_for_reading = true;
            return;
        };
        let known_bad = self.credential.begin(epoch, now, is_login, doubted, self.awaited());
        out.push(Effect::ReadCredential { gateway: view, epoch, known_bad });
    }

    /// Has the Secret read beside a probe: whatever has shut the gate, another credential may open it.
    pub fn probes(&mut self) {
        self.credential.doubt(false);
    }

    /// Whether its Secrets are the most likely cause of the trouble: then they are read more often than the gate is
    /// tried. If they hold certificates, any failure to reach the gateway may be theirs: a server that refuses a
    /// client's certificate may just close the connection.
    fn doubts_secrets(&self) -> bool {
        match self.gate.trouble() {
            Some(TroubleKind::Unauthorized | TroubleKind::Forbidden) => true,
            Some(TroubleKind::Down) => self.object().is_some_and(|(_, settings)| settings.has_certificates),
            Some(TroubleKind::Misconfigured) | None => false,
        }
    }

    /// Takes in the end of a reading.
    pub fn credential_read(&mut self, epoch: Epoch, read: CredentialRead, now: Millis) {
        let is_latest = self.credential.reading == Some(epoch);
        // A credential that was not read before in this term may be the one that the status speaks of.
        let is_first = match &self.credential.error {
            Some(CredentialError::Missing(_) | CredentialError::Invalid(_) | CredentialError::Refused(_)) => {
                false
            }
            Some(CredentialError::Failed(_)) | None => self.credential.version.is_none(),
        };
        let change = self.credential.read(epoch, read, now);
        if is_latest {
            self.held_are_ready(epoch);
        }
        let is_shut = self.gate != Gate::Open;
        if change == Change::New && !is_first || change == Change::Renewed && is_shut {
            self.unprove();
        }
        match change {
            Change::None => {}
            Change::New if is_shut => self.open(),
            // A login that works and a token that doesn't must not chase each other.
            Change::Renewed if is_shut && self.credential.failures <= 1 => self.open(),
            Change::New | Change::Renewed => self.seq += 1,
        }
    }

    /// Whether a plan waits here for a call.
    pub fn awaited(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether a plan waits here or is in a call.
    pub fn is_wanted(&self) -> bool {
        self.awaited() || !self.in_flight.is_empty()
    }

    /// Whether the gateway may be forgotten: there is no object, and no run asks for it.
    pub fn is_idle(&self) -> bool {
        let is_wanted = !self.queue.is_empty() || !self.in_flight.is_empty() || !self.deleting.is_empty();
        !self.is_member() && !is_wanted
    }

    /// Takes the plans of the next call, if one may begin now.
    pub fn next_call(&mut self, now: Millis) -> Option<NextCall> {
        match self.readiness(now) {
            Readiness::NotReady => return None,
            Readiness::Probe => {
                self.fresh_next = !self.fresh_next;
                let (member, suspects) = self.queue.take_probe(self.fresh_next, now)?;
                return Some(NextCall { members: vec![member], suspects, is_probe: true });
            }
            Readiness::Call => {}
        }
        let settings = self.object()?.1.clone();
        let fresh = self.fresh_at(&settings).is_some_and(|at| at <= now);
        let suspects = self.queue.suspects_at().is_some_and(|at| at <= now);
        if suspects && !(fresh && self.fresh_next) {
            self.fresh_next = true;
            if let Some((members, history)) = self.queue.take_suspects(settings.max_plans, now) {
                return Some(NextCall { members, suspects: Some(history), is_probe: false });
            }
        }
        if !fresh {
            return None;
        }
        self.fresh_next = false;
        let members = self.queue.take_fresh(settings.max_plans);
        if members.is_empty() {
            return None;
        }
        self.last_start = Some(now);
        Some(NextCall { members, suspects: None, is_probe: false })
    }

    /// The moment at which a call could begin as far as this gateway goes: by its own limits, its gate and its queue.
    pub fn call_at(&self) -> Option<Millis> {
        let (_, settings) = self.object()?;
        if self.calls >= settings.max_in_flight {
            return None;
        }
        let at = self.wanted_at(settings)?;
        Some(at.max(self.rate.free_at(settings.calls_per_second)))
    }

    /// Whether a call could begin now, and of which kind.
    pub fn readiness(&self, now: Millis) -> Readiness {
        match (self.call_at().is_some_and(|at| at <= now), &self.gate) {
            (false, _) => Readiness::NotReady,
            (true, Gate::Open) => Readiness::Call,
            (true, Gate::Shut(_)) => Readiness::Probe,
        }
    }

    fn wanted_at(&self, settings: &Settings) -> Option<Millis> {
        match &self.gate {
            _ if settings.is_suspended || !self.has_credential() => None,
            Gate::Shut(shut) if shut.probe.is_some() => None,
            Gate::Shut(shut) if self.queue.fresh_len() > 0 => Some(shut.until),
            Gate::Shut(shut) => self.queue.suspects_at().map(|at| at.max(shut.until)),
            Gate::Open => [self.fresh_at(settings), self.queue.suspects_at()].into_iter().flatten().min(),
        }
    }

    /// The moment at which the credential is to be read.
    pub fn credential_at(&self) -> Option<Millis> {
        // A reading that waits for the end of another one needs no timer.
        self.object().filter(|_| !self.waits_for_reading)?;
        self.credential.due_at(self.awaited(), self.doubts_secrets())
    }

    /// The moment at which the reading begins that a verdict is held back for. It begins even if no call may: the
    /// verdict must not wait in vain.
    pub fn held_at(&self) -> Option<Millis> {
        if self.held.is_empty() || self.waits_for_reading {
            None
        } else {
            self.credential.due_at(false, false)
        }
    }

    /// The moment at which the runs that wait here are to be told of a changed reason.
    pub fn notify_at(&self) -> Option<Millis> {
        self.published.notify_at().filter(|_| self.awaited())
    }

    /// The moment from which on the gateway's own status is to be written, if it is to be.
    pub fn status_due(&self) -> Option<Millis> {
        self.published.due(self.view.as_ref()?.generation)
    }

    /// The moment at which the next call with fresh ids may begin: at once after a quiet spell or with a full batch,
    /// else at the end of the window.
    fn fresh_at(&self, settings: &Settings) -> Option<Millis> {
        match self.queue.fresh_len() {
            0 => None,
            len if len >= settings.max_plans => Some(Millis(0)),
            _ => Some(self.last_start.map_or(Millis(0), |last| last + settings.window)),
        }
    }

    /// The pause of a plan that makes the gateway fail while the gateway serves others.
    pub fn quarantine_delay(&self, failures: u8, chance: u64, trouble: &Trouble) -> Millis {
        let backoff = self.settings.as_ref().map(|settings| settings.backoff);
        backoff.map_or(Millis(0), |backoff| backoff.delay(failures, chance, trouble.retry_after))
    }
}
