//! The messages that people read, as `docs/messages.md` lists them: each is brought about in the world of the tests, and
//! its text is the machine's own. `docs/troubleshooting.md` says what to do at each.

mod situations;

use std::collections::BTreeSet;

use strum::VariantArray;

use self::situations::{EVENTS, GATEWAYS, RUN, RUNS, Situation, world};
use crate::api::{Condition, EventReason, condition, reason};
use crate::machine::checks::world::{World, gateway_key};
use crate::machine::gateways::credential::CredentialError;
use crate::machine::gateways::wait_cause::WaitCause;

/// Credentials whose trouble the machine is only told of: what exactly is wrong stands in the place in brackets.
fn credential_rows() -> Vec<(&'static str, &'static str, String)> {
    let missing = "[what is missing, in which Secret or ConfigMap]; to do so, run: [a command]";
    let errors = [
        (reason::SECRET_NOT_FOUND, "A Secret or a key is missing.", CredentialError::Missing(missing.into())),
        (
            reason::INVALID_CREDENTIAL,
            "A value can't be used.",
            CredentialError::Invalid("[what is wrong with which value, without the value]".into()),
        ),
        (
            reason::AUTHENTICATION_FAILED,
            "The token endpoint refuses the login.",
            CredentialError::Refused(
                "the token endpoint refused the login: [the published code of the refusal]; correct the Secret, and it \
                 is tried again"
                    .into(),
            ),
        ),
        (
            reason::UNREACHABLE,
            "The API server or the token endpoint fails.",
            CredentialError::Failed("[what could not be read or reached, and why]".into()),
        ),
    ];
    let in_words =
        |error: &CredentialError| WaitCause::Credential(error).in_words(&gateway_key("default")).message;
    errors.iter().map(|(reason, when, error)| (*reason, *when, in_words(error))).collect()
}

fn find<'a>(conditions: &'a [Condition], type_: &str) -> &'a Condition {
    conditions.iter().find(|other| other.type_ == type_).expect("the condition is there")
}

fn stopped(world: &World) -> Condition {
    find(&world.run(RUN).status.conditions, condition::STOPPED).clone()
}

fn ready(world: &World) -> Condition {
    find(&world.server.gateways[&gateway_key("default")].status.conditions, condition::READY).clone()
}

/// A cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn rows(situations: &[(&str, &[Situation])], look: fn(&World) -> Condition) -> Vec<(String, String, String)> {
    let each = situations.iter().flat_map(|(reason, each)| each.iter().map(move |one| (*reason, *one)));
    let row = |(reason, (when, act)): (&str, Situation)| {
        let mut world = world();
        act(&mut world);
        let Condition { reason: word, message, .. } = look(&world);
        assert_eq!(word, reason, "{when} {message}");
        (word, when.to_owned(), message)
    };
    each.map(row).collect()
}

fn table(first: &str, rows: impl IntoIterator<Item = (String, String, String)>) -> String {
    let head = format!("| {first} | when | message |\n|---|---|---|\n");
    let line = |(word, when, message): (String, String, String)| {
        format!("| `{word}` | {when} | {} |\n", cell(&message))
    };
    rows.into_iter().map(line).fold(head, |table, line| table + &line)
}

/// The messages of the condition Stopped: the reason, when it is so, and the text.
fn of_runs() -> Vec<(String, String, String)> {
    let mut of_runs = rows(RUNS, stopped);
    let others =
        credential_rows().into_iter().map(|(word, when, text)| (word.to_owned(), when.to_owned(), text));
    of_runs.extend(others);
    let place = |word: &str| reason::OF_STOPPED.iter().position(|other| *other == word);
    of_runs.sort_by_key(|(word, ..)| place(word));
    let told: BTreeSet<_> = of_runs.iter().map(|(word, ..)| word.as_str()).collect();
    assert_eq!(told.len(), reason::OF_STOPPED.len(), "each reason has its message");
    of_runs
}

fn listed() -> String {
    let events = EVENTS.iter().map(|(word, act)| {
        let mut world = world();
        act(&mut world);
        let event = world.trace.events.iter().rfind(|event| event.reason.as_str() == *word);
        let event = event.unwrap_or_else(|| panic!("{word} is not told: {:?}", world.trace.events));
        let type_ = if event.warning { "Warning" } else { "Normal" };
        ((*word).to_owned(), type_.to_owned(), event.message.clone())
    });
    let events: Vec<_> = events.collect();
    let words: Vec<_> = EventReason::VARIANTS.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(events.iter().map(|(word, ..)| word.as_str()).collect::<Vec<_>>(), words);
    let runs = table("`Stopped` of a run", of_runs());
    let gateways = table("`Ready` of a gateway", rows(GATEWAYS, ready));
    let events = table("event", events).replacen("| when |", "| type |", 1);
    format!("{runs}\n{gateways}\n{events}")
}

const BEGIN: &str = "<!-- messages: made by UPDATE_DOCS=1 cargo test --lib machine::checks::messages -->\n";
const END: &str = "<!-- end of messages -->";

#[test]
fn the_page_lists_every_message() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/messages.md");
    #[allow(clippy::disallowed_methods, reason = "a page is no input of the machine")]
    let (page, updates) = (std::fs::read_to_string(path), std::env::var_os("UPDATE_DOCS").is_some());
    let page = page.expect("the page can be read");
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark");
    let (_, after) = rest.split_once(END).expect("the page has the other mark");
    let new = format!("{before}{BEGIN}\n{}\n{END}{after}", listed());
    if updates {
        #[allow(clippy::disallowed_methods, reason = "a page is no output of the machine")]
        std::fs::write(path, new).expect("the page can be written");
        return;
    }
    assert_eq!(page, new, "UPDATE_DOCS=1 cargo test --lib machine::checks::messages would mend it");
}

/// The reasons and the beginnings of messages in the tables of the page on troubleshooting that say what to do.
fn remedies(page: &str) -> Vec<(&str, &str)> {
    let section = page.split("\n## What to do\n").nth(1).expect("the page has this section");
    let rows = section.split("\n## ").next().unwrap_or_default().lines();
    let cells = rows.filter_map(|row| row.strip_prefix("| `")?.split_once("` | "));
    cells.filter_map(|(reason, rest)| Some((reason, rest.split_once(" | ")?.0))).collect()
}

/// Whether a message has the words of a row: what stands around `…` in the row, in this order.
fn has_words(message: &str, words: &str) -> bool {
    let mut rest = message;
    words.split('…').all(|part| match rest.split_once(part.trim()) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[test]
fn the_page_on_troubleshooting_says_what_to_do_at_each_message_and_at_no_other() {
    const PAGE: &str = include_str!("../../../docs/troubleshooting.md");
    let (remedies, messages) = (remedies(PAGE), of_runs());
    let told: BTreeSet<_> = remedies.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(told, reason::OF_STOPPED.into_iter().collect(), "a remedy for each reason");
    for (reason, when, message) in &messages {
        let is_it = |(other, words): &&(&str, &str)| other == reason && has_words(message, words);
        // What stands in brackets is told by others; the examples below the tables are compared with a real one.
        let is_told = message.contains('[') || remedies.iter().any(|row| is_it(&row));
        assert!(is_told, "no remedy for {reason}, {when}: {message}");
    }
    let shown = PAGE.lines().filter_map(|line| line.trim().strip_prefix("Message:"));
    let real: Vec<&str> = messages.iter().map(|(.., message)| message.as_str()).chain(shown).collect();
    for (reason, words) in remedies {
        assert!(real.iter().any(|message| has_words(message, words)), "there is no such {reason}: {words}");
    }
}
