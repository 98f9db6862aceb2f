//! Measurements of the largest things that a stranger can have the operator read: each on one thread, beside the floor
//! of skipping the same bytes as JSON.

#![allow(clippy::panic, reason = "a benchmark that can't be set up measures nothing")]

use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use testinium_operator::kubernetes::decode::{self, Decoded};
use testinium_operator::kubernetes::keys::{self, Encoding, Wanted};
use testinium_operator::machine::GatewayView;
use testinium_operator::testinium::{
    CA_BYTES_MAX, CREDENTIAL_BYTES_MAX, CredentialData, Network, Secrets, connect, envelope,
};
use testinium_testbed::simulator::{Config, Simulator, Tls};

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = objects_with_keys, answers, objects, bundles
}
criterion_main!(benches);

/// The most that etcd takes.
const OBJECT_BYTES_MAX: usize = 1_500_000;
/// The most that is read of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// One thing to read, beside skipping it.
fn measure(criterion: &mut Criterion, group: &str, name: &str, bytes: &[u8], mut read: impl FnMut(&[u8])) {
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_with_input(BenchmarkId::new("read", name), bytes, |bencher, bytes| {
        bencher.iter(|| read(black_box(bytes)));
    });
    group.bench_with_input(BenchmarkId::new("floor", name), bytes, |bencher, bytes| {
        bencher.iter(|| serde_json::from_slice::<IgnoredAny>(black_box(bytes)));
    });
    group.finish();
}

fn objects_with_keys(criterion: &mut Criterion) {
    let object = |data: Value| {
        let metadata = json!({"name": "large", "namespace": "qa", "uid": "u", "resourceVersion": "1"});
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}).to_string()
    };
    let token = STANDARD.encode("x".repeat(CREDENTIAL_BYTES_MAX));
    let rest = STANDARD.encode(vec![b'x'; CA_BYTES_MAX - CREDENTIAL_BYTES_MAX]);
    let too_large = STANDARD.encode(vec![b'x'; CA_BYTES_MAX]);
    let many = (0..80_000).map(|n| (format!("key-{n:06}"), Value::from("eA=="))).collect();
    let pem = "MIIBszCCAVmgAwIBAgIUQ0FOVCBCRSBBIENFUlRJRklDQVRFIEJVVCBMT05HITA=\n".repeat(CA_BYTES_MAX / 66);
    for (name, data, encoding, key, bytes_max) in [
        (
            "a token beside 1 MiB",
            json!({"other": rest, "token": token}),
            Encoding::Base64,
            "token",
            CREDENTIAL_BYTES_MAX,
        ),
        ("a token of 1 MiB", json!({"token": too_large}), Encoding::Base64, "token", CREDENTIAL_BYTES_MAX),
        ("80,000 keys", Value::Object(many), Encoding::Base64, "token", CREDENTIAL_BYTES_MAX),
        (
            "a bundle of 1 MiB in a Secret",
            json!({"ca.crt": STANDARD.encode(&pem)}),
            Encoding::Base64,
            "ca.crt",
            CA_BYTES_MAX,
        ),
        ("a bundle of 1 MiB in a ConfigMap", json!({"ca.crt": pem}), Encoding::Text, "ca.crt", CA_BYTES_MAX),
    ] {
        let wanted = [Wanted { key: key.to_owned(), bytes_max }];
        measure(criterion, "secret", name, object(data).as_bytes(), |bytes| {
            black_box(keys::find(bytes, encoding, &wanted)).expect("it is an object");
        });
    }
}

fn answers(criterion: &mut Criterion) {
    // No two pieces of it are the same.
    let number = |n: usize| format!("{:08x}", (n as u32).wrapping_mul(2_654_435_761));
    let token: String = (0..CREDENTIAL_BYTES_MAX / 8).map(number).collect();
    let quoted = |length: usize| {
        let piece = |at: usize| Value::from(&token[at % (token.len() - length)..][..length]);
        (0..).step_by(7).map(piece).take(ANSWER_BYTES_MAX / (length + 4)).collect::<Vec<_>>()
    };
    let error_of =
        |n: usize| json!({"id": n, "code": "REJECTED", "message": format!("{n} {}", &token[n..n + 20])});
    let fields = |n: usize| (0..n).map(|n| (format!("a{n}"), json!(0))).collect::<serde_json::Map<_, _>>();
    let mut with_code = fields(5_000);
    with_code.insert("code".into(), json!("REJECTED"));
    for (name, body) in [
        ("1,000 errors that quote", json!({"errors": quoted(60)})),
        ("64 long errors that quote", json!({"errors": quoted(1000)})),
        ("errors of plans", json!({"errors": (0..800).map(error_of).collect::<Vec<_>>()})),
        ("escapes", json!({"errors": vec!["%2525%5C%26".repeat(90); 64]})),
        ("base64", json!({"errors": vec!["QWxhZGRpbjpvcGVu".repeat(62); 64]})),
        ("empty errors", json!({"errors": vec![json!({}); 20_000]})),
        ("an error of 5,000 fields", json!({"errors": [with_code]})),
        ("a map of 5,000 fields", json!({"errors": fields(5_000)})),
        ("lists in lists", json!({"errors": vec![json!([[[[[[[[[[]]]]]]]]]]); 2_900]})),
    ] {
        let bytes = body.to_string();
        assert!(bytes.len() <= ANSWER_BYTES_MAX + 1024, "{name}: {}", bytes.len());
        measure(criterion, "answer", name, bytes.as_bytes(), |bytes| {
            black_box(envelope::body(bytes, true, &Secrets::new([&*token])));
        });
    }
}

