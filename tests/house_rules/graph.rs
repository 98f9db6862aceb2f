//! The files of a crate, and which of them imports from which.
//!
//! An import counts for the file that defines the item: `use crate::machine::Epoch` is an import from
//! src/machine/ids.rs, because src/machine/mod.rs only hands that name on. So `pub use self::ids::Epoch` is no import
//! unless the same file goes on to say `Epoch`; `mod ids;` is none, and an import of a module counts for the items that
//! are named through it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::imports::{self, Module, Use};

/// A crate, from its root file.
#[derive(Debug)]
pub(crate) struct Crate {
    modules: BTreeMap<Vec<String>, (PathBuf, Module)>,
    missing: Vec<PathBuf>,
}

/// An import of one file from another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Edge {
    pub(crate) from: PathBuf,
    /// The first line in which it says so.
    pub(crate) line: usize,
    pub(crate) to: PathBuf,
}

/// A path that a file names and that leads out of its crate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Outside {
    pub(crate) from: PathBuf,
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
}

/// An item, or a module as a whole.
enum Target {
    Item(PathBuf),
    Module(Vec<String>),
}

/// The most names that hand a name on, one after the other.
const ALIASES_MAX: usize = 8;

// === impl Crate ===

impl Crate {
    /// Reads a crate file by file, as its `mod` lines tell. `read` gives the text of a file, if there is one.
    pub(crate) fn load(root: &str, read: &dyn Fn(&Path) -> Option<String>) -> Self {
        let mut found = Self { modules: BTreeMap::new(), missing: Vec::new() };
        let root = PathBuf::from(root);
        let folder = root.parent().unwrap_or(Path::new("")).to_owned();
        found.load_file(Vec::new(), root, &folder, read);
        found
    }

    /// `folder`: where the files of the modules in this file are.
    fn load_file(
        &mut self,
        path: Vec<String>,
        file: PathBuf,
        folder: &Path,
        read: &dyn Fn(&Path) -> Option<String>,
    ) {
        let Some(text) = read(&file) else { return self.missing.push(file) };
        for mut module in imports::parse(&text) {
            let inner = [&path[..], &module.path[..]].concat();
            let folder = module.path.iter().fold(folder.to_owned(), |folder, name| folder.join(name));
            for declared in std::mem::take(&mut module.files) {
                let child = [&inner[..], std::slice::from_ref(&declared.name)].concat();
                let own = folder.join(&declared.name);
                let (flat, nested) = (own.with_extension("rs"), own.join("mod.rs"));
                match declared.path {
                    Some(path) => {
                        let file = file.with_file_name(path);
                        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
                        self.load_file(child, file, &folder, read);
                    }
                    None if read(&flat).is_some() => self.load_file(child, flat, &own, read),
                    None => self.load_file(child, nested, &own, read),
                }
            }
            self.modules.insert(inner, (file.clone(), module));
        }
    }

    /// Files that were declared and not found, such as when the reader has misread a path.
    pub(crate) fn missing(&self) -> &[PathBuf] {
        &self.missing
    }

