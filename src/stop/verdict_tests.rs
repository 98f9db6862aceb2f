//! Each row of the table of answers, for one plan and for two.

use super::*;

fn complaint(code: &str, plan: Option<i64>) -> Complaint {
    Complaint { code: Some(code.to_owned()), message: None, plan: plan.map(PlanId) }
}

fn envelope(code: Option<i64>, errors: Vec<Complaint>) -> Body {
    Body::Envelope(Envelope { code, errors })
}

/// In short: an outcome, `split`, `named`, or what the gateway has to be waited for.
fn told(status: u16, body: Body, plans: &[i64], proven: bool) -> String {
    let plans: Vec<_> = plans.iter().copied().map(PlanId).collect();
    match verdict(&Answer::Reply(Reply { status, retry_after: None, body }), &plans, proven) {
        Verdict::Settled(settled) => format!("{:?}", settled.outcome),
        Verdict::Named(named) => {
            let named: Vec<_> =
                named.iter().map(|(plan, settled)| format!("{plan} {:?}", settled.outcome)).collect();
            named.join(", ")
        }
        Verdict::Split => "split".to_owned(),
        Verdict::Wait(trouble) => format!("{:?}", trouble.kind),
    }
}

#[test]
fn each_answer_has_its_meaning() {
    let clean = || envelope(None, Vec::new());
    let errors = |code: &str| envelope(None, vec![complaint(code, None)]);
    let rows: &[(&str, u16, Body, &str, &str)] = &[
        ("clean", 200, clean(), "Accepted", "Accepted"),
        ("code 0", 200, envelope(Some(0), Vec::new()), "Accepted", "Accepted"),
        ("another code", 200, envelope(Some(7), Vec::new()), "Rejected", "split"),
        ("not available", 200, errors("NOT_AVAILABLE"), "NotRunning", "split"),
        ("Turkish", 200, errors("Plan çalışmıyor"), "NotRunning", "split"),
        ("an error", 200, errors("PLAN_LOCKED"), "Rejected", "split"),
        ("one named", 200, envelope(None, vec![complaint("X", Some(1))]), "Rejected", "1 Rejected"),
        ("no envelope", 200, Body::Other, "Unknown", "split"),
        ("204", 204, clean(), "Unknown", "split"),
        ("400", 400, Body::Other, "Rejected", "split"),
        ("400, not running", 400, errors("not running"), "NotRunning", "split"),
        ("404", 404, Body::Other, "Rejected", "split"),
        ("409", 409, Body::Other, "Rejected", "split"),
        ("422", 422, Body::Other, "Rejected", "split"),
        ("403", 403, Body::Other, "Rejected", "split"),
        ("401", 401, Body::Other, "Unauthorized", "Unauthorized"),
        ("408", 408, Body::Other, "Down", "Down"),
        ("425", 425, Body::Other, "Down", "Down"),
        ("429", 429, Body::Other, "Down", "Down"),
        ("500", 500, clean(), "Down", "Down"),
        ("503", 503, clean(), "Down", "Down"),
        ("302", 302, clean(), "Misconfigured", "Misconfigured"),
        ("405", 405, clean(), "Misconfigured", "Misconfigured"),
    ];
    for (name, status, body, one, two) in rows {
        assert_eq!(told(*status, body.clone(), &[1], true), *one, "{name}, one plan");
        assert_eq!(told(*status, body.clone(), &[1, 2], true), *two, "{name}, two plans");
    }
}

#[test]
fn forbidden_is_the_gateways_until_the_credential_has_proven_itself() {
    assert_eq!(told(403, Body::Other, &[1], false), "Forbidden");
    assert_eq!(told(403, Body::Other, &[1, 2], false), "Forbidden");
}

#[test]
fn a_second_complaint_is_not_hidden_behind_not_running() {
    let body = envelope(None, vec![complaint("NOT_AVAILABLE", None), complaint("PLAN_LOCKED", None)]);
    assert_eq!(told(200, body, &[1], true), "Rejected");
}

#[test]
fn every_loss_waits_for_the_gateway() {
    let losses = [Loss::Timeout, Loss::Dns, Loss::Connect, Loss::Tls, Loss::Broken, Loss::AddressRefused];
    for loss in losses {
        let verdict = verdict(&Answer::Lost(loss), &[PlanId(1)], true);
        assert!(matches!(verdict, Verdict::Wait(_)), "{loss:?}: {verdict:?}");
    }
}

#[test]
fn words_are_known_in_any_case() {
    for words in ["Not Available", "PLAN ÇALIŞMIYOR", "Plan Çalışmıyor", "MEVCUT DEĞİL", "Uygun değil"]
    {
        assert_eq!(
            told(200, envelope(None, vec![complaint(words, None)]), &[1], true),
            "NotRunning",
            "{words}"
        );
    }
}

#[test]
fn accepted_needs_status_200_and_a_clean_envelope() {
    for status in (100..600).filter(|status| *status != 200) {
        assert_ne!(told(status, envelope(None, Vec::new()), &[1], true), "Accepted", "HTTP {status}");
    }
}
