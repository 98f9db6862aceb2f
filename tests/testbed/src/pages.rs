//! The commands of a page, pasted into a terminal as a newcomer would, and what must come of them.

use crate::terminal::Terminal;
use crate::{Error, chain};

/// A part of a command, and lines that it must print.
pub type Step = (&'static str, &'static [&'static str]);

/// The blocks of a page in this language, such as sh or yaml.
pub fn blocks<'a>(text: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let fence = format!("```{language}\n");
    let parts: Vec<_> = text.split(&fence).skip(1).collect();
    parts.into_iter().filter_map(|rest| rest.split("```").next())
}

/// The commands in the shell blocks of a text: in a line each, with those that follow it in a here-document or after a
/// backslash, an or, or an and.
///
/// # Panics
///
/// If the last command has no end.
pub fn block_commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let (mut command, mut in_document) = (String::new(), false);
    for line in blocks(text, "sh").flat_map(str::lines) {
        command.push_str(line);
        in_document = (in_document || line.ends_with("<<EOF")) && line != "EOF";
        if in_document || ["\\", "||", "&&"].iter().any(|end| line.ends_with(end)) {
            command.push('\n');
        } else {
            commands.push(std::mem::take(&mut command));
        }
    }
    assert!(command.is_empty(), "{command:?} has no end");
    commands
}

/// Pastes commands one after the other into one shell, and compares what they print with the steps. There must be a step
/// for each command. If anything is otherwise, says what.
pub fn walk(terminal: &Terminal, commands: &[String], steps: &[Step]) -> Result<(), String> {
    let told = steps.iter().zip(commands).filter(|((part, _), command)| command.contains(part)).count();
    if (told, steps.len()) != (commands.len(), commands.len()) {
        return Err(format!("{commands:#?}\nare not {steps:#?}"));
    }
    let outputs = paste_all(terminal, commands)?;
    for ((command, printed), (_, lines)) in commands.iter().zip(&outputs).zip(steps) {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let printed: Vec<_> = printed.lines().map(words).collect();
        // A row of a table has more than what matters here.
        let is_printed = |line: &&str| match line.contains('/') {
            true => printed.iter().any(|printed| printed == line),
            false => printed.iter().any(|printed| printed.contains(line)),
        };
        if let Some(missing) = lines.iter().find(|line| !is_printed(line)) {
            return Err(format!("{command}\nprinted {printed:#?}\nwithout {missing:?}"));
        }
    }
    Ok(())
}

/// Pastes commands into one shell, and returns what each printed; or, if one fails, what it was and said.
fn paste_all(terminal: &Terminal, commands: &[String]) -> Result<Vec<String>, String> {
    const MARK: &str = "--- the end of a command ---";
    let checked = |command: &String| {
        format!("{command}\nstatus=$?; echo; echo '{MARK}'; [ \"$status\" = 0 ] || exit \"$status\"")
    };
    let script: Vec<_> = commands.iter().map(checked).collect();
    let output = terminal.run(&script.join("\n")).map_err(|error: Error| chain(&error))?;
    let mut outputs: Vec<_> = output.stdout.split(MARK).map(str::to_owned).collect();
    // Nothing comes after the last mark.
    outputs.pop();
    if output.status.success() && outputs.len() == commands.len() {
        return Ok(outputs);
    }
    let failed = outputs.len().checked_sub(1).and_then(|last| commands.get(last));
    Err(format!("{}\nfailed: {}\n{outputs:#?}", failed.map_or("a shell", String::as_str), output.stderr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_ends_the_walk_and_is_named() {
        let terminal = Terminal::default();
        let commands = ["echo one", "ls /no/such/folder", "echo three"].map(str::to_owned);
        let said = paste_all(&terminal, &commands).expect_err("the second one fails");
        assert!(said.starts_with("ls /no/such/folder\nfailed: "), "{said}");
        assert!(!said.contains("three"), "{said}");
        assert_eq!(paste_all(&terminal, &commands[..1]), Ok(vec!["one\n\n".to_owned()]));
    }

    #[test]
    fn a_walk_wants_a_step_for_each_command_and_its_lines() {
        let terminal = Terminal::default();
        let commands = ["echo one two", "echo a/b"].map(str::to_owned);
        assert_eq!(walk(&terminal, &commands, &[("one", &["one two"]), ("a/b", &["a/b"])]), Ok(()));
        for steps in [
            &[("one", &["one"][..])][..],
            &[("two", &["three"]), ("a/b", &[])],
            &[("one", &[]), ("a/b", &["a/"])],
            &[("a/b", &[]), ("one", &[])],
        ] {
            assert!(walk(&terminal, &commands, steps).is_err(), "{steps:?}");
        }
    }

    #[test]
    fn commands_of_a_block_are_told_apart() {
        let text = "```sh\na\nb <<EOF\nc\n---\nEOF\nd \\\n    e\nf ||\n    g &&\n    h\n```\n```yaml\ni\n```\n```sh\nj\n```\n";
        assert_eq!(
            block_commands(text),
            ["a", "b <<EOF\nc\n---\nEOF", "d \\\n    e", "f ||\n    g &&\n    h", "j"]
        );
    }
}
