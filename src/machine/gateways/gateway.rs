//! One gateway as the machine knows it: its object, its credential, its gate and its queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::backoff::{Backoff, chance};
use crate::machine::gateways::credential::Credential;
use crate::machine::gateways::gate::Gate;
use crate::machine::gateways::held::Held;
use crate::machine::gateways::queue::{Member, Queue, SuspectHistory};
use crate::machine::gateways::status::Published;
use crate::machine::gateways::verdict::{Trouble, TroubleKind};
use crate::machine::ids::{CallId, Epoch, GatewayKey, Millis, PlanId, SecretVersion};
use crate::machine::input::{CredentialRead, Effect};
use crate::machine::view::GatewayView;
use crate::machine::wait_reason::{WaitCause, WaitReason};

/// A gateway, or the place of one that runs wait for.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub key: GatewayKey,
    /// None while there is no such object.
    pub view: Option<Arc<GatewayView>>,
    /// Scheme, host and port of its URL: whose limits it shares.
    pub origin: String,
    /// The list that last brought it.
    pub listed_in: u32,
    /// Which address: an answer from another one says nothing of this one.
    pub endpoint: Epoch,
    pub credential: Credential,
    pub gate: Gate,
    /// Grows whenever the gate moves: an answer to an earlier call moves it no more.
    pub seq: u32,
    /// The address has answered in Testinium's form since the object was last edited.
    pub spoken: bool,
    /// The latest call that had an answer in Testinium's form that was no bad one.
    pub last_served_call: u32,
    /// When the last call with fresh ids began.
    pub last_start: Option<Millis>,
    pub queue: Queue,
    /// Ids in a call right now, or in one whose verdict is held back.
    pub in_flight: BTreeMap<PlanId, CallId>,
    pub held: Vec<Held>,
    /// Plans that were sent again after a verdict, and for which version of the Secret.
    pub sent_again: BTreeMap<PlanId, Option<SecretVersion>>,
    /// Fresh ids and suspects take turns.
    pub fresh_next: bool,
    pub published: Published,
}

/// A call under way.
#[derive(Clone, Debug)]
pub struct Call {
    pub gateway: GatewayKey,
    pub origin: String,
    pub endpoint: Epoch,
    pub credential: Epoch,
    pub seq: u32,
    pub members: Vec<Member>,
    /// None if its ids were fresh.
    pub suspects: Option<SuspectHistory>,
}

impl Call {
    pub fn plans(&self) -> Vec<PlanId> {
        self.members.iter().map(|member| member.plan).collect()
    }
}

// === impl Gateway ===

impl Gateway {
    pub fn new(key: GatewayKey) -> Self {
        Self {
            key,
            view: None,
            origin: String::new(),
            listed_in: 0,
            endpoint: Epoch(0),
            credential: Credential::default(),
            gate: Gate::Open,
            seq: 0,
            spoken: false,
            last_served_call: 0,
            last_start: None,
            queue: Queue::default(),
            in_flight: BTreeMap::new(),
            held: Vec::new(),
            sent_again: BTreeMap::new(),
            fresh_next: true,
            published: Published::default(),
        }
    }

    /// The object as it now is. An edit opens the gate: whoever made it wants to see whether it helped.
    pub fn observe(&mut self, view: GatewayView, now: Millis) {
        let before = self.view.take();
        let hurried = before.as_ref().is_some_and(|b| b.reconcile_annotation != view.reconcile_annotation);
        let edited = before.as_ref().is_none_or(|b| b.uid != view.uid || b.spec != view.spec);
        let moved = before.as_ref().is_none_or(|b| {
            b.uid != view.uid || b.spec.url != view.spec.url || b.spec.company_id != view.spec.company_id
        });
        if before.as_ref().is_none_or(|b| b.uid != view.uid) {
            self.published.restart(&view.status, now);
        }
        if moved {
            self.endpoint.0 += 1;
        }
        if edited {
            self.seq += 1;
            self.gate = Gate::Open;
            self.spoken = false;
            self.credential.restart();
        } else if hurried {
            self.gate.hurry(now);
            self.credential.want();
        }
        self.view = Some(Arc::new(view));
    }

