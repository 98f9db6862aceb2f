//! The words of Testinium's complaints, and what each of them says. All of them are data, and stand here.
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

use super::types::PlanId;

/// What the words of a complaint say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sense {
    /// The credential is not accepted.
    Credential,
    /// Something that Testinium needs does not work at present.
    Trouble,
    /// The plan is not running.
    NotRunning,
    /// Something else, or nothing that is known.
    #[default]
    Other,
}

/// Where a word was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// The published API of Testinium Enterprise 2.0.
    Published,
    /// The RestApi of release 1.16.
    RestApi,
    /// Nowhere: servers of this kind say so.
    Assumed,
}

use Source::{Assumed, Published, RestApi};

/// A word or a phrase, folded as texts are before they are compared: in small letters, without diacritics.
type Word = (&'static str, Source);

/// Codes that say that the credential is not accepted.
pub const CREDENTIAL_CODES: &[Word] = &[
    ("unauthorized", Published),
    ("invalid_client", RestApi),
    ("token_expired", Assumed),
    ("expired_token", Assumed),
    ("access_token_expired", Assumed),
    ("token_invalid", Assumed),
    ("invalid_token", Assumed),
    ("invalid_access_token", Assumed),
    ("token_not_valid", Assumed),
    ("token_revoked", Assumed),
    ("token_missing", Assumed),
    ("missing_token", Assumed),
    ("jwt_expired", Assumed),
    ("invalid_jwt", Assumed),
    ("session_expired", Assumed),
    ("credentials_expired", Assumed),
    ("invalid_credentials", Assumed),
    ("bad_credentials", Assumed),
    ("unauthorised", Assumed),
    ("unauthenticated", Assumed),
    ("not_authenticated", Assumed),
    ("authentication_failed", Assumed),
    ("authentication_required", Assumed),
    ("login_required", Assumed),
];

/// Phrases that say so anywhere in a text.
pub const CREDENTIAL_PHRASES: &[Word] = &[
    ("token is missing or not valid", Published),
    ("unauthorized", Published),
    ("unauthenticated", Assumed),
    ("not authenticated", Assumed),
    ("authentication failed", Assumed),
    ("authentication is required", Assumed),
    ("bad credentials", Assumed),
    ("invalid credentials", Assumed),
    ("invalid access token", Assumed),
    ("invalid token", Assumed),
    ("token expired", Assumed),
    ("token is expired", Assumed),
    ("token has expired", Assumed),
    ("token is invalid", Assumed),
    ("token is not valid", Assumed),
    ("token was revoked", Assumed),
    ("token has been revoked", Assumed),
    ("jwt expired", Assumed),
    ("session expired", Assumed),
    ("session has expired", Assumed),
    ("token suresi doldu", Assumed),
    ("token suresi dolmus", Assumed),
    ("tokenin suresi doldu", Assumed),
    ("gecersiz token", Assumed),
    ("token gecersiz", Assumed),
    ("oturum suresi doldu", Assumed),
    ("oturum suresi dolmus", Assumed),
    ("oturumunuzun suresi doldu", Assumed),
    ("kimlik dogrulama basarisiz", Assumed),
    ("kimlik dogrulamasi basarisiz", Assumed),
    ("kimlik dogrulama gerekli", Assumed),
];

/// Codes that say that something does not work at present. A code that begins with `service_` does too, and so does
/// one that names one of the [`MATTERS`] and one of the [`STATES`].
pub const TROUBLE_CODES: &[Word] = &[
    ("internal_server_error", Published),
    ("internal_error", Assumed),
    ("server_error", Assumed),
    ("unexpected_error", Assumed),
    ("temporarily_unavailable", Assumed),
    ("try_again", Assumed),
    ("try_again_later", Assumed),
    ("retry_later", Assumed),
    ("too_many_requests", Assumed),
    ("rate_limit_exceeded", Assumed),
    ("timeout", Assumed),
    ("gateway_timeout", Assumed),
    ("bad_gateway", Assumed),
    ("maintenance", Assumed),
    ("under_maintenance", Assumed),
];

/// Phrases that say so anywhere in a text.
pub const TROUBLE_PHRASES: &[Word] = &[
    ("internal server error", Published),
    ("internal error", Assumed),
    ("unexpected error", Assumed),
    ("try again", Assumed),
    ("try it again", Assumed),
    ("try later", Assumed),
    ("retry later", Assumed),
    ("please retry", Assumed),
    ("temporarily", Assumed),
    ("under maintenance", Assumed),
    ("maintenance mode", Assumed),
    ("timed out", Assumed),
    ("too many requests", Assumed),
    ("overloaded", Assumed),
    ("connection refused", Assumed),
    ("tekrar deneyin", Assumed),
    ("tekrar deneyiniz", Assumed),
    ("yeniden deneyin", Assumed),
    ("yeniden deneyiniz", Assumed),
    ("gecici olarak", Assumed),
    ("bakim calismasi", Assumed),
    ("bakim nedeniyle", Assumed),
    ("sunucu hatasi", Assumed),
    ("beklenmeyen hata", Assumed),
    ("beklenmeyen bir hata", Assumed),
    ("beklenmedik bir hata", Assumed),
    ("zaman asimi", Assumed),
    ("zaman asimina", Assumed),
];

/// What Testinium may need for a stop beside the plan. Of one that does not work a text says nothing about a plan.
/// Turkish puts endings to its words, so each word counts as the beginning of one; English ones do no harm so.
pub const MATTERS: &[&str] = &[
    "service",
    "servis",
    "hizmet",
    "database",
    "veritaban",
    "grid",
    "selenium",
    "izgara",
    "broker",
    "queue",
    "kuyruk",
    "kuyrug",
    "licence",
    "license",
    "lisans",
    "resource",
    "kaynak",
    "kaynag",
    "server",
    "sunucu",
    "backend",
    "system",
    "sistem",
    "node",
    "dugum",
    "hub",
    "host",
    "cluster",
    "agent",
    "ajan",
    "worker",
    "machine",
    "makine",
    "device",
    "cihaz",
    "browser",
    "tarayici",
    "driver",
    "surucu",
    "network",
    "connection",
    "baglanti",
    "storage",
    "disk",
    "cache",
    "memory",
    "bellek",
    "api",
    "application",
    "uygulama",
    "environment",
    "ortam",
    "component",
    "bilesen",
    "scheduler",
    "zamanlayici",
    "redis",
    "kafka",
    "rabbitmq",
    "mongo",
    "jenkins",
    "kubernetes",
];

/// Matters of two words.
pub const LONG_MATTERS: &[&str] = &["veri tabani", "veri tabanina", "message bus", "load balancer"];

/// How a text says of a matter that it does not work.
pub const ABSENCES: &[&str] = &[
    "not available",
    "isn't available",
    "unavailable",
    "not running",
    "isn't running",
    "not reachable",
    "unreachable",
    "not responding",
    "not ready",
    "is down",
    "are down",
    "offline",
    "overloaded",
    "exhausted",
    "expired",
    "busy",
    "calismiyor",
    "kullanilamiyor",
    "kullanilabilir degil",
    "kullanima kapali",
    "mevcut degil",
    "uygun degil",
    "musait degil",
    "hazir degil",
    "aktif degil",
    "ulasilamiyor",
    "ulasilamadi",
    "erisilemiyor",
    "erisilemedi",
    "yanit vermiyor",
    "cevap vermiyor",
    "devre disi",
    "hizmet disi",
    "servis disi",
    "mesgul",
    "kapali",
    "suresi doldu",
    "suresi dolmus",
];

/// How a code says of a matter that it does not work.
pub const STATES: &[&str] = &[
    "unavailable",
    "available",
    "running",
    "reachable",
    "unreachable",
    "down",
    "error",
    "failed",
    "failure",
    "timeout",
    "busy",
    "full",
    "offline",
    "overloaded",
    "expired",
    "exhausted",
    "exceeded",
    "ready",
];

/// Codes that say that the plan is not running.
pub const NOT_RUNNING_CODES: &[Word] = &[
    ("not_available", RestApi),
    ("not_running", Assumed),
    ("action_not_available", Assumed),
    ("plan_not_available", Assumed),
    ("plan_not_running", Assumed),
    ("test_plan_not_running", Assumed),
    ("execution_not_available", Assumed),
    ("execution_not_running", Assumed),
];

/// What a sentence may say it of, the longest first: the plan, its execution, or the action.
pub const SUBJECTS: &[Word] = &[
    ("test plan execution", Assumed),
    ("execution of plan", Assumed),
    ("execution of the plan", Assumed),
    ("requested action", Assumed),
    ("plan execution", Assumed),
    ("test execution", Assumed),
    ("stop action", Assumed),
    ("test plan", Assumed),
    ("test planinin kosumu", Assumed),
    ("planin kosumu", Assumed),
    ("plan kosumu", Assumed),
    ("test kosumu", Assumed),
    ("test plani", Assumed),
    ("durdurma islemi", Assumed),
    ("kosum", Assumed),
    ("islem", Assumed),
    ("eylem", Assumed),
    ("execution", Assumed),
    ("action", Published),
    ("plan", Published),
];

/// How a sentence says it.
pub const PREDICATES: &[Word] = &[
    ("is not running", Published),
    ("is not available", Published),
    ("isn't running", Assumed),
    ("isn't available", Assumed),
    ("not running", Assumed),
    ("not available", Assumed),
    ("was not running", Assumed),
    ("wasn't running", Assumed),
    ("is no longer running", Assumed),
    ("is currently not running", Assumed),
    ("is not currently running", Assumed),
    ("is unavailable", Assumed),
    ("calismiyor", Assumed),
    ("su anda calismiyor", Assumed),
    ("su an calismiyor", Assumed),
    ("calisir durumda degil", Assumed),
    ("mevcut degil", Assumed),
    ("uygun degil", Assumed),
    ("kullanilamiyor", Assumed),
    ("kullanilabilir degil", Assumed),
];

/// What may follow such a sentence behind a colon, because it says no more.
pub const REMARKS: &[Word] = &[("islem su anda kullanilamiyor", Assumed)];

const ARTICLES: &[&str] = &["the", "this", "that", "bu"];
/// Between an id and the plan, as Turkish says it: "614 numaralı plan".
const NUMBERED: &[&str] = &["numarali", "nolu", "id'li"];

/// Words of permission. With one of them, not even a code says that the plan is not running: it may be that the
/// action is not available to this account.
pub const PERMISSION: &[&str] = &[
    "role",
    "permission",
    "permitted",
    "allowed",
    "authority",
    "authorized",
    "forbidden",
    "denied",
    "access",
    "account",
    "user",
    "subscription",
    "rol",
    "yetki",
    "izin",
    "izni",
    "hesap",
    "hesab",
    "kullanici",
    "abonelik",
];

/// What a complaint says: its code, its message, and whatever else of words is in it.
pub fn sense<'a>(
    code: Option<&'a str>,
    message: Option<&'a str>,
    beside: impl Iterator<Item = &'a str>,
) -> Sense {
    let texts: Vec<Folded> = [code, message].into_iter().flatten().chain(beside).map(Folded::new).collect();
    if texts.iter().any(Folded::says_credential) {
        return Sense::Credential;
    }
    if texts.iter().any(Folded::says_trouble) {
        return Sense::Trouble;
    }
    let said = |text: Option<&str>| text.is_some_and(|text| says_not_running(text).is_some());
    let doubtful = || texts.iter().any(|text| text.names(MATTERS) || text.names(PERMISSION));
    if (said(code) || said(message)) && !doubtful() { Sense::NotRunning } else { Sense::Other }
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
    let (Some(plan), [":", rest @ ..]) = subject(words)? else { return None };
    // "Plan 614: not running" is a clause of its own.
    if predicate(rest).is_some() { None } else { Some((Some(plan), rest)) }
}

