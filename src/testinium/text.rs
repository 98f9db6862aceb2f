//! Texts of a gateway, made fit to be shown.
//!
//! What a gateway says reaches statuses and events, which more people read than may read Secrets. So a text is freed
//! of what could disturb a terminal, of every piece of a secret that was sent along, and cut, in that order: a cut
//! before the search could leave the head of a token, and a control character within a token could hide it.

pub use super::redact::Secrets;
use crate::machine::PlanId;

/// The text in one line, without control characters and without those that change how their neighbours look.
pub(super) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_whitespace() {
            if !line.ends_with(' ') {
                line.push(' ');
            }
        } else if !c.is_control() && !is_format_control(c) {
            line.push(c);
        }
    }
    line
}

/// Unicode's general category Cf (format): direction marks, zero-width characters, tags.
fn is_format_control(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

/// The plan that a text names plainly, such as "Plan 614 is not running".
///
/// A text with a second number is not plain: it may name two plans, and blaming one of them would clear the other.
pub fn named_plan(text: &str) -> Option<PlanId> {
    let at = text.find(char::is_numeric)?;
    let (before, rest) = text.split_at(at);
    let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    if after.contains(char::is_numeric) || after.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return None;
    }
    let words = before.trim_end_matches([' ', ':', '#', '=', '"', '\'']).to_ascii_lowercase();
    if words.len() == before.len() {
        return None;
    }
    let words = match words.strip_suffix("id") {
        Some(words) => words.trim_end_matches([' ', '_', '-']),
        None => &words,
    };
    let words = words.strip_suffix(" with").unwrap_or(words);
    let head = words.strip_suffix("plan")?;
    if head.ends_with(char::is_alphanumeric) { None } else { plan_id(number) }
}

/// A number as it is written for an id: digits alone, more than nothing, and within what the API takes.
pub fn plan_id(digits: &str) -> Option<PlanId> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&id| id > 0).map(PlanId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_named_plainly_or_not_at_all() {
        for (text, expected) in [
            ("plan 614", Some(614)),
            ("Plan: 614", Some(614)),
            ("PLAN ID 614", Some(614)),
            ("plan id: 614.", Some(614)),
            ("planId=614", Some(614)),
            ("plan_id: '614' is not available", Some(614)),
            ("Test plan #614 is not running", Some(614)),
            ("The plan with id 614 was not found", Some(614)),
            ("(plan 614)", Some(614)),
            ("plan 614 çalışmıyor", Some(614)),
            ("plan 614, plan 615", None),
            ("plans 614 and 615", None),
            ("plan 614 of project 3", None),
            ("plan 614 ve ٦١٥", None),
            ("plan ٦١٥", None),
            ("plans[0] is invalid", None),
            ("plan614", None),
            ("plan -614", None),
            ("plan 614a", None),
            ("plan 0", None),
            ("plan 99999999999999999999", None),
            ("explan 614", None),
            ("614 is not running", None),
            ("error 400", None),
            ("plan is not running", None),
            ("plan", None),
            ("", None),
        ] {
            assert_eq!(named_plan(text), expected.map(PlanId), "{text}");
        }
    }
}
