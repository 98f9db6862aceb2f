//! The inputs of the machine: all that can reach it.

use crate::machine::answer::{Answer, NoAnswer};
use crate::machine::ids::{
    CallId, Epoch, GatewayKey, ObjectKey, PageSerial, ReadSerial, RunKey, SecretVersion, Uid, Version,
    WriteSerial,
};
use crate::machine::list::Extent;
use crate::machine::time::Millis;
use crate::machine::view::{Candidate, ObjectView, RunView};

/// An event outside of the machine.
#[derive(Clone, Debug)]
pub enum Input {
    /// A list is about to be requested: all of its extent that follows up to its `ListDone` is its content.
    ListBegan(Extent),
    ListDone(Extent),
    /// A list is not possible, such as for want of RBAC. The text is for users.
    ListFailed(Extent, String),
    /// An object of the API server, as it now is.
    Seen(ObjectView),
    Gone(ObjectKey, Uid),
    /// An object that could not be decoded, and why.
    Unreadable(ObjectKey, Uid, Version, String),
    /// The end of a `ReadCredential` of that epoch.
    Credential(GatewayKey, Epoch, CredentialRead),
    Answered(CallId, Answer),
    /// The end of the `TryConnection` with that number.
    ConnectionTried(GatewayKey, u32, Reached),
    /// The end of a `Write`.
    Wrote(WriteSerial, WriteResult),
    /// The end of a `ReadRun`: with the run, or with nothing that the watch would not tell.
    Read(RunKey, ReadSerial, Option<Box<RunView>>),
    /// Whether the operator may patch runs in all namespaces, and so may put finalizers on.
    MayPatchRuns(bool),
    /// The end of a `ListRuns`.
    RunsListed(PageSerial, RunsPage),
    /// The time that `wake_at` named has come.
    Wake,
    /// Begin nothing new; finish what is under way.
    Drain,
}

/// The result of reading a credential. The secret itself stays with the operator, under the epoch of the reading.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CredentialRead {
    /// There is a credential, made of this version of the Secrets; good for that long, if that is known.
    Have { version: SecretVersion, good_for: Option<Millis> },
    /// The Secrets are still as they were when the credential `known_bad` was made.
    Unchanged,
    /// A Secret, ConfigMap or key is not there. The text names it, for users.
    Missing(String),
    /// The Secret holds a value that can't be used, such as a token with a line break. The text says why, for users.
    Invalid(String),
    /// The token endpoint refused the login: another try with this state could lock the account.
    Refused { version: SecretVersion, why: String },
    /// The Kubernetes API or the token endpoint did not answer properly; worth another try.
    Failed { why: String, retry_after: Option<Millis> },
}

/// The end of a request for a page of runs.
#[derive(Clone, Debug)]
pub enum RunsPage {
    /// `unreadable`: those that could not be decoded. `next`: where the next page begins; none after the last one.
    Page { runs: Vec<Candidate>, unreadable: Vec<RunKey>, next: Option<String> },
    /// There is none, and the list has to begin anew. The text is for users.
    Failed { why: String, retry_after: Option<Millis> },
}

/// The end of a try to open a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reached {
    Opened,
    NotOpened(NoAnswer),
    /// Only a call can tell, such as behind a proxy.
    NotKnown,
}

/// The end of a write to the Kubernetes API.
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
