//! The machine and the reference agree on what an answer proves, for every answer.

use crate::machine::checks::world::reference::answers::{is_proof, may_open};
use crate::machine::gateways::verdict::{Verdict, proves, verdict};
use crate::machine::words::Sense;
use crate::machine::{Answer, Body, Envelope, NoAnswer, PlanId, Reply, ReportedError};

fn reported_errors(senses: &[Sense], plan: Option<PlanId>) -> Vec<ReportedError> {
    senses.iter().map(|sense| ReportedError { sense: *sense, plan, ..ReportedError::default() }).collect()
}

fn bodies() -> Vec<Body> {
    let senses: [&[Sense]; 7] = [
        &[],
        &[Sense::Other],
        &[Sense::NotRunning],
        &[Sense::Trouble],
        &[Sense::Credential],
        &[Sense::NotRunning, Sense::Trouble],
        &[Sense::Other, Sense::Credential],
    ];
    let mut bodies = vec![Body::Json, Body::Other];
    for senses in senses {
        for plan in [None, Some(PlanId(1))] {
            for (code, opaque) in [(None, false), (Some(0), false), (Some(7), false), (None, true)] {
                bodies.push(Body::Envelope(Envelope { code, errors: reported_errors(senses, plan), opaque }));
            }
        }
    }
    bodies
}

fn answers() -> Vec<Answer> {
    let lost = [
        NoAnswer::Timeout,
        NoAnswer::Dns,
        NoAnswer::Connect,
        NoAnswer::Tls,
        NoAnswer::Broken,
        NoAnswer::AddressRefused,
    ];
    let mut answers: Vec<_> = lost.map(Answer::Lost).into();
    for status in 100..=600 {
        let reply = |body| Answer::Reply(Reply { status, retry_after: None, body });
        answers.extend(bodies().into_iter().map(reply));
    }
    answers
}

#[test]
fn an_answer_proves_what_the_reference_says() {
    for answer in answers() {
        for (plans, spoken) in [(1, false), (1, true), (3, false), (3, true)] {
            let plans: Vec<_> = (1..=plans).map(PlanId).collect();
            let verdict = verdict(&answer, &plans, spoken);
            assert_eq!(proves(&answer, &verdict), is_proof(&answer), "{answer:?} {verdict:?}");
            let opens = plans.len() == 1 && !matches!(verdict, Verdict::Wait(_));
            assert!(!opens || may_open(&answer), "{answer:?} {verdict:?}");
        }
    }
}
