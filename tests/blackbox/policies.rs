//! The policies that ship: who may make the operator send a Secret somewhere.
//!
//! Accounts are real ServiceAccounts with roles of their own; what they do goes through kubectl as people type it.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::{Value, json};
use testinium_operator::api;
use testinium_testbed::kubectl::{Kubectl, Output, wait_until};
use testinium_testbed::launcher;

use crate::choices::{create, taken};
use crate::cluster::{Namespace, cluster, gateway, ok, page, repository};
use crate::operator::SOON;

/// The Secrets that an account may read.
#[derive(Clone, Copy)]
enum Reads<'a> {
    Nothing,
    /// Those of these names, as `resourceNames` of a Role says it.
    Named(&'a [&'a str]),
    All,
}

/// A ServiceAccount of the namespace that may edit runs and gateways, and read these Secrets.
fn account(namespace: &Namespace, name: &str, reads: Reads<'_>) -> Kubectl {
    let rights = match reads {
        Reads::Nothing => json!([]),
        Reads::Named(names) => {
            json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": names}])
        }
        Reads::All => json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]),
    };
    let rbac = "rbac.authorization.k8s.io";
    let role = format!("{name}-secrets");
    let binding = |kind: &str, role: &str| {
        json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": format!("{name}-{role}")},
            "roleRef": {"apiGroup": rbac, "kind": kind, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace.name}],
        })
    };
    namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": role}, "rules": rights},
        binding("Role", &role),
        binding("ClusterRole", "testinium-edit"),
        // kubectl reads an object before it changes it.
        binding("ClusterRole", "testinium-view"),
    ]}));
    let kubeconfig = ok(cluster().kubeconfig_for_service_account(&namespace.name, name));
    let kubectl = namespace.kubectl.with_kubeconfig(&kubeconfig);
    // The API server takes a moment to see a new role.
    let mut needed = vec!["create tgw".to_owned(), "get tgw".to_owned()];
    match reads {
        Reads::Nothing => {}
        Reads::Named(names) => needed.extend(names.iter().map(|name| format!("get secrets/{name}"))),
        Reads::All => needed.push("get secrets".to_owned()),
    }
    for right in needed {
        let question: Vec<_> = ["auth", "can-i", "--quiet"].into_iter().chain(right.split(' ')).collect();
        ok(wait_until(&format!("{name} may {right}"), SOON, || {
            let answer = ok(kubectl.run(&question));
            if answer.status.success() { Ok(()) } else { Err(answer.stderr) }
        }));
    }
    kubectl
}

/// A namespace, once the policy is in force: it takes a moment after it was applied.
fn guarded_namespace() -> Namespace {
    static IN_FORCE: OnceLock<()> = OnceLock::new();
    let namespace = Namespace::create();
    IN_FORCE.get_or_init(|| {
        let nobody = account(&namespace, "prober", Reads::Nothing);
        ok(wait_until("the policy is in force", SOON, || {
            let output = create(&nobody, &gateway("probe", json!({})));
            if is_refusal(&output) { Ok(()) } else { Err(format!("{output:?}")) }
        }));
    });
    namespace
}

fn input(kubectl: &Kubectl, arguments: &[&str], object: &Value) -> Output {
    ok(kubectl.run_with_input(arguments, &object.to_string()))
}

fn patch(kubectl: &Kubectl, name: &str, spec: &Value) -> Output {
    let patch = json!({ "spec": spec }).to_string();
    ok(kubectl.run(&["patch", "tgw", name, "--type=merge", "--dry-run=server", "--patch", &patch]))
}

fn is_refusal(output: &Output) -> bool {
    !output.status.success() && output.stderr.contains(POLICY) && output.stderr.contains("lacks the verb")
}

const POLICY: &str = "ValidatingAdmissionPolicy 'testinium-gateway-credentials'";

