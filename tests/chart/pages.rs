//! `docs/install.md`, `docs/monitoring.md`, and what `docs/security.md` says on switching the operator off, walked as a
//! newcomer would: each command as the page has it, in one shell after the other.
//!
//! The lists of steps say what each command is for and what must come of it, so a command that fails, that says something
//! else, or that is left out of the page is found.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testinium_operator::api::FINALIZER;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::pages::{Step, block_commands, walk};

use crate::jobs::Images;
use crate::render::{RELEASE, ok, repository};
use crate::site::{SOON, Site};

const ROLLED_OUT: &[&str] = &["deployment \"testinium-operator\" successfully rolled out"];

const HELM_INSTALL: &[Step] = &[
    ("helm upgrade --install", &["STATUS: deployed", "Wait until it is ready"]),
    ("label namespace", &["namespace/testinium-system labeled"]),
    ("rollout status", ROLLED_OUT),
    (
        "kubectl wait crd",
        &[
            "customresourcedefinition.apiextensions.k8s.io/testplanruns.testinium.io condition met",
            "customresourcedefinition.apiextensions.k8s.io/testiniumgateways.testinium.io condition met",
        ],
    ),
    ("get lease testinium-operator", &["ACTS", "_"]),
    ("auth can-i", &["yes"]),
    ("helm --namespace testinium-system status", &["STATUS: deployed", "kubectl patch tpr nightly"]),
    ("helm upgrade testinium", &["STATUS: deployed"]),
    ("rollout status", ROLLED_OUT),
    ("helm rollback", &["Rollback was a success"]),
];

const SECOND: &[Step] = &[("crds.enabled=false", &["NAME: shard-b", "another release of this cluster"])];

const SWITCH_OFF: &[Step] = &[(
    "kubectl delete validatingadmissionpolicybinding",
    &[
        "validatingadmissionpolicy.admissionregistration.k8s.io \"testinium-gateway-credentials\" deleted",
        "validatingadmissionpolicybinding.admissionregistration.k8s.io \"testinium-gateway-credentials\" deleted",
    ],
)];

const HELM_UNINSTALL: &[Step] = &[
    ("helm uninstall", &["release \"testinium\" uninstalled"]),
    ("get tpr,tgw", &["NAMESPACE NAME PLANS STOPPED REASON AGE", "NAMESPACE NAME URL READY REASON AGE"]),
    (
        "delete crd",
        &[
            "customresourcedefinition.apiextensions.k8s.io \"testplanruns.testinium.io\" deleted",
            "customresourcedefinition.apiextensions.k8s.io \"testiniumgateways.testinium.io\" deleted",
        ],
    ),
];

const WITHOUT_JOB: &[Step] = &[
    ("scale deployment", &["deployment.apps/testinium-operator scaled"]),
    // It says nothing if the pod was quicker.
    ("--for=delete pod", &[]),
    ("--no-hooks", &["release \"testinium\" uninstalled"]),
];

/// It names a run for each that it changes, and there are none where it is walked with this list.
const BY_HAND: &[Step] = &[("go-template", &[])];

const KUBECTL_INSTALL: &[Step] = &[
    (
        "apply -k",
        &[
            "customresourcedefinition.apiextensions.k8s.io/testplanruns.testinium.io created",
            "deployment.apps/testinium-operator created",
            "validatingadmissionpolicy.admissionregistration.k8s.io/testinium-gateway-credentials created",
        ],
    ),
    ("rollout status", ROLLED_OUT),
];

const MOVE: &[Step] =
    &[("--take-ownership --force-conflicts", &["STATUS: deployed"]), ("rollout status", ROLLED_OUT)];

const KUBECTL_UNINSTALL: &[Step] = &[
    ("operator.yaml", &["deployment.apps \"testinium-operator\" deleted"]),
    // It says nothing if the pod was quicker.
    ("--for=delete pod", &[]),
    (
        "rbac.yaml",
        &[
            "clusterrole.rbac.authorization.k8s.io \"testinium-operator\" deleted",
            "validatingadmissionpolicy.admissionregistration.k8s.io \"testinium-operator-writes\" deleted",
        ],
    ),
    ("namespace.yaml", &["namespace \"testinium-system\" deleted"]),
];

