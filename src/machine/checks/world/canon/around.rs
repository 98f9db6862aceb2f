//! Which parts of the world around the machine decide what can happen next.

use super::{Canon, Sink, Sort, fields};
use crate::machine::checks::world::ghost::{Claim, Ghost, Known, KnownGateway};
use crate::machine::checks::world::reference::Reference;
use crate::machine::checks::world::server::{Change, List, Server, Watch};
use crate::machine::checks::world::{Flight, Op, Request, Truth, World};
use crate::machine::*;

impl Canon for World {
    fn canon(&self, sink: &mut Sink) {
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
            truth,
            // The version beside each credential of the machine says the same.
            secrets: _,
            ghost,
            breach,
            // The same in all states of one model.
            options: _,
            // Requests are numbered as they turn up.
            next_op: _,
            // For tests that ask.
            diary: _,
        } = self;
        (machine, (*skew, *worst_skew)).canon(sink);
        (server, (runs, gateways)).canon(sink);
        (calls, ghost).canon(sink);
        ops.len().canon(sink);
        ops.values().for_each(|op| op.canon(sink));
        (truth, breach.as_ref().map(|(invariant, _)| *invariant)).canon(sink);
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

impl Canon for Change {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::Run(view) => (0_i64, view).canon(sink),
            Self::RunGone(key, uid) => (1_i64, (key, uid)).canon(sink),
            Self::Gateway(view) => (2_i64, view).canon(sink),
            Self::GatewayGone(key, uid) => (3_i64, (key, uid)).canon(sink),
        }
    }
}

fields!(Watch { at, list } but {
    // There is one of each, in this order.
    kind,
});

impl Canon for List {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::Asked => sink.plain(0),
            Self::Served(version, items) => (1_i64, (*version, items)).canon(sink),
        }
    }
}

impl Canon for Truth {
    fn canon(&self, sink: &mut Sink) {
        let Self {
            // The same in all states of one model, as is the next one.
            natures: _,
            secret,
            stale: _,
            secret_missing,
        } = self;
        sink.sorted(Sort::Secret, u64::from(*secret));
        secret_missing.canon(sink);
    }
}

impl Canon for Flight {
    fn canon(&self, sink: &mut Sink) {
        let Self { gateway, round, secret, plans, claims } = self;
        (gateway, (plans, claims)).canon(sink);
        sink.sorted(Sort::Round, u64::from(*round));
        sink.sorted(Sort::Secret, u64::from(*secret));
    }
}

impl Canon for Op {
    fn canon(&self, sink: &mut Sink) {
        let Self { request, done, orphan } = self;
        orphan.canon(sink);
        match done {
            None => sink.plain(0),
            Some(Input::Wrote(_, _, result)) => (1_i64, result).canon(sink),
            Some(Input::WroteGateway(_, _, result)) => (2_i64, result).canon(sink),
            Some(Input::Read(_, view)) => (3_i64, view).canon(sink),
            Some(Input::Credential(_, _, read)) => (4_i64, read).canon(sink),
            Some(other) => unreachable!("no request ends in {other:?}"),
        }
        match request {
            Request::Write { run, serial, to, status, asks } => {
                (0_i64, (*run, *serial)).canon(sink);
                (to, (status, asks)).canon(sink);
            }
            Request::WriteGateway { serial, to, status } => (1_i64, (*serial, (to, status))).canon(sink),
            Request::Read(key) => (2_i64, key).canon(sink),
            Request::ReadCredential { gateway, epoch, known_bad } => {
                (3_i64, (&gateway.key, (*epoch, known_bad))).canon(sink);
            }
        }
    }
}

impl Canon for WriteResult {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::Done(version) => (0_i64, *version).canon(sink),
            Self::Conflict => sink.plain(1),
            Self::Gone => sink.plain(2),
            Self::Refused(status) => (3_i64, *status).canon(sink),
            Self::Failed { retry_after } => (4_i64, retry_after.map(|after| after.0)).canon(sink),
        }
    }
}

impl Canon for CredentialRead {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::Have { version, good_for } => {
                (0_i64, (version, good_for.map(|good_for| good_for.0))).canon(sink);
            }
            Self::Unchanged => sink.plain(1),
            // The texts are for people.
            Self::Missing(_) => sink.plain(2),
            Self::Invalid(_) => sink.plain(3),
            Self::Refused { version, why: _ } => (4_i64, version).canon(sink),
            Self::Failed { why: _, retry_after } => (5_i64, retry_after.map(|after| after.0)).canon(sink),
        }
    }
}

impl Canon for Claim {
    fn canon(&self, sink: &mut Sink) {
        let Self { uid, plan, ask } = self;
        (uid, *plan).canon(sink);
        sink.sorted(Sort::Claim, u64::from(*ask));
    }
}

impl Canon for Known {
    fn canon(&self, sink: &mut Sink) {
        let Self { view, floor, version_list, listed, reference, requested, given_up, shortest } = self;
        let RunView {
            // It is what the run is known by.
            key: _,
            uid,
            version,
            generation,
            spec,
            status,
            // The reference remembers these two.
            stop_annotation: _,
            retry_annotation: _,
            // The onlooker looks at none of these in an object that it already knows.
            requested_by: _,
            reconcile_annotation: _,
            restored: _,
            created: _,
            written: _,
            stopped_set: _,
            annotation_set: _,
            gateway_set: _,
            plans_set: _,
            retry_set: _,
        } = &**view;
        (uid, (*version, *generation)).canon(sink);
        // Of a status that is known it matters whether it tells of a stop, which another one may not.
        (spec, status.stop.is_some()).canon(sink);
        floor.canon(sink);
        sink.sorted(Sort::List, u64::from(*version_list));
        sink.sorted(Sort::List, u64::from(*listed));
        (reference, requested).canon(sink);
        (given_up, *shortest).canon(sink);
    }
}

fields!(Reference { stopped, annotation, retry, stands_at });

impl Canon for KnownGateway {
    fn canon(&self, sink: &mut Sink) {
        let Self { view, credential, round, failed } = self;
        sink.sorted(Sort::Round, u64::from(*round));
        (view, (*failed, *credential)).canon(sink);
    }
}

impl Canon for Ghost {
    fn canon(&self, sink: &mut Sink) {
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
        } = self;
        (known, gateways).canon(sink);
        sink.sorted(Sort::List, u64::from(*list));
        asks.len().canon(sink);
        for ((uid, plan), ask) in asks {
            (uid, *plan).canon(sink);
            sink.sorted(Sort::Claim, u64::from(*ask));
            // Of requests that are no more it is not asked.
            told.get(ask).map(|told| Millis(*told)).canon(sink);
        }
        (granted, (answered, written)).canon(sink);
    }
}