#[track_caller]
fn refused(what: &str, output: &Output, secret: &str, namespace: &Namespace) {
    assert!(is_refusal(output), "{what}: {output:?}");
    let sentence =
        [format!(r#"lacks the verb "get" on Secret "{secret}" ("#), format!("\"{}\"", namespace.name)];
    for part in sentence {
        assert!(output.stderr.contains(&part), "{what}: {part} is missing in {}", output.stderr);
    }
    assert!(output.stderr.contains("Forbidden") || output.stderr.contains("forbidden"), "{}", output.stderr);
}

fn bearer(name: &str, key: Option<&str>) -> Value {
    let mut reference = json!({ "name": name });
    if let Some(key) = key {
        reference["key"] = json!(key);
    }
    json!({"bearerToken": {"secretRef": reference}})
}

fn password(name: &str, token_url: &str) -> Value {
    json!({"password": {"tokenURL": token_url, "secretRef": {"name": name}}})
}

#[test]
fn a_new_gateway_needs_the_right_to_read_each_of_its_secrets() {
    let namespace = guarded_namespace();
    let editor = account(&namespace, "editor", Reads::Nothing);
    let one = account(&namespace, "one", Reads::Named(&["token"]));
    let all = account(&namespace, "all", Reads::All);
    let mut both = gateway("new", json!({"auth": bearer("token", None)}));
    both["spec"]["tls"] = json!({"clientCertificateRef": {"name": "client"}});
    // What is created, and the first Secret that the accounts `editor` and `one` may not read.
    for (what, spec, of_editor, of_one) in [
        ("a token", json!({"auth": bearer("token", None)}), Some("token"), None),
        ("another key", json!({"auth": bearer("token", Some("password"))}), Some("token"), None),
        ("another Secret", json!({"auth": bearer("database", None)}), Some("database"), Some("database")),
        ("a login", json!({"auth": password("token", "https://x")}), Some("token"), None),
        ("another login", json!({"auth": password("login", "https://x")}), Some("login"), Some("login")),
        ("two Secrets", both["spec"].clone(), Some("token"), Some("client")),
        (
            "a CA in a Secret",
            json!({"auth": bearer("token", None), "tls": {"caRef": {"kind": "Secret", "name": "authority"}}}),
            Some("token"),
            Some("authority"),
        ),
        (
            "a CA in a ConfigMap",
            json!({"auth": bearer("token", None), "tls": {"caRef": {"kind": "ConfigMap", "name": "database"}}}),
            Some("token"),
            None,
        ),
        (
            "all three",
            json!({
                "auth": bearer("token", None),
                "tls": {"caRef": {"kind": "Secret", "name": "token"}, "clientCertificateRef": {"name": "token"}},
            }),
            Some("token"),
            None,
        ),
    ] {
        let object = gateway("new", spec);
        for (who, kubectl, unreadable) in [("editor", &editor, of_editor), ("one", &one, of_one)] {
            let (what, output) = (format!("{what} by {who}"), create(kubectl, &object));
            match unreadable {
                Some(secret) => refused(&what, &output, secret, &namespace),
                None => taken(&what, &output),
            }
        }
        taken(what, &create(&all, &object));
        taken(what, &create(&namespace.kubectl, &object));
    }
}

#[test]
fn it_does_not_matter_how_a_gateway_is_created() {
    let namespace = guarded_namespace();
    let editor = account(&namespace, "editor", Reads::Nothing);
    let reader = account(&namespace, "reader", Reads::Named(&["testinium"]));
    let object = gateway("new", json!({}));
    for arguments in [
        &["create", "--filename=-"][..],
        &["apply", "--filename=-"],
        &["apply", "--server-side", "--filename=-"],
        &["create", "--dry-run=server", "--filename=-"],
    ] {
        let what = arguments.join(" ");
        refused(&what, &input(&editor, arguments, &object), "testinium", &namespace);
        taken(&what, &input(&reader, arguments, &object));
        namespace.run(&["delete", "tgw", "--all", "--wait=false"]);
    }
    let mut unnamed = object;
    unnamed["metadata"] = json!({"generateName": "some-"});
    refused("generateName", &input(&editor, &["create", "--filename=-"], &unnamed), "testinium", &namespace);
    taken("generateName", &input(&reader, &["create", "--filename=-"], &unnamed));
}

/// The fields of a gateway's spec that say nothing of where, how or which credential travels.
const HARMLESS: [(&str, &str); 5] = [
    ("batching", r#"{"batching": {"maxPlans": 7}}"#),
    ("limits", r#"{"limits": {"maxInFlight": 1}}"#),
    ("retry", r#"{"retry": {"initialDelaySeconds": 2}}"#),
    ("suspend", r#"{"suspend": true}"#),
    ("timeoutSeconds", r#"{"timeoutSeconds": 9}"#),
];

/// Each other field, with changes that need the right.
const GUARDED: [(&str, &[&str]); 5] = [
    (
        "url",
        &[
            r#"{"url": "https://elsewhere.example.com"}"#,
            r#"{"url": "https://testinium.example.com/other"}"#,
            r#"{"url": "http://testinium.example.com", "allowPlainHTTP": true}"#,
        ],
    ),
    ("allowPlainHTTP", &[r#"{"allowPlainHTTP": true}"#]),
    (
        "auth",
        &[
            r#"{"auth": {"bearerToken": {"secretRef": {"name": "token", "key": "other"}}}}"#,
            r#"{"auth": {"bearerToken": {"secretRef": {"key": "password"}}}}"#,
            r#"{"auth": {"bearerToken": null, "password": {"tokenURL": "https://x", "secretRef": {"name": "token"}}}}"#,
        ],
    ),
    ("companyID", &[r#"{"companyID": "8"}"#, r#"{"companyID": null}"#]),
    (
        "tls",
        &[
            r#"{"tls": null}"#,
            r#"{"tls": {"caRef": {"name": "other"}}}"#,
            r#"{"tls": {"caRef": {"key": "other"}}}"#,
            r#"{"tls": {"caRef": null}}"#,
            r#"{"tls": {"clientCertificateRef": {"name": "token"}}}"#,
        ],
    ),
];

/// A gateway with something in every field that is guarded.
fn full() -> Value {
    gateway(
        "default",
        json!({
            "auth": bearer("token", None), "companyID": "7", "suspend": false,
            "tls": {"caRef": {"name": "authority"}},
        }),
    )
}

#[test]
fn what_a_credential_depends_on_is_changed_only_by_those_who_may_read_it() {
    let namespace = guarded_namespace();
    namespace.apply(&full());
    let editor = account(&namespace, "editor", Reads::Nothing);
    let other = account(&namespace, "other", Reads::Named(&["database"]));
    let reader = account(&namespace, "reader", Reads::Named(&["token"]));
    for change in GUARDED.iter().flat_map(|(_, changes)| *changes) {
        let spec: Value = serde_json::from_str(change).expect("it is JSON");
        refused(change, &patch(&editor, "default", &spec), "token", &namespace);
        refused(change, &patch(&other, "default", &spec), "token", &namespace);
        taken(change, &patch(&reader, "default", &spec));
    }
    // Not even the old Secret's reader may name another.
    let steal = json!({"auth": bearer("database", Some("password")), "url": "https://elsewhere.example.com"});
    refused("another Secret", &patch(&reader, "default", &steal), "database", &namespace);
    taken("another Secret", &patch(&other, "default", &steal));
}

#[test]
fn a_login_goes_nowhere_else_either() {
    let namespace = guarded_namespace();
    namespace.apply(&gateway("login", json!({"auth": password("login", "https://x.example.com/token")})));
    let editor = account(&namespace, "editor", Reads::Nothing);
    let reader = account(&namespace, "reader", Reads::Named(&["login"]));
    for change in [
        json!({"auth": password("login", "https://elsewhere.example.com/token")}),
        json!({"auth": {"password": {"scope": "all"}}}),
        json!({"auth": {"password": null, "bearerToken": {"secretRef": {"name": "login", "key": "password"}}}}),
    ] {
        let what = change.to_string();
        let output = patch(&editor, "login", &change);
        refused(&what, &output, "login", &namespace);
        let field = if what.contains("bearerToken") { "bearerToken" } else { "password" };
        assert!(output.stderr.contains(&format!("(spec.auth.{field}.secretRef)")), "{}", output.stderr);
        taken(&what, &patch(&reader, "login", &change));
    }
}

#[test]
fn it_does_not_matter_how_a_gateway_is_changed() {
    let namespace = guarded_namespace();
    namespace.apply(&full());
    let editor = account(&namespace, "editor", Reads::Nothing);
    let mut moved = full();
    moved["spec"]["url"] = json!("https://elsewhere.example.com");
    let mut whole = ok(namespace.kubectl.get_json(&["tgw", "default"]));
    whole["spec"]["url"] = moved["spec"]["url"].clone();
    for (arguments, object) in [
        (&["apply", "--filename=-"][..], &moved),
        (&["apply", "--server-side", "--force-conflicts", "--filename=-"], &moved),
        (&["replace", "--filename=-"], &whole),
    ] {
        refused(&arguments.join(" "), &input(&editor, arguments, object), "token", &namespace);
    }
    let json_patch = r#"[{"op": "replace", "path": "/spec/url", "value": "https://elsewhere.example.com"}]"#;
    let output = ok(editor.run(&["patch", "tgw", "default", "--type=json", "--patch", json_patch]));
    refused("a JSON patch", &output, "token", &namespace);

    let edited = edit(&editor, "s/testinium.example.com/elsewhere.example.com/");
    assert!(edited.contains("lacks the verb \"get\" on Secret \"token\""), "{edited}");
    assert_eq!(
        ok(namespace.kubectl.get_json(&["tgw", "default"]))["spec"]["url"],
        "https://testinium.example.com"
    );
}

/// What `kubectl edit` prints when sed is the editor.
fn edit(kubectl: &Kubectl, script: &str) -> String {
    let mut command = kubectl.command(&["edit", "tgw", "default"]);
    let output = command.env("KUBE_EDITOR", format!("sed -i {script}")).output().expect("kubectl starts");
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn every_other_change_is_anybodys() {
    let namespace = guarded_namespace();
    let editor = account(&namespace, "editor", Reads::Nothing);
    let object = full();
    // Whoever may read the Secret has created it, by each way of applying.
    namespace.apply(&object);
    for arguments in [
        &["apply", "--filename=-"][..],
        &["apply", "--server-side", "--force-conflicts", "--filename=-"],
        &["replace", "--filename=-"],
    ] {
        taken(&format!("unchanged: {}", arguments.join(" ")), &input(&editor, arguments, &object));
    }
    for (_, change) in HARMLESS {
        let spec = serde_json::from_str(change).expect("it is JSON");
        taken(change, &patch(&editor, "default", &spec));
    }
    taken("a removed field", &patch(&editor, "default", &json!({"suspend": null})));
    for arguments in [
        &["label", "tgw", "default", "team=qa"][..],
        &["annotate", "tgw", "default", "note=x"],
        &[
            "patch",
            "tgw",
            "default",
            "--type=merge",
            "--patch",
            r#"{"metadata":{"finalizers":["example.com/x"]}}"#,
        ],
    ] {
        taken(&arguments.join(" "), &ok(editor.run(arguments)));
    }
    let edited = edit(&editor, "s/suspend:.false/suspend:\\ true/");
    assert!(edited.contains("testiniumgateway.testinium.io/default edited"), "{edited}");

    // One that is being deleted still loses its finalizer, by a patch as the garbage collector makes it.
    taken("deletion", &ok(editor.run(&["delete", "tgw", "default", "--wait=false"])));
    let finalizers = r#"{"metadata":{"finalizers":null}}"#;
    taken(
        "a finalizer",
        &ok(editor.run(&["patch", "tgw", "default", "--type=merge", "--patch", finalizers])),
    );
    taken("deletion of all", &ok(editor.run(&["delete", "tgw", "--all", "--wait=false"])));
    assert_eq!(ok(namespace.kubectl.get_json(&["tgw"]))["items"], json!([]));
}

#[test]
fn the_operator_writes_statuses_of_gateways_and_nothing_else() {
    let namespace = guarded_namespace();
    namespace.apply(&full());
    let kubeconfig = ok(launcher::kubeconfig(cluster()));
    let operator = namespace.kubectl.with_kubeconfig(&kubeconfig);
    let mut object = ok(namespace.kubectl.get_json(&["tgw", "default"]));
    object["status"] = json!({"observedGeneration": 1});
    let arguments = ["replace", "--subresource=status", "--filename=-"];
    taken("a status", &input(&operator, &arguments, &object));
    let status = ok(namespace.kubectl.get_json(&["tgw", "default"]))["status"].clone();
    assert_eq!(status["observedGeneration"], 1);
}

#[test]
fn a_right_in_one_namespace_is_none_in_another() {
    let (here, there) = (guarded_namespace(), guarded_namespace());
    let reader = account(&here, "reader", Reads::All);
    let subject = format!("--serviceaccount={}:reader", here.name);
    for role in ["testinium-edit", "testinium-view"] {
        there.run(&["create", "rolebinding", role, &format!("--clusterrole={role}"), &subject]);
    }
    let abroad = reader.in_namespace(&there.name);
    ok(wait_until("the role is seen", SOON, || {
        let answer = ok(abroad.run(&["auth", "can-i", "--quiet", "create", "tgw"]));
        if answer.status.success() { Ok(()) } else { Err(answer.stderr) }
    }));
    let object = gateway("new", json!({}));
    taken("here", &create(&reader, &object));
    refused("there", &create(&abroad, &object), "testinium", &there);
}

#[test]
fn whoever_may_only_write_gateways_can_have_no_secret_sent() {
    let namespace = guarded_namespace();
    namespace.run(&["create", "serviceaccount", "writer"]);
    let subject = format!("--serviceaccount={}:writer", namespace.name);
    namespace.run(&["create", "rolebinding", "writer", "--clusterrole=testinium-edit", &subject]);
    let kubeconfig = ok(cluster().kubeconfig_for_service_account(&namespace.name, "writer"));
    let writer = namespace.kubectl.with_kubeconfig(&kubeconfig);
    let theft = gateway(
        "theft",
        json!({"auth": bearer("database", Some("password")), "url": "https://mine.example.com"}),
    );
    // Until the role is seen, it is RBAC that refuses.
    ok(wait_until("the policy refuses it", SOON, || {
        let output = input(&writer, &["create", "--filename=-"], &theft);
        if is_refusal(&output) { Ok(()) } else { Err(format!("{output:?}")) }
    }));
    assert_eq!(ok(namespace.kubectl.get_json(&["tgw"]))["items"], json!([]));
}

#[test]
fn the_page_on_security_says_what_happens() {
    let namespace = guarded_namespace();
    let deployer = account(&namespace, "deployer", Reads::Nothing);
    let page = page("docs/security.md");
    // As if it were of this namespace: the page is about one named qa.
    let page = page.replace("qa:", &format!("{}:", namespace.name));
    let page = page
        .replace("=qa ", &format!("={} ", namespace.name))
        .replace("\"qa\"", &format!("\"{}\"", namespace.name));
    let object = gateway("default", json!({"auth": bearer("testinium-token", None)}));
    let refusal = input(&deployer, &["apply", "--filename=-"], &object);
    let sentence = refusal.stderr.split_once(POLICY).map_or("", |(_, sentence)| sentence).trim();
    assert!(!sentence.is_empty() && page.contains(sentence), "{}", refusal.stderr);

    let commands: Vec<_> = page.lines().filter(|line| line.starts_with("kubectl create ")).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in commands {
        namespace.run(&command.split(' ').skip(1).collect::<Vec<_>>());
    }
    ok(wait_until("the right is there", SOON, || {
        let output = input(&deployer, &["apply", "--filename=-"], &object);
        if output.status.success() { Ok(()) } else { Err(output.stderr) }
    }));
}

/// Whoever adds a field to a gateway has to say here which kind it is of; the policy guards it until its list says
/// otherwise.
#[test]
fn every_field_of_a_gateway_is_guarded_or_known_to_be_harmless() {
    let crds = api::crds();
    let crd =
        crds.iter().find(|crd| crd.spec.names.kind == "TestiniumGateway").expect("there is such a kind");
    let known: BTreeSet<_> =
        HARMLESS.iter().map(|(field, _)| *field).chain(GUARDED.iter().map(|(field, _)| *field)).collect();
    for version in &crd.spec.versions {
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let spec = schema.and_then(|schema| schema.properties.as_ref()?.get("spec")).expect("it has a spec");
        let fields: BTreeSet<_> = spec.properties.iter().flatten().map(|(name, _)| name.as_str()).collect();
        assert_eq!(fields, known, "in {}", version.name);
    }
    let manifest = repository("deploy/manifests/gateway-credentials.yaml");
    let text = std::fs::read_to_string(manifest).expect("the policy ships");
    let list = format!("['{}']", HARMLESS.map(|(field, _)| field).join("', '"));
    assert_eq!(text.matches(&list).count(), 2, "both halves of the condition name {list}");
}
