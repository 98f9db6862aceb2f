//! The rule that no file imports from one that, by way of others, imports from it.
//!
//! A reader can then start with any file and read downwards, and two files of a circle are one file in two places.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use crate::graph::Edge;

/// Files that import from each other.
#[derive(Debug)]
pub(crate) struct Circle {
    pub(crate) files: Vec<PathBuf>,
    /// A shortest way from the first file back to itself.
    pub(crate) way: Vec<Edge>,
}

/// All circles among these imports.
pub(crate) fn circles(edges: &[Edge]) -> Vec<Circle> {
    let mut next: BTreeMap<&Path, Vec<&Edge>> = BTreeMap::new();
    for edge in edges {
        next.entry(&edge.from).or_default().push(edge);
    }
    let mut reached: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for file in next.keys() {
        reached.insert(file, reach(&next, file));
    }
    let mut found: Vec<Circle> = Vec::new();
    for (file, all) in &reached {
        let known = found.iter().any(|circle| circle.files.iter().any(|other| other == file));
        if known || !all.contains(file) {
            continue;
        }
        let back = |other: &&&Path| reached.get(*other).is_some_and(|all| all.contains(file));
        let files = all.iter().filter(back).map(|other| other.to_path_buf()).collect();
        found.push(Circle { files, way: way_back(&next, file) });
    }
    found
}

impl std::fmt::Display for Circle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<_> = self.files.iter().map(|file| file.display().to_string()).collect();
        writeln!(f, "{} files import from each other: {}", files.len(), files.join(", "))?;
        for Edge { from, line, to } in &self.way {
            writeln!(f, "    {}:{line} imports from {}", from.display(), to.display())?;
        }
        write!(f, "    move what they share into a file of its own")
    }
}

fn reach<'a>(next: &BTreeMap<&'a Path, Vec<&'a Edge>>, file: &'a Path) -> BTreeSet<&'a Path> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![file]);
    while let Some(file) = open.pop() {
        for edge in next.get(file).into_iter().flatten() {
            if seen.insert(edge.to.as_path()) {
                open.push(&edge.to);
            }
        }
    }
    seen
}

fn way_back(next: &BTreeMap<&Path, Vec<&Edge>>, start: &Path) -> Vec<Edge> {
    let (mut seen, mut open) = (BTreeSet::new(), VecDeque::from([(start, Vec::new())]));
    while let Some((file, way)) = open.pop_front() {
        for edge in next.get(file).into_iter().flatten() {
            let way: Vec<Edge> = way.iter().chain([*edge]).cloned().collect();
            if edge.to == start {
                return way;
            }
            if seen.insert(&edge.to) {
                open.push_back((&edge.to, way));
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::made_up;

    fn found(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let files = circles(&made_up(files).edges()).into_iter().map(|circle| circle.files);
        files.map(|files| files.iter().map(|file| file.display().to_string()).collect()).collect()
    }

    #[test]
    fn a_circle_of_siblings_is_found_with_its_way() {
        let files = [
            ("src/lib.rs", "mod a; mod b; mod c;"),
            ("src/a.rs", "use crate::b::B; pub struct A;"),
            ("src/b.rs", "use crate::c::C; pub struct B;"),
            ("src/c.rs", "\nuse super::a::A; pub struct C;"),
        ];
        let circles = circles(&made_up(&files).edges());
        assert_eq!(circles.len(), 1);
        let text = circles[0].to_string();
        assert!(text.contains("src/a.rs, src/b.rs, src/c.rs"), "{text}");
        assert!(text.contains("src/c.rs:2 imports from src/a.rs"), "{text}");
    }

    #[test]
    fn a_parent_and_its_child_are_a_circle() {
        let files = [
            ("src/lib.rs", "mod a;"),
            ("src/a.rs", "mod b; use self::b::B; pub struct A;"),
            ("src/a/b.rs", "use super::A; pub struct B;"),
        ];
        assert_eq!(found(&files), [["src/a/b.rs", "src/a.rs"]]);
    }

    #[test]
    fn a_path_outside_of_use_closes_a_circle_too() {
        let files = [
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "pub fn f() { crate::b::g() }"),
            ("src/b.rs", "use crate::a; pub fn g() { a::f() }"),
        ];
        assert_eq!(found(&files), [["src/a.rs", "src/b.rs"]]);
    }

    #[test]
    fn layers_are_no_circle() {
        let files = [
            ("src/lib.rs", "mod a; mod b; pub use a::A;"),
            (
                "src/a.rs",
                "mod c; pub use self::c::C; pub struct A; #[cfg(test)] mod tests { use crate::b::B; }",
            ),
            ("src/a/c.rs", "pub struct C;"),
            ("src/b.rs", "use crate::{A, a::C}; pub struct B;"),
        ];
        assert_eq!(found(&files).len(), 0);
    }
}