    /// What stands between the ids that wait here and a call. `listed`: whether gateways could be listed, and if not,
    /// why.
    pub fn wait_cause<'a>(&'a self, listed: Result<(), &'a str>) -> Option<WaitCause<'a>> {
        match (&self.view, &self.credential.problem, &self.gate) {
            (None, ..) => Some(WaitCause::unknown_gateway(listed)),
            (Some(view), ..) if view.spec.suspend == Some(true) => Some(WaitCause::Suspended),
            (Some(_), Some(problem), _) => Some(WaitCause::Credential(problem)),
            (Some(_), None, Gate::Shut(shut)) => Some(WaitCause::Shut(shut)),
            (Some(_), None, Gate::Open) => None,
        }
    }

    /// Why the ids wait that are here, if they have to.
    pub fn wait_reason(&self, listed: Result<(), &str>) -> Option<WaitReason> {
        self.wait_cause(listed).map(WaitCause::reason)
    }

    /// Shuts the gate for the trouble that one of its own calls met.
    pub fn shut(&mut self, trouble: Trouble, now: Millis, seed: u64) {
        let failures = if trouble.doubts_credential {
            self.credential.rejected(now, trouble.kind == TroubleKind::Unauthorized);
            // Only a proven credential ends this count: a login that works and a token that doesn't must not chase
            // each other.
            self.credential.failures.saturating_sub(1)
        } else {
            self.gate.failures()
        };
        self.seq += 1;
        let chance = chance(seed, &self.key, u64::from(self.seq));
        self.gate.shut(trouble, failures, now, self.backoff(), chance);
    }

    /// The gateway has answered as it should: whoever has failed often enough meanwhile is to blame.
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

    /// Begins to read the credential if that is due.
    pub fn read_credential(&mut self, next: &mut u64, now: Millis, out: &mut Vec<Effect>) {
        let Some(view) = &self.view else { return };
        let doubted = self.doubts_secrets();
        if !self.credential.due(now, self.awaited(), doubted) {
            return;
        }
        *next += 1;
        let epoch = Epoch(*next);
        let is_login = view.spec.auth.password.is_some();
        let known_bad = self.credential.begin(epoch, now, is_login, doubted);
        out.push(Effect::ReadCredential { gateway: view.clone(), epoch, known_bad });
    }

    /// A plan is about to try a shut gate. Whatever shut it, another credential may be what it takes.
    pub fn probes(&mut self) {
        self.credential.doubt(false);
    }

    /// Whether its Secrets are what the trouble is most likely about: then they are looked at more often than the gate
    /// is tried. With certificates in them, any failure to reach it may be theirs: a server that refuses a client's
    /// certificate may just close the connection.
    fn doubts_secrets(&self) -> bool {
        match self.gate.trouble() {
            Some(TroubleKind::Unauthorized | TroubleKind::Forbidden) => true,
            Some(TroubleKind::Down) => self.view.as_ref().is_some_and(|view| view.spec.tls.is_some()),
            Some(TroubleKind::Misconfigured) | None => false,
        }
    }

    /// A reading has ended.
    pub fn credential_read(&mut self, epoch: Epoch, read: CredentialRead, now: Millis) {
        use super::credential::Change;
        let is_latest = self.credential.reading == Some(epoch);
        let change = self.credential.read(epoch, read, now);
        if is_latest {
            self.held_are_ready(epoch);
        }
        let is_shut = self.gate != Gate::Open;
        match change {
            Change::None => {}
            Change::New if is_shut => self.open(),
            // A login that works and a token that doesn't must not chase each other.
            Change::Renewed if is_shut && self.credential.failures <= 1 => self.open(),
            Change::New | Change::Renewed => self.seq += 1,
        }
    }

