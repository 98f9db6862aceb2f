//! The writes of the library against the real API server: what each does, and what it says of an object that has changed
//! or is gone.
//!
//! They are made with the rights of an administrator: not every write has a user among the kinds that ship.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use testinium_operator::api::{TestPlanCleanupStatus, TestPlanRunStatus, TestiniumGatewayStatus};
use testinium_operator::kubernetes::{Clients, write};
use testinium_operator::machine::{
    GatewayKey, MetadataChange, ObjectKey, RunKey, Target, Version, WriteBody, WriteResult,
};

use crate::cluster::{Namespace, cluster, gateway, run};

const FINALIZER: &str = "testinium.io/a-test";

/// A namespace with a run and a gateway, and clients that write to them.
struct Writer {
    namespace: Namespace,
    runtime: tokio::runtime::Runtime,
    clients: Clients,
}

impl Writer {
    fn create() -> Self {
        let namespace = Namespace::create();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        testinium_operator::testinium::install_crypto();
        let kubeconfig = Kubeconfig::read_from(cluster().kubeconfig()).expect("a kubeconfig");
        let clients = runtime.block_on(async {
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
            Clients::new(config.expect("a configuration"))
        });
        let writer = Self { namespace, runtime, clients: clients.expect("clients") };
        writer.create_objects();
        writer
    }

    fn create_objects(&self) {
        self.namespace.apply(&run("nightly", json!({"plans": [1]})));
        self.namespace.apply(&gateway("default", json!({})));
    }

    fn run(&self) -> ObjectKey {
        ObjectKey::Run(RunKey::new(self.namespace.name.as_str(), "nightly"))
    }

    fn gateway(&self) -> ObjectKey {
        ObjectKey::Gateway(GatewayKey::new(self.namespace.name.as_str(), "default"))
    }

    /// The object as it is now; none if it is gone.
    fn read(&self, key: &ObjectKey) -> Option<Value> {
        let text = self.namespace.run(&["get", kind(key), &key.name, "--ignore-not-found", "--output=json"]);
        (!text.is_empty()).then(|| serde_json::from_str(&text).expect("JSON"))
    }

    fn metadata(&self, key: &ObjectKey) -> Value {
        self.read(key).expect("the object is there")["metadata"].take()
    }

    /// The object as a write would know it that is made now.
    fn target(&self, key: &ObjectKey) -> Target {
        let metadata = self.metadata(key);
        let text = |field: &str| metadata[field].as_str().expect("a text").to_owned();
        let version = text("resourceVersion").parse().map(Version).expect("a number");
        Target { key: key.clone(), uid: text("uid").into(), version }
    }

    fn write(&self, to: &Target, body: &WriteBody) -> WriteResult {
        self.runtime.block_on(write(&self.clients.requests, to, body))
    }

    /// Writes to the object as it is now, which must succeed with the version that it then has.
    #[track_caller]
    fn written(&self, key: &ObjectKey, body: &WriteBody) {
        let result = self.write(&self.target(key), body);
        assert_eq!(result, WriteResult::Done(self.target(key).version), "{body:?}");
    }

    /// Somebody else writes to the object.
    fn touch(&self, key: &ObjectKey) {
        let next = format!("example.com/touched={}", self.target(key).version.0);
        self.namespace.run(&["annotate", "--overwrite", kind(key), &key.name, &next]);
    }
}

/// The kind as kubectl is told of it.
fn kind(key: &ObjectKey) -> &'static str {
    match key {
        ObjectKey::Run(_) => "testplanrun",
        ObjectKey::Gateway(_) => "testiniumgateway",
        ObjectKey::Cleanup(_) => "testplancleanup",
    }
}

fn finalizers(names: &[&str]) -> WriteBody {
    WriteBody::Metadata(MetadataChange::Finalizers(names.iter().map(|name| (*name).to_owned()).collect()))
}

fn annotations(values: &[(&str, Option<&str>)]) -> WriteBody {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
    WriteBody::Metadata(MetadataChange::Annotations(values.collect::<BTreeMap<_, _>>()))
}

/// Every write that there is to this object.
fn all_writes(key: &ObjectKey) -> Vec<WriteBody> {
    let status = match key {
        ObjectKey::Run(_) => WriteBody::RunStatus(Arc::new(TestPlanRunStatus::default())),
        ObjectKey::Gateway(_) => WriteBody::GatewayStatus(Arc::new(TestiniumGatewayStatus::default())),
        ObjectKey::Cleanup(_) => WriteBody::CleanupStatus(Arc::new(TestPlanCleanupStatus::default())),
    };
    vec![status, finalizers(&[FINALIZER]), annotations(&[("example.com/a", Some("1"))]), WriteBody::Deletion]
}

