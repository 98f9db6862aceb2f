//! The imports of a Rust file, read from its text. No compiler is needed, and nothing behind `#[cfg(test)]` counts.

use std::collections::BTreeSet;

/// A module as its file writes it. The file itself is one, and so is each `mod x { .. }` in it.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// The names from the module of the file down to this one; empty for the file itself.
    pub(crate) path: Vec<String>,
    /// Names of the items that are defined here.
    pub(crate) items: BTreeSet<String>,
    pub(crate) uses: Vec<Use>,
    /// Paths with at least two segments, such as `ids::parse`, outside of `use`.
    pub(crate) mentions: Vec<Mention>,
    /// All words outside of `use`.
    pub(crate) words: BTreeSet<String>,
    /// Modules that have files of their own.
    pub(crate) files: Vec<ModuleFile>,
}

/// One name that a `use` brings in.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Use {
    pub(crate) path: Vec<String>,
    /// The name that it has here; `*` for all names of the path.
    pub(crate) name: String,
    pub(crate) public: bool,
    pub(crate) line: usize,
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// A `mod x;`, with the value of its attribute `path`.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct ModuleFile {
    pub(crate) name: String,
    pub(crate) path: Option<String>,
}

/// The modules of a file, its own first.
pub(crate) fn parse(text: &str) -> Vec<Module> {
    let mut parser = Parser { tokens: tokens(text), at: 0, done: Vec::new() };
    parser.module(Vec::new());
    parser.done.sort_by(|a, b| a.path.cmp(&b.path));
    parser.done
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    done: Vec<Module>,
}

/// The attributes before an item.
#[derive(Default)]
struct Attributes {
    test: bool,
    path: Option<String>,
}

/// Keywords before the name of an item.
const DEFINE: [&str; 8] = ["fn", "struct", "enum", "union", "trait", "type", "const", "static"];

/// Keywords that begin an item, which ends with its braces or a semicolon; a field or a variant ends with a comma.
const ITEM: [&str; 10] =
    ["pub", "use", "mod", "impl", "async", "unsafe", "extern", "let", "macro_rules", "if"];

// === impl Parser ===

impl Parser {
    /// Reads up to the closing brace of a module, or to the end of the file.
    fn module(&mut self, path: Vec<String>) {
        let mut module = Module { path, ..Module::default() };
        let (mut depth, mut public, mut attributes) = (0_usize, false, Attributes::default());
        while let Some(token) = self.token(0).cloned() {
            let line = self.tokens[self.at].1;
            match token {
                Token::Sign('#') => {
                    self.attribute(&mut attributes);
                    continue;
                }
                _ if attributes.test => self.skip_item(),
                Token::Word(word) if word == "pub" => {
                    self.at += 1;
                    if self.is_sign(0, '(') {
                        self.skip_group();
                    }
                    public = true;
                    continue;
                }
                Token::Word(word) if word == "use" => {
                    self.at += 1;
                    self.use_tree(Vec::new(), public, line, &mut module.uses);
                }
                Token::Word(word) if word == "mod" => {
                    let name = self.word(1).unwrap_or_default();
                    let inline = self.is_sign(2, '{');
                    self.at += 3;
                    if inline {
                        self.module([&module.path[..], &[name]].concat());
                    } else {
                        module.files.push(ModuleFile { name, path: attributes.path.take() });
                    }
                }
                Token::Word(word) => {
                    // A `const fn` is named by its second keyword.
                    if let Some(name) = self.word(1).filter(|name| name != "fn")
                        && depth == 0
                        && DEFINE.contains(&word.as_str())
                    {
                        module.items.insert(name);
                    }
                    if word == "macro_rules" {
                        module.items.extend(self.word(2));
                    }
                    self.mention(&mut module);
                }
                Token::Sign('{') => {
                    depth += 1;
                    self.at += 1;
                }
                Token::Sign('}') => {
                    self.at += 1;
                    if depth == 0 {
                        break;
                    }
                    depth -= 1;
                }
                // The rest of `<T as Trait>::Name`.
                Token::Path if self.at > 0 && self.is_sign_at(self.at - 1, '>') => self.at += 2,
                Token::Path | Token::Text(_) | Token::Sign(_) => self.at += 1,
            }
            (public, attributes) = (false, Attributes::default());
        }
        self.done.push(module);
    }

