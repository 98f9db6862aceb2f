//! Every field of every spec, pushed to its limits and beyond, on the real API server with the operator at work.
//!
//! The fields come from the CustomResourceDefinition as the API server serves it, so a new field is walked without a
//! change here. Each mutated spec is either refused with a sentence that names what is wrong, or the operator
//! converges on it; then come edits in a row; and the valid spec, once it is back, works as it did before. The
//! operator is started once, and its log shows no panic.
//!
//! By default every fifth spec is tried. All of them:
//!
//! ```sh
//! TESTINIUM_FULL=1 cargo test --test blackbox schema_walk -- --nocapture
//! ```

use std::time::Duration;

use serde_json::{Map, Value, json};
use testinium_testbed::arena::Arena;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::oracles;
use testinium_testbed::simulator::Config;

use crate::cluster::{ok, site};
use crate::operator::condition;
use crate::outages::full;

/// A spec that differs from a valid one in one field.
#[derive(Clone, Debug)]
struct Mutant {
    /// Such as `spec.retry.maxDelaySeconds = 0`.
    what: String,
    valid: Value,
    spec: Value,
}

/// What is walked: a kind, and the valid specs that its fields are changed in.
struct Walk<'a> {
    arena: &'a Arena<'a>,
    resource: &'static str,
    kind: &'static str,
    refused: usize,
    accepted: usize,
    edits: usize,
}

/// Hundreds of objects converge at a time.
const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn runs_are_refused_or_converge_whatever_their_fields_are_set_to() {
    let arena = ok(Arena::new(site(), "walk-runs", Config::default()));
    let operator = ok(arena.operator());
    ok(operator.start());
    let gentle = json!({
        "plans": [101, 102], "stopped": false, "reason": "wrong system",
        "gatewayRef": {"name": "default"}, "activeDeadlineSeconds": 86_400, "ttlSecondsAfterFinished": 86_400, "stopDeadlineSeconds": 600,
    });
    let mut stopped = gentle.clone();
    stopped["stopped"] = json!(true);
    let mut walk = Walk::new(&arena, "testplanruns", "TestPlanRun");
    let mutants = walk.mutants(|_| vec![gentle.clone(), stopped.clone()]);
    let names = walk.walk(&mutants);
    // A changed annotation is a new stop, whatever went before.
    let again = json!({"metadata": {"annotations": {"testinium.io/stop": "again"}}});
    for name in &names {
        ok(arena.patch_run(name, &again));
    }
    walk.wait("every run to be stopped again", |run| {
        run["status"]["stop"]["lastHandledRequest"] == "again"
            && condition(&run["status"], "Stopped").is_some_and(|stopped| stopped["status"] == "True")
    });
    assert_eq!(oracles::calm(&operator.log()), [""; 0]);
    assert_eq!(operator.starts(), 1);
    assert!(ok(operator.pid()).is_some(), "it has ended: {}", operator.log());
    walk.tell();
}

#[test]
fn gateways_are_refused_or_converge_whatever_their_fields_are_set_to() {
    let arena = ok(Arena::new(site(), "walk-gateways", Config::default()));
    let operator = ok(arena.operator());
    let secrets = format!("/api/v1/namespaces/{}/secrets", arena.namespace);
    let login = json!({
        "username": "operator", "password": "simulated-password", "clientId": "client",
        "clientSecret": "simulated-secret",
    });
    let login =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": login});
    ok(site().client.create(&secrets, &login));
    ok(operator.start());
    let with = |auth: Value| {
        json!({
            "url": arena.gateway.url(), "allowPlainHTTP": true, "auth": auth,
            "limits": {"requestsPerSecond": 1000, "maxInFlight": 64},
            "retry": {"initialDelaySeconds": 1, "maxDelaySeconds": 1},
        })
    };
    let token = with(json!({"bearerToken": {"secretRef": {"name": "token"}}}));
    let password =
        with(json!({"password": {"tokenURL": arena.simulator.token_url(), "secretRef": {"name": "login"}}}));
    let mut walk = Walk::new(&arena, "testiniumgateways", "TestiniumGateway");
    let login = ["auth", "password"].map(str::to_owned);
    let mutants =
        walk.mutants(|field| vec![if field.starts_with(&login) { password.clone() } else { token.clone() }]);
    let names = walk.walk(&mutants);
    walk.wait("every gateway to be ready again", |gateway| {
        condition(&gateway["status"], "Ready").is_some_and(|ready| ready["status"] == "True")
    });
    for (index, name) in names.iter().enumerate() {
        let spec = json!({"plans": [index + 1], "stopped": true, "gatewayRef": {"name": name}});
        ok(arena.create_run(name, spec));
    }
    let runs = Walk { resource: "testplanruns", ..walk };
    runs.wait("a run to be stopped by every gateway", |run| {
        condition(&run["status"], "Stopped").is_some_and(|stopped| stopped["status"] == "True")
    });
    assert_eq!(oracles::calm(&operator.log()), [""; 0]);
    assert_eq!(operator.starts(), 1);
    assert!(ok(operator.pid()).is_some(), "it has ended: {}", operator.log());
    runs.tell();
}

