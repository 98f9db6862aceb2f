//! The lean shape of an object on the wire: only what a decision needs is ever built.
//!
//! Typed objects cost five times their JSON, most of it for metadata that nobody looks at. So metadata goes through
//! small structs that skip what they don't know, and managedFields are walked for two fields without being built.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::machine::{FieldSet, Key, Marks, Uid};

/// An object, read in one go.
#[derive(Debug, Deserialize)]
pub(super) struct Whole<'a, Spec, Status> {
    #[serde(borrow)]
    pub(super) metadata: Meta<'a>,
    pub(super) spec: Spec,
    #[serde(default = "Option::default")]
    pub(super) status: Option<Status>,
}

/// An object, cut into its three parts, each of which can be read on its own if another one is broken.
#[derive(Debug, Deserialize)]
pub(super) struct Lean<'a> {
    #[serde(borrow)]
    pub(super) metadata: &'a RawValue,
    #[serde(borrow, default)]
    pub(super) spec: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) status: Option<&'a RawValue>,
}

/// The identity of an object. It has fewer fields than [`Meta`], so it can still be read where the rest is odd.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity<'a> {
    #[serde(borrow, default)]
    pub(super) namespace: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) uid: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) resource_version: Cow<'a, str>,
}

/// The part of the metadata that matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta<'a> {
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow, default)]
    resource_version: Cow<'a, str>,
    #[serde(default)]
    pub(super) generation: i64,
    #[serde(default)]
    pub(super) creation_timestamp: Option<Timestamp>,
    #[serde(default)]
    pub(super) deletion_timestamp: Option<Timestamp>,
    #[serde(default)]
    pub(super) finalizers: Option<Vec<String>>,
    #[serde(default)]
    pub(super) annotations: Option<Annotations>,
    #[serde(default)]
    pub(super) labels: Option<Labels>,
    #[serde(borrow, default)]
    managed_fields: Option<Vec<Managed<'a>>>,
}

/// The annotations that matter; a test holds the names against the constants of `api`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Annotations {
    #[serde(rename = "testinium.io/stop")]
    pub(super) stop: Option<String>,
    #[serde(rename = "testinium.io/retry")]
    pub(super) retry: Option<String>,
    #[serde(rename = "testinium.io/keep-until")]
    pub(super) keep_until: Option<String>,
    #[serde(rename = "testinium.io/cleanup")]
    pub(super) cleanup: Option<String>,
    #[serde(rename = "testinium.io/run-now")]
    pub(super) run_now: Option<String>,
    #[serde(rename = "testinium.io/stop-requested-by")]
    pub(super) requested_by: Option<String>,
    #[serde(rename = "reconcile.fluxcd.io/requestedAt")]
    pub(super) reconcile: Option<String>,
}

/// The labels that matter.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Labels {
    #[serde(rename = "velero.io/restore-name")]
    pub(super) restored: Option<String>,
}

/// An object whose metadata is read for the tools that would create it again.
#[derive(Debug, Deserialize)]
struct WithMarks<'a> {
    #[serde(borrow)]
    metadata: Marked<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marked<'a> {
    #[serde(default)]
    labels: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(borrow, default)]
    managed_fields: Option<Vec<Manager<'a>>>,
    #[serde(default)]
    owner_references: Option<Vec<Owner>>,
}

#[derive(Debug, Deserialize)]
struct Manager<'a> {
    #[serde(borrow, default)]
    manager: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    controller: Option<bool>,
}

/// The marks of an object. Those of one that can't be read for them are a controller's: any doubt keeps the object.
pub(super) fn marks(json: &[u8]) -> Marks {
    let Ok(WithMarks { metadata }) = serde_json::from_slice::<WithMarks<'_>>(json) else {
        return Marks { controller: Some("that can't be read".to_owned()), ..Marks::default() };
    };
    let Marked { labels, annotations, managed_fields, owner_references } = metadata;
    let names = labels.into_iter().flatten().chain(annotations.into_iter().flatten());
    let owners = owner_references.into_iter().flatten();
    Marks {
        names: names.map(|(name, _)| name).collect(),
        managers: managed_fields.into_iter().flatten().map(|managed| managed.manager.into_owned()).collect(),
        controller: owners
            .filter(|owner| owner.controller == Some(true))
            .map(|owner| format!("{} {}", owner.kind, owner.name))
            .next(),
    }
}