fn objects(criterion: &mut Criterion) {
    let run = |metadata: Value, status: Value| {
        let mut whole = json!({"name": "nightly", "namespace": "qa", "uid": "u", "resourceVersion": "1", "generation": 1});
        for (key, value) in metadata.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        json!({"metadata": whole, "spec": {"plans": (1..=1000).collect::<Vec<_>>(), "stopped": true}, "status": status})
    };
    let plan =
        |id: usize| json!({"id": id, "outcome": "Rejected", "reason": "REJECTED", "message": "ş".repeat(64)});
    let status = json!({
        "observedGeneration": 1, "summary": "1000/1000",
        "plans": (1..=1000).map(plan).collect::<Vec<_>>(),
    });
    let annotations: Value = json!({"note": "x".repeat(262_000)});
    let labels = (0..9_000).map(|n| (format!("label-{n:05}"), json!("x".repeat(60)))).collect();
    let owned = (0..30_000).map(|n| (format!("f:label-{n:06}"), json!({}))).collect();
    let owner = json!([{"manager": "m", "operation": "Update", "time": "2026-01-02T03:04:05Z",
        "fieldsV1": {"f:metadata": {"f:labels": Value::Object(owned)}}}]);
    for (name, object) in [
        ("a status of 1,000 plans with messages", run(json!({}), status.clone())),
        (
            "large annotations and labels",
            run(json!({"annotations": annotations, "labels": Value::Object(labels)}), status.clone()),
        ),
        ("large managedFields", run(json!({"managedFields": owner}), status)),
    ] {
        let bytes = object.to_string();
        assert!(bytes.len() <= OBJECT_BYTES_MAX, "{name}: {}", bytes.len());
        measure(criterion, "object", name, bytes.as_bytes(), |bytes| {
            assert!(matches!(black_box(decode::run(bytes)), Decoded::Seen(_)), "it can be read");
        });
    }
    // The status that is written about the same run.
    let text = run(json!({}), json!({"plans": (1..=1000).map(plan).collect::<Vec<_>>()})).to_string();
    if let Decoded::Seen(view) = decode::run(text.as_bytes()) {
        criterion.bench_function("object/write/a status of 1,000 plans with messages", |bencher| {
            bencher.iter(|| serde_json::to_vec(black_box(&view.status)));
        });
    }
}

/// The way from the texts of a Secret to a client that can be used. The operator leaves large ones to another thread.
fn bundles(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let site =
        Simulator::start(Config { tls: Some(Tls::default()), ..Config::default() }).expect("a simulator");
    let pem = site.ca_pem().unwrap_or_default();
    let network = Network::new(Vec::new(), Vec::new());
    let view: GatewayView = view();
    for (name, count) in [("one certificate", 1), ("certificates of 1 MiB", CA_BYTES_MAX / pem.len())] {
        let bundle = pem.repeat(count);
        criterion.bench_function(&format!("bundle/client/{name}"), |bencher| {
            bencher.iter(|| {
                let data = CredentialData {
                    token: Some("token".into()),
                    ca_pem: Some(bundle.clone()),
                    ..CredentialData::default()
                };
                runtime.block_on(connect(&view, data, None, &network)).expect("it is usable")
            });
        });
    }
}

fn view() -> GatewayView {
    let object = json!({
        "metadata": {"name": "default", "namespace": "qa", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "url": "https://gateway.example.com",
            "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
            "tls": {"caRef": {"name": "ca"}},
        },
    });
    match decode::gateway(object.to_string().as_bytes()) {
        Decoded::Seen(view) => *view,
        Decoded::Unreadable { .. } | Decoded::Nameless(_) => panic!("the object is right"),
    }
}