    /// A path, or a single word.
    fn mention(&mut self, module: &mut Module) {
        let (mut path, line) = (Vec::new(), self.tokens[self.at].1);
        while let Some(word) = self.word(0) {
            module.words.insert(word.clone());
            path.push(word);
            self.at += 1;
            match (self.token(0), self.token(1)) {
                (Some(Token::Path), Some(Token::Word(_))) => self.at += 1,
                _ => break,
            }
        }
        if path.len() > 1 {
            module.mentions.push(Mention { path, line });
        }
    }

    fn use_tree(&mut self, mut path: Vec<String>, public: bool, line: usize, uses: &mut Vec<Use>) {
        let mut name = None;
        while let Some(token) = self.token(0).cloned() {
            match token {
                Token::Word(word) if word == "as" => {
                    name = self.word(1);
                    self.at += 1;
                }
                // `x::{self}` is `x`.
                Token::Word(word) if word == "self" && !path.is_empty() => {}
                Token::Word(word) => path.push(word),
                Token::Sign('*') => name = Some("*".to_owned()),
                Token::Sign('{') => {
                    while !matches!(self.token(0), None | Some(Token::Sign('}'))) {
                        self.at += 1;
                        if !self.is_sign(0, '}') {
                            let line = self.tokens.get(self.at).map_or(line, |token| token.1);
                            self.use_tree(path.clone(), public, line, uses);
                        }
                    }
                    self.at += 1;
                    return;
                }
                Token::Sign(',' | '}' | ';') => break,
                Token::Path | Token::Text(_) | Token::Sign(_) => {}
            }
            self.at += 1;
        }
        if let Some(name) = name.or_else(|| path.last().cloned()) {
            uses.push(Use { path, name, public, line });
        }
    }

    fn attribute(&mut self, attributes: &mut Attributes) {
        self.at += 1;
        let inner = self.is_sign(0, '!');
        self.at += usize::from(inner);
        let start = self.at;
        self.skip_group();
        let tokens: Vec<_> = self.tokens[start..self.at].iter().map(|(token, _)| token).collect();
        let says = |word: &str| tokens.iter().any(|token| matches!(token, Token::Word(said) if said == word));
        attributes.test |= says("cfg") && says("test") && !says("not") && !inner;
        if let [_, Token::Word(word), _, Token::Text(path), _] = &tokens[..]
            && word == "path"
        {
            attributes.path = Some(path.clone());
        }
    }

    /// Skips an item, a statement, a field or a variant.
    fn skip_item(&mut self) {
        let is_item = self.word(0).is_some_and(|word| ITEM.contains(&&*word) || DEFINE.contains(&&*word));
        while let Some(token) = self.token(0) {
            match token {
                Token::Sign('{') => return self.skip_group(),
                Token::Sign('(' | '[') => self.skip_group(),
                Token::Sign('}' | ')' | ']') => return,
                Token::Sign(';') => return self.at += 1,
                Token::Sign(',') if !is_item => return self.at += 1,
                Token::Word(_) | Token::Path | Token::Text(_) | Token::Sign(_) => self.at += 1,
            }
        }
    }

