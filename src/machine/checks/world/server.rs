//! The API server of a test: objects with versions, a log that watches read from, and lists.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use crate::machine::checks::fixtures::wall;
use crate::machine::{
    Candidate, Extent, FieldSet, GatewayKey, GatewayView, Input, Kind, MetadataChange, ObjectKey, ObjectView,
    RunKey, RunView, RunsPage, Target, Uid, Version, WriteBody, WriteResult,
};

/// Objects, and what happened to them.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Server {
    pub(in crate::machine) revision: u64,
    /// The API server's clock.
    pub(in crate::machine) wall: Timestamp,
    pub(in crate::machine) runs: Runs,
    pub(in crate::machine) gateways: BTreeMap<GatewayKey, Arc<GatewayView>>,
    /// Changes that watches have yet to tell.
    pub(in crate::machine) log: VecDeque<(Version, Change)>,
    /// States of the past for lists that are not consistent; kept only if those are asked for.
    pub(in crate::machine) past: Option<VecDeque<(u64, Runs)>>,
}

type Runs = BTreeMap<RunKey, Arc<RunView>>;

/// Something that a watch or a list tells.
#[derive(Clone, Debug)]
pub(in crate::machine) enum Change {
    Run(Arc<RunView>),
    RunGone(RunKey, Uid),
    Gateway(Arc<GatewayView>),
    GatewayGone(GatewayKey, Uid),
}

/// A watch: how far in the log it is, or the list that comes before.
#[derive(Clone, Debug)]
pub(in crate::machine) struct ServerWatch {
    pub(in crate::machine) kind: Kind,
    /// Everything up to here has been told.
    pub(in crate::machine) at: Version,
    pub(in crate::machine) list: Option<ServerList>,
}

/// A list under way.
#[derive(Clone, Debug)]
pub(in crate::machine) enum ServerList {
    /// Requested, not yet served.
    Asked,
    /// Served as of this version; these items are still to come.
    Served(Version, VecDeque<Change>),
}

/// States of the past that a list may come from, if it is not consistent.
const PAST: usize = 6;

// === impl Change ===

impl Change {
    pub(in crate::machine) fn kind(&self) -> Kind {
        match self {
            Self::Run(_) | Self::RunGone(..) => Kind::Runs,
            Self::Gateway(_) | Self::GatewayGone(..) => Kind::Gateways,
        }
    }

    pub(in crate::machine) fn into_input(self) -> Input {
        match self {
            Self::Run(view) => Input::Seen(ObjectView::Run(Box::new((*view).clone()))),
            Self::RunGone(key, uid) => Input::Gone(ObjectKey::Run(key), uid),
            Self::Gateway(view) => Input::Seen(ObjectView::Gateway(Box::new((*view).clone()))),
            Self::GatewayGone(key, uid) => Input::Gone(ObjectKey::Gateway(key), uid),
        }
    }
}

// === impl Server ===

impl Server {
    fn log(&mut self, change: Change) -> Version {
        self.revision += 1;
        self.log.push_back((Version(self.revision), change));
        if let Some(past) = &mut self.past {
            past.push_back((self.revision, self.runs.clone()));
            if past.len() > PAST {
                past.pop_front();
            }
        }
        Version(self.revision)
    }

    pub(in crate::machine) fn put_run(&mut self, mut view: RunView) -> Version {
        view.version = Version(self.revision + 1);
        view.written = Some(self.second());
        // The client that makes an object owns all its fields.
        let set = || Some(FieldSet { manager: "kubectl-create".to_owned(), time: Some(self.second()) });
        if view.spec.stopped.is_some() && view.stopped_set.is_none() {
            view.stopped_set = set();
        }
        if view.stop_annotation.is_some() && view.annotation_set.is_none() {
            view.annotation_set = set();
        }
        if view.spec.active_deadline_seconds.is_some() && view.deadline_set.is_none() {
            view.deadline_set = set();
        }
        let view = Arc::new(view);
        self.runs.insert(view.key.clone(), view.clone());
        self.log(Change::Run(view))
    }

    /// An edit of spec or metadata; `change` says whether spec is meant by raising the generation itself.
    pub(in crate::machine) fn edit_run(&mut self, key: &RunKey, change: impl FnOnce(&mut RunView)) {
        let Some(view) = self.runs.get(key) else { return };
        let mut view = (**view).clone();
        let before = view.clone();
        change(&mut view);
        view.generation += i64::from(view.spec != before.spec);
        self.note_owners(&before, &mut view);
        self.put_run(view);
    }

