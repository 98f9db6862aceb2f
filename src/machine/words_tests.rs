//! The sense of words: sentences by hand, the whole grammar, and texts by chance.

use proptest::prelude::*;
use proptest::sample::select;

use super::examples::{COUNT, DO_NOT};
use super::lists::Source::{Assumed, Published, RestApi};
use super::*;

#[test]
fn a_whole_sentence_on_the_plan_counts() {
    for text in COUNT {
        assert!(says_not_running(text).is_some(), "{text:?}");
        assert_eq!(sense(None, Some(text), std::iter::empty()), Sense::NotRunning, "{text:?}");
    }
}

#[test]
fn whatever_else_is_said_does_not_count() {
    assert!(DO_NOT.len() > 2 * COUNT.len(), "the longer list is the one that must not count");
    for text in DO_NOT {
        assert_eq!(says_not_running(text), None, "{text:?}");
        assert_ne!(sense(None, Some(text), std::iter::empty()), Sense::NotRunning, "{text:?}");
        assert_ne!(sense(Some(text), None, std::iter::empty()), Sense::NotRunning, "{text:?}");
    }
}

#[test]
fn a_sentence_names_its_plan() {
    for (text, plan) in [
        ("plan 614 is not running", Some(614)),
        ("614 numaralı plan çalışmıyor", Some(614)),
        ("plan 614: the action is not available", Some(614)),
        ("plan 614: plan 614 is not running", Some(614)),
        ("plan is not running", None),
    ] {
        assert_eq!(says_not_running(text), Some(plan.map(PlanId)), "{text}");
    }
}

#[test]
fn words_are_taken_in_their_order() {
    use Sense::{Credential, NotRunning, Other, Trouble};
    for (code, message, expected) in [
        ("UNAUTHORIZED", "", Credential),
        ("TOKEN_EXPIRED", "", Credential),
        ("token-expired", "", Credential),
        ("", "The token has expired", Credential),
        ("", "Token süresi doldu", Credential),
        ("", "Oturum süresi doldu, tekrar deneyin", Credential),
        ("TOKEN_EXPIRED", "the service is not available", Credential),
        ("TOKEN_EXPIRED", "plan is not running", Credential),
        ("INTERNAL_SERVER_ERROR", "", Trouble),
        ("SERVICE_NOT_AVAILABLE", "", Trouble),
        ("SERVICE_WHATEVER", "", Trouble),
        ("DATABASE_NOT_AVAILABLE", "", Trouble),
        ("GRID_NOT_RUNNING", "", Trouble),
        ("NOT_AVAILABLE", "please try again later", Trouble),
        ("NOT_AVAILABLE", "Database is not available", Trouble),
        ("INTERNAL_SERVER_ERROR", "plan is not running", Trouble),
        ("", "Selenium grid is not running", Trouble),
        ("", "Database is not available", Trouble),
        ("", "Licence is not available", Trouble),
        ("", "The queue is unavailable", Trouble),
        ("", "Execution service is not available, please try again later", Trouble),
        ("", "Servis kullanılamıyor", Trouble),
        ("", "SERVİS KULLANILAMIYOR", Trouble),
        ("", "Veri tabanı kullanılamıyor", Trouble),
        ("", "Selenium grid çalışmıyor", Trouble),
        ("", "Lisans mevcut değil", Trouble),
        ("", "Lütfen daha sonra tekrar deneyin", Trouble),
        ("", "LUTFEN DAHA SONRA TEKRAR DENEYIN", Trouble),
        ("NOT_AVAILABLE", "", NotRunning),
        ("not_running", "", NotRunning),
        ("NOT_AVAILABLE", "the action is not available", NotRunning),
        ("NOT_AVAILABLE", "whatever the site says of it", NotRunning),
        ("INVALID_REQUEST", "plan 614 is not running", NotRunning),
        ("4003", "plan is not running", NotRunning),
        ("NOT_AVAILABLE", "the action is not available for your role", Other),
        ("NOT_AVAILABLE", "işlem rolünüz için uygun değil", Other),
        ("ACCESS_DENIED", "the action is not available", Other),
        ("INVALID_REQUEST", "the request is malformed or contained errors", Other),
        ("NOT_FOUND", "there is nothing at this address", Other),
        ("PLAN_LOCKED", "the plan is locked", Other),
        ("UNAVAILABLE", "", Other),
        ("AVAILABLE", "", Other),
        ("NOT_NOT_AVAILABLE", "", Other),
        ("", "bad token: 4711", Other),
        ("", "", Other),
    ] {
        let some = |text: &'static str| (!text.is_empty()).then_some(text);
        assert_eq!(sense(some(code), some(message), std::iter::empty()), expected, "{code:?} {message:?}");
    }
    let beside = ["the grid is not available"];
    assert_eq!(sense(Some("NOT_AVAILABLE"), None, beside.into_iter()), Trouble, "beside it");
}