/// The fields that a manager owns.
#[derive(Debug, Deserialize)]
struct Managed<'a> {
    #[serde(borrow, default)]
    manager: Cow<'a, str>,
    #[serde(default)]
    time: Option<Timestamp>,
    #[serde(borrow, default)]
    subresource: Cow<'a, str>,
    #[serde(default, rename = "fieldsV1")]
    fields: Option<Fields>,
}

/// The fields of interest in a tree of fields; everything else is skipped while parsing.
#[derive(Debug, Default, Deserialize)]
struct Fields {
    #[serde(rename = "f:spec")]
    spec: Option<SpecFields>,
    #[serde(rename = "f:metadata")]
    metadata: Option<MetadataFields>,
}

#[derive(Debug, Deserialize)]
struct SpecFields {
    #[serde(rename = "f:stopped")]
    stopped: Option<IgnoredAny>,
    #[serde(rename = "f:plans")]
    plans: Option<IgnoredAny>,
    #[serde(rename = "f:gatewayRef")]
    gateway_ref: Option<IgnoredAny>,
    #[serde(rename = "f:activeDeadlineSeconds")]
    deadline: Option<IgnoredAny>,
    #[serde(rename = "f:deletionPolicy")]
    policy: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct MetadataFields {
    #[serde(rename = "f:annotations")]
    annotations: Option<AnnotationFields>,
}

#[derive(Debug, Deserialize)]
struct AnnotationFields {
    #[serde(rename = "f:testinium.io/stop")]
    stop: Option<IgnoredAny>,
    #[serde(rename = "f:testinium.io/retry")]
    retry: Option<IgnoredAny>,
    #[serde(rename = "f:testinium.io/cleanup")]
    cleanup: Option<IgnoredAny>,
}

// === impl Identity ===

impl Identity<'_> {
    pub(super) fn names(&self) -> (Key, Uid) {
        (Key::new(&*self.namespace, &*self.name), Uid::from(&*self.uid))
    }
}

// === impl Meta ===

impl<'a> Meta<'a> {
    /// The identity of the object. Texts of names have no escapes, so nothing is copied.
    pub(super) fn identity(&self) -> Identity<'a> {
        Identity {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
        }
    }

    /// The manager that last set `spec.stopped`.
    pub(super) fn stopped_set(&self) -> Option<FieldSet> {
        self.last_to_own(Fields::own_stopped)
    }

    /// The manager that last set the annotation that asks for a stop.
    pub(super) fn annotation_set(&self) -> Option<FieldSet> {
        self.last_to_own(Fields::own_annotation)
    }

    /// The manager that last set `spec.gatewayRef`.
    pub(super) fn gateway_set(&self) -> Option<FieldSet> {
        self.last_to_own(Fields::own_gateway_ref)
    }

    /// The manager that last set `spec.activeDeadlineSeconds`.
    pub(super) fn deadline_set(&self) -> Option<FieldSet> {
        self.last_to_own(|fields| fields.spec.as_ref().is_some_and(|spec| spec.deadline.is_some()))
    }

    /// The manager that last set `spec.deletionPolicy`.
    pub(super) fn policy_set(&self) -> Option<FieldSet> {
        self.last_to_own(|fields| fields.spec.as_ref().is_some_and(|spec| spec.policy.is_some()))
    }

    /// The manager that last set the annotation that asks again.
    pub(super) fn retry_set(&self) -> Option<FieldSet> {
        self.last_to_own(|fields| fields.annotations().is_some_and(|owned| owned.retry.is_some()))
    }

    /// The manager that last set the cleanup mark.
    pub(super) fn cleanup_set(&self) -> Option<FieldSet> {
        self.last_to_own(|fields| fields.annotations().is_some_and(|owned| owned.cleanup.is_some()))
    }

    /// The time at which `spec.plans` was last set.
    pub(super) fn plans_set(&self) -> Option<Timestamp> {
        self.last_owner(Fields::own_plans)?.time
    }

    /// The time at which any part of the object was last written, its status included.
    pub(super) fn written(&self) -> Option<Timestamp> {
        self.managed_fields.iter().flatten().filter_map(|managed| managed.time).max()
    }

    fn last_to_own(&self, own: fn(&Fields) -> bool) -> Option<FieldSet> {
        let owner = self.last_owner(own)?;
        Some(FieldSet { manager: owner.manager.clone().into_owned(), time: owner.time })
    }

    /// A field may have several owners, such as those who applied the same value; the latest counts. What was written
    /// through a subresource can't have set either field.
    fn last_owner(&self, own: fn(&Fields) -> bool) -> Option<&Managed<'a>> {
        self.managed_fields
            .iter()
            .flatten()
            .filter(|managed| managed.subresource.is_empty())
            .filter(|managed| managed.fields.as_ref().is_some_and(own))
            .max_by_key(|managed| managed.time)
    }
}

