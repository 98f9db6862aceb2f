//! Requests to the API server that are under way: they land, and later their reply comes or is lost.

use std::sync::Arc;

use super::World;
use super::reference::Claim;
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
    Write { serial: WriteSerial, to: Target, body: WriteBody, asks: Vec<Claim> },
    Read(RunKey, ReadSerial),
    ReadCredential { gateway: Arc<GatewayView>, epoch: Epoch, known_bad: Option<SecretVersion> },
}

// === impl ServerOp ===

impl ServerOp {
    pub(in crate::machine) fn is_write(&self) -> bool {
        matches!(self.request, ServerRequest::Write { .. })
    }

    pub(in crate::machine) fn is_deletion(&self) -> bool {
        matches!(&self.request, ServerRequest::Write { body: WriteBody::Deletion, .. })
    }

    pub(in crate::machine) fn writes(&self, target: &Target) -> bool {
        matches!(&self.request, ServerRequest::Write { to, .. } if to.key == target.key && to.uid == target.uid)
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
            ServerRequest::Write { serial, to, body, asks } => {
                let before = self.server.run_of(&to.key).cloned();
                self.check_gateway_write(&to, &body);
                let result = self.server.write(&to, &body);
                if let (WriteResult::Done(_), Some(before)) = (result, before) {
                    let is_status = matches!(body, WriteBody::RunStatus(_));
                    let after = self.server.run_of(&to.key).cloned().filter(|_| is_status);
                    after.into_iter().for_each(|after| self.check_landed(&before, &after, &asks, orphan));
                    self.trace.writes.push((*to.key).clone());
                } else if let (WriteResult::Done(_), WriteBody::GatewayStatus(_)) = (result, &body) {
                    self.trace.gateway_writes += 1;
                }
                Input::Wrote(serial, result)
            }
            ServerRequest::Read(key, serial) => {
                let found = self.server.runs.get(&key).map(|view| Box::new((**view).clone()));
                Input::Read(key, serial, found)
            }
            ServerRequest::ReadCredential { gateway, epoch, known_bad } => {
                self.read_secret(gateway, epoch, known_bad)
            }
        };
        if orphan {
            self.ops.remove(&id);
        } else if let Some(op) = self.ops.get_mut(&id) {
            op.done = Some(done);
        }
    }

    /// The reply to a request reaches the machine, after the request was carried out.
    pub(in crate::machine) fn reply(&mut self, id: u64) {
        self.land(id);
        let Some(op) = self.ops.remove(&id) else { return };
        // The record of a run knows nothing of what a cleanup rule writes until the watch tells.
        let is_mark = |body: &WriteBody| matches!(body, WriteBody::Metadata(MetadataChange::CleanupMark(_)));
        if let (ServerRequest::Write { to, body, .. }, Some(Input::Wrote(_, WriteResult::Done(version)))) =
            (&op.request, &op.done)
            && !is_mark(body)
        {
            self.reference.acknowledged(to, *version);
        }
        op.done.into_iter().for_each(|input| self.feed(input));
    }

    /// The reply is lost, whether or not the request was carried out; the machine is told of a failure.
    pub(in crate::machine) fn lose(&mut self, id: u64) {
        let Some(op) = self.ops.remove(&id) else { return };
        let failed = WriteResult::Failed { retry_after: None };
        self.feed(match op.request {
            ServerRequest::Write { serial, .. } => Input::Wrote(serial, failed),
            ServerRequest::Read(key, serial) => Input::Read(key, serial, None),
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
        let Some(ServerOp { request: ServerRequest::Write { serial, .. }, .. }) = self.ops.get(&id) else {
            return self.reply(id);
        };
        let input = Input::Wrote(*serial, result);
        self.ops.remove(&id);
        self.feed(input);
    }

    pub(super) fn begin(&mut self, request: ServerRequest) {
        self.next_op += 1;
        self.ops.insert(self.next_op, ServerOp { request, done: None, orphan: false });
    }
}
