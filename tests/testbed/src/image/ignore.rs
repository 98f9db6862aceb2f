//! `.dockerignore`: which files an image build gets to see.
//!
//! As the engines read it: the last line that matches a path, or a folder above it, decides; a line that begins with
//! `!` takes files in again; `*` and `?` stop at a slash, `**` does not.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;

/// The lines of a `.dockerignore`.
#[derive(Debug)]
pub struct Ignore {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    pattern: Vec<char>,
    takes_in: bool,
}

// === impl Ignore ===

impl Ignore {
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let line = line.trim();
            let (takes_in, pattern) = match line.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim()),
                None => (false, line),
            };
            if takes_in && pattern.is_empty() {
                return Err(Error::Image(".dockerignore: a line holds '!' alone".to_owned()));
            }
            // The folder itself can't be ignored: such a line is skipped, as is an empty one.
            if let pattern @ [_, ..] = &clean(pattern)[..] {
                lines.push(Line { pattern: pattern.to_vec(), takes_in });
            }
        }
        Ok(Self { lines })
    }

    /// Whether a file at this path, written with slashes, is left out.
    pub fn leaves_out(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let with_folders: Vec<Vec<char>> = ends.map(|end| path[..end].chars().collect()).collect();
        self.lines.iter().fold(false, |out, line| {
            let applies = with_folders.iter().any(|path| matches(&line.pattern, path));
            if applies { !line.takes_in } else { out }
        })
    }

    /// Whether a folder that is left out may hold something that is taken in again.
    fn may_take_in_below(&self, folder: &str) -> bool {
        let below: Vec<char> = format!("{folder}/").chars().collect();
        let special = |c: &char| "*?[\\".contains(*c);
        self.lines
            .iter()
            .filter(|line| line.takes_in)
            .any(|line| line.pattern.starts_with(&below) || line.pattern.iter().any(special))
    }

    /// The files below `root` that are not left out, by their paths with slashes.
    pub fn files(&self, root: &Path) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let place = root.join(&folder);
            let attempt = || format!("failed to list {}", place.display());
            for entry in fs::read_dir(&place).map_err(Error::io(attempt()))? {
                let entry = entry.map_err(Error::io(attempt()))?;
                let name = entry.file_name().into_string().map_err(|name| unusual(&place.join(name)))?;
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                let kind = entry.file_type().map_err(Error::io(attempt()))?;
                let out = self.leaves_out(&path);
                if kind.is_dir() {
                    if !out || self.may_take_in_below(&path) {
                        folders.push(path);
                    }
                } else if !out && kind.is_file() {
                    found.push(path);
                } else if !out {
                    return Err(unusual(&entry.path()));
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

fn unusual(path: &Path) -> Error {
    Error::Image(format!("{} is neither a file nor a folder with a usual name", path.display()))
}

/// The pattern without empty parts, `.` and `..`; nothing for the folder itself.
fn clean(pattern: &str) -> Vec<char> {
    let mut parts = PathBuf::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.to_string_lossy().chars().collect()
}

/// Whether the whole path matches the whole pattern.
fn matches(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        // Any number of folders, none included; at the end, anything.
        ['*', '*', rest @ ..] => {
            let rest = rest.strip_prefix(&['/']).unwrap_or(rest);
            rest.is_empty()
                || matches(rest, path)
                || path.iter().enumerate().any(|(at, c)| *c == '/' && matches(rest, &path[at + 1..]))
        }
        ['*', rest @ ..] => {
            let name = path.iter().take_while(|c| **c != '/').count();
            (0..=name).any(|length| matches(rest, &path[length..]))
        }
        ['[', class @ ..] => match (class.iter().skip(1).position(|c| *c == ']'), path) {
            (Some(end), [c, path @ ..]) => {
                let (class, rest) = class.split_at(end + 1);
                *c != '/' && is_in(class, *c) && matches(&rest[1..], path)
            }
            _ => false,
        },
        ['?', rest @ ..] => matches!(path, [c, path @ ..] if *c != '/' && matches(rest, path)),
        ['\\', wanted, rest @ ..] | [wanted, rest @ ..] => {
            matches!(path, [c, path @ ..] if c == wanted && matches(rest, path))
        }
    }
}

/// Whether a class such as `a-z_` or `^0-9` holds the character.
fn is_in(class: &[char], c: char) -> bool {
    let (negated, mut class) = match class {
        ['^', rest @ ..] => (true, rest),
        class => (false, class),
    };
    let mut found = false;
    while let [first, rest @ ..] = class {
        (found, class) = match rest {
            ['-', last, rest @ ..] => (found || (*first..=*last).contains(&c), rest),
            rest => (found || *first == c, rest),
        };
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen<'a>(ignore: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let ignore = Ignore::parse(ignore).expect("it can be read");
        paths.iter().copied().filter(|path| !ignore.leaves_out(path)).collect()
    }

    #[test]
    fn patterns_match_as_the_engines_match_them() {
        for (pattern, matching, others) in [
            ("a", &["a", "a/b", "a/b/c"][..], &["b/a", "ab", "b"][..]),
            ("/a/", &["a", "a/b"], &["b/a"]),
            ("./a//b", &["a/b", "a/b/c"], &["a", "a/c"]),
            ("a/../b", &["b"], &["a"]),
            ("*", &["a", ".a", "a/b"], &[]),
            ("*/a", &["b/a", "b/a/c"], &["a", "b/c/a"]),
            ("*.md", &["x.md", "x.md/y"], &["a/x.md", "x.mdx"]),
            ("**/*.md", &["x.md", "a/x.md", "a/b/x.md"], &["x.mdx"]),
            ("**", &["a", "a/b"], &[]),
            ("a/**", &["a/b", "a/b/c"], &["a", "ab"]),
            ("a/**/z", &["a/z", "a/b/z", "a/b/c/z"], &["z", "az"]),
            ("a?c", &["abc"], &["ac", "a/c", "abbc"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x", "abx"]),
            ("[^a-c]x", &["dx"], &["ax", "/x"]),
            (r"\*", &["*"], &["a"]),
            ("a b", &["a b"], &["a", "b"]),
        ] {
            assert!(seen(pattern, matching).is_empty(), "{pattern}: {:?}", seen(pattern, matching));
            assert_eq!(seen(pattern, others), others, "{pattern}");
        }
    }

    #[test]
    fn the_last_line_that_matches_decides() {
        let paths = ["README.md", "src/a.rs", "src/b.rs", "tests/bed/Cargo.toml", "tests/x.rs"];
        for (ignore, expected) in [
            ("*\n!src", &["src/a.rs", "src/b.rs"][..]),
            ("*\n!src\nsrc/b.rs", &["src/a.rs"]),
            ("!src\n*", &[]),
            ("*\n!tests/bed", &["tests/bed/Cargo.toml"]),
            ("*\n ! src/a.rs ", &["src/a.rs"]),
            ("tests\n!**/Cargo.toml", &["README.md", "src/a.rs", "src/b.rs", "tests/bed/Cargo.toml"]),
            ("# *\n\n.\n/\n", &paths),
            ("\u{feff}*\n#!src", &[]),
        ] {
            assert_eq!(seen(ignore, &paths), expected, "{ignore:?}");
        }
        assert!(Ignore::parse("*\n!").is_err());
    }

    #[test]
    fn files_are_found_in_folders_that_are_left_out() {
        let root = tempfile::tempdir().expect("a directory");
        for path in ["a/b/c.txt", "a/d.txt", "target/x", "e.txt"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has a parent")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        for (ignore, expected) in [
            ("", &["a/b/c.txt", "a/d.txt", "e.txt", "target/x"][..]),
            ("*\n!a/b", &["a/b/c.txt"]),
            ("*\n!**/*.txt", &["a/b/c.txt", "a/d.txt", "e.txt"]),
            ("a", &["e.txt", "target/x"]),
        ] {
            let files = Ignore::parse(ignore).and_then(|ignore| ignore.files(root.path()));
            assert_eq!(files.expect("they can be listed"), expected, "{ignore:?}");
        }
    }
}
