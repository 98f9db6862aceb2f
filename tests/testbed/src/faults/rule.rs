//! Rules: which requests a rule looks for, and what it does to them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::traffic::{Exchange, RuleId, Verb};

/// Which requests a rule is for. Counting starts when the rule is given to the proxy, and counts only requests that
/// match; where several rules would strike, the one given first does, and all of them have counted.
#[derive(Clone)]
pub struct When {
    first: usize,
    last: usize,
    verb: Option<Verb>,
    method: Option<String>,
    path: Option<String>,
    matching: Option<Arc<Test>>,
}

type Test = dyn Fn(&Exchange) -> bool + Send + Sync;

/// The harm that is done to a request.
#[derive(Clone)]
pub struct Fault {
    pub(crate) delay: Duration,
    pub(crate) before: Option<Arc<Before>>,
    pub(crate) act: Act,
    pub(crate) after: Option<Arc<After>>,
}

pub(crate) type Before = dyn Fn(&Exchange) -> Then + Send + Sync;
pub(crate) type After = dyn Fn(&Exchange) + Send + Sync;

/// The step after a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Go on as if there had been no callback.
    GoOn,
    /// Break the connection; the request never arrives.
    Cut,
}

/// How a streamed answer ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The connection breaks.
    Cut,
    /// The answer ends in good order, as when the server's time for a watch is over.
    End,
    /// Nothing more comes, and the connection stays open.
    Freeze,
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
    Forward,
    Hang,
    Cut,
    Reject {
        status: u16,
        retry_after: Option<Duration>,
    },
    DropReply,
    HangReply,
    /// Breaks the answer after so many lines of it; a watch sends an event a line.
    Break {
        lines: usize,
        how: Break,
    },
    /// One event of type ERROR instead of the answer, as a watch learns that its version is too old.
    WatchError {
        status: u16,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    given: usize,
}

#[derive(Debug)]
struct Rule {
    id: RuleId,
    when: When,
    fault: Fault,
    seen: usize,
}

// === impl When ===

impl When {
    /// The `n`-th request from now on, counted from 1.
    pub fn nth(n: usize) -> Self {
        Self { first: n, last: n, verb: None, method: None, path: None, matching: None }
    }

    /// The next `count` requests.
    pub fn next(count: usize) -> Self {
        Self { last: count, ..Self::nth(1) }
    }

    /// Every request until the rule is taken away.
    pub fn always() -> Self {
        Self::next(usize::MAX)
    }

    /// Only requests of this verb, as Kubernetes counts them.
    pub fn verb(mut self, verb: Verb) -> Self {
        self.verb = Some(verb);
        self
    }

    /// Only requests with this method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only requests whose path fits: `*` stands for one segment, `**` for any number of them.
    pub fn path(mut self, pattern: &str) -> Self {
        self.path = Some(pattern.to_owned());
        self
    }

    /// Only requests for which this holds. It is asked under the proxy's lock, so it must not ask back.
    pub fn matching(mut self, test: impl Fn(&Exchange) -> bool + Send + Sync + 'static) -> Self {
        self.matching = Some(Arc::new(test));
        self
    }

    pub(crate) fn matches(&self, exchange: &Exchange) -> bool {
        self.verb.is_none_or(|verb| Some(verb) == exchange.verb)
            && self.method.as_ref().is_none_or(|method| *method == exchange.method)
            && self.path.as_ref().is_none_or(|pattern| fits(pattern, &exchange.path))
            && self.matching.as_ref().is_none_or(|test| test(exchange))
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, verb, method, path, matching: _ } = self;
        f.debug_struct("When")
            .field("first", first)
            .field("last", last)
            .field("verb", verb)
            .field("method", method)
            .field("path", path)
            .finish_non_exhaustive()
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    segments_fit(&pattern, &path)
}

fn segments_fit(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|skipped| segments_fit(rest, &path[skipped..])),
        (["*", pattern @ ..], [_, path @ ..]) => segments_fit(pattern, path),
        ([wanted, pattern @ ..], [segment, path @ ..]) => wanted == segment && segments_fit(pattern, path),
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

// === impl Fault ===