const MONITORING: &[Step] = &[
    ("serviceMonitor.enabled=true", &["STATUS: deployed"]),
    (
        "get servicemonitors",
        &[
            "servicemonitor.monitoring.coreos.com/testinium-operator",
            "prometheusrule.monitoring.coreos.com/testinium-operator",
            "configmap/testinium-operator-dashboard",
        ],
    ),
];

/// The same where four runs have finalizers.
const BY_HAND_OF_FOUR: &[Step] = &[(
    BY_HAND[0].0,
    &[
        "testplanrun.testinium.io/first-of-two patched",
        "testplanrun.testinium.io/last patched",
        "testplanrun.testinium.io/only patched",
        "testplanrun.testinium.io/deleted patched",
    ],
)];

const INSTALL: &str = "docs/install.md";

/// A part of a page: from this heading to the next one of its level.
fn part(page: &str, heading: &str) -> String {
    let page = std::fs::read_to_string(repository(page)).expect("the page is there");
    let (_, rest) =
        page.split_once(&format!("{heading}\n")).unwrap_or_else(|| panic!("there is no {heading}"));
    let level = format!("\n{} ", heading.split(' ').next().unwrap_or_default());
    rest.split(&level).next().unwrap_or_default().to_owned()
}

#[track_caller]
fn follow(site: &Site, text: &str, steps: &[Step]) {
    walk(&site.terminal(), &block_commands(text), steps)
        .unwrap_or_else(|why| panic!("{why}\n{}", site.said()));
}

/// The operator could finish before its rights were taken from it: the last thing that it did is to give the Lease back.
#[track_caller]
fn ended_with_its_rights(site: &Site) {
    let said = site.said();
    assert!(said.lines().next_back().is_some_and(|line| line.contains("gave the Lease back")), "{said}");
}

/// From an empty cluster to the first plan that is stopped, too: it takes less than a minute.
#[test]
fn the_helm_commands_of_the_page_do_what_they_say_when_pasted() {
    let site = Site::start();
    let _kubelet = site.kubelet("testinium-operator");
    let text = part(INSTALL, "## With Helm");
    let (install, rest) = text.split_once("### Uninstall\n").expect("it has this heading");
    let (uninstall, _) = rest.split_once("### Uninstall without the Job\n").expect("it has this heading");
    let (first, upgrade) = install.split_once("### Upgrade").expect("it has this heading");
    let (of_first, of_upgrade) = HELM_INSTALL.split_at(HELM_INSTALL.len() - 3);

    let started = Instant::now();
    follow(&site, first, of_first);
    site.gateway();
    site.ask("first", 614);
    site.wait_for_stop("first");
    assert!(started.elapsed() < Duration::from_secs(60), "it took {:?}", started.elapsed());

    follow(&site, upgrade, of_upgrade);
    follow(&site, &part(INSTALL, "## Several installations in one cluster"), SECOND);
    follow(&site, &part("docs/security.md", "## Switching it off"), SWITCH_OFF);
    let _jobs = site.jobs();
    follow(&site, uninstall, HELM_UNINSTALL);
    ended_with_its_rights(&site);
    assert_eq!(site.calls(), [[614]]);
}

/// Where no Job can run, and an operator is at work.
#[test]
fn without_the_job_the_commands_of_the_page_come_to_the_same_end() {
    let site = Site::start();
    site.install(RELEASE, &[]);
    let kubelet = site.kubelet("testinium-operator");
    site.gateway();
    site.ask("first", 614);
    site.wait_for_stop("first");
    let _jobs = site.jobs_with(Images::Missing);
    assert!(!site.try_helm(&["uninstall", RELEASE]).status.success(), "the Job fails");
    let text = part(INSTALL, "## With Helm");
    let (_, without) = text.split_once("### Uninstall without the Job\n").expect("it has this heading");
    follow(&site, without, WITHOUT_JOB);
    ended_with_its_rights(&site);
    drop(kubelet);

    site.hold("last", &["example.com/keep", FINALIZER]);
    site.hold("first-of-two", &[FINALIZER, "example.com/keep"]);
    site.hold("only", &[FINALIZER]);
    site.hold("deleted", &[FINALIZER]);
    site.kubectl(&["delete", "tpr", "deleted", "--wait=false"]);
    let by_hand = part(INSTALL, "## Take the finalizers off by hand");
    follow(&site, &by_hand, BY_HAND_OF_FOUR);
    let left: Vec<_> =
        site.held().into_iter().map(|(run, finalizers)| format!("{run} {finalizers}")).collect();
    let keep = r#"["example.com/keep"]"#;
    assert_eq!(
        left,
        [
            "first null".to_owned(),
            format!("first-of-two {keep}"),
            format!("last {keep}"),
            "only null".to_owned()
        ]
    );
    follow(&site, &by_hand, BY_HAND);
}