// === impl Fields ===

impl Fields {
    fn own_stopped(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.stopped.is_some())
    }

    fn own_plans(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.plans.is_some())
    }

    fn own_gateway_ref(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.gateway_ref.is_some())
    }

    fn own_annotation(&self) -> bool {
        self.annotations().is_some_and(|annotations| annotations.stop.is_some())
    }

    fn annotations(&self) -> Option<&AnnotationFields> {
        self.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api;

    fn meta(value: &Value) -> (Option<FieldSet>, Option<FieldSet>) {
        let text = value.to_string();
        let meta: Meta<'_> = serde_json::from_str(&text).expect("metadata");
        (meta.stopped_set(), meta.annotation_set())
    }

    fn set(manager: &str, time: Option<&str>) -> Option<FieldSet> {
        Some(FieldSet { manager: manager.into(), time: time.map(|time| time.parse().expect("a time")) })
    }

    fn owner(manager: &str, time: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": "Update", "apiVersion": "testinium.io/v1alpha1", "time": time,
               "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    #[test]
    fn managed_fields_tell_who_set_what_and_when() {
        let stopped = json!({"f:spec": {"f:stopped": {}}});
        let annotated = json!({"f:metadata": {"f:annotations": {".": {}, "f:testinium.io/stop": {}}}});
        let other = json!({"f:metadata": {"f:annotations": {"f:testinium.io/stopped": {}}, "f:labels": {"f:stopped": {}}},
                           "f:spec": {".": {}, "f:plans": {}, "f:gatewayRef": {"f:stopped": {}}}});
        let (early, late) = ("2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z");
        let mut status = owner("operator", late, stopped.clone());
        status["subresource"] = "status".into();

        let rows: Vec<(&str, Value, Option<FieldSet>, Option<FieldSet>)> = vec![
            ("nothing", json!([]), None, None),
            ("no list", Value::Null, None, None),
            ("other fields", json!([owner("a", early, other)]), None, None),
            ("stopped", json!([owner("a", early, stopped.clone())]), set("a", Some(early)), None),
            ("annotation", json!([owner("a", early, annotated.clone())]), None, set("a", Some(early))),
            (
                "one each",
                json!([owner("a", early, stopped.clone()), owner("b", late, annotated)]),
                set("a", Some(early)),
                set("b", Some(late)),
            ),
            (
                "several owners, the latest first",
                json!([owner("a", late, stopped.clone()), owner("b", early, stopped.clone())]),
                set("a", Some(late)),
                None,
            ),
            (
                "a write of the status",
                json!([owner("a", early, stopped.clone()), status]),
                set("a", Some(early)),
                None,
            ),
            ("no time", json!([{"manager": "a", "fieldsV1": stopped}]), set("a", None), None),
            ("no fields", json!([{"manager": "a", "time": late}]), None, None),
        ];
        for (name, managed, stopped, annotation) in rows {
            assert_eq!(
                meta(&json!({"name": "r", "uid": "u", "managedFields": managed})),
                (stopped, annotation),
                "{name}"
            );
        }
    }

    #[test]
    fn the_manager_of_a_deadline_is_told_apart() {
        let (early, late) = ("2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z");
        let text = json!({"name": "r", "uid": "u", "managedFields": [
            owner("a", early, json!({"f:spec": {"f:activeDeadlineSeconds": {}}})),
            owner("b", late, json!({"f:spec": {"f:stopDeadlineSeconds": {}, "f:stopped": {}}})),
        ]})
        .to_string();
        let meta: Meta<'_> = serde_json::from_str(&text).expect("metadata");
        assert_eq!(meta.deadline_set(), set("a", Some(early)));
    }

    #[test]
    fn marks_are_names_managers_and_the_controller() {
        let text = json!({"metadata": {
            "name": "r", "labels": {"team": "a"}, "annotations": {"meta.helm.sh/release-name": "x"},
            "managedFields": [{"manager": "helm", "fieldsV1": {"f:spec": {}}}, {"operation": "Apply"}],
            "ownerReferences": [{"kind": "Job", "name": "a"}, {"kind": "Workflow", "name": "b", "controller": true}],
        }, "spec": {}});
        let expected = Marks {
            names: vec!["team".to_owned(), "meta.helm.sh/release-name".to_owned()],
            managers: vec!["helm".to_owned(), String::new()],
            controller: Some("Workflow b".to_owned()),
        };
        assert_eq!(marks(text.to_string().as_bytes()), expected);
        assert_eq!(marks(br#"{"metadata": {"name": "r", "labels": null}}"#), Marks::default());
        let odd = marks(br#"{"metadata": {"ownerReferences": [7]}}"#);
        assert!(odd.controller.is_some(), "what can't be read keeps the object: {odd:?}");
    }

    #[test]
    fn names_are_those_of_the_api() {
        let text = json!({
            "name": "r", "uid": "u",
            "annotations": {api::CLEANUP_ANNOTATION: "6", api::RUN_NOW_ANNOTATION: "7", api::KEEP_UNTIL_ANNOTATION: "8", api::RETRY_ANNOTATION: "5", api::STOP_ANNOTATION: "1", api::REQUESTED_BY_ANNOTATION: "2", api::RECONCILE_ANNOTATION: "3", "x": "4"},
            "labels": {api::RESTORED_LABEL: "backup", "y": "5"},
            "managedFields": [owner("a", "2026-01-02T03:04:05Z",
                json!({"f:metadata": {"f:annotations": {
                    format!("f:{}", api::STOP_ANNOTATION): {}, format!("f:{}", api::CLEANUP_ANNOTATION): {}}}}))],
        })
        .to_string();
        let meta: Meta<'_> = serde_json::from_str(&text).expect("metadata");
        let annotations = meta.annotations.as_ref().expect("annotations");
        assert_eq!(annotations.stop.as_deref(), Some("1"));
        assert_eq!(annotations.retry.as_deref(), Some("5"));
        assert_eq!(annotations.keep_until.as_deref(), Some("8"));
        assert_eq!(annotations.cleanup.as_deref(), Some("6"));
        assert_eq!(annotations.run_now.as_deref(), Some("7"));
        assert_eq!(annotations.requested_by.as_deref(), Some("2"));
        assert_eq!(annotations.reconcile.as_deref(), Some("3"));
        assert!(meta.labels.as_ref().is_some_and(|labels| labels.restored.as_deref() == Some("backup")));
        assert_eq!(meta.annotation_set().map(|set| set.manager).as_deref(), Some("a"));
        assert_eq!(meta.cleanup_set().map(|set| set.manager).as_deref(), Some("a"));
    }
}
