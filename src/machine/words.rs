//! The words of Testinium's reported errors, and what each of them says. All of them are data, and stand in [`lists`].
//!
//! Three kinds of words matter, and they are sought in this order:
//! - the credential is no good: it is renewed;
//! - something that Testinium needs does not work: the stop is tried on;
//! - the plan is not running: nothing is left to stop, so this is a success.
//!
//! The first two may stand anywhere in a text, for both lead to another try, and a try too many does no harm. The third
//! ends a stop, so a text must say it as a whole: a sentence of a small grammar, and nothing beside it.
//!
//! ```text
//! sentence  = { prefix ":" } clause [ ":" clause | ":" remark ] [ "." ]
//! prefix    = code | subject id
//! clause    = [ article ] subject [ id ] [ ":" ] predicate
//! ```
//!
//! `docs/verdicts.md` shows these lists to users, and a test compares them.

use crate::machine::ids::PlanId;

pub mod lists;

use lists::*;

/// The sense of the words of a reported error.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Sense {
    /// Something else, or nothing that is known.
    #[default]
    Other,
    /// The plan is not running.
    NotRunning,
    /// Something that Testinium needs does not work at present.
    Trouble,
    /// The credential is not accepted.
    Credential,
}

/// The sense of a reported error: of its code, its message, and any other words in it.
pub fn sense<'a>(
    code: Option<&'a str>,
    message: Option<&'a str>,
    beside: impl Iterator<Item = &'a str>,
) -> Sense {
    let all: Vec<&str> = [code, message].into_iter().flatten().chain(beside).collect();
    if let Some(alarm) = all.iter().filter_map(|text| alarm(text)).max() {
        return alarm;
    }
    let says = |text: &str| says_not_running(text).is_some();
    let doubtful = || {
        let texts = all.iter().map(|text| Folded::new(text));
        texts.into_iter().any(|text| text.names(MATTERS) || text.names(PERMISSION))
    };
    // A code says it alone. A sentence says it only if nothing else is said beside it.
    let by_code = code.is_some_and(says);
    let by_sentence =
        || message.is_some_and(says) && all.iter().all(|text| says(text) || is_empty_talk(text));
    if (by_code || by_sentence()) && !doubtful() { Sense::NotRunning } else { Sense::Other }
}

/// The sense of a text, or of the number of a status, if it is one that leads to another try.
pub fn alarm(text: &str) -> Option<Sense> {
    let folded = Folded::new(text);
    if folded.says_credential() || text == "401" {
        Some(Sense::Credential)
    } else if folded.says_trouble() || (text.len() == 3 && text.starts_with('5') && is_number(text)) {
        Some(Sense::Trouble)
    } else {
        None
    }
}

/// Whether a text says nothing: a number without a known meaning, or words that only say that something was wrong.
fn is_empty_talk(text: &str) -> bool {
    let phrase = fold(text);
    (is_number(text) && text != "403") || EMPTY_TALK.contains(&phrase.trim())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a text as a whole says that a plan is not running, and of which, if it names one.
pub fn says_not_running(text: &str) -> Option<Option<PlanId>> {
    // No sentence of the grammar is nearly as long.
    if text.len() > 256 {
        return None;
    }
    let folded = fold(text);
    if is_one_of(NOT_RUNNING_CODES, &code(&folded)) {
        return Some(None);
    }
    let spaced = sentence(&folded);
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut named = None;
    let mut rest = &words[..];
    while let Some((plan, after)) = prefix(rest) {
        named = agreed(named, plan)?;
        rest = after;
    }
    let (plan, after) = clause(rest)?;
    named = agreed(named, plan)?;
    let more = match after {
        [] => return Some(named),
        [":", more @ ..] => more,
        _ => return None,
    };
    if REMARKS.iter().any(|(remark, _)| more.iter().copied().eq(remark.split(' '))) {
        return Some(named);
    }
    let (plan, after) = clause(more)?;
    if after.is_empty() { agreed(named, plan) } else { None }
}

/// Two ids in one text must be the same.
fn agreed(one: Option<PlanId>, other: Option<PlanId>) -> Option<Option<PlanId>> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => None,
        (one, other) => Some(one.or(other)),
    }
}

