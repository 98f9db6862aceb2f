//! Requests to the API server that are under way: they land, and later their reply comes or is lost.

use std::sync::Arc;

use super::World;
use super::reference::Claim;
use crate::api::{TestPlanRunStatus, TestiniumGatewayStatus};
use crate::machine::checks::fixtures::wall;
use crate::machine::*;

/// A request to the API server under way.
#[derive(Clone, Debug)]
pub(in crate::machine) struct ServerOp {
    pub(in crate::machine) request: ServerRequest,
    /// How it ended, once the API server has carried it out.
    pub(in crate::machine) done: Option<Input>,
    /// The process that began it has died.
    pub(in crate::machine) orphan: bool,
}

/// A request to the API server.
#[derive(Clone, Debug)]
pub(in crate::machine) enum ServerRequest {
    Write { run: RunId, serial: WriteSerial, to: Target, status: Arc<TestPlanRunStatus>, asks: Vec<Claim> },
    WriteGateway { serial: WriteSerial, to: Target, status: Arc<TestiniumGatewayStatus> },
    Read(Key),
    ReadCredential { gateway: Arc<GatewayView>, epoch: Epoch, known_bad: Option<SecretVersion> },
}

// === impl ServerOp ===

impl ServerOp {
    pub(in crate::machine) fn is_write(&self) -> bool {
        matches!(self.request, ServerRequest::Write { .. } | ServerRequest::WriteGateway { .. })
    }

    pub(in crate::machine) fn writes_run(&self, key: &Key, uid: &Uid) -> bool {
        matches!(&self.request, ServerRequest::Write { to, .. } if to.key == *key && to.uid == *uid)
    }
}

// === impl World ===

impl World {
    /// The API server carries a request out.
    pub(in crate::machine) fn land(&mut self, id: u64) {
        self.server.wall = wall(self.now);
        let Some(op) = self.ops.get(&id).filter(|op| op.done.is_none()) else { return };
        let (request, orphan) = (op.request.clone(), op.orphan);
        let done = match request {
            ServerRequest::Write { run, serial, to, status, asks } => {
                let before = self.server.runs.get(&to.key).cloned();
                let result = self.server.write_run(&to, &status);
                if let (WriteResult::Done(_), Some(before)) = (result, before) {
                    let after = self.server.runs.get(&to.key).cloned();
                    after.into_iter().for_each(|after| self.check_landed(&before, &after, &asks, orphan));
                    self.trace.writes.push(to.key.clone());
                }
                Input::Wrote(run, serial, result)
            }
            ServerRequest::WriteGateway { serial, to, status } => {
                let result = self.server.write_gateway(&to, &status);
                Input::WroteGateway(to.key, serial, result)
            }
            ServerRequest::Read(key) => {
                let found = self.server.runs.get(&key).map(|view| Box::new((**view).clone()));
                Input::Read(key, found)
            }
            ServerRequest::ReadCredential { gateway, epoch, known_bad } => {
                self.read_secret(&gateway.key, epoch, known_bad)
            }
        };
        if orphan {
            self.ops.remove(&id);
        } else if let Some(op) = self.ops.get_mut(&id) {
            op.done = Some(done);
        }
    }

    /// The reply to a request reaches the machine, after it has landed.
    pub(in crate::machine) fn reply(&mut self, id: u64) {
        self.land(id);
        let Some(op) = self.ops.remove(&id) else { return };
        if let (ServerRequest::Write { to, .. }, Some(Input::Wrote(_, _, WriteResult::Done(version)))) =
            (&op.request, &op.done)
        {
            self.reference.acknowledged(to, *version);
        }
        op.done.into_iter().for_each(|input| self.feed(input));
    }

    /// The reply is lost, whether or not the request has landed; the machine hears of a failure.
    pub(in crate::machine) fn lose(&mut self, id: u64) {
        let Some(op) = self.ops.remove(&id) else { return };
        let failed = WriteResult::Failed { retry_after: None };
        self.feed(match op.request {
            ServerRequest::Write { run, serial, .. } => Input::Wrote(run, serial, failed),
            ServerRequest::WriteGateway { serial, to, .. } => Input::WroteGateway(to.key, serial, failed),
            ServerRequest::Read(key) => Input::Read(key, None),
            ServerRequest::ReadCredential { gateway, epoch, .. } => {
                let read = CredentialRead::Failed { why: "no answer".to_owned(), retry_after: None };
                Input::Credential(gateway.key.clone(), epoch, read)
            }
        });
    }

    /// The API server refuses a write for what it is.
    pub(in crate::machine) fn refuse(&mut self, id: u64) {
        self.answer_write(id, WriteResult::Refused(422));
    }

    /// The API server answers a write so without having looked at it.
    pub(in crate::machine) fn answer_write(&mut self, id: u64, result: WriteResult) {
        let Some(ServerOp { request: ServerRequest::Write { run, serial, .. }, .. }) = self.ops.get(&id)
        else {
            return self.reply(id);
        };
        let input = Input::Wrote(*run, *serial, result);
        self.ops.remove(&id);
        self.feed(input);
    }

    pub(super) fn read_secret(&mut self, key: &Key, epoch: Epoch, known_bad: Option<SecretVersion>) -> Input {
        let read = self.fake_gateway.credential(known_bad);
        if matches!(read, CredentialRead::Have { .. }) {
            // A call carries one of the latest.
            self.secrets.retain(|(other, kept), _| other != key || kept.0 + 64 > epoch.0);
            self.secrets.insert((key.clone(), epoch), self.fake_gateway.secret);
        }
        Input::Credential(key.clone(), epoch, read)
    }

    pub(super) fn begin(&mut self, request: ServerRequest) {
        self.next_op += 1;
        self.ops.insert(self.next_op, ServerOp { request, done: None, orphan: false });
    }
}