#[test]
fn rules_are_refused_or_converge_whatever_their_fields_are_set_to() {
    let arena = ok(Arena::new(site(), "walk-rules", Config::default()));
    let operator = ok(arena.operator_with("operator", &["--leader-elect=false", "--cleanup"]));
    ok(operator.start());
    let valid = json!({
        "schedule": "0 22 * * *", "timeZone": "Europe/Istanbul", "action": "Stop", "reason": "wrong system",
        "selector": {
            "matchLabels": {"load": "heavy"},
            "matchExpressions": [{"key": "load", "operator": "In", "values": ["heavy"]}],
        },
        "olderThanSeconds": 60, "dryRun": true, "maxPerRun": 5, "suspend": false, "startingDeadlineSeconds": 60,
    });
    let mut walk = Walk::new(&arena, "testplancleanups", "TestPlanCleanup");
    let mutants = walk.mutants(|_| vec![valid.clone()]);
    walk.walk(&mutants);
    walk.wait("every rule to be ready again", |rule| {
        condition(&rule["status"], "Ready").is_some_and(|ready| ready["status"] == "True")
    });
    assert_eq!(oracles::calm(&operator.log()), [""; 0]);
    assert_eq!(operator.starts(), 1);
    assert!(ok(operator.pid()).is_some(), "it has ended: {}", operator.log());
    walk.tell();
}

// === impl Walk ===

impl<'a> Walk<'a> {
    fn new(arena: &'a Arena<'a>, resource: &'static str, kind: &'static str) -> Self {
        Self { arena, resource, kind, refused: 0, accepted: 0, edits: 0 }
    }

    /// The valid specs that `valid` has for a field, with this field changed, for each field that the schema tells of.
    /// By default a sample that is always the same: an operator that is built for debugging takes its time over each.
    fn mutants(&self, valid: impl Fn(&[String]) -> Vec<Value>) -> Vec<Mutant> {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/";
        let definition = ok(site().client.get(&format!("{path}{}.testinium.io", self.resource)));
        let definition = definition.expect("the definition is installed");
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut mutants = Vec::new();
        visit(schema, &mut Vec::new(), &mut |field, value| {
            for valid in valid(field) {
                let mut spec = valid.clone();
                put(&mut spec, schema, field, value.clone());
                // A field with the value that it has is no change.
                if spec != valid {
                    let what = format!("spec.{} = {}", field.join("."), abridged(value));
                    mutants.push(Mutant { what, valid, spec });
                }
            }
        });
        assert!(mutants.len() > 100, "only {} specs", mutants.len());
        // Not a divisor of the number of values that a field has, or some values would never be met.
        mutants.into_iter().step_by(if full() { 1 } else { 5 }).collect()
    }

