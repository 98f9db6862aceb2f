//! A Dockerfile's stages. It knows the few instructions that this repository's uses, and refuses every other.

use crate::Error;

/// A stage: from one `FROM` to the next.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Stage {
    /// The image that it begins with; `scratch` is an empty one.
    pub base: String,
    /// The name by which later stages call it.
    pub name: String,
    pub steps: Vec<Step>,
}

/// An instruction within a stage.
#[derive(Debug, Eq, PartialEq)]
pub enum Step {
    Workdir(String),
    Env(String, String),
    Run(String),
    Copy { from: Option<String>, sources: Vec<String>, target: String },
    User(String),
    Entrypoint(Vec<String>),
    Cmd(Vec<String>),
}

/// The stages of a Dockerfile, at least one.
pub fn parse(text: &str) -> Result<Vec<Stage>, Error> {
    let mut stages: Vec<Stage> = Vec::new();
    for instruction in instructions(text) {
        let refuse = || Error::Image(format!("Dockerfile: can't do this without an engine: {instruction}"));
        let (word, rest) = instruction.split_once(char::is_whitespace).ok_or_else(refuse)?;
        let rest = rest.trim();
        if word == "FROM" {
            stages.push(from(rest).ok_or_else(refuse)?);
        } else {
            let stage = stages.last_mut().ok_or_else(refuse)?;
            stage.steps.push(step(word, rest).ok_or_else(refuse)?);
        }
    }
    if stages.is_empty() { Err(Error::Image("Dockerfile: it has no FROM".to_owned())) } else { Ok(stages) }
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

fn from(rest: &str) -> Option<Stage> {
    let words: Vec<_> = rest.split_whitespace().collect();
    let (base, name) = match words[..] {
        [base] => (base, ""),
        [base, "AS" | "as", name] => (base, name),
        _ => return None,
    };
    // A flag, such as --platform, would be taken for the image.
    let stage = Stage { base: base.to_owned(), name: name.to_owned(), steps: Vec::new() };
    (!base.starts_with('-')).then_some(stage)
}

fn step(word: &str, rest: &str) -> Option<Step> {
    match word {
        "WORKDIR" => Some(Step::Workdir(rest.to_owned())),
        "ENV" => {
            let (name, value) = rest.split_once('=')?;
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            Some(Step::Env(name.to_owned(), value.to_owned()))
        }
        // A command with flags, or written as a list, would be another one.
        "RUN" if !rest.starts_with("--") && !rest.starts_with('[') => Some(Step::Run(rest.to_owned())),
        "COPY" => copy(rest),
        "USER" => Some(Step::User(rest.to_owned())),
        "ENTRYPOINT" => Some(Step::Entrypoint(serde_json::from_str(rest).ok()?)),
        "CMD" => Some(Step::Cmd(serde_json::from_str(rest).ok()?)),
        _ => None,
    }
}

fn copy(rest: &str) -> Option<Step> {
    let (flags, paths): (Vec<_>, Vec<_>) = rest.split_whitespace().partition(|word| word.starts_with("--"));
    let from = match flags[..] {
        [] => None,
        [flag] => Some(flag.strip_prefix("--from=")?.to_owned()),
        _ => return None,
    };
    let (target, sources) = paths.split_last()?;
    let sources: Vec<_> = sources.iter().map(|path| (*path).to_owned()).collect();
    (!sources.is_empty()).then(|| Step::Copy { from, sources, target: (*target).to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_and_their_steps_are_read() {
        let text = "\
# syntax
FROM rust:1 AS build
WORKDIR /src
ENV A=\"b c\"
COPY . .
RUN one \\
    # why
    two

FROM scratch
COPY --from=build /x/y /y
USER 1:2
ENTRYPOINT [\"/y\"]
CMD [\"run\", \"z\"]
";
        let copy = |from: Option<&str>, source: &str, target: &str| Step::Copy {
            from: from.map(str::to_owned),
            sources: vec![source.to_owned()],
            target: target.to_owned(),
        };
        let build = Stage {
            base: "rust:1".to_owned(),
            name: "build".to_owned(),
            steps: vec![
                Step::Workdir("/src".to_owned()),
                Step::Env("A".to_owned(), "b c".to_owned()),
                copy(None, ".", "."),
                Step::Run("one     two".to_owned()),
            ],
        };
        let last = Stage {
            base: "scratch".to_owned(),
            name: String::new(),
            steps: vec![
                copy(Some("build"), "/x/y", "/y"),
                Step::User("1:2".to_owned()),
                Step::Entrypoint(vec!["/y".to_owned()]),
                Step::Cmd(vec!["run".to_owned(), "z".to_owned()]),
            ],
        };
        assert_eq!(parse(text).expect("it can be read"), [build, last]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in [
            "",
            "RUN x",
            "FROM",
            "FROM --platform=linux/arm64 rust",
            "FROM a b",
            "FROM a\nARG x",
            "FROM a\nADD . .",
            "FROM a\nRUN --mount=type=cache,target=/x y",
            "FROM a\nRUN [\"x\"]",
            "FROM a\nCOPY --chown=1 a b",
            "FROM a\nCOPY a",
            "FROM a\nCMD run",
            "FROM a\nENV x y",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
