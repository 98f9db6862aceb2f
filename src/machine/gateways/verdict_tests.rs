//! The table of answers, cell by cell: each row for one plan and for two.

use std::collections::BTreeSet;

use super::*;

/// An answer: its status, its form, and the words of its reported errors.
type Given = (u16, Form, &'static [(&'static str, Option<i64>)]);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// Testinium's.
    T,
    /// Testinium's, with `data` that nobody documents.
    Opaque,
    /// Testinium's, with another code than 0 and no reported error.
    Code,
    J,
    O,
}

use Form::{Code, J, O, Opaque, T};

fn reply((status, form, words): Given, retry_after: Option<Millis>) -> Answer {
    let errors = words.iter().map(|(text, plan)| ReportedError {
        code: Some((*text).to_owned()),
        message: None,
        plan: plan.map(PlanId),
        sense: crate::machine::words::sense(Some(text), None, std::iter::empty()),
    });
    let envelope = |code, opaque| Body::Envelope(Envelope { code, opaque, errors: errors.collect() });
    let body = match form {
        T => envelope(None, false),
        Opaque => envelope(None, true),
        Code => envelope(Some(7), false),
        J => Body::Json,
        O => Body::Other,
    };
    Answer::Reply(Reply { status, retry_after, body })
}

/// In short: an outcome, how it is split, what is named, or what the gateway has to be waited for and the strikes.
fn told(answer: &Answer, plans: &[i64], spoken: bool) -> String {
    let plans: Vec<_> = plans.iter().copied().map(PlanId).collect();
    match verdict(answer, &plans, spoken) {
        Verdict::Settled(settled) => format!("{:?}", settled.outcome),
        Verdict::Named(named) => {
            let named: Vec<_> =
                named.iter().map(|(plan, settled)| format!("{plan} {:?}", settled.outcome)).collect();
            named.join(", ")
        }
        Verdict::Split(parts) => format!("{parts:?}"),
        Verdict::Wait(trouble) => {
            let blamed =
                trouble.blamed.map_or_else(String::new, |settled| format!(", {:?}", settled.outcome));
            format!("{:?} {}{blamed}", trouble.kind, trouble.strikes)
        }
    }
}

const NOTHING: &[(&str, Option<i64>)] = &[];
const LOCKED: &[(&str, Option<i64>)] = &[("PLAN_LOCKED", None)];
const IDLE: &[(&str, Option<i64>)] = &[("NOT_AVAILABLE", None)];
const EXPIRED: &[(&str, Option<i64>)] = &[("TOKEN_EXPIRED", None)];
const TROUBLE: &[(&str, Option<i64>)] = &[("SERVICE_NOT_AVAILABLE", None)];

