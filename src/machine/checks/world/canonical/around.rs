//! Which parts of the world around the machine decide what can happen next.

use super::{Canonical, Sink, Sort, fields};
use crate::machine::checks::world::reference::requests::RequestReference;
use crate::machine::checks::world::reference::{Claim, KnownGateway, KnownRun, Reference};
use crate::machine::checks::world::server::{Change, Server, ServerList, ServerWatch};
use crate::machine::checks::world::{FakeGateway, ServerOp, ServerRequest, World, WorldCall};
use crate::machine::*;

impl Canonical for World {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            machine,
            // All times count from it.
            now: _,
            skew,
            worst_skew,
            server,
            runs,
            gateways,
            calls,
            ops,
            fake_gateway,
            // The version beside each credential of the machine says the same.
            connections: _,
            reference,
            violation,
            // The same in all states of one model.
            options: _,
            // Requests are numbered as they turn up.
            next_op: _,
            // The machine knows the same.
            reads: _,
            // For tests that ask.
            trace: _,
        } = self;
        (machine, (*skew, *worst_skew)).canonical(sink);
        (server, (runs, gateways)).canonical(sink);
        (calls, reference).canonical(sink);
        ops.len().canonical(sink);
        ops.values().for_each(|op| op.canonical(sink));
        (fake_gateway, violation.as_ref().map(|(invariant, _)| *invariant)).canonical(sink);
    }
}

fields!(Server { runs, gateways, log } but {
    // A later version is higher than all that there are.
    revision,
    // It is set before each use.
    wall,
    // The lists of a model are consistent.
    past,
});

impl Canonical for Change {
    fn canonical(&self, sink: &mut Sink) {
        match self {
            Self::Run(view) => (0_i64, view).canonical(sink),
            Self::RunGone(key, uid) => (1_i64, (key, uid)).canonical(sink),
            Self::Gateway(view) => (2_i64, view).canonical(sink),
            Self::GatewayGone(key, uid) => (3_i64, (key, uid)).canonical(sink),
        }
    }
}

fields!(ServerWatch { at, list } but {
    // There is one of each, in this order.
    kind,
});

impl Canonical for ServerList {
    fn canonical(&self, sink: &mut Sink) {
        match self {
            Self::Asked => sink.plain(0),
            Self::Served(version, items) => (1_i64, (*version, items)).canonical(sink),
        }
    }
}

impl Canonical for FakeGateway {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            // The same in all states of one model, as are the next one, `stale`, `key_missing`, `unreachable` and
            // `unknown_host`.
            natures: _,
            error_detail: _,
            secret,
            stale: _,
            secret_missing,
            key_missing: _,
            unreachable: _,
            unknown_host: _,
        } = self;
        sink.sorted(Sort::Secret, u64::from(*secret));
        secret_missing.canonical(sink);
    }
}

impl Canonical for WorldCall {
    fn canonical(&self, sink: &mut Sink) {
        let Self { gateway, round, credential, secret, plans, claims } = self;
        (gateway, (*credential, (plans, claims))).canonical(sink);
        sink.sorted(Sort::Round, u64::from(*round));
        sink.sorted(Sort::Secret, u64::from(*secret));
    }
}

impl Canonical for ServerOp {
    fn canonical(&self, sink: &mut Sink) {
        let Self { request, done, orphan } = self;
        orphan.canonical(sink);
        match done {
            None => sink.plain(0),
            Some(Input::Wrote(_, result)) => (1_i64, result).canonical(sink),
            Some(Input::Read(_, _, view)) => (3_i64, view).canonical(sink),
            Some(Input::Credential(_, _, read)) => (4_i64, read).canonical(sink),
            Some(other) => unreachable!("no request ends in {other:?}"),
        }
        match request {
            ServerRequest::Write { serial, to, body, asks } => {
                (0_i64, *serial).canonical(sink);
                (to, (body, asks)).canonical(sink);
            }
            ServerRequest::Read(key, serial) => (2_i64, (key, *serial)).canonical(sink),
            ServerRequest::ReadCredential { gateway, epoch, known_bad } => {
                (3_i64, (&gateway.key, (*epoch, known_bad))).canonical(sink);
            }
        }
    }
}

