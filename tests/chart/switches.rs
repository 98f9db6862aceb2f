//! What no value may break: names that are one's own, selectors that never change, rights no wider than wanted.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testinium_operator::api;
use testinium_testbed::tools::Tool;

use crate::render::{
    CHART, container, helm, objects, of_kind, ok, only, refusal, rendered, template, text, texts, title,
};

/// Values that render everything there is.
const ALL: [&str; 9] = [
    "policies.stopVerb.enabled=true",
    r#"policies.requester="Enabled""#,
    "networkPolicy.enabled=true",
    "serviceMonitor.enabled=true",
    "podMonitor.enabled=true",
    "prometheusRule.enabled=true",
    "dashboard.enabled=true",
    r#"commonLabels={"team":"platform"}"#,
    r#"podLabels={"zone":"blue"}"#,
];

#[test]
fn helm_has_nothing_against_the_chart() {
    let output = ok(ok(helm().run(&["lint", "--strict", CHART])).success());
    assert!(output.contains("1 chart(s) linted, 0 chart(s) failed"), "{output}");
}

#[test]
fn the_suites_of_the_chart_pass() {
    let output = ok(Tool::HelmUnittest.run(Path::new(CHART), &["--strict", "."]));
    assert!(
        output.status.success() && output.stdout.contains("Tests:"),
        "{}\n{}",
        output.stdout,
        output.stderr
    );
}

#[test]
fn kube_score_finds_what_the_readme_gives_a_reason_for_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let manifests = ok(template("testinium", &[]).success());
    std::fs::write(directory.path().join("chart.yaml"), manifests).expect("it can be written");
    let score = ["score", "--output-format", "ci", "chart.yaml"];
    let output = ok(Tool::KubeScore.run(directory.path(), &score)).stdout;
    let finding = |line: &str| {
        let is_finding = ["[CRITICAL] ", "[WARNING] "].iter().any(|grade| line.starts_with(grade));
        line.split_once(": ").filter(|_| is_finding).map(|(_, finding)| finding.to_owned())
    };
    let found: BTreeSet<_> = output.lines().filter_map(finding).collect();
    let readme = std::fs::read_to_string(Path::new(CHART).join("README.md")).expect("it is there");
    let table = readme.split("| finding | reason |").nth(1).expect("it has the table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let given: BTreeSet<_> = rows.map(|(finding, _)| finding.to_owned()).collect();
    assert!(output.contains("[OK] "), "{output}");
    assert_eq!(found, given);
}

