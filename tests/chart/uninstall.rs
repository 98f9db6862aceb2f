//! What an uninstallation leaves behind: no run and no namespace that waits for an operator which never comes again.

use serde_json::{Value, json};
use testinium_operator::api::FINALIZER;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::operator::wait_until_served;

use crate::install::KINDS;
use crate::jobs::Images;
use crate::render::{CHART, NAMESPACE, RELEASE, ok, template};
use crate::site::{SOON, Site, TEAM};

/// A finalizer of somebody else.
const OTHER: &str = "example.com/keep";

impl Site {
    /// Makes a run with these finalizers. No operator has seen it yet, if none is at work.
    pub(crate) fn hold(&self, run: &str, finalizers: &[&str]) {
        self.apply(&json!({
            "apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun",
            "metadata": {"name": run, "finalizers": finalizers}, "spec": {"plans": [700]},
        }));
    }

    /// The finalizers of each run of the team, by its name.
    pub(crate) fn held(&self) -> Vec<(String, Value)> {
        let runs = ok(self.kubectl.get_json(&["tpr"]));
        let metadata = runs["items"].as_array().into_iter().flatten().map(|run| &run["metadata"]);
        metadata
            .map(|metadata| {
                (metadata["name"].as_str().unwrap_or_default().to_owned(), metadata["finalizers"].clone())
            })
            .collect()
    }

    /// Deletes the namespace of the team, as the controller of namespaces does it: all that is in it first, and the
    /// namespace once nothing of ours is left.
    pub(crate) fn delete_team(&self) {
        let client = ok(self.plane.client());
        let namespace = format!("/api/v1/namespaces/{TEAM}");
        self.kubectl(&["delete", "namespace", TEAM, "--wait=false"]);
        for kind in ["testplanruns", "testiniumgateways", "testplancleanups"] {
            let collection = format!("/apis/testinium.io/v1alpha1/namespaces/{TEAM}/{kind}");
            ok(client.delete(&collection));
            ok(wait_until(&format!("the {kind} to go"), SOON, || match &ok(client.list(&collection))[..] {
                [] => Ok(()),
                left => Err(json!(left).to_string()),
            }));
        }
        let mut object = ok(client.get(&namespace)).expect("it is being deleted");
        object["spec"]["finalizers"] = json!([]);
        let answer = ok(client.send("PUT", &format!("{namespace}/finalize"), Some(&object)));
        assert!(answer.is_success(), "{namespace} can't be finished: {answer:?}");
        assert_eq!(ok(client.get(&namespace)), None);
    }

    fn replicas(&self) -> Value {
        let deployment = ["deployment", "testinium-operator", "--namespace", NAMESPACE];
        ok(self.kubectl.get_json(&deployment))["spec"]["replicas"].clone()
    }
}

/// Helm upgrades the release, too, before it uninstalls it: what is there for the uninstallation is in nobody's way.
#[test]
fn after_an_uninstallation_runs_and_namespaces_can_be_deleted() {
    let site = Site::start();
    site.install(RELEASE, &[]);
    let jobs = site.jobs();
    site.gateway();
    // No operator is at work, which would take care of them.
    site.hold("kept", &[FINALIZER]);
    site.hold("shared", &[OTHER, FINALIZER]);
    site.hold("deleted", &[FINALIZER]);
    site.kubectl(&["delete", "tpr", "deleted", "--wait=false"]);
    site.helm(&["upgrade", RELEASE, CHART, "--reset-then-reuse-values"]);
    assert_eq!((site.held().len(), jobs.said()), (3, String::new()), "an upgrade is no uninstallation");

    site.helm(&["uninstall", RELEASE]);
    let said = jobs.said();
    // Nobody has made the Lease so far. An operator that starts at that moment must find it held.
    assert!(said.contains("took the Lease testinium-system/testinium-operator"), "{said}");
    assert!(
        said.contains("took the finalizer testinium.io/stop off 3 TestPlanRuns\n1 of them were being"),
        "{said}"
    );
    assert_eq!(site.held(), [("kept".to_owned(), Value::Null), ("shared".to_owned(), json!([OTHER]))]);
    assert_eq!(site.ours(KINDS), [""; 0], "what was made for the uninstallation is gone, too");
    site.kubectl(&[
        "patch",
        "tpr",
        "shared",
        "--type=merge",
        "--patch",
        r#"{"metadata":{"finalizers":null}}"#,
    ]);
    site.delete_team();
}

/// Helm says which Job has failed, and removes nothing. The release can be kept, and a second try, once the reason is
/// gone, ends well.
#[test]
fn an_uninstallation_whose_job_fails_removes_nothing_and_can_be_repeated() {
    let site = Site::start();
    site.install(RELEASE, &[]);
    site.hold("kept", &[FINALIZER]);
    let before = site.ours(KINDS);
    let jobs = site.jobs_with(Images::Missing);
    let refused = site.try_helm(&["uninstall", RELEASE]);
    assert!(!refused.status.success(), "{refused:?}");
    // As docs/install.md quotes it.
    let why = "Job/testinium-system/testinium-uninstall not ready. status: Failed";
    assert!(refused.stderr.contains(why), "{refused:?}");
    drop(jobs);
    let (jobs, others): (Vec<_>, _) = site.ours(KINDS).into_iter().partition(|name| name.starts_with("job"));
    assert_eq!(jobs, ["job.batch/testinium-uninstall"], "its log can be read");
    assert_eq!(others, before);
    assert_eq!(site.held(), [("kept".to_owned(), json!([FINALIZER]))]);

    // Helm takes the release for one that is being removed. It comes back whole by a rollback.
    site.kubectl(&["scale", "deployment/testinium-operator", "--namespace", NAMESPACE, "--replicas=0"]);
    assert!(!site.try_helm(&["upgrade", RELEASE, CHART]).status.success());
    site.helm(&["rollback", RELEASE, "1"]);
    assert_eq!(site.replicas(), 2);

    let jobs = site.jobs();
    site.helm(&["uninstall", RELEASE]);
    assert_eq!(site.held(), [("kept".to_owned(), Value::Null)], "{}", jobs.said());
    assert_eq!(site.ours(KINDS), [""; 0]);
}

/// Renderers apply all that a chart renders. The Job that is among it then does nothing.
#[test]
fn a_chart_that_is_rendered_and_applied_whole_is_not_switched_off_by_its_own_job() {
    let site = Site::start();
    site.kubectl(&["create", "namespace", NAMESPACE]);
    let manifests = ok(template(RELEASE, &[]).success());
    assert!(manifests.contains("kind: Job\n"));
    ok(site.plane.kubectl().apply(&manifests));
    ok(wait_until_served(&site.kubectl));
    site.hold("kept", &[FINALIZER]);
    let jobs = site.jobs();
    site.kubectl(&[
        "wait",
        "job/testinium-uninstall",
        "--namespace",
        NAMESPACE,
        "--for=condition=Complete",
        "--timeout=60s",
    ]);
    let said = jobs.said();
    assert!(said.contains("nothing is done: ") && said.contains("helm template --no-hooks"), "{said}");
    assert_eq!((site.replicas(), site.held()), (json!(2), vec![("kept".to_owned(), json!([FINALIZER]))]));
    let without = ok(template(RELEASE, &["--no-hooks"]).success());
    assert!(!without.contains("testinium-uninstall"), "{without}");
}