impl Fault {
    /// No fault: to count, to call back, or to shield a request from the rules that follow.
    pub fn none() -> Self {
        Self::of(Act::Forward)
    }

    /// Forwarded this much later.
    pub fn delay(delay: Duration) -> Self {
        Self::none().after(delay)
    }

    /// Not forwarded and never answered.
    pub fn hang() -> Self {
        Self::of(Act::Hang)
    }

    /// Not forwarded; the connection breaks.
    pub fn cut() -> Self {
        Self::of(Act::Cut)
    }

    /// Not forwarded; answered with this status and the body that an API server gives with it.
    pub fn reject(status: u16) -> Self {
        Self::of(Act::Reject { status, retry_after: None })
    }

    /// Forwarded and acted upon; the connection breaks instead of bringing the answer.
    pub fn drop_reply() -> Self {
        Self::of(Act::DropReply)
    }

    /// Forwarded and acted upon; the answer never comes.
    pub fn hang_reply() -> Self {
        Self::of(Act::HangReply)
    }

    /// Forwarded; after so many lines the answer breaks. A watch sends one event a line.
    pub fn break_after(lines: usize, how: Break) -> Self {
        Self::of(Act::Break { lines, how })
    }

    /// Not forwarded; a watch is told inside its stream that it failed with this status (410: version too old).
    pub fn watch_error(status: u16) -> Self {
        Self::of(Act::WatchError { status })
    }

    /// Does it this much later.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// A rejection with `Retry-After`, in whole seconds.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        if let Act::Reject { retry_after, .. } = &mut self.act {
            *retry_after = Some(delay);
        }
        self
    }

    /// Calls back, on a thread that may block, before anything else is done.
    pub fn calling_before(mut self, callback: impl Fn(&Exchange) -> Then + Send + Sync + 'static) -> Self {
        self.before = Some(Arc::new(callback));
        self
    }

    /// Calls back, on a thread that may block, once the server has answered and before the client learns of it.
    pub fn calling_after(mut self, callback: impl Fn(&Exchange) + Send + Sync + 'static) -> Self {
        self.after = Some(Arc::new(callback));
        self
    }

    fn of(act: Act) -> Self {
        Self { delay: Duration::ZERO, before: None, act, after: None }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delay, before: _, act, after: _ } = self;
        f.debug_struct("Fault").field("delay", delay).field("act", act).finish_non_exhaustive()
    }
}

// === impl Rules ===

impl Rules {
    pub(crate) fn add(&mut self, when: When, fault: Fault) -> RuleId {
        let id = RuleId(self.given);
        self.given += 1;
        self.rules.push(Rule { id, when, fault, seen: 0 });
        id
    }

    pub(crate) fn remove(&mut self, id: RuleId) {
        self.rules.retain(|rule| rule.id != id);
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// The rule that strikes `exchange`.
    pub(crate) fn strike(&mut self, exchange: &Exchange) -> Option<(RuleId, Fault)> {
        let mut struck = None;
        for rule in &mut self.rules {
            if rule.when.matches(exchange) {
                rule.seen += 1;
                if (rule.when.first..=rule.when.last).contains(&rule.seen) && struck.is_none() {
                    struck = Some((rule.id, rule.fault.clone()));
                }
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_fit_whole_paths() {
        let rows = [
            ("/stop/execution", "/stop/execution", true),
            ("/stop/execution", "/stop/execution/", false),
            ("/stop", "/stop/execution", false),
            ("/apis/*/v1", "/apis/testinium.io/v1", true),
            ("/apis/*/v1", "/apis/v1", false),
            ("/apis/*/v1", "/apis/a/b/v1", false),
            ("/apis/**", "/apis/a/b/v1", true),
            ("/apis/**", "/apis", true),
            ("**/status", "/apis/a/b/status", true),
            ("**/status", "/apis/a/b/status/x", false),
            ("/apis/**/runs/*/status", "/apis/g/v1/namespaces/n/runs/r/status", true),
            ("**", "/", true),
        ];
        for (pattern, path, expected) in rows {
            assert_eq!(fits(pattern, path), expected, "{pattern} on {path}");
        }
    }
}