#[test]
fn finalizers_are_set_and_removed() {
    let writer = Writer::create();
    for key in [writer.run(), writer.gateway()] {
        writer.written(&key, &finalizers(&[FINALIZER, "example.com/other"]));
        assert_eq!(writer.metadata(&key)["finalizers"], json!([FINALIZER, "example.com/other"]));
        writer.written(&key, &finalizers(&["example.com/other"]));
        assert_eq!(writer.metadata(&key)["finalizers"], json!(["example.com/other"]));
        writer.written(&key, &finalizers(&[]));
        let metadata = writer.metadata(&key);
        assert_eq!(metadata.get("finalizers"), None, "{key}");
        assert_eq!(metadata["generation"], 1, "a change of metadata is none of the spec");
    }
}

#[test]
fn annotations_are_set_and_removed_and_others_are_left_alone() {
    let writer = Writer::create();
    for key in [writer.run(), writer.gateway()] {
        writer.touch(&key);
        let before = writer.metadata(&key)["annotations"].clone();
        writer.written(&key, &annotations(&[("example.com/a", Some("1")), ("example.com/b", Some("2"))]));
        writer.written(&key, &annotations(&[("example.com/a", None), ("example.com/b", Some("3"))]));
        let mut expected = before;
        expected["example.com/b"] = json!("3");
        assert_eq!(writer.metadata(&key)["annotations"], expected);
        writer.written(&key, &annotations(&[("example.com/never-there", None)]));
        assert_eq!(writer.metadata(&key)["annotations"], expected);
    }
}

#[test]
fn an_object_is_deleted() {
    let writer = Writer::create();
    for key in [writer.run(), writer.gateway()] {
        let target = writer.target(&key);
        assert_eq!(writer.write(&target, &WriteBody::Deletion), WriteResult::Done(target.version));
        assert_eq!(writer.read(&key), None);
    }
}

#[test]
fn a_write_to_an_older_version_or_to_another_object_of_that_name_is_a_conflict() {
    let writer = Writer::create();
    for key in [writer.run(), writer.gateway()] {
        let older = writer.target(&key);
        writer.touch(&key);
        let before = writer.read(&key);
        let another = Target { uid: "00000000-0000-4000-8000-000000000000".into(), ..writer.target(&key) };
        for body in all_writes(&key) {
            assert_eq!(writer.write(&older, &body), WriteResult::Conflict, "an older version: {body:?}");
            assert_eq!(writer.write(&another, &body), WriteResult::Conflict, "another uid: {body:?}");
        }
        assert_eq!(writer.read(&key), before, "nothing was changed");
    }
}

#[test]
fn a_write_to_an_object_that_was_made_anew_is_a_conflict() {
    let writer = Writer::create();
    let formers = [writer.run(), writer.gateway()].map(|key| writer.target(&key));
    for former in &formers {
        assert_eq!(writer.write(former, &WriteBody::Deletion), WriteResult::Done(former.version));
    }
    writer.create_objects();
    for former in &formers {
        let before = writer.read(&former.key);
        for body in all_writes(&former.key) {
            assert_eq!(writer.write(former, &body), WriteResult::Conflict, "{body:?}");
        }
        assert_eq!(writer.read(&former.key), before, "nothing was changed");
    }
}

#[test]
fn a_write_to_an_object_that_is_gone_says_so() {
    let writer = Writer::create();
    for key in [writer.run(), writer.gateway()] {
        let gone = writer.target(&key);
        assert_eq!(writer.write(&gone, &WriteBody::Deletion), WriteResult::Done(gone.version));
        for body in all_writes(&key) {
            assert_eq!(writer.write(&gone, &body), WriteResult::Gone, "{body:?}");
        }
        assert_eq!(writer.read(&key), None, "nothing was made anew");
    }
}

#[test]
fn a_deleted_run_with_a_finalizer_stays_until_the_finalizer_is_removed() {
    let writer = Writer::create();
    let key = writer.run();
    writer.written(&key, &finalizers(&[FINALIZER]));
    writer.written(&key, &WriteBody::Deletion);
    let metadata = writer.metadata(&key);
    assert!(metadata["deletionTimestamp"].is_string(), "{metadata}");
    assert_eq!(metadata["finalizers"], json!([FINALIZER]));

    // Its status and annotations can still be written, and a second deletion changes nothing.
    writer.written(&key, &WriteBody::RunStatus(Arc::new(TestPlanRunStatus::default())));
    writer.written(&key, &annotations(&[("example.com/a", Some("1"))]));
    writer.written(&key, &WriteBody::Deletion);

    let last = writer.target(&key);
    let result = writer.write(&last, &finalizers(&[]));
    assert!(matches!(result, WriteResult::Done(_)), "{result:?}");
    assert_eq!(writer.read(&key), None);
    assert_eq!(writer.write(&last, &finalizers(&[])), WriteResult::Gone);
}
