//! The time to live of a run that is finished: when its object is to be deleted, and what keeps it.
//!
//! It counts from `status.stop.completionTime`, so neither a restart nor a later look changes it. Any doubt keeps the
//! object: a time in the annotation `testinium.io/keep-until` that can't be read, a mark of a tool that would create the
//! object again (the deletion would begin its test's stop anew each time), a deletion that has begun.

use jiff::{SignedDuration, Timestamp};

use crate::machine::ownership::{kept_until, recreated_by};
use crate::machine::view::RunView;

/// What becomes of the object of a run by its TTL.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ttl {
    /// The time from which on it may be deleted, if its stop is complete.
    pub over_at: Option<Timestamp>,
    /// What keeps it.
    pub kept_for: Option<Box<str>>,
}

/// The TTL of an object, as it and its status say it. None while it is being deleted: nothing is left to be done.
pub fn ttl_of(view: &RunView) -> Ttl {
    if view.deleted.is_some() { Ttl::default() } else { ttl_before_deletion(view) }
}

/// The TTL of an object as it was before its deletion began, if it has.
fn ttl_before_deletion(view: &RunView) -> Ttl {
    let Some(seconds) = view.spec.ttl_seconds_after_finished else { return Ttl::default() };
    // An object that was not looked at for marks could have any.
    let Some(marks) = view.marks.as_deref() else { return Ttl::default() };
    let keep = view.keep_until.as_deref().map(kept_until);
    let unreadable = (keep == Some(None)).then(|| {
        "the annotation testinium.io/keep-until, which is no time such as 2026-12-31T18:00:00Z".to_owned()
    });
    if let Some(kept_for) = unreadable.or_else(|| recreated_by(marks)) {
        return Ttl { over_at: None, kept_for: Some(kept_for.into()) };
    }
    let completed = view.status.stop.as_ref().and_then(|stop| stop.completion_time.as_ref());
    let over = completed.and_then(|time| time.0.checked_add(SignedDuration::from_secs(seconds)).ok());
    Ttl { over_at: over.map(|over| keep.flatten().map_or(over, |kept| kept.max(over))), kept_for: None }
}

