//! The plans behind the gateway: what each one is, and what a stop does to it.
//!
//! The published API leaves much open (what a list with one bad id does, how a plan that is not running is
//! reported), so each open point is a setting here, and a client that bets on one answer fails under the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::words::words;

/// The nature of a plan, which decides what becomes of a call that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Runs, and has stopped once a stop was accepted. A second stop finds it not running.
    Running,
    /// Exists and does not run.
    NotRunning,
    /// The gateway knows no such plan.
    Unknown,
    /// Accepts a stop, and is seen running for this much longer; meanwhile further stops are accepted too.
    TerminatesSlowly(Duration),
    /// Accepts every stop and runs on.
    NeverStops,
    /// Runs, and is refused with an error of its own that says neither "unknown" nor "not running".
    Rejected,
    /// Runs, and any call that names it is answered with this status as a whole, nothing being stopped: 403 for
    /// a plan of another team, 400 or 500 for one that upsets the gateway.
    Poisons(u16),
}

/// How the gateway reports a plan that it cannot stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The whole call is refused with this status, and nothing is stopped.
    Refusal(u16),
    /// 200, with `errors`.
    Errors,
    /// 200, with the `status` of version 1.16, which names no plan.
    Status,
}

/// The truth about one plan, for oracles to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanTruth {
    /// The nature of the plan.
    pub nature: Nature,
    /// Whether it runs now.
    pub running: bool,
    /// Stops that were accepted since it was last started.
    pub accepted: u32,
    /// Authorised and well-formed calls that asked to stop it, accepted or not, since it was last started.
    pub asked: u32,
}

/// A plan that a call named and that was not stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) id: i64,
    pub(crate) code: &'static str,
    pub(crate) text: &'static str,
}

/// The verdict of the gateway on a list of plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Refused { status: u16, fault: Fault },
    Done { faults: Vec<Fault>, report: Report },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) default_nature: Nature,
    pub(crate) unknown: Report,
    pub(crate) not_running: Report,
    pub(crate) stops_the_others: bool,
}

#[derive(Debug)]
pub(crate) struct Plans {
    rules: Rules,
    known: BTreeMap<i64, Plan>,
}

#[derive(Debug)]
struct Plan {
    nature: Nature,
    execution: Execution,
    accepted: u32,
    asked: u32,
}

#[derive(Clone, Copy, Debug)]
enum Execution {
    Running,
    RunningUntil(Instant),
    Ended,
}

// === impl Plans ===

impl Plans {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, known: BTreeMap::new() }
    }

    /// Declares a plan, or starts it anew.
    pub(crate) fn declare(&mut self, id: i64, nature: Nature) {
        self.known.insert(id, Plan::new(nature));
    }

    pub(crate) fn truth(&self, now: Instant) -> BTreeMap<i64, PlanTruth> {
        let truth = |plan: &Plan| PlanTruth {
            nature: plan.nature,
            running: plan.runs(now),
            accepted: plan.accepted,
            asked: plan.asked,
        };
        self.known.iter().map(|(id, plan)| (*id, truth(plan))).collect()
    }

    /// Whether the plan runs; none if there is no such plan.
    pub(crate) fn runs(&self, id: i64, now: Instant) -> Option<bool> {
        let fresh = Plan::new(self.rules.default_nature);
        let plan = self.known.get(&id).unwrap_or(&fresh);
        (plan.nature != Nature::Unknown).then(|| plan.runs(now))
    }

    /// Stops what can be stopped of `ids`. An id that is listed twice counts once.
    pub(crate) fn stop(&mut self, ids: &[i64], now: Instant) -> Judgement {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        for id in &ids {
            self.plan(*id).asked += 1;
        }
        let faults: Vec<(Fault, Report)> = ids.iter().filter_map(|id| self.fault(*id, now)).collect();
        let refusal = faults.iter().find_map(|(fault, report)| match report {
            Report::Refusal(status) => Some((*status, fault.clone())),
            Report::Errors | Report::Status => None,
        });
        if let Some((status, fault)) = refusal {
            return Judgement::Refused { status, fault };
        }
        if faults.is_empty() || self.rules.stops_the_others {
            for id in ids.iter().filter(|id| faults.iter().all(|(fault, _)| fault.id != **id)) {
                self.plan(*id).accept(now);
            }
        }
        let report = faults.iter().map(|(_, report)| *report).find(|report| *report == Report::Status);
        Judgement::Done {
            faults: faults.into_iter().map(|(fault, _)| fault).collect(),
            report: report.unwrap_or(Report::Errors),
        }
    }

    fn plan(&mut self, id: i64) -> &mut Plan {
        let nature = self.rules.default_nature;
        self.known.entry(id).or_insert_with(|| Plan::new(nature))
    }

    fn fault(&mut self, id: i64, now: Instant) -> Option<(Fault, Report)> {
        let Rules { unknown, not_running, .. } = self.rules;
        let plan = self.plan(id);
        let (code, text, report) = match plan.nature {
            Nature::Unknown => ("PLAN_NOT_FOUND", "there is no such plan", unknown),
            Nature::Poisons(status) => {
                let (code, text) = words(status);
                (code, text, Report::Refusal(status))
            }
            Nature::Rejected => ("STOP_NOT_ALLOWED", "the plan may not be stopped", Report::Errors),
            Nature::Running | Nature::NotRunning | Nature::TerminatesSlowly(_) | Nature::NeverStops => {
                if plan.runs(now) {
                    return None;
                }
                ("NOT_AVAILABLE", "the action is not available", not_running)
            }
        };
        Some((Fault { id, code, text }, report))
    }
}

// === impl Plan ===

impl Plan {
    fn new(nature: Nature) -> Self {
        let execution = match nature {
            Nature::NotRunning | Nature::Unknown => Execution::Ended,
            Nature::Running
            | Nature::TerminatesSlowly(_)
            | Nature::NeverStops
            | Nature::Rejected
            | Nature::Poisons(_) => Execution::Running,
        };
        Self { nature, execution, accepted: 0, asked: 0 }
    }

    fn runs(&self, now: Instant) -> bool {
        match self.execution {
            Execution::Running => true,
            Execution::RunningUntil(end) => now < end,
            Execution::Ended => false,
        }
    }

    fn accept(&mut self, now: Instant) {
        self.accepted += 1;
        self.execution = match (self.nature, self.execution) {
            (Nature::NeverStops, execution) => execution,
            (Nature::TerminatesSlowly(time), Execution::Running) => Execution::RunningUntil(now + time),
            (Nature::TerminatesSlowly(_), execution) => execution,
            _ => Execution::Ended,
        };
    }
}

// === impl Fault ===

impl Fault {
    /// A sentence that names the plan only if it shall.
    pub(crate) fn sentence(&self, named: bool) -> String {
        if named { format!("plan {}: {}", self.id, self.text) } else { self.text.to_owned() }
    }
}
