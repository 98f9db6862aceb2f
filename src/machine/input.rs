//! All that can reach the machine, and all that it can ask for.

use std::sync::Arc;

use strum::{IntoStaticStr, VariantArray};

use crate::api::{TestPlanRunStatus, TestiniumGatewayStatus};
use crate::machine::answer::Answer;
use crate::machine::ids::{
    CallId, Epoch, GatewayKey, Key, Millis, PlanId, RunId, RunKey, SecretVersion, Uid, Version, WriteSerial,
};
use crate::machine::view::{GatewayView, RunView};

/// A watched kind.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, Ord, PartialEq, PartialOrd, VariantArray)]
pub enum Kind {
    Runs,
    Gateways,
}

/// Something that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A list is about to be requested: whatever follows up to `ListDone` is its content.
    ListBegan(Kind),
    ListDone(Kind),
    /// A list or watch of this kind is not possible, such as for want of RBAC. The text is for users.
    ListFailed(Kind, String),
    RunSeen(Box<RunView>),
    RunGone(RunKey, Uid),
    /// A run that could not be decoded, and why.
    RunUnreadable(RunKey, Uid, Version, String),
    GatewaySeen(Box<GatewayView>),
    GatewayGone(GatewayKey, Uid),
    GatewayUnreadable(GatewayKey, Uid, Version, String),
    /// How a `ReadCredential` of that epoch ended.
    Credential(GatewayKey, Epoch, CredentialRead),
    Answered(CallId, Answer),
    Wrote(RunId, WriteSerial, WriteResult),
    WroteGateway(GatewayKey, WriteSerial, WriteResult),
    /// How a `ReadRun` ended: with the run, or with nothing that the watch would not tell.
    Read(RunKey, Option<Box<RunView>>),
    /// The time that `wake_at` named has come.
    Wake,
    /// Begin nothing new; finish what is under way.
    Drain,
}

/// What came of reading a credential. The secret itself stays with the shell, under the epoch of the request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CredentialRead {
    /// There is one, made of this state of the Secrets; good for that long, if that is known.
    Have { version: SecretVersion, good_for: Option<Millis> },
    /// The Secrets are still as they were when the credential `known_bad` was made.
    Unchanged,
    /// A Secret, ConfigMap or key is not there. The text names it, for users.
    Missing(String),
    /// What is there can't be used, such as a token with a line break. The text says why, for users.
    Invalid(String),
    /// The token endpoint refused the login: another try with this state could lock the account.
    Refused { version: SecretVersion, why: String },
    /// The Kubernetes API or the token endpoint did not answer properly; worth another try.
    Failed { why: String, retry_after: Option<Millis> },
}

/// How a write to the Kubernetes API ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WriteResult {
    /// Written; the object now has this version.
    Done(Version),
    /// 409: the object is newer, or another one.
    Conflict,
    /// 404.
    Gone,
    /// Refused for what it is: 400, 403, 413, 422.
    Refused(u16),
    /// No answer, 429 or 5xx: worth another try.
    Failed { retry_after: Option<Millis> },
}

/// Something that the shell shall do at once. `Post`, `Write`, `WriteGateway`, `ReadCredential` and `ReadRun` end in
/// exactly one input.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send `POST <url>/stop/execution` with these plans; ends in `Answered`.
    Post {
        call: CallId,
        gateway: Arc<GatewayView>,
        /// The credential that was stored under this epoch.
        credential: Epoch,
        plans: Box<[PlanId]>,
        /// The gateway has not answered well of late: its connection is closed after this call, since another one may
        /// lead to another of its servers.
        last_on_connection: bool,
    },
    /// PUT this status; ends in `Wrote`.
    Write {
        run: RunId,
        serial: WriteSerial,
        to: Target,
        status: Arc<TestPlanRunStatus>,
    },
    /// PUT this status; ends in `WroteGateway`.
    WriteGateway {
        serial: WriteSerial,
        to: Target,
        status: Box<TestiniumGatewayStatus>,
    },
    /// Read the Secrets of the gateway, log in if that is its way, and keep the credential under this epoch; ends in
    /// `Credential`. If the Secrets are still as in `known_bad`, answer `Unchanged` and do not log in.
    ReadCredential {
        gateway: Arc<GatewayView>,
        epoch: Epoch,
        known_bad: Option<SecretVersion>,
    },
    /// GET one run; ends in `Read`.
    ReadRun(RunKey),
    Tell(Event),
    /// `Drain` is complete.
    Drained,
}

/// The object of a write, as it was last known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    pub key: Key,
    pub uid: Uid,
    pub version: Version,
}

/// A line that was crossed, for `kubectl describe` and `kubectl events`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    pub kind: Kind,
    pub key: Key,
    pub uid: Uid,
    pub warning: bool,
    pub reason: &'static str,
    pub message: String,
}
