//! Runs that have the operator's finalizer, read in pages, and the finalizer taken off one of them.
//!
//! A run is read no further than is needed for that, so one whose spec or status can't be read is released as any other.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::pages::{LIMIT, Listed, Page};
use super::write::{classify, patch_metadata};
use super::{decode, request};
use crate::api::FINALIZER;
use crate::machine::{MetadataChange, ObjectKey, RunKey, Target, Uid, Version, WriteResult};

/// A run that has the finalizer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldRun {
    pub key: RunKey,
    uid: Uid,
    version: Version,
    /// The finalizers that it has beside ours.
    others: Vec<String>,
    pub is_being_deleted: bool,
    /// Its plans; none if they can't be read.
    pub plans: Option<Vec<i64>>,
    /// The plans that its status tells of, each with the word for its outcome.
    pub outcomes: Vec<(i64, String)>,
}

/// A page of a list.
#[derive(Debug)]
pub enum HeldPage {
    /// The runs of the page that have the finalizer, and where the next page begins.
    Page { runs: Vec<HeldRun>, next: Option<String> },
    /// The page is too old to be had: the list has to begin anew.
    Expired,
    /// The cluster has no definition of runs, and so no runs.
    NotServed,
}

/// How the removal of a finalizer has ended.
#[derive(Debug, Eq, PartialEq)]
pub enum Removal {
    /// It is off, or there is no such run any more.
    Done,
    /// The run has been changed since it was read.
    Conflict,
}

/// Lists a page of the runs that have the finalizer. `next`: where it begins; none for the first one.
pub async fn list_held(
    client: &kube::Client,
    listed: Listed<'_>,
    next: Option<&str>,
) -> Result<HeldPage, Failure> {
    let request = listed.page(next).map_err(Failure::for_good)?;
    let reply = request::send(client, request, LIMIT).await?;
    match reply.status {
        404 => Ok(HeldPage::NotServed),
        410 => Ok(HeldPage::Expired),
        _ if reply.is_success() => page(&reply.body)
            .map_err(|error| Failure::for_good(format!("the list of runs could not be read: {error}"))),
        _ => Err(Failure::of(&reply)),
    }
}

/// Takes the finalizer off a run, and leaves its other ones.
pub async fn remove_finalizer(client: &kube::Client, run: &HeldRun) -> Result<Removal, Failure> {
    let to = Target { key: ObjectKey::Run(run.key.clone()), uid: run.uid.clone(), version: run.version };
    let request =
        patch_metadata(&to, &MetadataChange::Finalizers(run.others.clone())).map_err(Failure::for_good)?;
    let reply = request::send(client, request, WRITE_LIMIT).await?;
    if reply.is_success() {
        return Ok(Removal::Done);
    }
    let failure = Failure::of(&reply);
    match classify(&Ok(reply)) {
        WriteResult::Done(_) | WriteResult::Gone => Ok(Removal::Done),
        WriteResult::Conflict => Ok(Removal::Conflict),
        WriteResult::Refused(_) | WriteResult::Failed { .. } => Err(failure),
    }
}

#[cfg(test)]
impl HeldRun {
    /// A run with these plans and outcomes.
    pub fn made_of(
        name: &str,
        is_being_deleted: bool,
        plans: Option<Vec<i64>>,
        outcomes: &[(i64, &str)],
    ) -> Self {
        let outcomes = outcomes.iter().map(|(id, outcome)| (*id, (*outcome).to_owned())).collect();
        let (key, uid, version) = (RunKey::new("qa", name), Uid::from("u"), Version(7));
        Self { key, uid, version, others: Vec::new(), is_being_deleted, plans, outcomes }
    }
}

/// A write takes milliseconds; one that takes this long has met a server or network in trouble, and is safe to repeat.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Item<'a> {
    metadata: Metadata,
    #[serde(default, borrow)]
    spec: Option<&'a RawValue>,
    #[serde(default, borrow)]
    status: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
    #[serde(default)]
    finalizers: Vec<String>,
    #[serde(default)]
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize)]
struct Spec {
    plans: Vec<i64>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    plans: Vec<PlanStatus>,
}