/// Rows of one cell after the other: the cell's name, the answer, and what it means for one plan and for two.
const CELLS: &[(&str, Given, &str, &str)] = &[
    ("200, 201, 202 T", (200, T, NOTHING), "Accepted", "Accepted"),
    ("200, 201, 202 T", (201, T, NOTHING), "Accepted", "Accepted"),
    ("200, 201, 202 T", (202, T, NOTHING), "Accepted", "Accepted"),
    ("200, 201, 202 T", (200, T, LOCKED), "Rejected", "Halves"),
    ("200, 201, 202 T", (202, T, IDLE), "NotRunning", "Singles"),
    ("200, 201, 202 T", (200, T, EXPIRED), "Unauthorized 0", "Unauthorized 0"),
    ("200, 201, 202 T", (200, T, TROUBLE), "Down 1", "Down 1"),
    ("200, 201, 202 T", (200, Code, NOTHING), "Rejected", "Halves"),
    ("200, 201, 202 T", (200, Code, IDLE), "NotRunning", "Singles"),
    ("200, 201, 202 T", (200, Opaque, NOTHING), "Unknown", "Halves"),
    ("200, 201, 202 T", (200, Opaque, LOCKED), "Rejected", "Halves"),
    ("200, 201, 202 T", (200, T, &[("X", Some(1))]), "Rejected", "1 Rejected"),
    ("200, 201, 202 T", (200, T, &[("NOT_AVAILABLE", Some(1))]), "NotRunning", "1 NotRunning"),
    ("200, 201, 202 T", (200, T, &[("NOT_AVAILABLE", Some(77))]), "Rejected", "Singles"),
    ("200, 201, 202 T", (200, T, &[("NOT_AVAILABLE", Some(1)), ("X", None)]), "Rejected", "Halves"),
    ("200, 201, 202 T", (200, T, &[("NOT_AVAILABLE", Some(1)), ("X", Some(1))]), "Rejected", "1 Rejected"),
    (
        "200, 201, 202 T",
        (200, T, &[("NOT_AVAILABLE", Some(1)), ("X", Some(2))]),
        "Rejected",
        "1 NotRunning, 2 Rejected",
    ),
    ("200, 201, 202 T", (200, T, &[("NOT_AVAILABLE", None), ("X", None)]), "Rejected", "Halves"),
    (
        "200, 201, 202 T",
        (200, T, &[("NOT_AVAILABLE", Some(1)), ("TOKEN_EXPIRED", None)]),
        "Unauthorized 0",
        "Unauthorized 0",
    ),
    (
        "200, 201, 202 T",
        (200, T, &[("NOT_AVAILABLE", Some(1)), ("SERVICE_DOWN", Some(2))]),
        "Down 1",
        "Down 1",
    ),
    ("200, 201, 202 J", (200, J, NOTHING), "Unknown", "Halves"),
    ("200, 201, 202 J", (202, J, NOTHING), "Unknown", "Halves"),
    ("200, 201, 202 O", (200, O, NOTHING), "Down 1", "Down 1"),
    ("200, 201, 202 O", (201, O, NOTHING), "Down 1", "Down 1"),
    ("other 2xx T", (204, T, NOTHING), "Unknown", "Halves"),
    ("other 2xx T", (203, T, IDLE), "Unknown", "Halves"),
    ("other 2xx J", (207, J, NOTHING), "Unknown", "Halves"),
    ("other 2xx O", (204, O, NOTHING), "Down 1", "Down 1"),
    ("3xx T", (302, T, IDLE), "Misconfigured 0", "Misconfigured 0"),
    ("3xx J", (307, J, NOTHING), "Misconfigured 0", "Misconfigured 0"),
    ("3xx O", (302, O, NOTHING), "Misconfigured 0", "Misconfigured 0"),
    ("400 T", (400, T, LOCKED), "Rejected", "Halves"),
    ("400 T", (400, T, IDLE), "NotRunning", "Singles"),
    ("400 T", (400, T, EXPIRED), "Unauthorized 0", "Unauthorized 0"),
    ("400 T", (400, T, TROUBLE), "Down 1", "Down 1"),
    ("400 T", (400, T, NOTHING), "Rejected", "Halves"),
    ("400 J", (400, J, NOTHING), "Rejected", "Halves"),
    ("400 O", (400, O, NOTHING), "Down 1", "Down 1"),
    ("401 T", (401, T, IDLE), "Unauthorized 0", "Unauthorized 0"),
    ("401 J", (401, J, NOTHING), "Unauthorized 0", "Unauthorized 0"),
    ("401 O", (401, O, NOTHING), "Unauthorized 0", "Unauthorized 0"),
    ("403 T", (403, T, LOCKED), "Forbidden 1, Rejected", "Forbidden 1, Rejected"),
    ("403 T", (403, T, IDLE), "Forbidden 1, Rejected", "Forbidden 1, Rejected"),
    ("403 T", (403, T, NOTHING), "Forbidden 1, Rejected", "Forbidden 1, Rejected"),
    ("403 J", (403, J, NOTHING), "Down 1", "Down 1"),
    ("403 O", (403, O, NOTHING), "Down 1", "Down 1"),
    ("404, 409, 410, 422 T", (404, T, LOCKED), "Rejected", "Halves"),
    ("404, 409, 410, 422 T", (409, T, LOCKED), "Rejected", "Halves"),
    ("404, 409, 410, 422 T", (410, T, IDLE), "NotRunning", "Singles"),
    ("404, 409, 410, 422 T", (422, T, IDLE), "NotRunning", "Singles"),
    ("404, 409, 410, 422 T", (422, T, EXPIRED), "Unauthorized 0", "Unauthorized 0"),
    ("404, 409, 410, 422 T", (409, T, TROUBLE), "Down 1", "Down 1"),
    ("404, 409, 410, 422 T", (404, T, NOTHING), "Misconfigured 1", "Misconfigured 1"),
    ("404, 409, 410, 422 T", (409, T, NOTHING), "Down 1", "Down 1"),
    ("404, 409, 410, 422 J", (404, J, NOTHING), "Misconfigured 1", "Misconfigured 1"),
    ("404, 409, 410, 422 J", (409, J, NOTHING), "Down 1", "Down 1"),
    ("404, 409, 410, 422 J", (422, J, NOTHING), "Down 1", "Down 1"),
    ("404, 409, 410, 422 O", (404, O, NOTHING), "Misconfigured 1", "Misconfigured 1"),
    ("404, 409, 410, 422 O", (410, O, NOTHING), "Down 1", "Down 1"),
    ("413 T", (413, T, LOCKED), "Rejected", "Halves"),
    ("413 T", (413, T, IDLE), "Rejected", "Halves"),
    ("413 T", (413, T, NOTHING), "Rejected", "Halves"),
    ("413 J", (413, J, NOTHING), "Down 1", "Halves"),
    ("413 O", (413, O, NOTHING), "Down 1", "Halves"),
    ("408, 425, 429, 503 with Retry-After T", (429, T, IDLE), "Down 0", "Down 0"),
    ("408, 425, 429, 503 with Retry-After T", (503, T, IDLE), "Down 0", "Down 0"),
    ("408, 425, 429, 503 with Retry-After J", (408, J, NOTHING), "Down 0", "Down 0"),
    ("408, 425, 429, 503 with Retry-After O", (425, O, NOTHING), "Down 0", "Down 0"),
    ("408, 425, 429, 503 with Retry-After O", (503, O, NOTHING), "Down 0", "Down 0"),
    ("other 5xx T", (500, T, IDLE), "Down 1", "Down 1"),
    ("other 5xx T", (500, T, EXPIRED), "Down 1", "Down 1"),
    ("other 5xx T", (500, T, NOTHING), "Down 1", "Down 1"),
    ("other 5xx J", (501, J, NOTHING), "Down 1", "Down 1"),
    ("other 5xx O", (502, O, NOTHING), "Down 1", "Down 1"),
    ("other 5xx O", (504, O, NOTHING), "Down 1", "Down 1"),
    ("other 5xx O", (599, O, NOTHING), "Down 1", "Down 1"),
    ("other 4xx, 1xx, 600 and above T", (405, T, IDLE), "Misconfigured 1", "Misconfigured 1"),
    ("other 4xx, 1xx, 600 and above J", (415, J, NOTHING), "Misconfigured 1", "Misconfigured 1"),
    ("other 4xx, 1xx, 600 and above O", (451, O, NOTHING), "Misconfigured 1", "Misconfigured 1"),
    ("other 4xx, 1xx, 600 and above O", (102, O, NOTHING), "Misconfigured 1", "Misconfigured 1"),
    ("other 4xx, 1xx, 600 and above O", (600, O, NOTHING), "Misconfigured 1", "Misconfigured 1"),
    ("other 4xx, 1xx, 600 and above O", (999, T, IDLE), "Misconfigured 1", "Misconfigured 1"),
];