#[test]
fn lists_are_folded_already() {
    let words = [
        CREDENTIAL_CODES,
        CREDENTIAL_PHRASES,
        TROUBLE_CODES,
        TROUBLE_PHRASES,
        NOT_RUNNING_CODES,
        SUBJECTS,
        PREDICATES,
        REMARKS,
    ];
    let words = words.iter().flat_map(|list| list.iter().map(|(word, _)| *word));
    let plain = [MATTERS, LONG_MATTERS, ABSENCES, STATES, PERMISSION, ARTICLES, NUMBERED];
    for word in words.chain(plain.iter().flat_map(|list| list.iter().copied())) {
        assert_eq!(fold(word), word);
    }
    let longest_first = |list: &[Word]| {
        list.iter().enumerate().all(|(at, (word, _))| {
            list[at..].iter().all(|(other, _)| other == word || !other.starts_with(&format!("{word} ")))
        })
    };
    assert!(longest_first(SUBJECTS), "a subject hides a longer one");
}

/// An action that does not work says nothing of the plan.
fn fits(subject: &str, predicate: &str) -> bool {
    let is_action = ["action", "islem", "islemi", "eylem"].iter().any(|action| subject.ends_with(action));
    !(is_action && predicate.contains("calis"))
}

/// The grammar told the other way round: every sentence of the lists, spelled out.
fn language() -> Vec<String> {
    let mut all = Vec::new();
    for article in ["", "the ", "this ", "that ", "bu "] {
        for (subject, _) in SUBJECTS {
            for id in ["", " 614", " id 614", " with id 614", ": 614"] {
                for (predicate, _) in PREDICATES.iter().filter(|(predicate, _)| fits(subject, predicate)) {
                    for colon in ["", ":"] {
                        all.push(format!("{article}{subject}{id}{colon} {predicate}"));
                    }
                }
            }
            for (predicate, _) in PREDICATES.iter().filter(|(predicate, _)| fits(subject, predicate)) {
                all.extend(NUMBERED.iter().map(|word| format!("{article}614 {word} {subject} {predicate}")));
            }
        }
    }
    all
}

#[test]
fn every_sentence_of_the_grammar_counts() {
    for sentence in language() {
        assert!(says_not_running(&sentence).is_some(), "{sentence}");
    }
}

/// A word put anywhere into a sentence that counts makes it another one, unless that is in the grammar too.
#[test]
fn a_word_too_many_ends_it() {
    let known: std::collections::BTreeSet<String> =
        language().iter().map(|sentence| sentence.replace(':', "")).collect();
    let foreign = [
        "service", "grid", "not", "maybe", "yet", "no", "if", "servisi", "değil", "mi", "and", "614x", "[",
        "-",
    ];
    for text in COUNT {
        let words: Vec<_> = text.split_whitespace().collect();
        for at in 0..=words.len() {
            // With a colon, a subject twice is a prefix before a clause.
            let own = words.iter().copied().filter(|_| !text.contains(':'));
            for word in foreign.into_iter().chain(own) {
                let mut more = words.clone();
                more.insert(at, word);
                let more = more.join(" ");
                let folded = fold(&more).replace(':', "");
                let told_twice = folded.trim_end_matches(['.', '!']).to_owned();
                assert!(says_not_running(&more).is_none() || known.contains(&told_twice), "{more:?} counts");
            }
        }
    }
}

