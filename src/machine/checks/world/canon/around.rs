//! What of the world around the machine decides what can happen next.

use super::{Canon, Sink, Sort, fields};
use crate::machine::checks::world::ghost::{Claim, Ghost, Known, KnownGateway};
use crate::machine::checks::world::reference::Reference;
use crate::machine::checks::world::server::{Change, List, Server, Watch};
use crate::machine::checks::world::{Flight, Op, Request, Truth, World};
use crate::machine::*;

impl Canon for World {
    fn canon(&self, sink: &mut Sink) {
        (&self.machine, &self.server).canon(sink);
        (&self.runs, &self.gateways).canon(sink);
        (&self.calls, &self.ghost).canon(sink);
        self.ops.values().for_each(|op| op.canon(sink));
        (&self.truth, self.breach.as_ref().map(|(invariant, _)| *invariant)).canon(sink);
    }
}

impl Canon for Server {
    fn canon(&self, sink: &mut Sink) {
        (&self.runs, &self.gateways).canon(sink);
        self.log.canon(sink);
    }
}

impl Canon for Change {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::Run(view) => view.canon(sink),
            Self::RunGone(key, uid) | Self::GatewayGone(key, uid) => (key, uid).canon(sink),
            Self::Gateway(view) => view.canon(sink),
        }
    }
}

fields!(Watch { at, list } but { kind });

impl Canon for List {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::Asked => sink.plain(0),
            Self::Served(version, items) => (*version, items).canon(sink),
        }
    }
}

impl Canon for Truth {
    fn canon(&self, sink: &mut Sink) {
        let Self { natures: _, secret, stale, secret_missing } = self;
        sink.sorted(Sort::Secret, u64::from(*secret));
        (stale.is_some(), *secret_missing).canon(sink);
    }
}

impl Canon for Flight {
    fn canon(&self, sink: &mut Sink) {
        (&self.gateway, &self.plans).canon(sink);
        sink.sorted(Sort::Round, u64::from(self.round));
        sink.sorted(Sort::Secret, u64::from(self.secret));
        self.claims.canon(sink);
    }
}

impl Canon for Op {
    fn canon(&self, sink: &mut Sink) {
        self.orphan.canon(sink);
        match &self.done {
            None => sink.plain(0),
            Some(Input::Wrote(.., WriteResult::Done(version))) => (1_i64, *version).canon(sink),
            Some(Input::Read(_, Some(view))) => (2_i64, &**view).canon(sink),
            Some(Input::Credential(_, _, read)) => {
                sink.plain(4);
                match read {
                    CredentialRead::Have { version, .. } => sink.text(&version.0),
                    CredentialRead::Unchanged => sink.plain(0),
                    _ => sink.plain(1),
                }
            }
            Some(_) => sink.plain(3),
        }
        match &self.request {
            Request::Write { run, serial, to, status, asks } => {
                (*run, *serial).canon(sink);
                (to, (status, asks)).canon(sink);
            }
            Request::WriteGateway { serial, to, status: _ } => (*serial, to).canon(sink),
            Request::Read(key) => key.canon(sink),
            Request::ReadCredential { gateway, epoch, known_bad } => {
                (&gateway.key, *epoch).canon(sink);
                known_bad.as_ref().map(|version| &version.0).canon(sink);
            }
        }
    }
}

impl Canon for Claim {
    fn canon(&self, sink: &mut Sink) {
        (&self.uid, self.plan).canon(sink);
        sink.sorted(Sort::RequestSeq, u64::from(self.ask));
    }
}

impl Canon for Known {
    fn canon(&self, sink: &mut Sink) {
        (&self.view.uid, &self.view.spec.plans).canon(sink);
        (self.view.version, self.floor).canon(sink);
        sink.sorted(Sort::List, u64::from(self.version_list));
        sink.sorted(Sort::List, u64::from(self.listed));
        (&self.reference, self.view.status.stop.is_some()).canon(sink);
    }
}

fields!(Reference { stopped, annotation, retry, stands_at });

impl Canon for KnownGateway {
    fn canon(&self, sink: &mut Sink) {
        sink.sorted(Sort::Round, u64::from(self.round));
        (&self.view, self.failed).canon(sink);
        self.credential.canon(sink);
    }
}

impl Canon for Ghost {
    fn canon(&self, sink: &mut Sink) {
        (&self.known, &self.gateways).canon(sink);
        sink.sorted(Sort::List, u64::from(self.list));
        self.asks.len().canon(sink);
        for ((uid, plan), ask) in &self.asks {
            (uid, *plan).canon(sink);
            sink.sorted(Sort::RequestSeq, u64::from(*ask));
        }
        (&self.granted, (&self.answered, &self.written)).canon(sink);
    }
}
