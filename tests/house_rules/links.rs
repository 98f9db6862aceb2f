//! The rule that whatever a page leads to is there: files, headings, and pages that sources and manifests name.
//!
//! And that `docs/README.md` leads to every page.

use std::collections::{BTreeMap, BTreeSet};

/// A page: its path in the repository, and its text.
pub(crate) type Page = (String, String);

/// The index of the pages.
const INDEX: &str = "docs/README.md";

/// The links of pages that lead nowhere. `files`: every file and folder of the repository.
pub(crate) fn broken(pages: &[Page], files: &BTreeSet<String>) -> Vec<String> {
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        pages.iter().map(|(path, text)| (path.as_str(), anchors(text))).collect();
    let mut found = Vec::new();
    for (path, text) in pages {
        for target in targets(text) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let led_to = if file.is_empty() { path.clone() } else { resolved(path, file) };
            if !files.contains(&led_to) {
                found.push(format!("{path}: {target} leads to {led_to}, which is not there"));
            } else if !anchor.is_empty()
                && !anchors.get(led_to.as_str()).is_some_and(|all| all.contains(anchor))
            {
                found.push(format!("{path}: {target} leads to a heading that is not there"));
            }
        }
    }
    found
}

/// The pages under `docs/` to which the index does not lead.
pub(crate) fn not_in_the_index(pages: &[Page]) -> Vec<String> {
    let index = pages.iter().find(|(path, _)| path == INDEX).map_or("", |(_, text)| text);
    let led_to: BTreeSet<String> = targets(index).iter().map(|target| resolved(INDEX, target)).collect();
    let pages = pages.iter().map(|(path, _)| path).filter(|path| path.starts_with("docs/") && *path != INDEX);
    pages
        .filter(|path| !led_to.contains(*path))
        .map(|path| format!("{INDEX} does not lead to {path}"))
        .collect()
}

/// The pages that a source or a manifest names by their paths and that are not there.
pub(crate) fn named_and_missing(path: &str, text: &str, files: &BTreeSet<String>) -> Vec<String> {
    let is_of_path = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let names = text.match_indices("docs/").map(|(at, _)| {
        let before = text[..at].rfind(|c| !is_of_path(c)).map_or(0, |last| last + 1);
        let name = &text[at..];
        (&text[before..at], &name[..name.find(|c| !is_of_path(c)).unwrap_or(name.len())])
    });
    let is_ours = |before: &str| before.is_empty() || before.ends_with("../") || before == "/";
    let pages =
        names.filter(|(before, name)| is_ours(before) && (name.ends_with(".md") || name.ends_with(".svg")));
    let gone = pages.filter(|(_, name)| !files.contains(*name));
    gone.map(|(_, name)| format!("{path} names {name}, which is not there")).collect()
}

/// Where the links of a page lead, but for those out of the repository.
fn targets(text: &str) -> Vec<String> {
    let prose = prose(text);
    let links = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let ours = links.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    ours.map(str::to_owned).collect()
}

/// A page without what is shown as it is typed, and without comments.
fn prose(text: &str) -> String {
    let mut prose = String::new();
    let (mut in_block, mut in_comment) = (false, false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        in_comment |= line.starts_with("<!--");
        if !in_block && !in_comment {
            let outside_spans: Vec<_> =
                line.split('`').enumerate().map(|(nth, part)| if nth % 2 == 0 { part } else { "" }).collect();
            prose.push_str(&outside_spans.concat());
            prose.push('\n');
        }
        in_comment &= !line.contains("-->");
    }
    prose
}

/// The names by which GitHub leads to the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut in_block = false;
    for line in text.lines() {
        in_block ^= line.trim_start().starts_with("```");
        let Some(heading) = line.strip_prefix('#').filter(|_| !in_block) else { continue };
        let name = anchor(heading.trim_start_matches('#').trim());
        let numbered = (0..).map(|nth| if nth == 0 { name.clone() } else { format!("{name}-{nth}") });
        anchors.extend(numbered.into_iter().find(|name| !anchors.contains(name)));
    }
    anchors
}

/// Small letters, and nothing of the rest but digits, `-` and `_`; spaces become `-`.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// A path that a page names, as a path in the repository.
fn resolved(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('#').next().unwrap_or_default().split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn page(path: &str, text: &str) -> Page {
        (path.to_owned(), text.to_owned())
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let other = page("docs/b.md", "# It can't: really\n\n## One\n\n```sh\n# no heading\n```\n\n## One\n");
        let all = files(&["docs/a.md", "docs/b.md", "LICENSE"]);
        let good = "[a](b.md) [b](b.md#it-cant-really) [c](b.md#one-1) [d](../LICENSE) [e](https://example.com/x) \
                    [f](#here)\n\n# Here\n\n`[g](gone.md)`\n\n```\n[h](gone.md)\n```\n\n<!-- [i](gone.md)\n[j](gone.md) -->\n";
        assert_eq!(broken(&[page("docs/a.md", good), other.clone()], &all), [""; 0]);
        for bad in ["gone.md", "b.md#two", "b.md#no-heading", "b.md#one-2", "#there", "../b.md", "LICENSE"] {
            let text = format!("[a\nb]({bad})\n");
            assert_eq!(broken(&[page("docs/a.md", &text), other.clone()], &all).len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_page_that_the_index_lacks_is_found() {
        let index = page("docs/README.md", "[a](a.md), [c](internals/c.md)\n<!-- [b](b.md) -->\n");
        let pages = ["docs/a.md", "docs/b.md", "docs/internals/c.md", "README.md"].map(|path| page(path, ""));
        let all: Vec<_> = pages.into_iter().chain([index]).collect();
        assert_eq!(not_in_the_index(&all), ["docs/README.md does not lead to docs/b.md"]);
    }

    #[test]
    fn a_page_that_a_source_names_and_that_is_not_there_is_found() {
        let all = files(&["docs/a.md"]);
        for good in [
            "see docs/a.md.",
            "\"../../docs/a.md\"",
            "https://example.com/docs/b.md",
            "docs/",
            "the-docs/b.md",
        ] {
            assert_eq!(named_and_missing("x", good, &all), [""; 0], "{good}");
        }
        for bad in ["docs/b.md", "include_str!(\"../../docs/b.md\")", "(docs/c/a.md)", "\"/docs/b.svg\""] {
            assert_eq!(named_and_missing("x", bad, &all).len(), 1, "{bad}");
        }
    }
}
