//! The objects that the API server takes as a TestiniumGateway, and its words to the rest.

use serde_json::{Value, json};

use crate::cluster::{Namespace, gateway};

fn accepts(specs: impl IntoIterator<Item = Value>) {
    Namespace::create().accepts(specs.into_iter().map(|spec| gateway("gateway", spec)));
}

fn refuses<'a>(cases: impl IntoIterator<Item = (Value, &'a str)>) {
    Namespace::create().refuses(cases.into_iter().map(|(spec, reason)| (gateway("gateway", spec), reason)));
}

/// It is what an API page shows. Stops would go to `.../stop/execution/stop/execution`.
#[test]
fn an_address_of_the_stop_endpoint_is_refused_with_what_to_write() {
    let ends = [
        "/stop/execution",
        "/stop/execution/",
        "/Stop/Execution",
        "/stop",
        "/stop/",
        "/Testinium.Gateway/stop/execution",
    ];
    let url = |end: &str| json!({"url": format!("https://testinium.example.com{end}")});
    let why = "write the address without /stop/execution";
    refuses(ends.map(|end| (url(end), why)));
    accepts(["/stopped", "/stop/executions", "/nonstop"].map(url));
    accepts([json!({"url": "https://stop"}), json!({"url": "https://stop/"})]);
}

#[test]
fn an_address_has_a_scheme_and_a_host_and_nothing_secret() {
    let both = |url: &str| [json!({"url": url}), json!({"auth": password(url)})];
    accepts(
        [
            "https://testinium.example.com",
            "https://testinium.example.com/",
            "https://testinium.example.com:8443/Testinium.Gateway",
            "https://10.0.0.7/a/b@c",
            "https://[2001:db8::1]:8443/x",
        ]
        .into_iter()
        .flat_map(both),
    );
    let bad = [
        "testinium.example.com",
        "ftp://testinium.example.com",
        "HTTPS://testinium.example.com",
        "https://",
        "https:///path",
        "https://:8443",
        "https://testinium.example.com:port",
        "https://jane@testinium.example.com",
        "https://jane:secret@testinium.example.com",
        "https://testinium.example.com?a=b",
        "https://testinium.example.com/x?a=b",
        "https://testinium.example.com/x#y",
        "https://testinium.example.com/a b",
        " https://testinium.example.com",
        "https://testinium.example.com\n",
    ];
    let advice = "write an address such as https://testinium.example.com/path";
    refuses(bad.into_iter().flat_map(both).map(|spec| (spec, advice)));
    let long = format!("https://x/{}", "y".repeat(2048));
    refuses([(json!({"url": ""}), "spec.url"), (json!({"url": long}), "spec.url: Too long")]);
}

fn password(token_url: &str) -> Value {
    json!({"password": {"tokenURL": token_url, "secretRef": {"name": "login"}}})
}

#[test]
fn http_needs_to_be_allowed() {
    accepts([
        json!({"url": "http://x", "allowPlainHTTP": true}),
        json!({"auth": password("http://x"), "allowPlainHTTP": true}),
        json!({"allowPlainHTTP": false}),
    ]);
    refuses([
        (json!({"url": "http://x"}), "an http url sends the token unencrypted"),
        (json!({"url": "http://x", "allowPlainHTTP": false}), "set allowPlainHTTP: true for a test"),
        (json!({"auth": password("http://x")}), "an http tokenURL sends the password unencrypted"),
    ]);
}

#[test]
fn there_is_exactly_one_way_to_authenticate() {
    let bearer = json!({"secretRef": {"name": "testinium", "key": "access.token_1"}});
    let login = password("https://x")["password"].clone();
    accepts([json!({"auth": {"bearerToken": bearer}}), json!({"auth": {"password": login}})]);
    let advice = "set exactly one of bearerToken";
    refuses([
        (json!({"auth": {}}), advice),
        (json!({"auth": {"bearerToken": bearer, "password": login}}), advice),
        (json!({"auth": null}), "spec.auth: Required value"),
        (json!({"auth": {"bearerToken": {}}}), "spec.auth.bearerToken.secretRef: Required value"),
    ]);
}

