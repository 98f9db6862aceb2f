//! Answers set up beforehand: which requests get which reply instead of the natural one.

use std::fmt;
use std::sync::Arc;

use super::log::{Endpoint, Request};
use super::reply::Reply;

/// Which requests a scripted reply is for. Counting starts when the script is given to the simulator, and counts
/// only requests that match; the script given first wins.
#[derive(Clone)]
pub struct When {
    first: usize,
    last: usize,
    /// The distance between two requests that are answered, among those from the first to the last.
    every: usize,
    endpoint: Endpoint,
    plan: Option<i64>,
    matching: Option<Arc<Test>>,
}

type Test = dyn Fn(&Request) -> bool + Send + Sync;

#[derive(Debug, Default)]
pub(crate) struct Scripts {
    scripts: Vec<Script>,
}

#[derive(Debug)]
struct Script {
    when: When,
    reply: Reply,
    seen: usize,
}

// === impl When ===

impl When {
    /// The `n`-th stop call from now on, counted from 1.
    pub fn nth(n: usize) -> Self {
        Self { first: n, last: n, every: 1, endpoint: Endpoint::Stop, plan: None, matching: None }
    }

    /// The next `count` stop calls.
    pub fn next(count: usize) -> Self {
        Self { last: count, ..Self::nth(1) }
    }

    /// Every stop call until the scripts are cleared.
    pub fn always() -> Self {
        Self::next(usize::MAX)
    }

    /// Every second stop call, beginning with the first: one replica of two, behind a balancer that takes turns by
    /// request.
    pub fn every_other() -> Self {
        Self { every: 2, ..Self::always() }
    }

    /// Every stop call over every second connection, beginning with the first: one replica of two, behind a balancer
    /// that takes turns by connection.
    pub fn every_other_connection() -> Self {
        Self::always().matching(|request| request.connection.is_multiple_of(2))
    }

    /// Requests to another endpoint than the stop call.
    pub fn to(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// Only requests that name this plan.
    pub fn naming(mut self, plan: i64) -> Self {
        self.plan = Some(plan);
        self
    }

    /// Only requests for which this holds. It is asked under the simulator's lock, so it must not ask back.
    pub fn matching(mut self, test: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.matching = Some(Arc::new(test));
        self
    }

    /// Whether the `n`-th request that matches is one to answer.
    fn counts(&self, n: usize) -> bool {
        (self.first..=self.last).contains(&n) && (n - self.first).is_multiple_of(self.every)
    }

    fn matches(&self, request: &Request) -> bool {
        self.endpoint == request.endpoint
            && self.plan.is_none_or(|plan| request.plans.contains(&plan))
            && self.matching.as_ref().is_none_or(|test| test(request))
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, every, endpoint, plan, matching: _ } = self;
        f.debug_struct("When")
            .field("first", first)
            .field("last", last)
            .field("every", every)
            .field("endpoint", endpoint)
            .field("plan", plan)
            .finish_non_exhaustive()
    }
}

// === impl Scripts ===

impl Scripts {
    pub(crate) fn add(&mut self, when: When, reply: Reply) {
        self.scripts.push(Script { when, reply, seen: 0 });
    }

    pub(crate) fn clear(&mut self) {
        self.scripts.clear();
    }

    /// The reply for `request`, natural unless a script wants another.
    pub(crate) fn reply(&mut self, request: &Request) -> Reply {
        let mut reply = None;
        for script in &mut self.scripts {
            if script.when.matches(request) {
                script.seen += 1;
                if script.when.counts(script.seen) && reply.is_none() {
                    reply = Some(script.reply.clone());
                }
            }
        }
        self.scripts.retain(|script| script.seen < script.when.last);
        reply.unwrap_or_else(Reply::natural)
    }
}
