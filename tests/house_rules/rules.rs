//! The rule that each rule of the machine stands once, in a file that keeps it, with tests that exist.
//!
//! A rule is a paragraph of module documentation that begins with its number, as in `//! **R1.** ...`.

use std::collections::{BTreeMap, BTreeSet};

/// The highest number of a rule.
const LAST: u32 = 29;

/// Rules that are missing or stand twice, and tests that rules name and that are not there. `files`: names and texts.
pub(crate) fn broken_rules(files: &[(String, String)]) -> Vec<String> {
    let tests: BTreeSet<&str> = files.iter().flat_map(|(_, text)| functions(text)).collect();
    let mut places: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    let mut found = Vec::new();
    for (file, text) in files {
        for (number, paragraph) in rules(text) {
            places.entry(number).or_default().push(file);
            let named = paragraph.split('`').skip(1).step_by(2);
            // A test's name is a claim: no other name in these texts has so many words.
            let named: Vec<_> =
                named.filter(|name| name.matches('_').count() > 1 && is_small(name)).collect();
            let says_why = paragraph.contains("has no test");
            if named.is_empty() && !paragraph.contains("Tests: ") && !says_why {
                found.push(format!("{file}: R{number} names no test"));
            }
            let gone = named.iter().filter(|name| !tests.contains(*name));
            found.extend(gone.map(|name| format!("{file}: R{number} names {name}, which is not there")));
        }
    }
    for number in 1..=LAST {
        match places.get(&number).map_or(&[][..], Vec::as_slice) {
            [_] => {}
            [] => found.push(format!("R{number} stands nowhere")),
            places => found.push(format!("R{number} stands in {}", places.join(" and "))),
        }
    }
    found
}

/// The paragraphs that are rules, with their numbers.
fn rules(text: &str) -> Vec<(u32, String)> {
    let lines: Vec<_> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    let paragraphs = lines.split(|line| line.is_empty()).map(|lines| lines.join(" "));
    let number = |paragraph: &String| paragraph.strip_prefix("**R")?.split_once(".**")?.0.parse().ok();
    paragraphs.filter_map(|paragraph| Some((number(&paragraph)?, paragraph))).collect()
}

/// The names of the functions of a file.
pub(crate) fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix("fn ")?.split(['(', '<']).next())
}

fn is_small(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(rule: &str) -> Vec<String> {
        let mut files: Vec<_> = (2..=LAST)
            .map(|number| (format!("{number}.rs"), format!("//! **R{number}.** It has no test.\n")))
            .collect();
        files.push(("one.rs".to_owned(), format!("//! One.\n//!\n{rule}\n\nfn an_echo_is_ignored() {{}}\n")));
        broken_rules(&files)
    }

    #[test]
    fn a_rule_with_its_test_is_left_alone() {
        assert_eq!(broken("//! **R1.** Echoes (R5).\n//! Tests: `an_echo_is_ignored`."), [""; 0]);
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_found() {
        for (rule, expected) in [
            ("//! Nothing.", "R1 stands nowhere"),
            ("//! **R1.** Echoes.", "one.rs: R1 names no test"),
            ("//! **R1.** Tests: `an_echo_is_lost`.", "one.rs: R1 names an_echo_is_lost, which is not there"),
            (
                "//! **R1.** It has no test.\n//!\n//! **R1.** It has no test.",
                "R1 stands in one.rs and one.rs",
            ),
        ] {
            assert_eq!(broken(rule), [expected], "{rule}");
        }
    }
}