    /// Every import of one file from another, once.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let mut edges: BTreeMap<(PathBuf, PathBuf), usize> = BTreeMap::new();
        for (path, (file, module)) in &self.modules {
            let mut add = |line: usize, to: PathBuf| {
                if to != *file {
                    let first = edges.entry((file.clone(), to)).or_insert(line);
                    *first = line.min(*first);
                }
            };
            for import in &module.uses {
                let Some(absolute) = self.absolute(path, &import.path, 0) else { continue };
                if import.public && absolute.len() > path.len() && absolute.starts_with(path) {
                    for to in self.used_reexports(module, import, &absolute) {
                        add(import.line, to);
                    }
                    continue;
                }
                match self.target(&absolute, 0) {
                    Some(Target::Item(to)) => add(import.line, to),
                    Some(Target::Module(of)) if import.name == "*" => add(import.line, self.file(&of)),
                    Some(Target::Module(_)) | None => {}
                }
            }
            for mention in &module.mentions {
                let absolute = self.absolute(path, &mention.path, 0);
                if let Some(Target::Item(to)) = absolute.and_then(|absolute| self.target(&absolute, 0)) {
                    add(mention.line, to);
                }
            }
        }
        edges.into_iter().map(|((from, to), line)| Edge { from, line, to }).collect()
    }

    /// Every path that leads out of the crate, in a `use` or elsewhere.
    pub(crate) fn outside(&self) -> Vec<Outside> {
        let mut found = Vec::new();
        for (path, (from, module)) in &self.modules {
            let uses = module.uses.iter().map(|import| (&import.path, import.line));
            // A path that begins with a type, or with an item of this module, names no crate.
            let mentions = module.mentions.iter().filter(|mention| {
                let first = &mention.path[0];
                first.starts_with(char::is_lowercase) && !PRIMITIVES.contains(&first.as_str())
            });
            let mentions = mentions.map(|mention| (&mention.path, mention.line));
            for (named, line) in uses.chain(mentions) {
                // A crate may also be the name of an item, as `smallvec` is that of a macro.
                let is_alias = |import: &&Use| import.name == named[0] && import.path[0] != named[0];
                let alias = module.uses.iter().find(is_alias);
                if let Some(alias) = alias
                    && self.absolute(path, &alias.path, 0).is_none()
                {
                    // Such as `fmt::Display`, where `std::fmt` is imported.
                    let whole = alias.path.iter().chain(&named[1..]).cloned().collect();
                    found.push(Outside { from: from.clone(), line, path: whole });
                } else if self.absolute(path, named, 0).is_none() {
                    found.push(Outside { from: from.clone(), line, path: named.clone() });
                }
            }
        }
        found
    }

    /// The names that a module hands on and uses itself.
    fn used_reexports(&self, module: &Module, import: &Use, absolute: &[String]) -> Vec<PathBuf> {
        let names = module.words.iter().filter(|word| import.name == "*" || import.name == **word);
        let whole = |word: &String| match &*import.name {
            "*" => [absolute, std::slice::from_ref(word)].concat(),
            _ => absolute.to_vec(),
        };
        let of_item = |path: Vec<String>| match self.defined(&path, 0)? {
            Target::Item(file) => Some(file),
            Target::Module(_) => None,
        };
        names.map(whole).filter_map(of_item).collect()
    }

    /// The path from the root of the crate; `None` if it leads out of it.
    fn absolute(&self, module: &[String], path: &[String], aliases: usize) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut start = module.to_vec();
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                start.pop()?;
                let supers = rest.iter().take_while(|word| *word == "super").count();
                start.truncate(start.len().checked_sub(supers)?);
                Some([&start, &rest[supers..]].concat())
            }
            _ => {
                start.push(first.clone());
                let (_, own) = self.modules.get(module)?;
                if self.modules.contains_key(&start) || own.items.contains(first) {
                    return Some([module, path].concat());
                }
                let alias = own.uses.iter().find(|import| import.name == *first && import.path != path)?;
                let alias =
                    self.absolute(module, &alias.path, aliases.checked_add(1).filter(|a| *a < ALIASES_MAX)?)?;
                Some([&alias[..], rest].concat())
            }
        }
    }

    fn target(&self, absolute: &[String], aliases: usize) -> Option<Target> {
        self.defined(absolute, aliases).or_else(|| {
            // Handed on from another crate, or made by a macro: the file that has it is as good.
            let (module, rest) = self.split(absolute);
            (!rest.is_empty()).then(|| Target::Item(self.file(&module)))
        })
    }

    /// The place that defines the first item of a path that is no module.
    fn defined(&self, absolute: &[String], aliases: usize) -> Option<Target> {
        let (path, rest) = self.split(absolute);
        let Some(name) = rest.first() else { return Some(Target::Module(path)) };
        let (file, module) = self.modules.get(&path)?;
        if module.items.contains(name) {
            return Some(Target::Item(file.clone()));
        }
        let aliases = Some(aliases + 1).filter(|aliases| *aliases < ALIASES_MAX)?;
        let named = module.uses.iter().find(|import| import.name == *name);
        if let Some(import) = named {
            let origin = self.absolute(&path, &import.path, aliases)?;
            return self.target(&[&origin[..], &rest[1..]].concat(), aliases);
        }
        let globs = module.uses.iter().filter(|import| import.name == "*");
        globs.filter_map(|glob| self.absolute(&path, &glob.path, aliases)).find_map(|origin| {
            self.defined(&[&origin[..], rest].concat(), aliases)
                .filter(|found| matches!(found, Target::Item(_)))
        })
    }

    /// The longest part of a path that is a module, and the rest.
    fn split<'a>(&self, absolute: &'a [String]) -> (Vec<String>, &'a [String]) {
        let length =
            (0..=absolute.len()).rev().find(|length| self.modules.contains_key(&absolute[..*length]));
        let (module, rest) = absolute.split_at(length.unwrap_or(0));
        (module.to_vec(), rest)
    }

    fn file(&self, module: &[String]) -> PathBuf {
        self.modules.get(module).map(|(file, _)| file.clone()).unwrap_or_default()
    }
}

