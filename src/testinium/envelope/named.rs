//! The plan that an error names, in its fields or in its text.

use crate::machine::PlanId;

/// The plan that an error names, from all the places in it that may name one.
#[derive(Clone, Copy)]
pub(super) enum Named {
    Nothing,
    One(PlanId),
    /// Several plans, or something that is no plan's id: to blame any of them could clear another.
    Unclear,
}

// === impl Named ===

impl From<Option<PlanId>> for Named {
    fn from(plan: Option<PlanId>) -> Self {
        plan.map_or(Self::Nothing, Self::One)
    }
}

impl Named {
    pub(super) fn and(self, other: impl Into<Self>) -> Self {
        match (self, other.into()) {
            (one, Self::Nothing) => one,
            (Self::Nothing, other) => other,
            (Self::One(one), Self::One(other)) if one == other => Self::One(one),
            _ => Self::Unclear,
        }
    }

    pub(super) fn plan(self) -> Option<PlanId> {
        match self {
            Self::One(plan) => Some(plan),
            Self::Nothing | Self::Unclear => None,
        }
    }
}

/// The plan that a text names plainly, such as "Plan 614 is not running".
///
/// A text with a second number is not plain: it may name two plans, and blaming one of them would clear the other.
pub(super) fn named_plan(text: &str) -> Option<PlanId> {
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
pub(super) fn plan_id(digits: &str) -> Option<PlanId> {
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