    /// Skips from an opening bracket behind the one that closes it.
    fn skip_group(&mut self) {
        let mut depth = 0;
        while let Some(token) = self.token(0) {
            match token {
                Token::Sign('(' | '[' | '{') => depth += 1,
                Token::Sign(')' | ']' | '}') => depth -= 1,
                Token::Word(_) | Token::Path | Token::Text(_) | Token::Sign(_) => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    fn token(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|(token, _)| token)
    }

    fn word(&self, ahead: usize) -> Option<String> {
        match self.token(ahead)? {
            Token::Word(word) => Some(word.clone()),
            Token::Path | Token::Text(_) | Token::Sign(_) => None,
        }
    }

    fn is_sign(&self, ahead: usize, sign: char) -> bool {
        self.is_sign_at(self.at + ahead, sign)
    }

    fn is_sign_at(&self, at: usize, sign: char) -> bool {
        self.tokens.get(at).is_some_and(|(token, _)| *token == Token::Sign(sign))
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Path,
    /// A string literal.
    Text(String),
    Sign(char),
}

/// The tokens of a text with their lines, from 1. Comments, lifetimes, characters and numbers are left out.
fn tokens(text: &str) -> Vec<(Token, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let is_word = |at: usize| chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let start = at;
        let rest = &chars[at..];
        match rest {
            ['/', '/', ..] => at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => {
                let end = rest.windows(2).position(|pair| pair == ['*', '/']);
                at += end.map_or(rest.len(), |end| end + 2);
            }
            ['\'', '\\', _, tail @ ..] => {
                at += 4 + tail.iter().position(|c| *c == '\'').unwrap_or(0);
            }
            ['\'', _, '\'', ..] => at += 3,
            ['\'', ..] => {
                at += 1;
                while is_word(at) {
                    at += 1;
                }
            }
            ['"', ..] => {
                at += 1;
                while at < chars.len() && chars[at] != '"' {
                    at += if chars[at] == '\\' { 2 } else { 1 };
                }
                at = (at + 1).min(chars.len());
                let literal = chars[start + 1..(at - 1).max(start + 1)].iter().collect();
                found.push((Token::Text(literal), line));
            }
            ['r', '"', ..] | ['r', '#', '"' | '#', ..] => {
                let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
                let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                let body = &rest[2 + hashes..];
                let length = body.windows(end.len()).position(|part| part == end).unwrap_or(body.len());
                at = (at + 2 + hashes + length + end.len()).min(chars.len());
                found.push((Token::Text(body[..length].iter().collect()), line));
            }
            // A literal of bytes: its prefix is nothing by itself.
            ['b' | 'c', '"' | '\'', ..] | ['b' | 'c', 'r', '"' | '#', ..] => at += 1,
            [':', ':', ..] => {
                at += 2;
                found.push((Token::Path, line));
            }
            [c, ..] if c.is_alphanumeric() || *c == '_' => {
                while is_word(at) {
                    at += 1;
                }
                if !c.is_numeric() {
                    found.push((Token::Word(chars[start..at].iter().collect()), line));
                }
            }
            [c, ..] => {
                at += 1;
                if !c.is_whitespace() {
                    found.push((Token::Sign(*c), line));
                }
            }
            [] => {}
        }
        line += chars[start..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let modules = parse(text);
        let uses = modules.iter().flat_map(|module| &module.uses);
        uses.map(|import| format!("{}: {} as {}", import.line, import.path.join("::"), import.name)).collect()
    }

    #[test]
    fn every_form_of_use_is_read() {
        for (text, expected) in [
            ("use crate::a::B;", vec!["1: crate::a::B as B"]),
            ("use self::a::{self, B as C};", vec!["1: self::a as a", "1: self::a::B as C"]),
            (
                "use super::{\n    a::{B, c::*},\n    D,\n};",
                vec!["2: super::a::B as B", "2: super::a::c as *", "3: super::D as D"],
            ),
            ("pub(in crate::x) use ::std::fmt;", vec!["1: std::fmt as fmt"]),
            ("fn f() { use crate::a::B; }", vec!["1: crate::a::B as B"]),
            (
                "// use crate::a::B;\n/* use crate::a::B; */ \"use crate::a::B;\" r#\"use crate::a::\"B;\"#",
                vec![],
            ),
            ("#[cfg(test)]\nuse crate::a::B;\nuse crate::C;", vec!["3: crate::C as C"]),
            ("#[cfg(test)]\nmod tests {\n    use super::*;\n}\nuse crate::C;", vec!["5: crate::C as C"]),
            ("#[cfg(not(test))]\nuse crate::C;", vec!["2: crate::C as C"]),
            ("const Q: [char; 2] = ['\"', '\\''];\nuse crate::C;", vec!["2: crate::C as C"]),
            ("struct S {\n    #[cfg(test)]\n    a: u8,\n}\nuse crate::C;", vec!["5: crate::C as C"]),
        ] {
            assert_eq!(paths(text), expected, "{text}");
        }
    }

    #[test]
    fn items_mentions_and_files_are_read() {
        let text = "#[path = \"x/y.rs\"]\nmod y;\npub mod z;\npub(crate) const fn f() {}\n\
                    enum E { A }\nimpl E { fn g(&'a self) { <T as U>::h(); y::i::<u8>(); } }\nmod n { struct M; }";
        let modules = parse(text);
        let [file, inner] = &modules[..] else { panic!("{modules:?}") };
        assert_eq!(file.items.iter().collect::<Vec<_>>(), ["E", "f"]);
        assert_eq!(file.mentions, [Mention { path: vec!["y".into(), "i".into()], line: 6 }]);
        let files: Vec<_> = file.files.iter().map(|file| (&*file.name, file.path.as_deref())).collect();
        assert_eq!(files, [("y", Some("x/y.rs")), ("z", None)]);
        assert_eq!(inner.path, ["n"]);
        assert!(inner.items.contains("M"));
    }
}