    /// Keeps the times of fields as managedFields do, in whole seconds, unless the edit says who it was.
    fn note_owners(&self, before: &RunView, view: &mut RunView) {
        let set = || Some(FieldSet { manager: "kubectl-edit".to_owned(), time: Some(self.second()) });
        if view.spec.stopped != before.spec.stopped && view.stopped_set == before.stopped_set {
            view.stopped_set = view.spec.stopped.and_then(|_| set());
        }
        if view.stop_annotation != before.stop_annotation && view.annotation_set == before.annotation_set {
            view.annotation_set = view.stop_annotation.as_ref().and_then(|_| set());
        }
        if view.retry_annotation != before.retry_annotation {
            view.retry_set = view.retry_annotation.as_ref().and_then(|_| set());
        }
        if view.spec.active_deadline_seconds != before.spec.active_deadline_seconds
            && view.deadline_set == before.deadline_set
        {
            view.deadline_set = view.spec.active_deadline_seconds.and_then(|_| set());
        }
        if view.cleanup_annotation != before.cleanup_annotation {
            view.cleanup_set = view.cleanup_annotation.as_ref().and_then(|_| set());
        }
        if view.spec.deletion_policy != before.spec.deletion_policy {
            view.policy_set = view.spec.deletion_policy.and_then(|_| set());
        }
        if view.spec.gateway_ref != before.spec.gateway_ref {
            view.gateway_set = set();
        }
        if view.spec.plans != before.spec.plans {
            view.plans_set = Some(self.second());
        }
    }

    fn second(&self) -> Timestamp {
        Timestamp::from_second(self.wall.as_second()).unwrap_or(self.wall)
    }

    /// A run with finalizers stays until the last one is taken off.
    pub(in crate::machine) fn delete_run(&mut self, key: &RunKey) {
        let Some(view) = self.runs.get(key).cloned() else { return };
        if view.finalizers.is_empty() {
            self.remove_run(&view);
        } else if view.deleted.is_none() {
            // The API server counts a deletion as another generation.
            let (deleted, generation) = (Some(self.second()), view.generation + 1);
            self.put_run(RunView { deleted, generation, ..(*view).clone() });
        }
    }

    fn remove_run(&mut self, view: &RunView) -> Version {
        self.runs.remove(&view.key);
        self.log(Change::RunGone(view.key.clone(), view.uid.clone()))
    }

    fn set_finalizers(&mut self, view: &RunView, finalizers: &[String]) -> WriteResult {
        let is_new = |name: &&String| !view.finalizers.contains(name);
        if view.deleted.is_some() && finalizers.iter().any(|name| is_new(&name)) {
            return WriteResult::Refused(422);
        }
        let changed = RunView { finalizers: finalizers.to_vec(), ..view.clone() };
        WriteResult::Done(match finalizers.is_empty() && view.deleted.is_some() {
            true => self.remove_run(view),
            false if view.finalizers == finalizers => view.version,
            false => self.put_run(changed),
        })
    }

    pub(in crate::machine) fn put_gateway(&mut self, mut view: GatewayView) -> Version {
        view.version = Version(self.revision + 1);
        let view = Arc::new(view);
        self.gateways.insert(view.key.clone(), view.clone());
        self.log(Change::Gateway(view))
    }

    pub(in crate::machine) fn edit_gateway(
        &mut self,
        key: &GatewayKey,
        change: impl FnOnce(&mut GatewayView),
    ) {
        let Some(view) = self.gateways.get(key) else { return };
        let mut view = (**view).clone();
        let spec = view.spec.clone();
        change(&mut view);
        view.generation += i64::from(view.spec != spec);
        self.put_gateway(view);
    }

    pub(in crate::machine) fn delete_gateway(&mut self, key: &GatewayKey) {
        if let Some(view) = self.gateways.remove(key) {
            self.log(Change::GatewayGone(key.clone(), view.uid.clone()));
        }
    }

    /// The run of this name, if the name is one of a run.
    pub(in crate::machine) fn run_of(&self, key: &ObjectKey) -> Option<&Arc<RunView>> {
        match key {
            ObjectKey::Run(key) => self.runs.get(key),
            ObjectKey::Gateway(_) | ObjectKey::Cleanup(_) => None,
        }
    }

    /// A write of an object. One that changes nothing has no event.
    pub(in crate::machine) fn write(&mut self, to: &Target, body: &WriteBody) -> WriteResult {
        match &to.key {
            ObjectKey::Run(key) => self.write_run(key, to, body),
            ObjectKey::Gateway(key) => self.write_gateway(key, to, body),
            ObjectKey::Cleanup(_) => WriteResult::Gone,
        }
    }