type Parsed<'a, 'b> = Option<(Option<PlanId>, &'b [&'a str])>;

/// A code, or a plan with its id, before a colon.
fn prefix<'a, 'b>(words: &'b [&'a str]) -> Parsed<'a, 'b> {
    if let [word, ":", rest @ ..] = words
        && is_one_of(NOT_RUNNING_CODES, &code(word))
    {
        return Some((None, rest));
    }
    let Subject { plan: Some(plan), rest: [":", rest @ ..], .. } = subject(words)? else { return None };
    // "Plan 614: not running" is a clause of its own.
    if predicate(rest).is_some() { None } else { Some((Some(plan), rest)) }
}

fn clause<'a, 'b>(words: &'b [&'a str]) -> Parsed<'a, 'b> {
    let Subject { plan, is_action, rest } = subject(words)?;
    let rest = match rest {
        [":", rest @ ..] => rest,
        rest => rest,
    };
    let (said, rest) = predicate(rest)?;
    // These words say of an action that it is out of order, and nothing of the plan.
    let is_broken = is_action && said.contains("calis");
    (!is_broken).then_some((plan, rest))
}

/// The subject of a clause.
struct Subject<'a, 'b> {
    /// The plan that it names. The id of an execution or of an action is another id.
    plan: Option<PlanId>,
    is_action: bool,
    rest: &'b [&'a str],
}

/// The subject at the beginning of these words, with its id if it has one.
fn subject<'a, 'b>(words: &'b [&'a str]) -> Option<Subject<'a, 'b>> {
    let found = |phrase: &str, id: Option<PlanId>, rest| Subject {
        plan: id.filter(|_| PLANS.contains(&phrase)),
        is_action: ACTIONS.iter().any(|action| phrase.ends_with(action)),
        rest,
    };
    let words = match words {
        [article, rest @ ..] if ARTICLES.contains(article) => rest,
        words => words,
    };
    if let [id, numbered, rest @ ..] = words
        && let Some(plan) = plan_id(id)
        && NUMBERED.contains(numbered)
    {
        let (phrase, rest) = phrase(SUBJECTS, rest)?;
        return Some(found(phrase, Some(plan), rest));
    }
    let (phrase, rest) = phrase(SUBJECTS, words)?;
    let at_id = match rest {
        ["with", "id", rest @ ..] | ["id", ":", rest @ ..] | ["id", rest @ ..] | [":", rest @ ..] => rest,
        rest => rest,
    };
    match at_id {
        [id, rest @ ..] if plan_id(id).is_some() => Some(found(phrase, plan_id(id), rest)),
        _ => Some(found(phrase, None, rest)),
    }
}

/// A predicate that ends with the text or before a colon.
fn predicate<'a, 'b>(words: &'b [&'a str]) -> Option<(&'static str, &'b [&'a str])> {
    let ends = |(_, rest): &(&str, &[&str])| rest.first().is_none_or(|word| *word == ":");
    PREDICATES.iter().filter_map(|(said, _)| Some((*said, strip(said, words)?))).find(ends)
}

fn phrase<'a, 'b>(of: &'static [Word], words: &'b [&'a str]) -> Option<(&'static str, &'b [&'a str])> {
    of.iter().find_map(|(phrase, _)| Some((*phrase, strip(phrase, words)?)))
}

/// The words behind a phrase, if they begin with it.
fn strip<'a, 'b>(phrase: &str, words: &'b [&'a str]) -> Option<&'b [&'a str]> {
    let count = phrase.split(' ').count();
    let (head, rest) = words.split_at_checked(count)?;
    head.iter().copied().eq(phrase.split(' ')).then_some(rest)
}

