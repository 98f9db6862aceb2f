//! The rule that ARCHITECTURE.md has a place for every source file, and names none that is not there.
//!
//! Its map is a list. An entry names a folder (`src/machine/runs/`) and then files or folders in it by their stems
//! (`intent`), or single files by their paths. A folder without stems stands for everything below it.

use std::collections::BTreeSet;

/// The heading of the section that holds the map.
const HEADING: &str = "## Map";

/// Folders with files in them, of which some paths must exist.
const TREES: &[&str] = &["src/", "tests/", "docs/", "benches/", "deploy/"];

/// The source files that the map leaves out.
pub(crate) fn unmapped(text: &str, files: &[String]) -> Vec<String> {
    let places = places(text);
    let is_covered = |file: &String| {
        places.iter().any(|place| match place.strip_suffix('/') {
            Some(_) => file.starts_with(place),
            None => *file == format!("{place}.rs") || file.starts_with(&format!("{place}/")) || file == place,
        })
    };
    let left_out = files.iter().filter(|file| !is_covered(file));
    left_out.map(|file| format!("{file} has no place in the map of ARCHITECTURE.md")).collect()
}

/// The places and paths that ARCHITECTURE.md names and that are not there. `files`: every file of the repository.
pub(crate) fn missing(text: &str, files: &[String]) -> Vec<String> {
    let exists = |path: &str| {
        let folder = format!("{}/", path.trim_end_matches('/'));
        files.iter().any(|file| file == path || *file == format!("{path}.rs") || file.starts_with(&folder))
    };
    let is_path = |span: &str| TREES.iter().any(|tree| span.starts_with(tree));
    let named =
        spans(text).into_iter().filter(|span| is_path(span) && !text.contains(&format!("`{span}` (new)")));
    let all: BTreeSet<String> = named.chain(places(text)).collect();
    let gone = all.iter().filter(|path| !exists(path));
    gone.map(|path| format!("ARCHITECTURE.md names {path}, which is not there")).collect()
}

/// Every place in the map: a path to a file, a folder that ends in `/`, or a stem with its folder.
fn places(text: &str) -> Vec<String> {
    let map = text.split_once(HEADING).map_or("", |(_, rest)| rest);
    let map = map.split("\n## ").next().unwrap_or_default();
    map.split("\n- ").skip(1).flat_map(places_of_entry).collect()
}

fn places_of_entry(entry: &str) -> Vec<String> {
    let entry = entry.split("\n\n").next().unwrap_or_default();
    let (mut found, mut folder, mut has_stems) = (Vec::new(), String::new(), false);
    for span in spans(entry) {
        if span.ends_with('/') {
            folder = span;
        } else if span.contains('/') {
            found.push(span);
        } else if span.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            has_stems = true;
            found.push(format!("{folder}{span}"));
        }
    }
    if !folder.is_empty() && !has_stems {
        found.push(folder);
    }
    found
}

/// The texts between backticks.
fn spans(text: &str) -> Vec<String> {
    let outside_fences = text.split("```").step_by(2);
    outside_fences.flat_map(|text| text.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "# A\n\n## Map\n\n- `src/api/`: `run` and `mod`; `Gone` is a type.\n- `src/cli.rs` and \
                       `src/cli/`: flags.\n\nMore in `src/lost.rs` and `src/bin/` (new).\n\n## Next\n\n- `src/no/`\n";

    fn files(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_file_without_a_place_is_found() {
        let all = files(&[
            "src/api/mod.rs",
            "src/api/run.rs",
            "src/api/run/deep.rs",
            "src/cli.rs",
            "src/cli/values.rs",
        ]);
        assert_eq!(unmapped(MAP, &all), [""; 0]);
        for lost in ["src/api/gateway.rs", "src/main.rs", "src/no/x.rs"] {
            assert_eq!(unmapped(MAP, &files(&[lost])).len(), 1, "{lost}");
        }
    }

    #[test]
    fn a_place_that_is_not_there_is_found() {
        let all =
            files(&["src/api/mod.rs", "src/api/run.rs", "src/cli.rs", "src/cli/values.rs", "src/no/x.rs"]);
        assert_eq!(missing(MAP, &all), ["ARCHITECTURE.md names src/lost.rs, which is not there"]);
        assert_eq!(missing(MAP, &all[1..]).len(), 2, "src/api/mod.rs is gone, too");
    }
}
