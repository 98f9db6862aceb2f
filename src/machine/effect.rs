//! The effects of the machine: all that it can ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::{EventReason, TestPlanCleanupStatus, TestPlanRunStatus, TestiniumGatewayStatus};
use crate::machine::ids::{
    CallId, Epoch, GatewayKey, ObjectKey, PageSerial, PlanId, ReadSerial, RunKey, SecretVersion, Uid,
    Version, WriteSerial,
};
use crate::machine::view::GatewayView;

/// An act that the operator carries out at once. `Post`, `Write`, `ReadCredential`, `TryConnection`, `ReadRun` and
/// `ListRuns` end in exactly one input.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send `POST <url>/stop/execution` with these plans; ends in `Answered`.
    Post {
        call: CallId,
        gateway: GatewayKey,
        /// The reading whose connection is used. An edited gateway is read anew before it is called, so a connection is
        /// never one of an earlier spec.
        credential: Epoch,
        plans: Box<[PlanId]>,
        /// The gateway has not answered well of late: its connection is closed after this call, since another one may
        /// lead to another of its servers.
        last_on_connection: bool,
    },
    /// Write to the Kubernetes API; ends in `Wrote`.
    Write {
        serial: WriteSerial,
        to: Target,
        body: WriteBody,
    },
    /// Read the Secrets of the gateway, log in if that is its way, and keep the connection that all its calls are made
    /// with under this epoch; ends in `Credential`. If the Secrets are still as in `known_bad`, answer `Unchanged` and
    /// do not log in.
    ReadCredential {
        gateway: Arc<GatewayView>,
        epoch: Epoch,
        known_bad: Option<SecretVersion>,
    },
    /// Open a connection to the gateway, and close it without a request; ends in `ConnectionTried`.
    TryConnection {
        gateway: GatewayKey,
        /// The reading whose connection is used.
        credential: Epoch,
        number: u32,
    },
    /// The gateway is gone: drop its connection with all that is secret in it, and keep none that a reading under way
    /// brings. A call under way goes on.
    Disconnect(GatewayKey),
    /// GET one run; ends in `Read`.
    ReadRun(RunKey, ReadSerial),
    /// GET a page of the runs of a namespace that a label selector selects; ends in `RunsListed`.
    ListRuns {
        serial: PageSerial,
        namespace: Arc<str>,
        selector: String,
        /// Where the page begins; none for the first one.
        next: Option<String>,
    },
    Tell(Event),
    /// `Drain` is complete.
    Drained,
}

/// The object of a write, as it was last known. A write must not hit another object of the same name, nor a newer
/// version of this one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    pub key: ObjectKey,
    pub uid: Uid,
    pub version: Version,
}

/// The content of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteBody {
    /// The status of a run, whole.
    RunStatus(Arc<TestPlanRunStatus>),
    /// The status of a gateway, whole.
    GatewayStatus(Arc<TestiniumGatewayStatus>),
    /// The status of a cleanup rule, whole.
    CleanupStatus(Arc<TestPlanCleanupStatus>),
    /// The metadata of an object, in part.
    Metadata(MetadataChange),
    /// The object is deleted.
    Deletion,
}

/// What is to become of the finalizer of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FinalizerChange {
    PutOn,
    TakeOff,
}

/// A change of an object's metadata.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MetadataChange {
    /// All finalizers that the object shall have.
    Finalizers(Vec<String>),
    /// Annotations and their values; none removes one.
    Annotations(BTreeMap<String, Option<String>>),
    /// The mark by which a cleanup rule asks for a stop, under a field manager of its own.
    CleanupMark(String),
}

/// A Kubernetes event, for `kubectl describe` and `kubectl events`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    pub about: ObjectKey,
    pub uid: Uid,
    pub warning: bool,
    pub reason: EventReason,
    pub message: String,
    /// The reason that a person has given for what it tells of. It may hold anything.
    pub given: Option<String>,
}