    fn write_run(&mut self, key: &RunKey, to: &Target, body: &WriteBody) -> WriteResult {
        let Some(run) = self.runs.get(key) else { return WriteResult::Gone };
        if run.uid != to.uid || run.version != to.version {
            return WriteResult::Conflict;
        }
        let mut view = (**run).clone();
        match body {
            WriteBody::RunStatus(status) if view.status == **status => return WriteResult::Done(run.version),
            WriteBody::RunStatus(status) => view.status = (**status).clone(),
            WriteBody::GatewayStatus(_) | WriteBody::CleanupStatus(_) => return WriteResult::Refused(400),
            WriteBody::Metadata(MetadataChange::CleanupMark(mark)) => {
                view.cleanup_annotation = Some(mark.clone());
                view.cleanup_set =
                    Some(FieldSet { manager: "testinium-cleanup".to_owned(), time: Some(self.second()) });
            }
            WriteBody::Metadata(MetadataChange::Finalizers(finalizers)) => {
                return self.set_finalizers(&view, finalizers);
            }
            // The machine writes no other annotation.
            WriteBody::Metadata(MetadataChange::Annotations(_)) => return WriteResult::Refused(400),
            WriteBody::Deletion => {
                let version = run.version;
                self.delete_run(key);
                return WriteResult::Done(version);
            }
        }
        WriteResult::Done(self.put_run(view))
    }

    fn write_gateway(&mut self, key: &GatewayKey, to: &Target, body: &WriteBody) -> WriteResult {
        let Some(gateway) = self.gateways.get(key) else { return WriteResult::Gone };
        if gateway.uid != to.uid || gateway.version != to.version {
            return WriteResult::Conflict;
        }
        let WriteBody::GatewayStatus(status) = body else { return WriteResult::Refused(400) };
        if gateway.status == **status {
            return WriteResult::Done(gateway.version);
        }
        let view = GatewayView { status: (**status).clone(), ..(**gateway).clone() };
        WriteResult::Done(self.put_gateway(view))
    }

    /// A page of two runs of a namespace, as a cleanup rule lists them. No run of a world has labels.
    pub(in crate::machine) fn page(&self, namespace: &str, next: Option<&str>) -> RunsPage {
        let begin: usize = next.map_or(0, |next| next.parse().expect("a number"));
        let all: Vec<_> = self.runs.values().filter(|view| &*view.key.namespace == namespace).collect();
        let runs = all.iter().skip(begin).take(2).map(|view| candidate(view)).collect();
        let next = (begin + 2 < all.len()).then(|| (begin + 2).to_string());
        RunsPage::Page { runs, unreadable: Vec::new(), next }
    }

    fn snapshot(&self, kind: Kind) -> (Version, VecDeque<Change>) {
        let now = Version(self.revision);
        match kind {
            Kind::Cleanups => (now, VecDeque::new()),
            Kind::Gateways => (now, self.gateways.values().cloned().map(Change::Gateway).collect()),
            Kind::Runs => {
                let stale = self.past.as_ref().and_then(|past| past.front());
                let (version, runs) = stale.map_or((now, &self.runs), |(at, runs)| (Version(*at), runs));
                (version, runs.values().cloned().map(Change::Run).collect())
            }
        }
    }

    fn after(&self, watch: &ServerWatch) -> Option<&(Version, Change)> {
        self.log.iter().find(|(version, change)| *version > watch.at && change.kind() == watch.kind)
    }
}

// === impl ServerWatch ===

impl ServerWatch {
    pub(in crate::machine) fn new(kind: Kind) -> Self {
        Self { kind, at: Version(0), list: Some(ServerList::Asked) }
    }

    /// Whether there is something to tell.
    pub(in crate::machine) fn has_more(&self, server: &Server) -> bool {
        self.list.is_some() || server.after(self).is_some()
    }

    /// The API server answers the request for a list: from now on it is of the past.
    pub(in crate::machine) fn serve(&mut self, server: &Server) {
        if matches!(self.list, Some(ServerList::Asked)) {
            let (version, items) = server.snapshot(self.kind);
            self.list = Some(ServerList::Served(version, items));
        }
    }

    /// The next thing that is told.
    pub(in crate::machine) fn next(&mut self, server: &Server) -> Option<Input> {
        self.serve(server);
        if let Some(ServerList::Served(version, items)) = &mut self.list {
            let item = items.pop_front().map(Change::into_input);
            if item.is_none() {
                self.at = *version;
                self.list = None;
            }
            return item.or(Some(Input::ListDone(Extent::all(self.kind))));
        }
        let (version, change) = server.after(self)?;
        self.at = *version;
        Some(change.clone().into_input())
    }
}

/// A run as a list shows it. One without a time was created when the world began.
fn candidate(view: &RunView) -> Candidate {
    Candidate {
        key: view.key.clone(),
        uid: view.uid.clone(),
        version: view.version,
        generation: view.generation,
        created: Some(view.created.unwrap_or_else(|| wall(0))),
        is_being_deleted: view.deleted.is_some(),
        keep_until: None,
        mark: view.cleanup_annotation.clone(),
        stop_annotation: view.stop_annotation.clone(),
        retry_annotation: view.retry_annotation.clone(),
        marks: view.marks.as_deref().cloned().unwrap_or_default(),
        spec: view.spec.clone(),
        status: view.status.clone(),
    }
}