/// Each line of the table that users read: the answer, and what it means in Testinium's form, as other JSON, and in any
/// other form.
const TABLE: &[[&str; 4]] = &[
    [
        "200, 201, 202",
        "no reported error: Accepted; a reported error: by its words; another code than 0: split, Rejected; `data` that nobody documents: split, Unknown",
        "split, Unknown",
        "wait, strike",
    ],
    ["other 2xx", "split, Unknown", "split, Unknown", "wait, strike"],
    ["3xx", "wait: Misconfigured", "wait: Misconfigured", "wait: Misconfigured"],
    [
        "400",
        "by its words; without a reported error: split, Rejected",
        "split, Rejected if this address has answered in Testinium's form since it was last edited; else wait, strike",
        "wait, strike",
    ],
    ["401", "wait: AuthenticationFailed", "wait: AuthenticationFailed", "wait: AuthenticationFailed"],
    ["403", "wait: Forbidden, strike; to blame: Rejected", "wait, strike", "wait, strike"],
    [
        "404, 409, 410, 422",
        "by its words; without a reported error: wait (404: Misconfigured), strike",
        "wait (404: Misconfigured), strike",
        "wait (404: Misconfigured), strike",
    ],
    ["413", "split, Rejected", "split; one plan: wait, strike", "split; one plan: wait, strike"],
    ["408, 425, 429, 503 with Retry-After", "wait", "wait", "wait"],
    ["other 5xx", "wait, strike, whatever the words", "wait, strike", "wait, strike"],
    [
        "other 4xx, 1xx, 600 and above",
        "wait: Misconfigured, strike",
        "wait: Misconfigured, strike",
        "wait: Misconfigured, strike",
    ],
];

