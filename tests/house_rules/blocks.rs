//! The rule that every block of commands in the documents is run by a test.
//!
//! A page with such blocks has a row here with the tests that read the page and run them all. What no test can run is in a
//! list of its own, with the reason. Commands of `cargo` are the matter of [`commands`](super::commands).

use std::collections::BTreeMap;

use testinium_testbed::pages::blocks;

/// The pages with blocks of commands, and the tests that run them.
const RUN: &[(&str, &[&str])] = &[
    (
        "README.md",
        &[
            "pages::the_readme_has_the_commands_of_the_page",
            "tour::the_readme_stops_a_run_by_commands_of_the_tour",
        ],
    ),
    ("docs/cleanup.md", &["cleanups::the_recipes_of_the_page_do_what_it_says"]),
    (
        "docs/faq.md",
        &["tour::the_tour_and_the_commands_of_requests_and_questions_do_what_they_say_when_pasted"],
    ),
    ("docs/gitops.md", &["page::the_commands_of_the_page_do_what_they_say_when_pasted"]),
    (
        "docs/install.md",
        &[
            "pages::no_command_of_the_page_is_left_out",
            "pages::the_helm_commands_of_the_page_do_what_they_say_when_pasted",
            "pages::the_kubectl_commands_of_the_page_do_what_they_say_when_pasted",
        ],
    ),
    ("docs/internals/performance.md", &[]),
    ("docs/monitoring.md", &["pages::the_commands_of_the_page_on_monitoring_do_what_they_say_when_pasted"]),
    ("docs/policies.md", &["policies_page::the_page_on_policies_does_what_it_says"]),
    (
        "docs/requests.md",
        &["tour::the_tour_and_the_commands_of_requests_and_questions_do_what_they_say_when_pasted"],
    ),
    (
        "docs/security.md",
        &[
            "policies::the_page_on_security_says_what_happens",
            "pages::the_helm_commands_of_the_page_do_what_they_say_when_pasted",
        ],
    ),
    (
        "docs/tour.md",
        &["tour::the_tour_and_the_commands_of_requests_and_questions_do_what_they_say_when_pasted"],
    ),
    ("docs/troubleshooting.md", &["troubleshooting::the_page_shows_what_kubectl_says"]),
];

/// What no test runs: the page, a line of the block, and the reason.
const LEFT_OUT: &[(&str, &str, &str)] = &[
    (
        "docs/monitoring.md",
        "kubectl --namespace testinium-system port-forward deployment/testinium-operator 8080",
        "it needs a kubelet, which a control plane alone has not",
    ),
    (
        "docs/internals/performance.md",
        "kubectl get --raw '/debug/pprof/profile?seconds=30' > apiserver.pb",
        "it takes half a minute of a busy API server",
    ),
    (
        "docs/internals/performance.md",
        "go tool pprof -top -cum apiserver.pb",
        "it reads the file of the line before",
    ),
];

/// What is wrong: blocks that no test runs, and rows that nobody needs. `tests`: the paths of all tests, with the text of
/// their files.
pub(crate) fn unrun(pages: &[(String, String)], tests: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for (page, text) in pages {
        let lines = lines(text);
        let row = RUN.iter().find(|(known, _)| known == page);
        let left_out: Vec<_> = LEFT_OUT.iter().filter(|(known, ..)| known == page).collect();
        for (_, line, _) in left_out.iter().filter(|(_, line, _)| !lines.contains(line)) {
            found.push(format!("{page} has no line `{line}`, which {LIST} lists"));
        }
        let is_run =
            |line: &&&str| !left_out.iter().any(|(_, other, _)| other == *line) && !is_of_cargo(line);
        let to_run: Vec<_> = lines.iter().filter(is_run).collect();
        match (row, to_run.first()) {
            (None, None) => {}
            (None, Some(line)) => found.push(format!("{page}: name the test that runs `{line}` in {LIST}")),
            (Some((_, named)), line) => {
                if let Some(line) = line.filter(|_| named.is_empty()) {
                    found.push(format!("{page}: no test runs `{line}`"));
                }
                let reads = |name: &str| tests.get(name).is_some_and(|text| text.contains(page));
                let idle = named.iter().filter(|name| lines.is_empty() || !reads(name));
                found.extend(idle.map(|name| format!("{page}: no test {name} reads it; see {LIST}")));
            }
        }
    }
    let rows = RUN.iter().map(|(page, _)| page).chain(LEFT_OUT.iter().map(|(page, ..)| page));
    let gone = rows.filter(|row| !pages.iter().any(|(page, _)| page == *row));
    found.extend(gone.map(|page| format!("{LIST} lists {page}, which is not there")));
    found
}

/// Where the lists stand.
const LIST: &str = "tests/house_rules/blocks.rs";

fn is_of_cargo(line: &str) -> bool {
    line.trim_start().starts_with("cargo ")
}

/// The lines of a page's blocks of commands.
fn lines(text: &str) -> Vec<&str> {
    blocks(text, "sh")
        .flat_map(str::lines)
        .map(str::trim_end)
        .filter(|line| !line.trim().is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: &str = "troubleshooting::the_page_shows_what_kubectl_says";

    /// What is said of this page, with all others as they should be.
    fn said_of(page: &str, text: &str, test: &str) -> Vec<String> {
        let tests = [(TEST.to_owned(), test.to_owned())].into();
        let pages = [(page.to_owned(), text.to_owned())];
        unrun(&pages, &tests).into_iter().filter(|line| line.starts_with(page)).collect()
    }

    #[test]
    fn a_block_that_no_test_runs_is_found() {
        let block = "```sh\nkubectl get tpr\n```\n";
        assert_eq!(said_of("NEW.md", "```sh\ncargo demo    # why\n```\n```yaml\na: b\n```\n", ""), [""; 0]);
        assert_eq!(said_of("NEW.md", block, "").len(), 1);
        let page = "docs/troubleshooting.md";
        assert_eq!(said_of(page, block, &format!("read({page:?})")), [""; 0]);
        assert_eq!(said_of(page, block, "read(another)").len(), 1, "the test does not read it");
        assert_eq!(said_of(page, "", &format!("read({page:?})")).len(), 1, "there is nothing to run");
    }

    #[test]
    fn what_is_left_out_must_be_there() {
        let page = "docs/internals/performance.md";
        let left_out = LEFT_OUT.iter().filter(|(other, ..)| *other == page).map(|(_, line, _)| *line);
        let text = format!("```sh\n{}\n```\n", left_out.collect::<Vec<_>>().join("\n"));
        assert_eq!(said_of(page, &text, ""), [""; 0]);
        assert_eq!(
            said_of(page, &text.replace("pprof", "prof"), "").len(),
            3,
            "two are gone, and one is new"
        );
    }
}