fn clause<'a, 'b>(words: &'b [&'a str]) -> Parsed<'a, 'b> {
    let (plan, rest) = subject(words)?;
    let rest = match rest {
        [":", rest @ ..] => rest,
        rest => rest,
    };
    Some((plan, predicate(rest)?))
}

/// What is spoken of, with its id if it has one.
fn subject<'a, 'b>(words: &'b [&'a str]) -> Parsed<'a, 'b> {
    let words = match words {
        [article, rest @ ..] if ARTICLES.contains(article) => rest,
        words => words,
    };
    if let [id, numbered, rest @ ..] = words
        && let Some(plan) = plan_id(id)
        && NUMBERED.contains(numbered)
    {
        return Some((Some(plan), phrase(SUBJECTS, rest)?));
    }
    let rest = phrase(SUBJECTS, words)?;
    let at_id = match rest {
        ["with", "id", rest @ ..] | ["id", ":", rest @ ..] | ["id", rest @ ..] | [":", rest @ ..] => rest,
        rest => rest,
    };
    match at_id {
        [id, rest @ ..] if plan_id(id).is_some() => Some((plan_id(id), rest)),
        _ => Some((None, rest)),
    }
}

/// A predicate that ends with the text or before a colon.
fn predicate<'a, 'b>(words: &'b [&'a str]) -> Option<&'b [&'a str]> {
    let ends = |rest: &&[&str]| rest.first().is_none_or(|word| *word == ":");
    PREDICATES.iter().filter_map(|(words_of, _)| strip(words_of, words)).find(ends)
}

fn phrase<'a, 'b>(of: &[Word], words: &'b [&'a str]) -> Option<&'b [&'a str]> {
    of.iter().find_map(|(phrase, _)| strip(phrase, words))
}

/// What follows a phrase that the words begin with.
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
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|id| is_number && *id > 0).map(PlanId)
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
#[path = "words_tests.rs"]
mod tests;
