//! Label selectors, checked before anything is watched.
//!
//! The API server would refuse a bad selector too, but only as an error of a watch that is tried again and again;
//! wrong usage belongs on the command line.

use kube::core::{Expression, Selector};

/// Reads a label selector as kubectl's `-l` takes it, such as `team=qa,tier in (a,b),!legacy`. An empty one selects
/// everything.
pub(super) fn parse(text: &str) -> Result<Selector, String> {
    if text.trim().is_empty() {
        return Ok(Selector::default());
    }
    requirements(text)?.into_iter().map(requirement).collect()
}

/// Cuts at the commas that are outside of parentheses.
fn requirements(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u8);
    for (at, c) in text.char_indices() {
        match c {
            '(' if depth == 0 => depth = 1,
            ')' if depth == 1 => depth = 0,
            '(' | ')' => return Err(format!("unexpected '{c}' at position {at}")),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if depth != 0 {
        return Err("expected ')' at the end".to_owned());
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn requirement(text: &str) -> Result<Expression, String> {
    let text = text.trim();
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Expression::DoesNotExist(key_of(key)?));
    }
    if let Some(rest) = text.strip_suffix(')') {
        return set(rest);
    }
    // The longer operators first, since each of them holds a '='.
    for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((key, value)) = text.split_once(operator) {
            let (key, value) = (key_of(key)?, value_of(value)?);
            return Ok(if equal { Expression::Equal(key, value) } else { Expression::NotEqual(key, value) });
        }
    }
    Ok(Expression::Exists(key_of(text)?))
}

/// Reads `key in (a,b` and `key notin (a,b`.
fn set(text: &str) -> Result<Expression, String> {
    let (head, values) = text.split_once('(').unwrap_or((text, ""));
    let mut words = head.split_whitespace();
    let (key, operator) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let values = values.split(',').map(value_of).collect::<Result<_, _>>()?;
    match (operator, words.next()) {
        ("in", None) => Ok(Expression::In(key_of(key)?, values)),
        ("notin", None) => Ok(Expression::NotIn(key_of(key)?, values)),
        _ => Err(format!("expected 'key in (a,b)' or 'key notin (a,b)', found '{text})'")),
    }
}

fn key_of(text: &str) -> Result<String, String> {
    let key = text.trim();
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let good = is_label_text(name) && prefix.is_none_or(super::is_dns_subdomain);
    if good {
        Ok(key.to_owned())
    } else {
        Err(format!("'{key}' is no label key, such as team or example.com/team"))
    }
}

fn value_of(text: &str) -> Result<String, String> {
    let value = text.trim();
    let good = value.is_empty() || is_label_text(value);
    if good {
        Ok(value.to_owned())
    } else {
        Err(format!(
            "'{value}' is no label value: at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
        ))
    }
}

/// What a label's value, and the name part of its key, may be.
fn is_label_text(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && edge(text.chars().next())
        && edge(text.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_of_kubectl_are_understood() {
        for (text, canonical) in [
            ("", ""),
            ("  ", ""),
            ("team=qa", "team=qa"),
            ("team == qa", "team=qa"),
            ("team!=qa", "team!=qa"),
            ("team=", "team="),
            ("team", "team"),
            ("!team", "!team"),
            ("example.com/team=qa, !legacy", "example.com/team=qa,!legacy"),
            ("tier in (a, b),x", "tier in (a,b),x"),
            ("tier notin (a)", "tier notin (a)"),
        ] {
            let parsed = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(parsed.to_string(), canonical, "of {text:?}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        for (text, reason) in [
            ("team=qa,", "'' is no label key"),
            ("=qa", "'' is no label key"),
            ("te am=qa", "'te am' is no label key"),
            ("/x=qa", "'/x' is no label key"),
            ("team=q a", "'q a' is no label value"),
            ("team=-qa", "'-qa' is no label value"),
            ("team in (a", "expected ')'"),
            ("team in a)", "unexpected ')' at position 9"),
            ("team in ((a))", "unexpected '('"),
            ("team on (a)", "expected 'key in (a,b)'"),
            ("team in x (a)", "expected 'key in (a,b)'"),
            ("team>5", "'team>5' is no label key"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }
}