#[derive(Deserialize)]
struct PlanStatus {
    id: i64,
    outcome: String,
}

fn page(json: &[u8]) -> Result<HeldPage, serde_json::Error> {
    let (items, next) = serde_json::from_slice::<Page<Item<'_>>>(json)?.into_parts();
    Ok(HeldPage::Page { runs: items.into_iter().filter_map(held).collect(), next })
}

fn held(item: Item<'_>) -> Option<HeldRun> {
    let Metadata { name, namespace, uid, resource_version, finalizers, deletion_timestamp } = item.metadata;
    let has_ours = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
    let others = finalizers.into_iter().filter(|finalizer| finalizer != FINALIZER).collect();
    let spec = item.spec.and_then(|spec| serde_json::from_str::<Spec>(spec.get()).ok());
    let status = item.status.and_then(|status| serde_json::from_str::<Status>(status.get()).ok());
    let outcomes = status.into_iter().flat_map(|status| status.plans).map(|plan| (plan.id, plan.outcome));
    has_ours.then(|| HeldRun {
        key: RunKey::new(namespace, name),
        uid: uid.into(),
        version: decode::version(&resource_version).unwrap_or_default(),
        others,
        is_being_deleted: deletion_timestamp.is_some(),
        plans: spec.map(|spec| spec.plans),
        outcomes: outcomes.collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn item(name: &str, finalizers: Value, spec: Value, status: Value) -> Value {
        let metadata = json!({"name": name, "namespace": "qa", "uid": "u", "resourceVersion": "7", "finalizers": finalizers});
        json!({"metadata": metadata, "spec": spec, "status": status})
    }

    #[test]
    fn a_page_has_the_runs_that_have_the_finalizer_with_their_other_ones() {
        let plans = json!({"plans": [1, 2]});
        let mut deleted = item(
            "deleted",
            json!(["a/b", "testinium.io/stop", "c/d"]),
            plans.clone(),
            json!({
                "plans": [{"id": 1, "outcome": "Accepted"}, {"id": 2, "outcome": "OfAnotherVersion"}],
            }),
        );
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:06Z");
        let other = item("other", json!(["testinium.io/stop-not"]), plans.clone(), json!({}));
        let mut none = item("none", json!(null), plans, json!({}));
        none["metadata"].as_object_mut().expect("an object").remove("finalizers");
        let odd = item("odd", json!(["testinium.io/stop"]), json!({"plans": "all"}), json!({"plans": 3}));
        let list = json!({"metadata": {"continue": "abc"}, "items": [deleted, other, none, odd]}).to_string();
        let Ok(HeldPage::Page { runs, next }) = page(list.as_bytes()) else { panic!("no page") };
        assert_eq!(next.as_deref(), Some("abc"));
        let [deleted, odd] = &runs[..] else { panic!("{runs:?}") };
        assert_eq!((deleted.key.clone(), deleted.version), (RunKey::new("qa", "deleted"), Version(7)));
        assert_eq!(deleted.others, ["a/b", "c/d"]);
        assert!(deleted.is_being_deleted && !odd.is_being_deleted);
        assert_eq!(deleted.plans.as_deref(), Some(&[1, 2][..]));
        assert_eq!(deleted.outcomes, [(1, "Accepted".to_owned()), (2, "OfAnotherVersion".to_owned())]);
        assert_eq!((odd.others.len(), &odd.plans, odd.outcomes.len()), (0, &None, 0));
    }

    #[test]
    fn the_last_page_has_no_next_one_and_what_is_no_list_is_an_error() {
        for metadata in [json!({}), json!({"continue": ""})] {
            let list = json!({"metadata": metadata, "items": []}).to_string();
            assert!(matches!(page(list.as_bytes()), Ok(HeldPage::Page { next: None, .. })));
        }
        assert!(page(b"<html>").is_err());
    }
}
