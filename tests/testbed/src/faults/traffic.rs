//! The traffic through the proxy, exchange by exchange.

use std::fmt;
use std::time::{Duration, Instant};

use hyper::body::Bytes;

/// The purpose of a request, in the words of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Reads one object.
    Get,
    /// Reads a collection.
    List,
    /// Follows a collection.
    Watch,
    /// Makes an object.
    Create,
    /// Replaces an object, or its status.
    Update,
    /// Changes parts of an object.
    Patch,
    /// Removes an object.
    Delete,
    /// Removes a collection.
    DeleteCollection,
}

/// A rule of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(pub(super) usize);

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has not ended.
    Pending,
    /// The whole answer was handed on (or made up by a rule).
    Complete,
    /// The proxy broke it off, because a rule said so or because the server did.
    Broken,
    /// The client went away first.
    Abandoned,
}

/// One request and what came of it.
#[derive(Clone)]
pub struct Exchange {
    /// When its body had arrived.
    pub at: Instant,
    /// That time, counted from the proxy's start.
    pub elapsed: Duration,
    /// Its method.
    pub method: String,
    /// Its purpose; none if its path is not one of an API resource.
    pub verb: Option<Verb>,
    /// Its path.
    pub path: String,
    /// Its query, without the question mark; empty if there is none.
    pub query: String,
    /// Its body.
    pub body: Bytes,
    /// Whether it carried an `Authorization` header.
    pub authorized: bool,
    /// Which connection of the proxy it came over, counted from 0.
    pub connection: u64,
    /// The rule that struck it.
    pub rule: Option<RuleId>,
    /// Whether the server was asked.
    pub forwarded: bool,
    /// The status of the answer, even of one that was kept from the client.
    pub status: Option<u16>,
    /// Lines of the answer handed on; a watch has one an event.
    pub lines: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended, since the proxy's start.
    pub ended: Option<Duration>,
}

// === impl Verb ===

impl Verb {
    /// The verb of a request for an API resource.
    pub fn of(method: &str, path: &str, query: &str) -> Option<Self> {
        let named = names_object(path)?;
        let watches = query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch"));
        match (method, named) {
            // A list that comes as a stream is a list.
            ("GET" | "HEAD", _) if watches && !query.contains("sendInitialEvents=true") => Some(Self::Watch),
            ("GET" | "HEAD", true) => Some(Self::Get),
            ("GET" | "HEAD", false) => Some(Self::List),
            ("POST", _) => Some(Self::Create),
            ("PUT", _) => Some(Self::Update),
            ("PATCH", _) => Some(Self::Patch),
            ("DELETE", true) => Some(Self::Delete),
            ("DELETE", false) => Some(Self::DeleteCollection),
            _ => None,
        }
    }
}

/// Whether the path of an API resource names one object; none for paths of other kinds.
fn names_object(path: &str) -> Option<bool> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let resource = match &segments[..] {
        ["api", _version, rest @ ..] | ["apis", _, _version, rest @ ..] if !rest.is_empty() => rest,
        _ => return None,
    };
    let resource = match resource {
        ["namespaces", _, resource, rest @ ..] if !matches!(*resource, "status" | "finalize") => {
            (resource, rest)
        }
        [resource, rest @ ..] => (resource, rest),
        [] => return None,
    };
    Some(!resource.1.is_empty())
}

// === impl Exchange ===

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { elapsed, method, path, query, rule, forwarded, status, outcome, .. } = self;
        let question_mark = if query.is_empty() { "" } else { "?" };
        write!(f, "{:>9.3}s {method} {path}{question_mark}{query} ->", elapsed.as_secs_f64())?;
        if let Some(status) = status {
            write!(f, " {status}")?;
        }
        write!(f, " {outcome:?}")?;
        if !forwarded {
            write!(f, ", not forwarded")?;
        }
        if rule.is_some() {
            write!(f, ", by a rule")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::Verb;

    #[test]
    fn verbs_are_those_of_kubernetes() {
        let runs = "/apis/testinium.io/v1alpha1/namespaces/n/testplanruns";
        let rows = [
            ("GET", runs.to_owned(), "", Some(Verb::List)),
            ("GET", runs.to_owned(), "limit=100&watch=true", Some(Verb::Watch)),
            ("GET", runs.to_owned(), "watch=false", Some(Verb::List)),
            ("GET", runs.to_owned(), "watch=true&sendInitialEvents=true", Some(Verb::List)),
            ("GET", format!("{runs}/r"), "", Some(Verb::Get)),
            ("PUT", format!("{runs}/r/status"), "", Some(Verb::Update)),
            ("PATCH", format!("{runs}/r"), "", Some(Verb::Patch)),
            ("POST", runs.to_owned(), "", Some(Verb::Create)),
            ("DELETE", format!("{runs}/r"), "", Some(Verb::Delete)),
            ("DELETE", runs.to_owned(), "", Some(Verb::DeleteCollection)),
            ("GET", "/apis/testinium.io/v1alpha1/testplanruns".to_owned(), "", Some(Verb::List)),
            ("GET", "/api/v1/namespaces".to_owned(), "", Some(Verb::List)),
            ("GET", "/api/v1/namespaces/n".to_owned(), "", Some(Verb::Get)),
            ("PUT", "/api/v1/namespaces/n/finalize".to_owned(), "", Some(Verb::Update)),
            ("GET", "/api/v1/namespaces/n/secrets/s".to_owned(), "", Some(Verb::Get)),
            ("GET", "/apis".to_owned(), "", None),
            ("GET", "/api/v1".to_owned(), "", None),
            ("GET", "/version".to_owned(), "", None),
            ("POST", "/stop/execution".to_owned(), "", None),
        ];
        for (method, path, query, expected) in rows {
            assert_eq!(Verb::of(method, &path, query), expected, "{method} {path}?{query}");
        }
    }
}