    /// Gives each mutant an object of its own, and takes them all back to their valid specs in the end. Yields the
    /// names of the objects.
    fn walk(&mut self, mutants: &[Mutant]) -> Vec<String> {
        let names: Vec<String> = (0..mutants.len()).map(|index| format!("m-{index}")).collect();
        for (name, mutant) in names.iter().zip(mutants) {
            // A run with a short TTL would be deleted, which is not what the walk is about.
            let metadata =
                json!({"name": name, "annotations": {"testinium.io/keep-until": "2100-01-01T00:00:00Z"}});
            let object = json!({
                "apiVersion": "testinium.io/v1alpha1", "kind": self.kind, "metadata": metadata,
                "spec": mutant.valid,
            });
            ok(site().client.create(&self.arena.path(self.resource, ""), &object));
        }
        self.settle("the valid specs to be seen");
        let mut taken = Vec::new();
        for (name, mutant) in names.iter().zip(mutants) {
            match self.replace(name, &mutant.spec) {
                None => {
                    self.accepted += 1;
                    taken.push(mutant);
                }
                Some(refusal) => {
                    self.refused += 1;
                    // A sentence that says where, and not only that something is wrong.
                    assert!(refusal.contains("spec") && refusal.len() > 40, "{}: {refusal}", mutant.what);
                }
            }
        }
        self.settle("what was accepted to be seen");
        // Edits in a row, some before the operator has looked at the one before.
        for (index, name) in names.iter().enumerate() {
            for step in [7, 31, 101] {
                let next = taken[(index * step + step) % taken.len()];
                // Two changes may exclude each other, which is for the API server to say.
                if next.valid == mutants[index].valid && self.replace(name, &next.spec).is_none() {
                    self.edits += 1;
                }
            }
        }
        self.settle("the edits in a row to be seen");
        for (name, mutant) in names.iter().zip(mutants) {
            if let Some(refusal) = self.replace(name, &mutant.valid) {
                // What holds while a run is stopped has to be undone first, as its message says.
                let mut eased = mutant.valid.clone();
                eased["stopped"] = json!(false);
                let again = self.replace(name, &eased).or_else(|| self.replace(name, &mutant.valid));
                assert_eq!(again, None, "{}: there is no way back: {refusal}", mutant.what);
            }
        }
        self.settle("the valid specs to be seen again");
        names
    }

    /// Replaces the spec. Yields the API server's words if it refuses.
    fn replace(&self, name: &str, spec: &Value) -> Option<String> {
        let path = self.arena.path(self.resource, name);
        let answer = wait_until("no status write to come in between", LIMIT, || {
            let mut object = ok(site().client.get(&path)).expect("the object is there");
            object["spec"] = spec.clone();
            match ok(site().client.send("PUT", &path, Some(&object))) {
                answer if answer.status == 409 => Err(answer.message().to_owned()),
                answer => Ok(answer),
            }
        });
        match ok(answer) {
            answer if answer.is_success() => None,
            answer if matches!(answer.status, 400 | 422) => Some(answer.message().to_owned()),
            answer => panic!("{path} was answered {answer:?}"),
        }
    }

    fn settle(&self, what: &str) {
        self.wait(what, |_| true);
    }