#[test]
fn secrets_and_keys_are_named_as_kubernetes_names_them() {
    let secret =
        |name: &str, key: &str| json!({"auth": {"bearerToken": {"secretRef": {"name": name, "key": key}}}});
    let ca = |reference: Value| json!({"tls": {"caRef": reference}});
    accepts([
        secret("a.b-c", "Key_1.x-y"),
        ca(json!({"name": "ca"})),
        ca(json!({"kind": "ConfigMap", "name": "ca", "key": "ca.crt"})),
        ca(json!({"kind": "Secret", "name": "ca"})),
        json!({"tls": {"clientCertificateRef": {"name": "client"}}}),
    ]);
    let (bad_name, bad_key) = ("write an object's name", "write a key of the object's data");
    refuses([
        (secret("Upper", "token"), bad_name),
        (secret("a b", "token"), bad_name),
        (secret("a", "to ken"), bad_key),
        (secret("a", "a/b"), bad_key),
        (secret("a", ".."), bad_key),
        (secret("a", "."), bad_key),
        (json!({"auth": {"password": {"tokenURL": "https://x", "secretRef": {"name": "A"}}}}), bad_name),
        (ca(json!({"name": "CA"})), bad_name),
        (ca(json!({"name": "ca", "key": "ca/crt"})), bad_key),
        (ca(json!({"name": "ca", "kind": "File"})), "supported values: \"ConfigMap\", \"Secret\""),
        (ca(json!({"kind": "Secret"})), "spec.tls.caRef.name: Required value"),
        (json!({"tls": {"clientCertificateRef": {"name": "_"}}}), bad_name),
    ]);
}

#[test]
fn a_company_id_fits_a_header() {
    accepts([
        json!({"companyID": "7"}),
        json!({"companyID": "a b~!"}),
        json!({"companyID": "x".repeat(128)}),
    ]);
    let advice = "companyID is sent as a header: write printable ASCII characters";
    refuses([
        (json!({"companyID": ""}), "spec.companyID"),
        (json!({"companyID": " a"}), advice),
        (json!({"companyID": "a "}), advice),
        (json!({"companyID": "a\r\nX-Evil: 1"}), advice),
        (json!({"companyID": "şirket"}), advice),
        (json!({"companyID": "x".repeat(129)}), "spec.companyID: Too long"),
    ]);
}

#[test]
fn numbers_have_bounds() {
    let nested = |path: &str, value: i64| {
        path.rsplit('.').fold(json!(value), |inner, field| json!({ (field): inner }))
    };
    let bounds = [
        ("batching.maxPlans", 1, 1000),
        ("batching.windowMilliseconds", 0, 10_000),
        ("limits.requestsPerSecond", 1, 1000),
        ("limits.maxInFlight", 1, 64),
        ("timeoutSeconds", 1, 300),
        ("retry.initialDelaySeconds", 1, 300),
        ("retry.maxDelaySeconds", 1, 3600),
    ];
    accepts(bounds.iter().flat_map(|&(path, least, most)| [nested(path, least), nested(path, most)]));
    let (low, high) =
        ("in body should be greater than or equal to", "in body should be less than or equal to");
    let messages = bounds.map(|(path, least, most)| {
        (format!("spec.{path} {low} {least}"), format!("spec.{path} {high} {most}"))
    });
    refuses(bounds.iter().zip(&messages).flat_map(|(&(path, least, most), (low, high))| {
        [(nested(path, least - 1), low.as_str()), (nested(path, most + 1), high.as_str())]
    }));
}

#[test]
fn the_longest_delay_is_not_shorter_than_the_first() {
    let retry =
        |initial: i64, max: i64| json!({"retry": {"initialDelaySeconds": initial, "maxDelaySeconds": max}});
    accepts([retry(5, 5), retry(1, 3600), json!({"retry": {}})]);
    refuses([(retry(6, 5), "must not be less than initialDelaySeconds: raise it or lower the other")]);
}
