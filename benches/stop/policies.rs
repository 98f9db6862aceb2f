//! What admission policies cost the API server when people ask for stops.
//!
//! No operator runs: it is the requests of people that policies look at. They are those of an account that may write runs
//! and may stop them, since an administrator is asked for no right. Each variant has a namespace, in which its policies
//! are in force. Bursts of all variants take turns, so that whatever else the API server does is every variant's.

use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use testinium_testbed::kubectl::{Kubectl, wait_until};

use crate::api;
use crate::child::LIMIT;
use crate::cluster::Work;
use crate::failure::Failure;
use crate::report::Report;
use crate::stage::{Field, Stage, name};
use crate::units::Unit;

/// A group of policies: a label of the namespaces in which it is in force, its file in `deploy/manifests`, and its bindings
/// there, by the kind of their policies.
type Group = (&'static str, &'static str, &'static str, &'static [&'static str]);

const GROUPS: [Group; 4] = [
    ("measured-annotations", "annotations.yaml", "validating", &["testinium-annotations"]),
    (
        "measured-bounds",
        "bounds.yaml",
        "validating",
        &["testinium-operator-writes", "testinium-operator-deletes"],
    ),
    ("measured-stop-verb", "stop-verb/stop-verb.yaml", "validating", &["testinium-stop-verb"]),
    ("measured-requester", "requester/requester.yaml", "mutating", &["testinium-requester"]),
];

/// Names, and how many of the groups are in force.
const VARIANTS: [(&str, usize); 4] = [
    ("a patch, no policy", 0),
    ("a patch, policies by default", 2),
    ("a patch, and stop-verb", 3),
    ("a patch, and stop-verb and requester", 4),
];

/// One variant, ready to be measured.
struct Turn {
    field: Field,
    client: kube::Client,
    samples: Vec<f64>,
}

/// Each variant beside the first. `size`: runs a burst, and bursts.
pub async fn measure(
    stage: &Stage,
    report: &mut Report,
    (runs, rounds): (usize, usize),
) -> Result<(), Failure> {
    let kubectl = stage.plane.kubectl();
    let binding =
        ["create", "clusterrolebinding", "stranger", "--clusterrole=testinium-edit", "--user=stranger"];
    kubectl.run(&binding)?.success()?;
    bind_by_label(&kubectl)?;
    let mut turns = Vec::new();
    for (_, groups) in VARIANTS {
        turns.push(prepare(stage, groups, runs).await?);
    }
    // The first burst is dearer than those that follow.
    for round in 0..=rounds {
        for turn in 0..turns.len() {
            // None always has the same one before it.
            let turn = if round % 2 == 0 { turn } else { turns.len() - 1 - turn };
            let Turn { field, client, samples } = &mut turns[turn];
            let cost = burst(stage, field, client, runs, round).await?;
            samples.extend((round > 0).then_some(cost));
        }
    }
    let without = turns[0].samples.clone();
    for ((name, _), turn) in VARIANTS.iter().zip(turns) {
        report.add("policies", name, Unit::Milliseconds, Some(runs), (turn.samples, without.clone()));
    }
    Ok(())
}

/// Has the bindings of every group in force in the namespaces with its label, and nowhere else.
fn bind_by_label(kubectl: &Kubectl) -> Result<(), Failure> {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/manifests");
    for (label, file, kind, bindings) in GROUPS {
        kubectl.apply_file(&manifests.join(file))?;
        let selector =
            json!({"namespaceSelector": {"matchExpressions": [{"key": label, "operator": "Exists"}]}});
        let patch = json!({"spec": {"matchResources": selector}}).to_string();
        for binding in bindings {
            let object = format!("{kind}admissionpolicybinding/{binding}");
            kubectl.run(&["patch", &object, "--type=merge", "--patch", &patch])?.success()?;
        }
    }
    Ok(())
}

/// A namespace with runs, in which so many groups are in force, and a client of a tenant.
async fn prepare(stage: &Stage, groups: usize, runs: usize) -> Result<Turn, Failure> {
    let field = stage.field("policies").await?;
    let kubectl = stage.plane.kubectl().in_namespace(&field.namespace);
    for (label, ..) in &GROUPS[..groups] {
        kubectl.run(&["label", "namespace", &field.namespace, &format!("{label}=")])?.success()?;
    }
    let client = tenant(stage, &field).await?;
    stage.create(&field, runs, false).await?;
    // It takes the API server a moment to see a label, a binding, and a definition.
    let wanted = [groups > 0, groups > 2, groups > 3];
    wait_until("the policies are in force, and no others", LIMIT, || {
        let found = in_force(&kubectl).map_err(|error| error.to_string())?;
        if found == wanted { Ok(()) } else { Err(format!("{found:?} instead of {wanted:?}")) }
    })?;
    Ok(Turn { field, client, samples: Vec::new() })
}

/// Whether the policies annotations, stop-verb and requester are in force, by what the API server would do.
fn in_force(kubectl: &Kubectl) -> Result<[bool; 3], testinium_testbed::Error> {
    let try_to_create = |arguments: &[&str], metadata: &str, spec: &str| {
        let object = format!(
            r#"{{"apiVersion":"testinium.io/v1alpha1","kind":"TestPlanRun","metadata":{{"name":"probe"{metadata}}},"spec":{{"plans":[1]{spec}}}}}"#
        );
        let how = ["create", "--dry-run=server", "--output=json", "--filename=-"];
        kubectl.run_with_input(&[&how[..], arguments].concat(), &object)
    };
    let keep = r#","annotations":{"testinium.io/keep-until":"next week"}"#;
    let refused = |output: &str, policy: &str| output.contains(&format!("'testinium-{policy}'"));
    Ok([
        refused(&try_to_create(&[], keep, "")?.stderr, "annotations"),
        refused(&try_to_create(&["--as=stranger"], "", r#","stopped":true"#)?.stderr, "stop-verb"),
        try_to_create(&[], "", r#","stopped":true"#)?.stdout.contains("testinium.io/stop-requested-by"),
    ])
}

/// The API server's milliseconds on a processor for each patch that asks for a stop.
async fn burst(
    stage: &Stage,
    field: &Field,
    client: &kube::Client,
    runs: usize,
    round: usize,
) -> Result<f64, Failure> {
    let before = Work::so_far(stage)?;
    let (client, namespace) = (client.clone(), field.namespace.clone());
    api::each(runs, move |index| {
        let (client, namespace) = (client.clone(), namespace.clone());
        async move { api::ask(&client, &namespace, &name(index), round).await }
    })
    .await?;
    Ok(before.api_server_since(stage)? / runs as f64)
}

/// A client of an account that may write and stop the runs of this namespace.
async fn tenant(stage: &Stage, field: &Field) -> Result<kube::Client, Failure> {
    let rbac = "rbac.authorization.k8s.io";
    let (tenant, namespace) = ("tenant", &field.namespace);
    let rules = json!([{"apiGroups": ["testinium.io"], "resources": ["testplanruns"], "verbs": ["get", "patch", "stop"]}]);
    let items = json!([
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": tenant}},
        {"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": tenant}, "rules": rules},
        {"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": tenant},
         "roleRef": {"apiGroup": rbac, "kind": "Role", "name": tenant},
         "subjects": [{"kind": "ServiceAccount", "name": tenant, "namespace": namespace}]},
    ]);
    let kubectl = stage.plane.kubectl().in_namespace(namespace);
    kubectl.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    let kubeconfig = Kubeconfig::read_from(stage.plane.kubeconfig_for_service_account(namespace, tenant)?)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // The role is seen while the runs are made.
    Ok(kube::Client::try_from(config)?)
}