#[test]
fn each_cell_has_its_meaning() {
    for (cell, given, one, two) in CELLS {
        let retry_after = cell.contains("Retry-After").then_some(Millis(1_000));
        let answer = reply(*given, retry_after);
        assert_eq!(told(&answer, &[1], true), *one, "{cell}: {given:?}, one plan");
        assert_eq!(told(&answer, &[1, 2], true), *two, "{cell}: {given:?}, two plans");
        // Before the address has spoken, only somebody else's 400 means something else.
        let unspoken = given.0 != 400 || given.1 != J;
        assert_eq!(
            told(&answer, &[1], false),
            if unspoken { one } else { "Down 1" },
            "{cell}: {given:?}, unspoken"
        );
    }
    let named: BTreeSet<_> = CELLS.iter().map(|(cell, ..)| *cell).collect();
    let all: BTreeSet<_> = TABLE
        .iter()
        .flat_map(|[answer, ..]| ["T", "J", "O"].map(|form| format!("{answer} {form}")))
        .collect();
    assert_eq!(named.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), all, "every cell has a row");
}

#[test]
fn every_loss_waits_for_the_gateway() {
    for (no_answer, expected) in [
        (NoAnswer::Timeout, "Down 3"),
        (NoAnswer::Broken, "Down 1"),
        (NoAnswer::Dns, "Down 0"),
        (NoAnswer::Connect, "Down 0"),
        (NoAnswer::Tls, "Down 0"),
        (NoAnswer::AddressRefused, "Misconfigured 0"),
    ] {
        for plans in [&[1][..], &[1, 2]] {
            assert_eq!(told(&Answer::Lost(no_answer), plans, true), expected, "{no_answer:?}");
        }
    }
}

#[test]
fn success_needs_testiniums_own_word() {
    for status in 100..1000 {
        for form in [T, Opaque, Code, J, O] {
            for words in [NOTHING, LOCKED, IDLE, EXPIRED, TROUBLE] {
                let told = told(&reply((status, form, words), None), &[1], true);
                let may_be = match told.as_str() {
                    "Accepted" => form == T && words.is_empty() && (200..=202).contains(&status),
                    "NotRunning" => {
                        words == IDLE
                            && ![J, O].contains(&form)
                            && [200, 201, 202, 400, 404, 409, 410, 422].contains(&status)
                    }
                    _ => true,
                };
                assert!(may_be, "HTTP {status} {form:?} {words:?}: {told}");
            }
        }
    }
}

#[test]
fn only_testiniums_own_word_proves_anything() {
    for (cell, given, ..) in CELLS {
        let answer = reply(*given, None);
        let verdict = verdict(&answer, &[PlanId(1)], true);
        let good = !matches!(verdict, Verdict::Wait(_));
        assert_eq!(proves(&answer, &verdict), good && ![J, O].contains(&given.1), "{cell}: {given:?}");
    }
}

#[test]
fn what_has_surely_stopped_nothing_is_told_apart() {
    for (given, maybe) in [
        ((200, O, NOTHING), true),
        ((200, T, TROUBLE), true),
        ((500, O, NOTHING), true),
        ((504, T, NOTHING), true),
        ((102, O, NOTHING), true),
        ((302, O, NOTHING), false),
        ((400, O, NOTHING), false),
        ((200, T, EXPIRED), false),
        ((401, O, NOTHING), false),
        ((403, T, NOTHING), false),
        ((404, J, NOTHING), false),
        ((429, O, NOTHING), false),
        ((503, O, NOTHING), false),
    ] {
        let Verdict::Wait(trouble) = verdict(&reply(given, None), &[PlanId(1)], true) else {
            panic!("{given:?} is no trouble");
        };
        assert_eq!(trouble.maybe_stopped, maybe, "{given:?}");
    }
}

#[test]
fn parts_hold_every_plan() {
    for (parts, plans, size) in [
        (Parts::Halves, 5, 3),
        (Parts::Halves, 1, 1),
        (Parts::Several, 99, 9),
        (Parts::Several, 1000, 31),
        (Parts::Several, 2, 1),
        (Parts::Several, 3, 1),
        (Parts::Singles, 7, 1),
        (Parts::Halves, 0, 1),
    ] {
        assert_eq!(parts.size_of(plans), size, "{parts:?} of {plans}");
    }
}

#[test]
fn users_are_shown_the_same_table() {
    let doc = include_str!("../../../docs/verdicts.md");
    let rows: Vec<_> = doc
        .lines()
        .skip_while(|line| !line.starts_with("| answer |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let expected: Vec<_> = TABLE.iter().map(|cells| format!("| {} |", cells.join(" | "))).collect();
    assert_eq!(rows, expected);
}