#[test]
fn the_kubectl_commands_of_the_page_do_what_they_say_when_pasted() {
    let site = Site::start();
    let _kubelet = site.kubelet("testinium-operator");
    let text = part(INSTALL, "## With kubectl");
    let (install, uninstall) = text.split_once("### Uninstall").expect("it has this heading");
    let (first, to_helm) = install.split_once("### Move to Helm").expect("it has this heading");
    follow(&site, first, KUBECTL_INSTALL);
    site.gateway();
    site.ask("first", 614);
    site.wait_for_stop("first");
    follow(&site, to_helm, MOVE);
    site.ask("second", 615);
    site.wait_for_stop("second");

    // One whose call is under way meanwhile: how it ends is on record afterwards.
    site.simulator.set_latency(Duration::from_secs(2));
    site.ask("third", 616);
    ok(wait_until("the third call", SOON, || if site.calls().len() == 3 { Ok(()) } else { Err("not yet") }));
    follow(&site, uninstall, KUBECTL_UNINSTALL);
    ended_with_its_rights(&site);
    site.wait_for_stop("third");
    assert_eq!(site.kubectl(&["get", "tpr", "--output=name"]).lines().count(), 3, "the runs stay");
    site.hold("held", &[FINALIZER]);
    follow(&site, &part(INSTALL, "## Take the finalizers off by hand"), BY_HAND);
    site.kubectl(&["delete", "tpr", "--all", "--timeout=30s"]);
    assert_eq!(site.calls(), [[614], [615], [616]]);
}

/// Every block of the page belongs to one of the parts that are walked.
#[test]
fn no_command_of_the_page_is_left_out() {
    let page = std::fs::read_to_string(repository(INSTALL)).expect("the page is there");
    let steps = [
        HELM_INSTALL,
        SECOND,
        HELM_UNINSTALL,
        WITHOUT_JOB,
        KUBECTL_INSTALL,
        MOVE,
        KUBECTL_UNINSTALL,
        BY_HAND,
    ];
    assert_eq!(block_commands(&page).len(), steps.iter().map(|steps| steps.len()).sum::<usize>());
}

/// The README begins an installation as the page does.
#[test]
fn the_readme_has_the_commands_of_the_page() {
    let read = |name: &str| std::fs::read_to_string(repository(name)).expect("it is there");
    let (readme, page) = (read("README.md"), block_commands(&read("docs/install.md")));
    let install = readme.split("\n## Install").nth(1).and_then(|rest| rest.split("\n## ").next());
    let commands = block_commands(install.expect("the README says how to install"));
    assert_eq!(commands.len(), 1, "{commands:?}");
    for command in commands {
        assert!(page.contains(&command), "docs/install.md lacks {command}");
    }
}

/// What the Prometheus operator brings, as far as the API server has to know it.
fn definition(kind: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

#[test]
fn the_commands_of_the_page_on_monitoring_do_what_they_say_when_pasted() {
    let site = Site::start();
    for kind in ["ServiceMonitor", "PrometheusRule"] {
        site.apply(&definition(kind));
        let crd = format!("crd/{}s.monitoring.coreos.com", kind.to_lowercase());
        site.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &crd]);
    }
    site.install(RELEASE, &[]);
    let page = std::fs::read_to_string(repository("docs/monitoring.md")).expect("the page is there");
    let mut commands = block_commands(&page);
    // It would need a kubelet.
    commands.retain(|command| !command.contains("port-forward"));
    walk(&site.terminal(), &commands, MONITORING).unwrap_or_else(|why| panic!("{why}"));
}