/// Words that come close to the grammar's.
fn near() -> impl Strategy<Value = String> {
    let words: Vec<&str> = [SUBJECTS, PREDICATES]
        .iter()
        .flat_map(|list| list.iter().flat_map(|(phrase, _)| phrase.split(' ')))
        .chain([
            "the",
            "614",
            "615",
            ":",
            ".",
            "service",
            "no",
            "longer",
            "yet",
            "grid",
            "for",
            "role",
            "NOT_AVAILABLE",
        ])
        .collect();
    prop::collection::vec(select(words), 1..7).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn nothing_outside_the_grammar_counts(text in near()) {
        if says_not_running(&text).is_some() {
            let words = sentence(&fold(&text));
            let words: Vec<_> = words.split_whitespace().collect();
            // A text that counts is made of clauses, codes and colons alone.
            let allowed = |part: &[&str]| {
                let part = part.join(" ");
                part == "not_available" || known_clause(&part)
            };
            prop_assert!(words.split(|word| *word == ":").filter(|part| !part.is_empty()).count() <= 4, "{text}");
            let whole = words.join(" ").replace(" :", ":");
            prop_assert!(allowed(&words) || whole.contains(':'), "{text}");
        }
    }

    #[test]
    fn any_text_is_read_without_harm(text in any::<String>()) {
        prop_assert_eq!(says_not_running(&text), None);
        let _ = sense(Some(&text), Some(&text), std::iter::once(&*text));
    }
}

fn known_clause(part: &str) -> bool {
    use std::sync::LazyLock;
    static KNOWN: LazyLock<std::collections::BTreeSet<String>> =
        LazyLock::new(|| language().into_iter().collect());
    KNOWN.contains(&part.replace("615", "614"))
}

/// Each list as `docs/verdicts.md` shows it, where 1 and 2 say where a word is from.
fn shown(list: &[Word], is_code: bool) -> String {
    let words = list.iter().map(|(word, source)| {
        let word = if is_code { word.to_uppercase() } else { (*word).to_owned() };
        let mark = match source {
            Published => " (1)",
            RestApi => " (2)",
            Assumed => "",
        };
        format!("`{word}`{mark}")
    });
    words.collect::<Vec<_>>().join(", ")
}

#[test]
fn users_are_shown_every_word() {
    let doc = include_str!("../../docs/verdicts.md");
    let plain = |list: &[&str]| list.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    for (name, line) in [
        ("CREDENTIAL_CODES", shown(CREDENTIAL_CODES, true)),
        ("CREDENTIAL_PHRASES", shown(CREDENTIAL_PHRASES, false)),
        ("TROUBLE_CODES", shown(TROUBLE_CODES, true)),
        ("TROUBLE_PHRASES", shown(TROUBLE_PHRASES, false)),
        ("NOT_RUNNING_CODES", shown(NOT_RUNNING_CODES, true)),
        ("SUBJECTS", shown(SUBJECTS, false)),
        ("PREDICATES", shown(PREDICATES, false)),
        ("REMARKS", shown(REMARKS, false)),
        ("MATTERS", plain(MATTERS)),
        ("LONG_MATTERS", plain(LONG_MATTERS)),
        ("ABSENCES", plain(ABSENCES)),
        ("STATES", plain(STATES)),
        ("PERMISSION", plain(PERMISSION)),
    ] {
        assert!(doc.lines().any(|other| other == line), "docs/verdicts.md lacks the line of {name}:\n{line}");
    }
}
