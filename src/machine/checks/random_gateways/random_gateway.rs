//! A gateway drawn by chance: the natures of its plans, its limits, and when it is down or refuses the token.

use proptest::prelude::*;
use proptest::sample::select;

use crate::api::TestiniumGatewaySpec;
use crate::machine::checks::world::{ErrorDetail, FakeGateway, How, Nature};

/// Until then gateways fail and tokens expire; after it all is well.
const TROUBLED: u64 = 600_000;

/// A gateway and its history.
#[derive(Clone, Debug)]
pub(super) struct RandomGateway {
    /// The natures of the plans 1, 2 and so on; none if the plan can simply be stopped.
    pub(super) natures: Vec<Option<Nature>>,
    /// Plans a run, in turn.
    pub(super) runs: Vec<usize>,
    pub(super) max_plans: usize,
    pub(super) rate: u64,
    pub(super) max_in_flight: usize,
    pub(super) latency: u64,
    pub(super) names_plans: bool,
    /// From when, for how long, and how it is down.
    pub(super) outages: Vec<(u64, u64, Down)>,
    /// When the token expires, and how long it takes until there is a new one.
    pub(super) expiries: Vec<(u64, u64)>,
    pub(super) refusal: Refusal,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Down {
    Unreachable,
    Overloaded,
    TimesOut,
    /// A proxy in front answers for it, with a page of this status.
    Page(u16),
}

/// How a token is refused that has expired.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// With a page of this status: a login page, an error of a proxy, of Testinium itself.
    Page(u16),
    /// In Testinium's form, with a word of the credential.
    Word(u16),
    /// In Testinium's form, as forbidden.
    Forbidden,
}

pub(super) fn random_gateways(troubled: bool) -> impl Strategy<Value = RandomGateway> {
    let breaks = u32::from(troubled);
    let nature = prop_oneof![
        12 => Just(None),
        2 => Just(Some(Nature::NotRunning)),
        1 => Just(Some(Nature::Rejected)),
        1 => Just(Some(Nature::FailsCall(400))),
        breaks => Just(Some(Nature::FailsCall(500))),
    ];
    let down = prop_oneof![
        Just(Down::Unreachable),
        Just(Down::Overloaded),
        Just(Down::TimesOut),
        select(vec![200, 302, 400, 403, 404, 405, 502]).prop_map(Down::Page),
    ];
    let refusal = prop_oneof![
        select(vec![401, 403, 302, 400, 500, 200]).prop_map(Refusal::Page),
        select(vec![400, 401, 200]).prop_map(Refusal::Word),
        Just(Refusal::Forbidden),
    ];
    let troubles = if troubled { 0..4_usize } else { 0..1 };
    (
        (
            prop::collection::vec(nature, 1..80),
            prop::collection::vec(1_usize..20, 1..6),
            1_usize..33,
            1_u64..40,
            1_usize..4,
        ),
        (
            0_u64..400,
            any::<bool>(),
            prop::collection::vec((0..TROUBLED / 2, 1..TROUBLED / 2, down), troubles.clone()),
            prop::collection::vec((0..TROUBLED / 2, 0..TROUBLED / 2), troubles),
            refusal,
        ),
    )
        .prop_map(
            |(
                (natures, runs, max_plans, rate, max_in_flight),
                (latency, names_plans, outages, expiries, refusal),
            )| {
                RandomGateway {
                    natures,
                    runs,
                    max_plans,
                    rate,
                    max_in_flight,
                    latency,
                    names_plans,
                    outages,
                    expiries,
                    refusal,
                }
            },
        )
}

// === impl RandomGateway ===

impl RandomGateway {
    /// The gateway without its clock: what it says to a call that it serves.
    pub(super) fn fake(&self) -> FakeGateway {
        let natures = (1..).zip(&self.natures).filter_map(|(plan, nature)| Some((plan, (*nature)?)));
        let error_detail = if self.names_plans { ErrorDetail::Named } else { ErrorDetail::Listed };
        FakeGateway { natures: natures.collect(), error_detail, ..FakeGateway::default() }
    }

    /// A spec of one of its gateway objects. All have the same origin.
    pub(super) fn spec(&self) -> TestiniumGatewaySpec {
        serde_json::from_value(serde_json::json!({
            "url": "https://testinium.example.com",
            "auth": {"bearerToken": {"secretRef": {"name": "token"}}},
            "batching": {"maxPlans": self.max_plans},
            "limits": {"maxInFlight": self.max_in_flight, "requestsPerSecond": self.rate},
            "retry": {"maxDelaySeconds": 60},
        }))
        .expect("a valid gateway")
    }

    /// How a call ends that begins now with the token of this number.
    pub(super) fn how(&self, token: u32, now: u64) -> How {
        let outage = self.outages.iter().find(|(from, length, _)| (*from..from + length).contains(&now));
        match outage.map(|(.., down)| *down) {
            Some(Down::Unreachable) => How::Unreachable,
            Some(Down::Overloaded) => How::Overloaded,
            Some(Down::TimesOut) => How::Late,
            Some(Down::Page(status)) => How::Status(status),
            None if token == self.accepted_token(now) => How::ByNature,
            None => match self.refusal {
                Refusal::Page(status) => How::Status(status),
                Refusal::Word(status) => How::Expired(status),
                Refusal::Forbidden => How::Own(403),
            },
        }
    }

    /// Number of the token that the gateway accepts.
    fn accepted_token(&self, now: u64) -> u32 {
        self.expiries.iter().filter(|(at, _)| *at <= now).count() as u32
    }

    /// Number of the token in the Secret.
    pub(super) fn held_token(&self, now: u64) -> u32 {
        self.expiries.iter().filter(|(at, later)| at + later <= now).count() as u32
    }

    /// Most calls for a gateway without outages: the full ones, one more a gateway object and run for those that were
    /// not full, and `2 * ceil(log2 n)` for each plan at fault. A plan that is not running, and is not named, has its
    /// whole call asked one by one.
    pub(super) fn call_bound(&self) -> usize {
        let plans = self.natures.len();
        let most = self.max_plans.min(plans);
        let halvings = usize::try_from(most.next_power_of_two().ilog2()).expect("small");
        // One call more for the plans that a call with named errors leaves over.
        let per_bad = (2 * halvings).max(1);
        let cost = |nature: &Nature| match nature {
            Nature::NotRunning if !self.names_plans => per_bad.max(most),
            Nature::NotRunning | Nature::Rejected | Nature::FailsCall(_) => per_bad,
        };
        let faults: usize = self.natures.iter().flatten().map(cost).sum();
        plans.div_ceil(self.max_plans) + self.runs_made().len() + faults
    }

    /// Plans of each run.
    pub(super) fn runs_made(&self) -> Vec<Vec<i64>> {
        let mut ids = (1_i64..).take(self.natures.len());
        let mut runs: Vec<Vec<i64>> =
            self.runs.iter().map(|size| ids.by_ref().take(*size).collect()).collect();
        runs.push(ids.collect());
        runs.retain(|plans| !plans.is_empty());
        runs
    }
}
