//! The rules about who may import from whom: an order of rooms, and the crates that the machine may use.

use std::path::Path;

use crate::graph::{Edge, Outside};

/// The rooms of src/. A file may import from its own room and from rooms that stand before it.
///
/// `cli` stands before the rooms that read its values, since it is no more than the types of flags. `telemetry` stands
/// before `kubernetes`, which tells it about its watches and events.
pub(crate) const ROOMS: &[&str] = &[
    "api",
    "machine",
    "aside",
    "seldom",
    "text",
    "retry_after",
    "testinium",
    "cli",
    "telemetry",
    "kubernetes",
    "operator",
    "uninstall",
    "lib",
    "main",
];

/// The places of src/machine/, in the same way: the vocabulary, the four owners, and the machine that routes between
/// them. Runs know no other owner; gateways read what runs want; the outbox knows neither; cleanups know the form of its
/// writes.
pub(crate) const MACHINE_ROOMS: &[&str] = &[
    "ids",
    "time",
    "limits",
    "backoff",
    "fair_queue",
    "timers",
    "list",
    "guards",
    "words",
    "answer",
    "call",
    "condition_draft",
    "advice",
    "wait_reason",
    "view",
    "ownership",
    "effect",
    "input",
    "runs",
    "gateways",
    "outbox",
    "cleanups",
    "mod",
    "routes",
    "check",
];

/// Parts of other crates that the machine may use: nothing that reads a clock, draws by chance, talks to anybody, or has
/// an order that differs from run to run.
pub(crate) const MACHINE_MAY_USE: &[&str] = &[
    "std::borrow",
    "std::cmp",
    "std::collections::BTreeMap",
    "std::collections::BTreeSet",
    "std::collections::VecDeque",
    "std::collections::btree_map",
    "std::collections::btree_set",
    // It has fixed keys, unlike the state of a hash map.
    "std::collections::hash_map::DefaultHasher",
    "std::fmt",
    "std::hash",
    "std::iter",
    "std::mem",
    "std::num",
    "std::ops",
    "std::panic",
    "std::sync::Arc",
    "std::vec",
    "jiff",
    "k8s_openapi::apimachinery::pkg::apis::meta::v1::Time",
    "smallvec",
    // Derives alone.
    "strum",
    // Parses an address, and so tells its origin.
    "url::Url",
    "url::Origin",
];

/// The imports that go against an order. The place of a file is the first part of its path under `folder`.
pub(crate) fn against_order(edges: &[Edge], folder: &str, order: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for Edge { from, line, to } in edges {
        let (Some(below), Some(above)) = (place(from, folder), place(to, folder)) else { continue };
        let at = |place: &str| order.iter().position(|other| *other == place);
        let from = from.display();
        match (at(&below), at(&above)) {
            _ if below == above => {}
            (Some(below_at), Some(above_at)) if above_at < below_at => {}
            (Some(_), Some(_)) => found.push(format!(
                "{from}:{line}: imports from {}, but '{above}' comes after '{below}' in the order of rooms",
                to.display()
            )),
            (None, _) => found.push(format!("{from}: '{below}' has no place in the order of rooms")),
            (_, None) => {
                found.push(format!("{}: '{above}' has no place in the order of rooms", to.display()))
            }
        }
    }
    found
}

/// The paths out of the crate that begin with none of those that a folder may use.
pub(crate) fn forbidden(outside: &[Outside], folder: &str, allowed: &[&str]) -> Vec<String> {
    let of_folder = outside.iter().filter(|used| used.from.starts_with(folder));
    let is_allowed = |used: &&Outside| {
        allowed.iter().any(|prefix| {
            let prefix: Vec<_> = prefix.split("::").collect();
            used.path.len() >= prefix.len() && used.path.iter().zip(prefix).all(|(a, b)| a == b)
        })
    };
    let bad = of_folder.filter(|used| !is_allowed(used));
    bad.map(|Outside { from, line, path }| {
        format!("{}:{line}: '{}' has no place in {folder}", from.display(), path.join("::"))
    })
    .collect()
}

fn place(file: &Path, folder: &str) -> Option<String> {
    let first = file.strip_prefix(folder).ok()?.components().next()?;
    let name = first.as_os_str().to_string_lossy();
    Some(name.strip_suffix(".rs").unwrap_or(&name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::made_up;

    #[test]
    fn an_import_against_the_order_is_found() {
        let files = [
            ("src/lib.rs", "mod api; mod machine;"),
            ("src/api.rs", "use crate::machine::Deep; pub struct A;"),
            ("src/machine/mod.rs", "mod deep; pub use self::deep::Deep; use crate::api::A;"),
            ("src/machine/deep.rs", "pub struct Deep;"),
        ];
        let edges = made_up(&files).edges();
        let found = against_order(&edges, "src", &["api", "machine"]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("src/api.rs:1: imports from src/machine/deep.rs"), "{found:?}");
        assert_eq!(against_order(&edges, "src", &["machine", "api"]).len(), 1);
        let unplaced = against_order(&edges, "src", &["machine"]);
        assert!(unplaced[0].contains("'api' has no place"), "{unplaced:?}");
    }

    #[test]
    fn what_has_no_place_in_the_machine_is_found() {
        for (bad, path) in [
            ("use std::time::Instant;", "std::time::Instant"),
            ("use std::collections::{BTreeMap, HashMap};", "std::collections::HashMap"),
            ("use std::collections::*;", "std::collections"),
            ("use std;", "std"),
            ("use kube::Client as C;", "kube::Client"),
            ("fn f() { tokio::spawn(g) }", "tokio::spawn"),
            ("use std::io::{self, Write};", "std::io"),
        ] {
            let outside = made_up(&[("src/lib.rs", "mod machine;"), ("src/machine.rs", bad)]).outside();
            let found = forbidden(&outside, "src/machine.rs", MACHINE_MAY_USE);
            assert_eq!(
                found.first(),
                Some(&format!("src/machine.rs:1: '{path}' has no place in src/machine.rs"))
            );
        }
    }

    #[test]
    fn what_the_machine_may_use_is_left_alone() {
        let good = "use std::collections::BTreeMap; use std::fmt; use jiff::Timestamp; use crate::api::A; use smallvec::{SmallVec, \
                    smallvec};\n#[cfg(test)]\nmod tests { use std::time::Instant; }\nfn f(x: fmt::Result) { u64::MAX; str::len(); fmt::Debug::fmt(); }";
        let files = [
            ("src/lib.rs", "mod machine; mod api;"),
            ("src/machine.rs", good),
            ("src/api.rs", "pub struct A;"),
        ];
        assert_eq!(forbidden(&made_up(&files).outside(), "src/machine.rs", MACHINE_MAY_USE), [""; 0]);
    }
}