    /// Waits until every object's status speaks of its generation, can be believed, and is as wanted.
    fn wait(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        let objects = wait_until(what, LIMIT, || {
            let objects = ok(site().client.list(&self.arena.path(self.resource, "")));
            let late = objects.iter().find(|object| {
                object["status"]["observedGeneration"] != object["metadata"]["generation"] || !wanted(object)
            });
            match late {
                None => Ok(objects),
                Some(late) => Err(late.to_string()),
            }
        });
        let wrong: Vec<_> = ok(objects).iter().flat_map(oracles::lint).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn tell(&self) {
        let Self { kind, refused, accepted, edits, .. } = self;
        eprintln!(
            "walk of {kind}: {} specs, {refused} refused, {accepted} accepted, {edits} edits in a row",
            refused + accepted
        );
    }
}

/// Calls back with every field, and every value that it is to be tried with.
fn visit(schema: &Value, field: &mut Vec<String>, found: &mut impl FnMut(&[String], &Value)) {
    if !field.is_empty() {
        for value in values(schema, field.last().map_or("", String::as_str)) {
            found(field, &value);
        }
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        field.push(name.clone());
        visit(inner, field, found);
        field.pop();
    }
}

/// Values at the edges of what a schema allows, just beyond them, and of other types.
fn values(schema: &Value, name: &str) -> Vec<Value> {
    let mut values = match schema["type"].as_str().unwrap_or_default() {
        "integer" => {
            let mut values =
                vec![json!(0), json!(-1), json!(i64::MAX), json!(i64::MIN), json!(1.5), json!("1")];
            for edge in ["minimum", "maximum"].iter().filter_map(|edge| schema[*edge].as_i64()) {
                values.extend([edge - 1, edge, edge + 1].map(Value::from));
            }
            values
        }
        "string" => strings(schema, name),
        "boolean" => vec![json!(true), json!(false), json!("true"), json!(1)],
        "array" => arrays(schema),
        _ => vec![json!({}), json!([]), json!("x"), json!({"noSuchField": 1})],
    };
    // In a PUT, this takes the field away.
    values.push(Value::Null);
    values
}

fn strings(schema: &Value, name: &str) -> Vec<Value> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "a",
        "A_b",
        "a b",
        "no-such",
        "-x",
        "x\u{0}y",
        "line\nbreak",
        "\u{130}\u{131}",
        "..",
        "{{.}}",
    ]
    .map(str::to_owned)
    .to_vec();
    if let Some(most) = schema["maxLength"].as_u64().and_then(|most| usize::try_from(most).ok()) {
        texts.extend(["x".repeat(most), "x".repeat(most + 1), "\u{1f680}".repeat(most)]);
    }
    texts.extend(
        schema["enum"].as_array().into_iter().flatten().filter_map(|value| Some(value.as_str()?.to_owned())),
    );
    if name.to_lowercase().ends_with("url") {
        let urls = [
            "http://127.0.0.1:1",
            "https://127.0.0.1:1/path",
            "https://[::1]:1",
            "https://u:p@127.0.0.1",
            "ftp://x",
            "https://",
            "https://127.0.0.1:99999",
            "https://127.0.0.1/?q",
            "https://127.0.0.1/#f",
            "https://a b",
            "http://169.254.169.254",
            "HTTPS://127.0.0.1:1",
            "https://127.0.0.1:1/..//%00",
        ];
        texts.extend(urls.map(str::to_owned));
    }
    texts.into_iter().map(Value::from).chain([json!(7), json!({})]).collect()
}

fn arrays(schema: &Value) -> Vec<Value> {
    let items = &schema["items"];
    let most = schema["maxItems"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(10);
    let many = |count: usize| Value::from((1..=count).map(Value::from).collect::<Vec<_>>());
    let mut arrays = vec![json!([]), many(1), many(most), many(most + 1), json!([7, 7, 7]), json!("x")];
    // Alone, and after one that is right.
    for item in values(items, "") {
        arrays.extend([json!([item]), json!([1, item])]);
    }
    arrays
}

/// Sets a field; what is above it and missing gets the least that its own schema asks for.
fn put(spec: &mut Value, schema: &Value, field: &[String], value: Value) {
    let [name, rest @ ..] = field else {
        *spec = value;
        return;
    };
    let inner = &schema["properties"][name];
    if !spec.is_object() {
        *spec = Value::Object(Map::new());
    }
    if spec[name].is_null() && !rest.is_empty() {
        spec[name] = least(inner);
    }
    put(&mut spec[name], inner, rest, value);
}

/// The least value that a schema takes.
fn least(schema: &Value) -> Value {
    match schema["type"].as_str().unwrap_or_default() {
        "integer" => schema["minimum"].clone(),
        "string" => schema["enum"].get(0).cloned().unwrap_or_else(|| json!("token")),
        "boolean" => json!(false),
        "array" => json!([1]),
        _ => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            required.map(|name| (name.to_owned(), least(&schema["properties"][name]))).collect()
        }
    }
}

fn abridged(value: &Value) -> String {
    let text = value.to_string();
    if text.len() > 60 { text.chars().take(60).chain("...".chars()).collect() } else { text }
}

#[test]
fn a_walk_comes_to_every_field() {
    let schema = json!({"properties": {
        "a": {"type": "integer", "minimum": 1, "maximum": 5},
        "b": {"type": "object", "required": ["c"], "properties": {
            "c": {"type": "string", "enum": ["X", "Y"]}, "d": {"type": "boolean"},
        }},
    }});
    let mut found = Vec::new();
    visit(&schema, &mut Vec::new(), &mut |field, value| {
        let mut spec = json!({});
        put(&mut spec, &schema, field, value.clone());
        found.push(spec);
    });
    for expected in
        [json!({"a": 6}), json!({"a": null}), json!({"b": {"c": "Y"}}), json!({"b": {"c": "X", "d": true}})]
    {
        assert!(found.contains(&expected), "{expected} is not in {found:?}");
    }
}