/// Whether the TTL of a run was over by this time, and nothing kept its object.
pub fn was_over_before(view: &RunView, time: Timestamp) -> bool {
    let stands = view.status.stop.as_ref().is_some_and(|stop| stop.withdrawn_time.is_none());
    stands && ttl_before_deletion(view).over_at.is_some_and(|over| over <= time)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::api::StopStatus;
    use crate::machine::checks::fixtures::{self, wall};
    use crate::machine::view::Marks;

    /// A run whose stop was complete at second 10.
    fn finished(ttl: Option<i64>) -> RunView {
        let mut view = fixtures::run("team", "nightly", vec![1]);
        (view.spec.ttl_seconds_after_finished, view.marks) = (ttl, Some(Box::default()));
        view.status.stop =
            Some(StopStatus { completion_time: Some(Time(wall(10_000))), ..StopStatus::default() });
        view
    }

    fn marked(name: &str) -> RunView {
        let marks = Marks { names: vec!["team".to_owned(), name.to_owned()], ..Marks::default() };
        RunView { marks: Some(Box::new(marks)), ..finished(Some(60)) }
    }

    fn kept_for(view: &RunView) -> Option<String> {
        let Ttl { over_at, kept_for } = ttl_of(view);
        assert!(over_at.is_none() || kept_for.is_none(), "what is kept is never over");
        kept_for.map(Into::into)
    }

    #[test]
    fn a_ttl_counts_from_the_end_of_the_stop() {
        assert_eq!(ttl_of(&finished(None)), Ttl::default(), "no TTL");
        assert_eq!(ttl_of(&finished(Some(0))).over_at, Some(wall(10_000)));
        assert_eq!(ttl_of(&finished(Some(60))).over_at, Some(wall(70_000)));
        assert_eq!(ttl_of(&finished(Some(i64::MAX))), Ttl::default(), "beyond any time");
        let mut unfinished = finished(Some(60));
        unfinished.status.stop = Some(StopStatus::default());
        assert_eq!(ttl_of(&unfinished), Ttl::default(), "a stop without an end");
        let unknown = RunView { marks: None, ..finished(Some(60)) };
        assert_eq!(ttl_of(&unknown), Ttl::default(), "nobody has looked for marks");
        let deleted = RunView { deleted: Some(wall(0)), ..finished(Some(60)) };
        assert_eq!(ttl_of(&deleted), Ttl::default(), "its deletion has begun");
    }

    #[test]
    fn keep_until_keeps_until_then_and_for_ever_if_it_can_not_be_read() {
        let keep = |value: &str| RunView { keep_until: Some(value.to_owned()), ..finished(Some(60)) };
        let late = wall(500_000);
        assert_eq!(ttl_of(&keep(&late.to_string())).over_at, Some(late));
        assert_eq!(ttl_of(&keep(&wall(1_000).to_string())).over_at, Some(wall(70_000)), "of the past");
        let offset = "2100-01-01T03:00:00+03:00";
        assert_eq!(ttl_of(&keep(offset)).over_at, Some("2100-01-01T00:00:00Z".parse().expect("a time")));
        for odd in ["", "tomorrow", "2026-12-31", "2026-12-31T18:00:00", "2026-13-01T00:00:00Z", "1798740000"]
        {
            assert!(kept_for(&keep(odd)).is_some_and(|why| why.contains("keep-until")), "{odd}");
        }
    }

    #[test]
    fn whatever_would_create_the_object_again_keeps_it() {
        for name in [
            "kustomize.toolkit.fluxcd.io/name",
            "helm.toolkit.fluxcd.io/namespace",
            "argocd.argoproj.io/tracking-id",
            "argocd.argoproj.io/instance",
            "app.kubernetes.io/instance",
            "meta.helm.sh/release-name",
            "applyset.kubernetes.io/part-of",
            "fleet.cattle.io/bundle-id",
        ] {
            assert_eq!(kept_for(&marked(name)), Some(format!("the label or annotation {name}")));
        }
        for manager in [
            "argocd-controller",
            "argocd",
            "kustomize-controller",
            "helm-controller",
            "helm",
            "fleetagent",
            "Terraform",
            "pulumi-kubernetes",
        ] {
            let marks =
                Marks { managers: vec!["kubectl".to_owned(), manager.to_owned()], ..Marks::default() };
            let view = RunView { marks: Some(Box::new(marks)), ..finished(Some(60)) };
            assert_eq!(kept_for(&view), Some(format!("the field manager {manager}")));
        }
        let marks = Marks { controller: Some("Workflow nightly".to_owned()), ..Marks::default() };
        let owned = RunView { marks: Some(Box::new(marks)), ..finished(Some(60)) };
        assert_eq!(kept_for(&owned).as_deref(), Some("its controller Workflow nightly"));
    }

    #[test]
    fn what_only_resembles_a_mark_keeps_nothing() {
        for name in [
            "app.kubernetes.io/name",
            "argocd.argoproj.io",
            "example.com/kustomize.toolkit.fluxcd.io",
            "helm",
        ] {
            assert_eq!(kept_for(&marked(name)), None, "{name}");
        }
        let managers = ["kubectl", "testinium", "helmfile", "my-argocd", "terraform-like"].map(str::to_owned);
        let marks = Marks { managers: managers.to_vec(), ..Marks::default() };
        assert_eq!(kept_for(&RunView { marks: Some(Box::new(marks)), ..finished(Some(60)) }), None);
        let kept = RunView { spec: finished(None).spec, ..marked("argocd.argoproj.io/instance") };
        assert_eq!(kept_for(&kept), None, "there is no TTL to keep it from");
    }
}