/// An id as a text writes it: `614`, `#614`, `"614"`.
fn plan_id(word: &str) -> Option<PlanId> {
    let word = word.strip_prefix('#').unwrap_or(word);
    let quoted = |quote| word.strip_prefix(quote).and_then(|word| word.strip_suffix(quote));
    let digits = quoted('"').or_else(|| quoted('\'')).unwrap_or(word);
    digits.parse().ok().filter(|id| is_number(digits) && *id > 0).map(PlanId)
}

/// A folded text as the words of a sentence: without its end's mark, with its colons apart.
fn sentence(folded: &str) -> String {
    let text = folded.trim();
    let text = text.strip_suffix(['.', '!']).unwrap_or(text);
    text.replace(':', " : ")
}

fn is_one_of(words: &[Word], word: &str) -> bool {
    words.iter().any(|(other, _)| *other == word)
}

/// A folded code: with `_` for `-`.
fn code(folded: &str) -> String {
    folded.trim().replace('-', "_")
}

/// Small letters without diacritics, with one i for the four of Turkish: without a locale, I becomes i where Turkish
/// has ı, and İ becomes i with a dot of its own. Any other letter stays what it is.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'I' | 'İ' | 'ı' | 'î' | 'Î' => folded.push('i'),
            'ç' | 'Ç' => folded.push('c'),
            'ğ' | 'Ğ' => folded.push('g'),
            'ö' | 'Ö' => folded.push('o'),
            'ş' | 'Ş' => folded.push('s'),
            'ü' | 'Ü' | 'û' | 'Û' => folded.push('u'),
            'â' | 'Â' => folded.push('a'),
            '\u{2019}' => folded.push('\''),
            // The marks that these letters have when they are written apart.
            '\u{302}' | '\u{306}' | '\u{307}' | '\u{308}' | '\u{327}' => {}
            c => folded.extend(c.to_lowercase()),
        }
    }
    folded
}

/// A text whose words are sought anywhere.
struct Folded {
    code: String,
    /// The words with a space before and after each.
    words: String,
}

impl Folded {
    fn new(text: &str) -> Self {
        let folded = fold(text);
        let is_part = |c: char| c.is_alphanumeric() || c == '\'';
        let mut words = String::with_capacity(folded.len() + 2);
        for word in folded.split(|c| !is_part(c)).filter(|word| !word.is_empty()) {
            words.push(' ');
            words.push_str(word);
        }
        words.push(' ');
        Self { code: code(&folded), words }
    }

    fn says_credential(&self) -> bool {
        is_one_of(CREDENTIAL_CODES, &self.code) || self.has_one_of(CREDENTIAL_PHRASES)
    }

    fn says_trouble(&self) -> bool {
        let is_code = self.code.len() <= 64 && !self.code.contains(char::is_whitespace);
        if is_code && (is_one_of(TROUBLE_CODES, &self.code) || self.code.starts_with("service_")) {
            return true;
        }
        let is_state = |word: &str| STATES.contains(&word);
        let fails = || {
            ABSENCES.iter().any(|absence| self.has(absence))
                || (is_code && self.words.split_whitespace().any(is_state))
        };
        self.has_one_of(TROUBLE_PHRASES) || (self.names_matter() && fails())
    }

    fn names_matter(&self) -> bool {
        self.names(MATTERS) || LONG_MATTERS.iter().any(|matter| self.has(matter))
    }

    /// Whether a word of the text begins with one of these.
    fn names(&self, stems: &[&str]) -> bool {
        self.words.split_whitespace().any(|word| stems.iter().any(|stem| word.starts_with(stem)))
    }

    fn has_one_of(&self, phrases: &[Word]) -> bool {
        phrases.iter().any(|(phrase, _)| self.has(phrase))
    }

    fn has(&self, phrase: &str) -> bool {
        self.words.match_indices(phrase).any(|(at, _)| {
            self.words[..at].ends_with(' ') && self.words[at + phrase.len()..].starts_with(' ')
        })
    }
}

#[cfg(test)]
mod examples;
#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