impl Canonical for WriteBody {
    fn canonical(&self, sink: &mut Sink) {
        match self {
            Self::RunStatus(status) => (0_i64, status).canonical(sink),
            Self::GatewayStatus(status) => (1_i64, status).canonical(sink),
            // No model has cleanup rules.
            Self::CleanupStatus(_) => sink.plain(4),
            Self::Metadata(MetadataChange::Finalizers(finalizers)) => (2_i64, finalizers).canonical(sink),
            // No write of a model has another content.
            Self::Metadata(_) => sink.plain(5),
            Self::Deletion => sink.plain(3),
        }
    }
}

impl Canonical for WriteResult {
    fn canonical(&self, sink: &mut Sink) {
        match self {
            Self::Done(version) => (0_i64, *version).canonical(sink),
            Self::Conflict => sink.plain(1),
            Self::Gone => sink.plain(2),
            Self::Refused(status) => (3_i64, *status).canonical(sink),
            Self::Failed { retry_after } => (4_i64, retry_after.map(|after| after.0)).canonical(sink),
        }
    }
}

impl Canonical for CredentialRead {
    fn canonical(&self, sink: &mut Sink) {
        match self {
            Self::Have { version, good_for } => {
                (0_i64, (version, good_for.map(|good_for| good_for.0))).canonical(sink);
            }
            Self::Unchanged => sink.plain(1),
            // The texts are for people.
            Self::Missing(_) => sink.plain(2),
            Self::Invalid(_) => sink.plain(3),
            Self::Refused { version, why: _ } => (4_i64, version).canonical(sink),
            Self::Failed { why: _, retry_after } => (5_i64, retry_after.map(|after| after.0)).canonical(sink),
        }
    }
}

impl Canonical for Claim {
    fn canonical(&self, sink: &mut Sink) {
        let Self { uid, plan, ask } = self;
        (uid, *plan).canonical(sink);
        sink.sorted(Sort::Claim, u64::from(*ask));
    }
}

impl Canonical for KnownRun {
    fn canonical(&self, sink: &mut Sink) {
        let Self { view, floor, version_list, listed, requests, requested, given_up, shortest } = self;
        let RunView {
            // It is what the run is known by.
            key: _,
            uid,
            version,
            generation,
            spec,
            status,
            // The requests beside it remember these three.
            stop_annotation: _,
            retry_annotation: _,
            cleanup_annotation: _,
            // The reference looks at none of these in an object that it already knows.
            requested_by: _,
            reconcile_annotation: _,
            restored: _,
            keep_until: _,
            // Once seen, the requests beside it remember it, and it stays.
            deleted: _,
            finalizers,
            marks: _,
            created: _,
            written: _,
            stopped_set: _,
            annotation_set: _,
            gateway_set: _,
            plans_set: _,
            retry_set: _,
            deadline_set: _,
            cleanup_set: _,
            policy_set: _,
        } = &**view;
        finalizers.canonical(sink);
        (uid, (*version, *generation)).canonical(sink);
        // A status that tells of a stop, and later of none, was wiped. Nothing else of it matters.
        (spec, status.stop.is_some()).canonical(sink);
        floor.canonical(sink);
        sink.sorted(Sort::List, u64::from(*version_list));
        sink.sorted(Sort::List, u64::from(*listed));
        (requests, requested).canonical(sink);
        (given_up, *shortest).canonical(sink);
    }
}

impl Canonical for RequestReference {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            stopped,
            annotation,
            retry,
            cleanup,
            passed,
            deletion,
            stands_at,
            by_deadline,
            by_deletion,
        } = self;
        (stopped, (annotation, (retry, cleanup))).canonical(sink);
        (stands_at, (*by_deadline, (*deletion, *by_deletion))).canonical(sink);
        sink.deadline(*passed);
    }
}

impl Canonical for KnownGateway {
    fn canonical(&self, sink: &mut Sink) {
        let Self { view, credential, round, failed } = self;
        sink.sorted(Sort::Round, u64::from(*round));
        (view, (*failed, *credential)).canonical(sink);
    }
}

impl Canonical for Reference {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            known,
            gateways,
            list,
            // A later one is another than all that there are.
            next_ask: _,
            asks,
            told,
            granted,
            answered,
            written,
            // There is none between two steps.
            shown: _,
        } = self;
        (known, gateways).canonical(sink);
        sink.sorted(Sort::List, u64::from(*list));
        asks.len().canonical(sink);
        for ((uid, plan), ask) in asks {
            (uid, *plan).canonical(sink);
            sink.sorted(Sort::Claim, u64::from(*ask));
            // The times of requests that are no more are never looked at.
            told.get(ask).map(|told| Millis(*told)).canonical(sink);
        }
        (granted, (answered, written)).canonical(sink);
    }
}
