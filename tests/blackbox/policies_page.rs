//! `docs/policies.md`, walked as it stands, on a control plane of its own: what it installs is in force everywhere.

use testinium_testbed::control_plane::{ControlPlane, Options};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::operator::install;
use testinium_testbed::pages::{Step, block_commands, blocks, walk};
use testinium_testbed::terminal::Terminal;

use crate::choices::has_mutating_policies;
use crate::cluster::{ok, page, run};
use crate::operator::SOON;

const TRY: &[Step] = &[
    ("--dry-run=server", &["testplanrun.testinium.io/nightly patched"]),
    (
        "-k deploy/manifests/stop-verb",
        &[
            "validatingadmissionpolicy.admissionregistration.k8s.io/testinium-stop-verb created",
            "validatingadmissionpolicybinding.admissionregistration.k8s.io/testinium-stop-verb created",
            "clusterrole.rbac.authorization.k8s.io/testinium-stop created",
        ],
    ),
];

const GRANT: &[Step] = &[
    ("create rolebinding", &["rolebinding.rbac.authorization.k8s.io/testinium-stop created"]),
    ("auth can-i", &["yes"]),
    (
        "patch validatingadmissionpolicybinding",
        &[
            "validatingadmissionpolicybinding.admissionregistration.k8s.io/testinium-stop-verb patched",
            "validatingadmissionpolicybinding.admissionregistration.k8s.io/testinium-stop-verb-of-rules patched",
        ],
    ),
];

/// Kubernetes 1.36 and later.
const BELIEVE: &[Step] = &[
    (
        "-k deploy/manifests/requester",
        &["mutatingadmissionpolicy.admissionregistration.k8s.io/testinium-requester created"],
    ),
    ("set env", &["deployment.apps/testinium-operator env updated"]),
];

#[test]
fn the_page_on_policies_does_what_it_says() {
    let page = page("docs/policies.md");
    let plane = ok(ControlPlane::start(Options::default()));
    ok(install(&plane.kubectl()));
    let kubectl = plane.kubectl().in_namespace("qa");
    let deployer = "system:serviceaccount:qa:deployer";
    for arguments in [
        &["create", "namespace", "qa"][..],
        &["create", "rolebinding", "edit", "--clusterrole=testinium-edit", "--serviceaccount=qa:deployer"],
        &["create", "rolebinding", "view", "--clusterrole=testinium-view", "--serviceaccount=qa:deployer"],
    ] {
        ok(ok(kubectl.run(arguments)).success());
    }
    ok(kubectl.apply(&run("nightly", serde_json::json!({"plans": [1]})).to_string()));
    let stop =
        ["patch", "tpr", "nightly", "--type=merge", "-p", r#"{"spec":{"stopped":true}}"#, "--as", deployer];
    let try_stop = || ok(kubectl.run(&[&stop[..], &["--dry-run=server"]].concat()));
    ok(wait_until("the roles are seen", SOON, || {
        let output = try_stop();
        if output.status.success() { Ok(()) } else { Err(output.stderr) }
    }));

    let directory = tempfile::tempdir().expect("a temporary directory");
    let terminal = ok(Terminal::new(&plane, "qa", directory.path()));
    let commands = block_commands(&page);
    let all = [TRY, GRANT, BELIEVE].map(<[Step]>::len);
    assert_eq!(
        commands.len(),
        all.iter().sum::<usize>(),
        "each command of the page is one of these: {commands:#?}"
    );
    let (first, rest) = commands.split_at(all[0]);
    let (grant, believe) = rest.split_at(all[1]);
    let follow = |commands: &[String], steps: &[Step]| {
        walk(&terminal, commands, steps).unwrap_or_else(|why| panic!("{why}"))
    };

    follow(first, TRY);
    ok(wait_until("the sentence of the page", SOON, || {
        let output = try_stop();
        let shown = blocks(&page, "console").next();
        let (_, sentence) = shown.and_then(|shown| shown.split_once('\n')).expect("it shows a refusal");
        if output.stderr.trim() == sentence.trim_end() { Ok(()) } else { Err(format!("{output:?}")) }
    }));
    follow(grant, GRANT);
    ok(wait_until("the right is seen", SOON, || {
        let output = try_stop();
        if output.status.success() && output.stderr.is_empty() { Ok(()) } else { Err(output.stderr) }
    }));
    if has_mutating_policies() {
        follow(believe, BELIEVE);
    }
}