    /// Whether anybody waits here.
    pub fn awaited(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether the object may be forgotten: it is not there, and nobody asks for it.
    pub fn is_idle(&self) -> bool {
        self.view.is_none() && self.queue.is_empty() && self.in_flight.is_empty()
    }

    /// The ids of the next call, if one may begin now.
    pub fn next_call(&mut self, now: Millis) -> Option<(Vec<Member>, Option<SuspectHistory>, bool)> {
        let view = self.view.clone()?;
        if view.spec.suspend == Some(true) || !self.credential.is_there() {
            return None;
        }
        if let Gate::Shut(shut) = &self.gate {
            if shut.probe.is_some() || shut.until > now {
                return None;
            }
            self.fresh_next = !self.fresh_next;
            let (member, history) = self.queue.take_probe(self.fresh_next, now)?;
            return Some((vec![member], history, true));
        }
        let max = max_plans(&view);
        let fresh = self.fresh_at(&view).is_some_and(|at| at <= now);
        let suspects = self.queue.suspects_at().is_some_and(|at| at <= now);
        if suspects && !(fresh && self.fresh_next) {
            self.fresh_next = true;
            if let Some((members, history)) = self.queue.take_suspects(max, now) {
                return Some((members, Some(history), false));
            }
        }
        if !fresh {
            return None;
        }
        self.fresh_next = false;
        let members = self.queue.take_fresh(max);
        if members.is_empty() {
            return None;
        }
        self.last_start = Some(now);
        Some((members, None, false))
    }

    /// When a call could begin as far as this gateway goes, or the credential is to be read.
    pub fn wake_at(&self) -> Option<Millis> {
        let view = self.view.as_ref()?;
        let doubted = self.doubts_secrets();
        let call = match &self.gate {
            _ if view.spec.suspend == Some(true) || !self.credential.is_there() => None,
            Gate::Shut(shut) if shut.probe.is_some() => None,
            Gate::Shut(shut) if self.queue.fresh_len() > 0 => Some(shut.until),
            Gate::Shut(shut) => self.queue.suspects_at().map(|at| at.max(shut.until)),
            Gate::Open => [self.fresh_at(view), self.queue.suspects_at()].into_iter().flatten().min(),
        };
        [call, self.credential.due_at(self.awaited(), doubted)].into_iter().flatten().min()
    }

    /// When the next call with fresh ids may begin: at once after a quiet spell or with a full batch, else when the
    /// window ends.
    fn fresh_at(&self, view: &GatewayView) -> Option<Millis> {
        match self.queue.fresh_len() {
            0 => None,
            len if len >= max_plans(view) => Some(Millis(0)),
            _ => Some(self.last_start.map_or(Millis(0), |last| last + window(view))),
        }
    }

    /// How long a plan waits that makes the gateway fail, while the gateway serves others.
    pub fn quarantine_delay(&self, failures: u8, chance: u64, trouble: &Trouble) -> Millis {
        self.backoff().delay(failures, chance, trouble.retry_after)
    }

    fn backoff(&self) -> Backoff {
        let retry = self.view.as_ref().and_then(|view| view.spec.retry.clone()).unwrap_or_default();
        Backoff {
            initial: Millis::from_secs(retry.initial_delay_seconds.unwrap_or(1)),
            max: Millis::from_secs(retry.max_delay_seconds.unwrap_or(300)),
        }
    }
}

fn max_plans(view: &GatewayView) -> usize {
    let max = view.spec.batching.as_ref().and_then(|batching| batching.max_plans).unwrap_or(100);
    usize::try_from(max).unwrap_or(1).clamp(1, 1000)
}

fn window(view: &GatewayView) -> Millis {
    let window = view.spec.batching.as_ref().and_then(|batching| batching.window_milliseconds).unwrap_or(50);
    Millis(u64::try_from(window).unwrap_or(0))
}
