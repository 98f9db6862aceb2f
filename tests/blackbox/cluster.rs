//! The cluster that the tests share, and a namespace for each of them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use testinium_testbed::control_plane::ControlPlane;
use testinium_testbed::kubectl::Kubectl;
use testinium_testbed::operator::{Site, install};
use testinium_testbed::{Error, chain};

/// The shared control plane, with all of `deploy/manifests` applied.
pub(crate) fn cluster() -> &'static ControlPlane {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let plane = ControlPlane::shared();
    INSTALLED.get_or_init(|| ok(install(&plane.kubectl())));
    plane
}

/// The shared control plane, for operators behind fault proxies.
pub(crate) fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| ok(Site::new(cluster(), Path::new(OPERATOR))))
}

/// The binary under test.
pub(crate) const OPERATOR: &str = env!("CARGO_BIN_EXE_testinium-operator");

/// A path in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A page of the repository.
pub(crate) fn page(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The value, or a panic with the whole chain of causes.
#[track_caller]
pub(crate) fn ok<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// A namespace for one test. If the test fails, what is in it is printed.
pub(crate) struct Namespace {
    pub(crate) name: String,
    pub(crate) kubectl: Kubectl,
}

impl Namespace {
    /// A new one, named after the test.
    pub(crate) fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let test = std::thread::current().name().unwrap_or("test").replace("::", "-").replace('_', "-");
        let test: String = test.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(50).collect();
        let name = format!(
            "{}-{}",
            test.trim_end_matches('-').to_lowercase(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let kubectl = cluster().kubectl().in_namespace(&name);
        ok(kubectl.run(&["create", "namespace", &name]).and_then(|output| output.success()));
        Self { name, kubectl }
    }

    /// Runs kubectl; it must succeed. Returns what it printed.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        ok(self.kubectl.run(arguments).and_then(|output| output.success()))
    }

    /// Applies an object; it must be taken.
    #[track_caller]
    pub(crate) fn apply(&self, object: &Value) {
        ok(self.kubectl.apply(&object.to_string()));
    }

    /// Asserts that the API server would create each of the objects.
    #[track_caller]
    pub(crate) fn accepts(&self, objects: impl IntoIterator<Item = Value>) {
        let objects: Vec<_> = objects.into_iter().collect();
        for (object, answer) in objects.iter().zip(self.try_create(&objects)) {
            if let Err(refusal) = answer {
                panic!("{object}\nwas refused: {refusal}");
            }
        }
    }

    /// Asserts that the API server would create none of the objects, each for a reason that contains this.
    #[track_caller]
    pub(crate) fn refuses<'a>(&self, cases: impl IntoIterator<Item = (Value, &'a str)>) {
        let (objects, reasons): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
        for ((object, answer), reason) in objects.iter().zip(self.try_create(&objects)).zip(reasons) {
            match answer {
                Ok(()) => panic!("{object}\nwas accepted"),
                Err(refusal) => {
                    assert!(refusal.contains(reason), "{object}\nwas refused for another reason: {refusal}")
                }
            }
        }
    }

    /// What the API server says to each object, if it has no other reason than the object itself. One kubectl for all
    /// of them, since starting it costs more than what it does.
    fn try_create(&self, objects: &[Value]) -> Vec<Result<(), String>> {
        let name = |index: usize| format!("case-{index}");
        let mut items = objects.to_vec();
        for (index, item) in items.iter_mut().enumerate() {
            item["metadata"]["name"] = json!(name(index));
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        // kubectl's own check would be in the way of the API server's.
        let arguments = ["create", "--dry-run=server", "--validate=ignore", "--filename=-"];
        let output = ok(self.kubectl.run_with_input(&arguments, &list));
        let verdict = |index: usize| {
            let created = format!("/{} created (server dry run)", name(index));
            let refused = format!(" \"{}\" is invalid: ", name(index));
            if output.stdout.lines().any(|line| line.ends_with(&created)) {
                return Ok(());
            }
            let refusal = output.stderr.split("\nThe ").find(|refusal| refusal.contains(&refused));
            Err(refusal
                .unwrap_or_else(|| panic!("kubectl said nothing of {}: {output:?}", items[index]))
                .to_owned())
        };
        (0..items.len()).map(verdict).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let content = self.kubectl.run(&["get", "testinium,events.events.k8s.io", "--output=yaml"]);
            let content = content.map_or_else(|error| chain(&error).to_string(), |output| output.stdout);
            eprintln!("the namespace {} holds:\n{content}", self.name);
        }
    }
}

/// A run with this spec.
pub(crate) fn run(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanRun", "metadata": {"name": name}, "spec": spec})
}

/// A cleanup rule with this spec, and what is needed to be complete.
pub(crate) fn cleanup(name: &str, spec: Value) -> Value {
    let mut whole = json!({
        "schedule": "@yearly",
        "selector": {"matchLabels": {"load": "heavy"}},
        "action": "Stop",
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        whole[field] = value.clone();
    }
    json!({"apiVersion": "testinium.io/v1alpha1", "kind": "TestPlanCleanup", "metadata": {"name": name}, "spec": whole})
}

/// A gateway with this spec, and what is needed to be complete.
pub(crate) fn gateway(name: &str, spec: Value) -> Value {
    let mut whole = json!({
        "url": "https://testinium.example.com",
        "auth": {"bearerToken": {"secretRef": {"name": "testinium"}}},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        whole[field] = value.clone();
    }
    json!({"apiVersion": "testinium.io/v1alpha1", "kind": "TestiniumGateway", "metadata": {"name": name}, "spec": whole})
}
