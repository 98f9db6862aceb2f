//! The rule that no word of the time before is left: each thing has one name.
//!
//! The list has only words that are hardly ever needed in plain English, in the singular.

/// A word, and the one to say instead.
type Word = (&'static str, &'static str);

/// The file with the list, which has to name the words.
pub(crate) const LIST: &str = "tests/house_rules/words.rs";

const FORMER: &[Word] = &[
    ("breach", "violation"),
    ("canon", "canonical"),
    ("complaint", "reported error"),
    ("condemned", "quarantined"),
    ("diary", "trace"),
    ("dice", "rng"),
    ("errand", "demand"),
    ("flying", "in flight"),
    ("ghost", "reference"),
    ("hindrance", "wait reason"),
    ("landing", "call progress"),
    ("obstacle", "wait reason"),
    ("onlooker", "reference"),
    ("pump", "start_calls"),
    ("rearmed", "asked for again, or Withdrawn"),
    ("unsure", "maybe_stopped"),
    ("weather", "default_answer"),
    ("wish", "intent"),
];

/// The lines (from 1) with such a word, and the word to say instead.
pub(crate) fn former_words(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in words(line) {
            let singular = word.strip_suffix('s').unwrap_or(&word);
            for (former, say) in FORMER.iter().filter(|(former, _)| word == *former || singular == *former) {
                found.push((index + 1, format!("'{former}' is not said any more: say '{say}'")));
            }
        }
    }
    found
}

/// The words of a line in small letters; names are taken apart at `_` and at their capitals.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for c in line.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && was_small) {
            words.push(String::new());
        }
        if c.is_alphabetic()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        was_small = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_word_is_found_wherever_it_stands() {
        for bad in [
            "the wish of a run",
            "let errands = 1;",
            "enum RunErrand {}",
            "fn h04_rearmed_late() {}",
            "Reply::complaint(200, &errors)",
            "// Condemned ones",
            "- **Unsure only",
        ] {
            let lines: Vec<_> =
                former_words(&format!("fine\n{bad}")).into_iter().map(|(line, _)| line).collect();
            assert_eq!(lines, [2], "{bad}");
        }
    }

    #[test]
    fn other_words_are_left_alone() {
        for good in
            ["rearm the stage", "a canonical form", "wishful", "PoisonError", "dispatch", "the weathered"]
        {
            assert_eq!(former_words(good), [], "{good}");
        }
    }
}
