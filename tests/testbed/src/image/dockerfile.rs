//! A Dockerfile as a recipe for an image. It knows the few instructions that this repository's uses, and refuses every
//! other.

use std::collections::BTreeMap;

use crate::Error;

/// The content of an image, and how it is run.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Recipe {
    /// Files of the context and their paths in the image, a layer each.
    pub copies: Vec<Copied>,
    pub user: String,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// Those without a value are left out.
    pub labels: BTreeMap<String, String>,
}

/// One file.
#[derive(Debug, Eq, PartialEq)]
pub struct Copied {
    /// Where it is in the context.
    pub source: String,
    /// The absolute path in the image.
    pub target: String,
}

/// The arguments that a Dockerfile has declared so far, with the values that it is read for.
#[derive(Debug)]
struct Variables<'a> {
    given: &'a [(&'a str, &'a str)],
    declared: Vec<&'a str>,
}

/// Reads a Dockerfile for these arguments, by their names.
pub fn parse(text: &str, arguments: &[(&str, &str)]) -> Result<Recipe, Error> {
    let mut variables = Variables { given: arguments, declared: Vec::new() };
    let mut recipe: Option<Recipe> = None;
    for instruction in instructions(text) {
        let refuse = || Error::Image(format!("Dockerfile: can't do this without an engine: {instruction}"));
        let (word, rest) = instruction.split_once(char::is_whitespace).ok_or_else(refuse)?;
        let done = match (&mut recipe, word, rest.trim()) {
            // Another base, or a second stage, would need an engine.
            (None, "FROM", "scratch") => {
                recipe = Some(Recipe::default());
                Some(())
            }
            (Some(_), "ARG", name) => variables.declare(name),
            (Some(recipe), word, rest) => variables.expand(rest).and_then(|rest| recipe.add(word, &rest)),
            (None, ..) => None,
        };
        done.ok_or_else(refuse)?;
    }
    recipe.ok_or_else(|| Error::Image("Dockerfile: it has no FROM".to_owned()))
}

/// The instructions without comments, each in one line.
fn instructions(text: &str) -> Vec<String> {
    let mut whole = Vec::new();
    let mut open = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        match line.trim_end().strip_suffix('\\') {
            Some(begun) => open.push_str(begun),
            None => whole.push(std::mem::take(&mut open) + line),
        }
    }
    whole.push(open);
    whole.into_iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

// === impl Recipe ===

impl Recipe {
    fn add(&mut self, word: &str, rest: &str) -> Option<()> {
        match word {
            "COPY" => self.copies.push(copied(rest)?),
            "USER" => rest.clone_into(&mut self.user),
            "ENTRYPOINT" => self.entrypoint = serde_json::from_str(rest).ok()?,
            "CMD" => self.cmd = serde_json::from_str(rest).ok()?,
            "LABEL" => self.labels.extend(labels(rest)?.into_iter().filter(|(_, value)| !value.is_empty())),
            _ => return None,
        }
        Some(())
    }
}

/// One file to one absolute path. A flag, such as --chown, would ask for more.
fn copied(rest: &str) -> Option<Copied> {
    let [source, target] = rest.split_whitespace().collect::<Vec<_>>()[..] else { return None };
    let is_file =
        |path: &str| !path.ends_with('/') && !path.split('/').any(|part| matches!(part, "." | ".."));
    let is_plain = !source.starts_with("--") && target.starts_with('/') && is_file(source) && is_file(target);
    is_plain.then(|| Copied { source: source.to_owned(), target: target.to_owned() })
}

/// Pairs such as `a.b="c d"`.
fn labels(mut rest: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        // Escapes are more than a label of ours needs.
        let is_plain = !name.is_empty() && !name.contains(['"', ' ', '\\']) && !value.contains('\\');
        found.push(is_plain.then(|| (name.to_owned(), value.to_owned()))?);
        rest = after.trim_start();
    }
    Some(found)
}

// === impl Variables ===

impl<'a> Variables<'a> {
    /// Declares a variable whose value is given. One with a value of its own (`A=b`) would need no argument.
    fn declare(&mut self, name: &str) -> Option<()> {
        let (name, _) = self.given.iter().find(|(given, _)| *given == name)?;
        self.declared.push(name);
        Some(())
    }

    /// The text with values in the place of `${NAME}`; one that is not declared yet would be empty for an engine.
    fn expand(&self, text: &str) -> Option<String> {
        let mut parts = text.split('$');
        let mut expanded = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, after) = part.strip_prefix('{')?.split_once('}')?;
            let name = self.declared.iter().find(|declared| **declared == name)?;
            let (_, value) = self.given.iter().find(|(given, _)| given == name)?;
            expanded.extend([*value, after]);
        }
        Some(expanded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGUMENTS: &[(&str, &str)] = &[("ARCH", "amd64"), ("VERSION", "1.2.3"), ("EMPTY", "")];

    #[test]
    fn a_recipe_is_read_for_its_arguments() {
        let text = "\
# syntax
FROM scratch
ARG ARCH
ARG VERSION
ARG EMPTY
COPY a.crt /etc/a.crt
COPY ${ARCH}/y /y
USER 1:2
ENTRYPOINT [\"/y\"]
CMD [\"run\", \"z\"]
LABEL a.title=\"b c\" \\
    # why
    a.version=\"v${VERSION}\" a.source=\"${EMPTY}\"
";
        let copied =
            |source: &str, target: &str| Copied { source: source.to_owned(), target: target.to_owned() };
        let expected = Recipe {
            copies: vec![copied("a.crt", "/etc/a.crt"), copied("amd64/y", "/y")],
            user: "1:2".to_owned(),
            entrypoint: vec!["/y".to_owned()],
            cmd: vec!["run".to_owned(), "z".to_owned()],
            labels: [("a.title", "b c"), ("a.version", "v1.2.3")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        assert_eq!(parse(text, ARGUMENTS).expect("it can be read"), expected);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in [
            "",
            "COPY x /y",
            "FROM",
            "FROM debian",
            "FROM scratch AS a",
            "FROM --platform=linux/arm64 scratch",
            "FROM scratch\nFROM scratch",
            "FROM scratch\nARG OTHER",
            "FROM scratch\nARG VERSION=2",
            "FROM scratch\nCOPY ${ARCH} /y",
            "FROM scratch\nARG ARCH\nCOPY $ARCH /y",
            "FROM scratch\nARG ARCH\nCOPY ${ARCH:-x} /y",
            "FROM scratch\nADD a /a",
            "FROM scratch\nRUN ls",
            "FROM scratch\nCOPY --chown=1 a /b",
            "FROM scratch\nCOPY a",
            "FROM scratch\nCOPY a b",
            "FROM scratch\nCOPY a /b/",
            "FROM scratch\nCOPY ../a /b",
            "FROM scratch\nCOPY . /b",
            "FROM scratch\nCMD run",
            "FROM scratch\nLABEL a=b",
            "FROM scratch\nLABEL a=\"b\\\"c\"",
        ] {
            assert!(parse(bad, ARGUMENTS).is_err(), "{bad:?}");
        }
    }
}
