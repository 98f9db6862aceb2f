//! Lists of runs in pages, for cleanup rules.
//!
//! A page is read once and kept by nobody. An object that can't be read is a name, and never an error of its page.

use serde_json::value::RawValue;

use super::decode::{self, Decoded};
use super::metadata::marks;
use super::pages::{LIMIT, Listed, Page};
use super::request;
use crate::machine::{Candidate, RunKey, RunsPage};

/// Lists a page of the runs of a namespace. `next`: where it begins; none for the first one.
pub async fn list_runs(
    client: &kube::Client,
    namespace: &str,
    selector: &str,
    next: Option<&str>,
) -> RunsPage {
    let listed = Listed { namespace: Some(namespace), label_selector: selector, name: None };
    let request = match listed.page(next) {
        Ok(request) => request,
        Err(why) => return RunsPage::Failed { why, retry_after: None },
    };
    let failed = |why: String, retry_after| {
        tracing::warn!(namespace, selector, why, "failed to list runs for a cleanup rule");
        RunsPage::Failed { why, retry_after }
    };
    match request::send(client, request, LIMIT).await {
        Ok(reply) if reply.is_success() => {
            page(&reply.body).unwrap_or_else(|error| failed(error.to_string(), None))
        }
        Ok(reply) => failed(reply.message(), reply.retry_after()),
        Err(why) => failed(why.to_string(), None),
    }
}

fn page(json: &[u8]) -> Result<RunsPage, serde_json::Error> {
    let (items, next) = serde_json::from_slice::<Page<&RawValue>>(json)?.into_parts();
    let (mut runs, mut unreadable) = (Vec::new(), Vec::new());
    for item in items {
        let json = item.get().as_bytes();
        match decode::run(json) {
            Decoded::Seen(view) => runs.push(Candidate::of(*view, marks(json))),
            Decoded::Unreadable { key, .. } => unreadable.push(RunKey::from(key)),
            Decoded::Nameless(why) => tracing::error!(why, "a run in a list has no readable name"),
        }
    }
    Ok(RunsPage::Page { runs, unreadable, next })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_has_its_runs_and_those_that_cannot_be_read_by_name() {
        let good = json!({
            "metadata": {
                "name": "nightly", "namespace": "qa", "uid": "u", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-01-02T03:04:05Z", "deletionTimestamp": "2026-01-02T03:04:06Z",
                "labels": {"load": "heavy"},
                "annotations": {"testinium.io/keep-until": "2027-01-01T00:00:00Z", "testinium.io/cleanup": "a/1"},
                "managedFields": [{"manager": "kubectl"}, {"manager": "helm"}],
                "ownerReferences": [{"controller": false}, {"kind": "Job", "name": "load", "controller": true}],
            },
            "spec": {"plans": [1, 2]},
            "status": {"observedGeneration": 3},
        });
        let bad = json!({
            "metadata": {"name": "odd", "namespace": "qa", "uid": "v", "resourceVersion": "8"},
            "spec": {"plans": "all"},
        });
        let list = json!({"metadata": {"continue": "abc"}, "items": [good, bad]}).to_string();
        let Ok(RunsPage::Page { runs, unreadable, next }) = page(list.as_bytes()) else { panic!("no page") };
        assert_eq!((unreadable, next.as_deref()), (vec![RunKey::new("qa", "odd")], Some("abc")));
        let [run] = &runs[..] else { panic!("{runs:?}") };
        assert_eq!((run.key.clone(), run.version.0, run.generation), (RunKey::new("qa", "nightly"), 7, 3));
        assert!(run.is_being_deleted);
        assert_eq!(run.marks.controller.as_deref(), Some("Job load"));
        assert_eq!(run.keep_until.as_deref(), Some("2027-01-01T00:00:00Z"));
        assert_eq!(run.mark.as_deref(), Some("a/1"));
        assert_eq!(run.marks.names, ["load", "testinium.io/cleanup", "testinium.io/keep-until"]);
        assert_eq!(run.marks.managers, ["kubectl", "helm"]);
        assert_eq!((run.spec.plans.len(), run.status.observed_generation), (2, Some(3)));
    }

    #[test]
    fn the_last_page_has_no_next_one_and_what_is_no_list_is_an_error() {
        for metadata in [json!({}), json!({"continue": ""})] {
            let list = json!({"metadata": metadata, "items": []}).to_string();
            assert!(matches!(page(list.as_bytes()), Ok(RunsPage::Page { next: None, .. })));
        }
        assert!(page(b"<html>").is_err());
    }
}