/// Types whose names look like modules.
const PRIMITIVES: [&str; 17] = [
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16", "u32",
    "u64", "u128", "usize",
];

/// A crate made up of texts, for tests.
#[cfg(test)]
pub(crate) fn made_up(files: &[(&str, &str)]) -> Crate {
    let read = |path: &Path| {
        let file = files.iter().find(|(name, _)| Path::new(name) == path)?;
        Some(file.1.to_owned())
    };
    Crate::load(files[0].0, &read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(files: &[(&str, &str)]) -> Vec<String> {
        let edges = made_up(files).edges();
        let line = |edge: &Edge| format!("{}:{} -> {}", edge.from.display(), edge.line, edge.to.display());
        edges.iter().map(line).collect()
    }

    #[test]
    fn an_import_counts_for_the_file_that_defines_the_item() {
        let files = [
            ("src/lib.rs", "mod a;\nmod b;\nmod c;"),
            ("src/a/mod.rs", "mod ids;\nmod deep;\npub use self::ids::Id;\npub use deep::*;"),
            ("src/a/ids.rs", "pub struct Id;"),
            ("src/a/deep.rs", "pub struct Deep;\npub fn f() {}"),
            ("src/b.rs", "use crate::a::{\n    Deep,\n    Id,\n};"),
            ("src/c.rs", "use crate::a;\nfn g() { a::f(); crate::a::Id::new() }"),
        ];
        let expected = [
            "src/b.rs:2 -> src/a/deep.rs",
            "src/b.rs:3 -> src/a/ids.rs",
            "src/c.rs:2 -> src/a/deep.rs",
            "src/c.rs:2 -> src/a/ids.rs",
        ];
        assert_eq!(edges(&files), expected);
    }

    #[test]
    fn a_name_that_is_handed_on_counts_where_it_is_used() {
        let files = [
            ("src/lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::*;\nfn f(_: A, _: B) {}"),
            ("src/a.rs", "pub struct A;"),
            ("src/b.rs", "pub struct B;\npub struct C;"),
        ];
        assert_eq!(edges(&files), ["src/lib.rs:3 -> src/a.rs", "src/lib.rs:4 -> src/b.rs"]);
    }

    #[test]
    fn parents_private_imports_and_paths_of_files_are_followed() {
        let files = [
            ("benches/x.rs", "#[path = \"y/z.rs\"]\nmod z;\nmod w;\nuse z::Z;"),
            ("benches/y/z.rs", "pub struct Z;\nuse crate::w::W;"),
            ("benches/w.rs", "pub struct W;\nmod v;"),
            ("benches/w/v.rs", "use super::super::Z;\nuse super::*;"),
        ];
        let expected = [
            "benches/w/v.rs:2 -> benches/w.rs",
            "benches/w/v.rs:1 -> benches/y/z.rs",
            "benches/x.rs:4 -> benches/y/z.rs",
            "benches/y/z.rs:2 -> benches/w.rs",
        ];
        assert_eq!(edges(&files), expected);
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let files = [("src/lib.rs", "mod a;\nmod b;"), ("src/a.rs", "mod c;"), ("src/a/c.rs", "")];
        assert_eq!(made_up(&files).missing(), [Path::new("src/b/mod.rs")]);
    }

    #[test]
    fn tests_are_left_out() {
        let files = [
            ("src/lib.rs", "mod a;\n#[cfg(test)]\nmod a_tests;\nfn f() {}"),
            ("src/a.rs", "#[cfg(test)]\nmod tests {\n    use super::*;\n    use crate::f;\n}"),
            ("src/a_tests.rs", "use crate::a::A;"),
        ];
        assert_eq!(edges(&files), [""; 0]);
    }

    #[test]
    fn paths_out_of_the_crate_are_told_whole() {
        let text = "use std::fmt::{self, Write};\nuse crate::B;\nfn f() { fmt::Display::x(); tokio::spawn(); u8::MAX; B::y() }";
        let outside = made_up(&[("src/lib.rs", "mod a;\nstruct B;"), ("src/a.rs", text)]).outside();
        let told: Vec<_> =
            outside.iter().map(|out| format!("{}: {}", out.line, out.path.join("::"))).collect();
        assert_eq!(told, ["1: std::fmt", "1: std::fmt::Write", "3: std::fmt::Display::x", "3: tokio::spawn"]);
    }
}