#[test]
fn the_definitions_are_those_of_the_operator() {
    let objects = rendered(&[]);
    let rendered = of_kind(&objects, "CustomResourceDefinition");
    let crds = api::crds();
    assert_eq!(rendered.len(), crds.len());
    for crd in crds {
        let expected: Value =
            serde_saphyr::from_str(&api::to_yaml(&crd).expect("it is YAML")).expect("it is YAML");
        let found = rendered.iter().find(|found| found["metadata"]["name"] == expected["metadata"]["name"]);
        let found = found.unwrap_or_else(|| panic!("{} is missing", expected["metadata"]["name"]));
        assert_eq!(found["spec"], expected["spec"]);
        assert_eq!(found["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }
}

#[test]
fn the_definitions_stay_elsewhere_or_go_with_the_release_if_that_is_wanted() {
    assert_eq!(of_kind(&rendered(&["crds.enabled=false"]), "CustomResourceDefinition"), [&Value::Null; 0]);
    let all = rendered(&["crds.keep=false", r#"crds.annotations={"a":"b"}"#]);
    for definition in of_kind(&all, "CustomResourceDefinition") {
        assert_eq!(definition["metadata"]["annotations"], json!({"a": "b"}));
    }
    for definition in of_kind(&rendered(&["crds.keep=false"]), "CustomResourceDefinition") {
        assert!(definition["metadata"]["annotations"].is_null());
    }
}

/// Two releases, whichever namespaces they are in, render no object twice, if one of them brings the definitions.
#[test]
fn two_releases_have_no_object_in_common() {
    let render = |release: &str, arguments: &[&str]| -> BTreeSet<String> {
        let flags: Vec<_> =
            ALL.iter().flat_map(|value| ["--set-json", value]).chain(arguments.iter().copied()).collect();
        let all = objects(&ok(template(release, &flags).success()));
        all.iter()
            .map(|object| format!("{}/{}", text(&object["metadata"]["namespace"]), title(object)))
            .collect()
    };
    let served = r#"watchNamespaces=["testinium-system","a"]"#;
    let of_first = [render("testinium", &[]), render("testinium", &["--set-json", served])];
    let second = ["--set-json", "crds.enabled=false"];
    let of_second =
        [render("shard-b", &second), render("shard-b", &[&second[..], &["--set-json", served]].concat())];
    for (first, second) in
        of_first.iter().flat_map(|first| of_second.iter().map(move |second| (first, second)))
    {
        assert!(first.len() > 10 && second.len() > 10, "{first:?} {second:?}");
        assert_eq!(first.intersection(second).collect::<Vec<_>>(), [""; 0]);
    }
}

/// Within one release, too: the roles of a namespace that is served and also holds the operator.
#[test]
fn no_object_is_rendered_twice() {
    let all = rendered(&[r#"watchNamespaces=["testinium-system","default","a"]"#]);
    let mut seen = BTreeSet::new();
    for object in &all {
        let name = (text(&object["metadata"]["namespace"]), title(object));
        assert!(seen.insert(name.clone()), "{name:?} is rendered twice");
    }
}

#[test]
fn a_release_is_not_too_long_for_its_names_or_is_refused() {
    let longest = "a".repeat(46);
    let all = objects(&ok(template(&longest, &[]).success()));
    // Of the names, only that of a Service is bounded by so little; so is every label's value.
    assert_eq!(text(&only(&all, "Service")["metadata"]["name"]).len(), 63);
    for object in all {
        for (label, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
            assert!(text(value).len() <= 63, "{label} of {}", title(&object));
        }
    }
    let output = template(&"a".repeat(47), &[]);
    assert!(output.stderr.contains("at most 46 characters"), "{}", output.stderr);
}

#[test]
fn every_object_says_where_it_lies_and_to_whom_it_belongs() {
    for object in rendered(&ALL) {
        let is_of_cluster = ["CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"]
            .contains(&text(&object["kind"]))
            || text(&object["kind"]).contains("AdmissionPolicy");
        let namespace = &object["metadata"]["namespace"];
        assert_eq!(namespace.is_null(), is_of_cluster, "{}", title(&object));
        let labels = &object["metadata"]["labels"];
        for (label, value) in [
            ("app.kubernetes.io/name", "testinium-operator"),
            ("app.kubernetes.io/instance", "testinium"),
            ("app.kubernetes.io/part-of", "testinium"),
            ("app.kubernetes.io/version", env!("CARGO_PKG_VERSION")),
            ("team", "platform"),
        ] {
            assert_eq!(labels[label], value, "{label} of {}", title(&object));
        }
    }
}

/// A selector can't be changed while its Deployment lives: no value, and no version, may have a say in it.
#[test]
fn selectors_are_one_label_that_nothing_changes() {
    let own = json!({"app.kubernetes.io/name": "testinium-operator"});
    let all = rendered(&[&ALL[..], &[r#"podLabels={"app.kubernetes.io/name":"mine"}"#]].concat());
    let deployment = only(&all, "Deployment");
    let pod = &deployment["spec"]["template"];
    let mut network_policies = of_kind(&all, "NetworkPolicy").into_iter();
    let of_operator = network_policies.find(|policy| title(policy) == "NetworkPolicy testinium-operator");
    let of_operator = of_operator.expect("there is one");
    for (what, selector) in [
        ("Deployment", &deployment["spec"]["selector"]["matchLabels"]),
        ("topology", &pod["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]),
        ("PodDisruptionBudget", &only(&all, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]),
        ("NetworkPolicy", &of_operator["spec"]["podSelector"]["matchLabels"]),
        ("Service", &only(&all, "Service")["spec"]["selector"]),
        ("ServiceMonitor", &only(&all, "ServiceMonitor")["spec"]["selector"]["matchLabels"]),
        ("PodMonitor", &only(&all, "PodMonitor")["spec"]["selector"]["matchLabels"]),
    ] {
        assert_eq!(selector, &own, "{what}");
    }
    assert_eq!(pod["metadata"]["labels"]["app.kubernetes.io/name"], "testinium-operator");
    assert_eq!(pod["metadata"]["labels"]["team"], "platform");
}

#[test]
fn an_operator_of_some_namespaces_has_roles_in_them_and_no_role_of_the_cluster() {
    let served = r#"watchNamespaces=["a","b"]"#;
    let all = rendered(&[served, "rbac.aggregateToEdit=true", r#"policies.requester="Enabled""#]);
    let of_cluster = [of_kind(&all, "ClusterRole"), of_kind(&all, "ClusterRoleBinding")].concat();
    assert!(of_cluster.is_empty(), "{of_cluster:?}");
    let everywhere = rendered(&[]);
    let rules = &of_kind(&everywhere, "ClusterRole")
        .into_iter()
        .find(|role| title(role) == "ClusterRole testinium-operator");
    let rules = &rules.expect("there is one by default")["rules"];
    for namespace in ["a", "b"] {
        let here = |kind: &str| -> Vec<&Value> {
            of_kind(&all, kind)
                .into_iter()
                .filter(|object| object["metadata"]["namespace"] == namespace)
                .collect()
        };
        let [served, edit, view] = here("Role")[..] else { panic!("{:?}", here("Role")) };
        // In single namespaces no finalizer is put on: the first right to patch runs is not needed.
        let mut granted = rules.as_array().cloned().unwrap_or_default();
        let patch = granted.iter().position(|rule| rule["verbs"] == json!(["patch"]));
        granted.remove(patch.expect("everywhere it may put a finalizer on"));
        assert_eq!(
            served["rules"],
            json!(granted),
            "otherwise the rights are those that are granted everywhere"
        );
        assert_eq!([title(edit), title(view)], ["Role testinium-edit", "Role testinium-view"]);
        let [binding] = here("RoleBinding")[..] else { panic!("{:?}", here("RoleBinding")) };
        assert_eq!(binding["roleRef"]["name"], served["metadata"]["name"]);
        assert_eq!(binding["subjects"][0]["namespace"], "testinium-system");
    }
    assert!(texts(&container(&all)["args"]).contains(&"--watch-namespaces=a,b"));
    // The policies that are about people speak of what this operator serves.
    let kinds = ["ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding"];
    let bindings = kinds.map(|kind| of_kind(&all, kind)).concat();
    let about = |binding: &&Value| binding["spec"].get("matchResources").is_some();
    let (of_people, of_operator): (Vec<_>, Vec<_>) = bindings.into_iter().partition(about);
    for binding in &of_people {
        let selector = &binding["spec"]["matchResources"]["namespaceSelector"];
        assert_eq!(selector["matchExpressions"][0]["values"], json!(["a", "b"]));
    }
    let names = |all: &[&Value]| {
        let mut names: Vec<_> = all.iter().filter_map(|object| object["metadata"]["name"].as_str()).collect();
        names.sort_unstable();
        names.join(" ")
    };
    assert_eq!(
        names(&of_people),
        "testinium-annotations testinium-cleanup-rights testinium-gateway-credentials testinium-requester"
    );
    assert_eq!(names(&of_operator), "testinium-operator-deletes testinium-operator-writes");
    // So does the one for the verb, and its grants are Roles.
    let all = rendered(&[served, "policies.stopVerb.enabled=true"]);
    let of_cluster = [of_kind(&all, "ClusterRole"), of_kind(&all, "ClusterRoleBinding")].concat();
    assert!(of_cluster.is_empty(), "{of_cluster:?}");
    let roles = of_kind(&all, "Role").into_iter().filter(|role| title(role) == "Role testinium-stop");
    let namespaces: Vec<_> = roles.map(|role| text(&role["metadata"]["namespace"])).collect();
    assert_eq!(namespaces, ["a", "b"]);
    for name in ["testinium-stop-verb", "testinium-stop-verb-of-rules"] {
        let bindings = of_kind(&all, "ValidatingAdmissionPolicyBinding");
        let binding = bindings.into_iter().find(|binding| binding["metadata"]["name"] == name);
        let selector = &binding.expect("it is there")["spec"]["matchResources"]["namespaceSelector"];
        assert_eq!(selector["matchExpressions"][0]["values"], json!(["a", "b"]));
        let policies = of_kind(&all, "ValidatingAdmissionPolicy");
        let policy = policies.into_iter().find(|policy| policy["metadata"]["name"] == name);
        let words = policy.expect("it is there").to_string();
        assert!(words.contains("bind the Role testinium-stop,"), "{words}");
    }
}

#[test]
fn an_operator_without_cleanup_rules_and_finalizers_has_no_right_to_write_runs() {
    let verbs_of_runs = |values: &[&str]| -> Vec<String> {
        let all = rendered(values);
        let roles = of_kind(&all, "ClusterRole");
        let role = roles.into_iter().find(|role| title(role) == "ClusterRole testinium-operator");
        let rules = role.expect("there is one")["rules"].as_array().cloned().unwrap_or_default();
        let of_runs = rules.into_iter().filter(|rule| texts(&rule["resources"]).contains(&"testplanruns"));
        of_runs
            .flat_map(|rule| texts(&rule["verbs"]).into_iter().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    };
    let read = ["get", "list", "watch", "delete"];
    assert_eq!(verbs_of_runs(&[]), [&read[..], &["patch", "patch", "cleanup", "stop"]].concat());
    assert_eq!(verbs_of_runs(&["cleanup.enabled=false"]), [&read[..], &["patch"]].concat());
    let no_finalizers = "deletionPolicy.enabled=false";
    assert_eq!(verbs_of_runs(&[no_finalizers]), [&read[..], &["patch", "cleanup", "stop"]].concat());
    assert_eq!(verbs_of_runs(&["cleanup.enabled=false", no_finalizers]), read);
    let without = rendered(&["cleanup.enabled=false"]);
    assert!(!texts(&container(&without)["args"]).contains(&"--cleanup"));
    assert!(texts(&container(&rendered(&[]))["args"]).contains(&"--cleanup"));
}

/// The policies name the account that the release has, wherever it lies.
#[test]
fn the_bounds_are_about_the_account_of_the_release() {
    let all = rendered(&[r#"serviceAccount={"create":false,"name":"mine"}"#]);
    let account = "'system:serviceaccount:testinium-system:mine'";
    for name in ["testinium-operator-deletes", "testinium-operator-writes"] {
        let policies = of_kind(&all, "ValidatingAdmissionPolicy");
        let policy = policies.into_iter().find(|policy| policy["metadata"]["name"] == name);
        let condition = policy.expect("it is there")["spec"]["matchConditions"][0]["expression"].to_string();
        assert!(condition.contains(account), "{name}: {condition}");
    }
}

/// Falling back to the whole cluster would be the worst answer to a list that is empty by mistake.
#[test]
fn a_list_of_namespaces_that_is_empty_by_mistake_is_refused() {
    for value in [
        r#"watchNamespaces=[""]"#,
        r#"watchNamespaces="""#,
        "watchNamespaces=null",
        r#"watchNamespaces=["A"]"#,
    ] {
        assert!(refusal(&[value]).contains("watchNamespaces"), "{value}");
    }
}

#[test]
fn a_value_that_does_not_exist_is_refused_and_a_parent_chart_may_set_its_own() {
    for value in
        ["replica=3", "image.digset=1", r#"policies.gatewayCredential={"enabled":false}"#, "crds.enable=true"]
    {
        assert!(refusal(&[value]).contains("additional properties"), "{value}");
    }
    for value in [r#"image.digest="sha256:12""#, r#"logLevel="loud""#, "replicas=-1", "runsMemoryMiB=0"] {
        assert!(refusal(&[value]).contains("values don't meet the specifications"), "{value}");
    }
    assert_eq!(rendered(&[r#"global={"imageRegistry":"x"}"#, "enabled=true"]), rendered(&[]));
}

/// Each flag is one that the operator knows, with a value that it takes: with all of them it misses a cluster only.
#[test]
fn the_operator_takes_the_arguments_that_every_value_makes() {
    let all = rendered(&[
        r#"watchNamespaces=["a","b"]"#,
        r#"watchLabelSelector="team in (qa, dev),shard=a""#,
        r#"allowGatewayCIDRs=["10.0.0.5/32","fd00::/8"]"#,
        "trustRequestedBy=true",
        "originMaxInFlight=1",
        "originRequestsPerSecond=1000",
        "runsMemoryMiB=128",
        r#"logFormat="text""#,
        r#"logLevel="debug""#,
        r#"extraArgs=["--metrics-bind-address=0","--health-probe-bind-address=0"]"#,
        r#"extraEnvs=[{"name":"HTTPS_PROXY","value":"http://proxy:3128"}]"#,
    ]);
    let container = container(&all);
    let arguments = texts(&container["args"]);
    for expected in [
        "run",
        "--lease-name=testinium-operator",
        "--watch-namespaces=a,b",
        "--watch-label-selector=team in (qa, dev),shard=a",
        "--allow-gateway-cidr=fd00::/8",
        "--trust-requested-by",
        "--origin-max-in-flight=1",
        "--origin-requests-per-second=1000",
        "--runs-memory-mib=128",
        "--log-format=text",
        "--log-level=debug",
    ] {
        assert!(arguments.contains(&expected), "{expected} is not in {arguments:?}");
    }
    assert_eq!(arguments.last(), Some(&"--health-probe-bind-address=0"));
    assert_eq!(container["env"][0]["name"], "HTTPS_PROXY");
    let mut operator = Command::new(env!("CARGO_BIN_EXE_testinium-operator"));
    operator.args(&arguments).env("KUBECONFIG", "/nonexistent").env_remove("KUBERNETES_SERVICE_HOST");
    let output = operator.env("HOME", "/nonexistent").output().expect("the binary was built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("found no cluster to talk to"), "{said}");
}
