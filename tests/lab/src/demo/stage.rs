//! What the demo looks like: numbered chapters, commands as one would type them, their output, all of it narrow.

use std::{
    env,
    io::{IsTerminal as _, stdout},
};

use anyhow::ensure;

use crate::{Invocation, Result};

/// No line is longer, in characters.
const WIDTH: usize = 100;
/// Before everything that is not a chapter's title.
const INDENT: &str = "   ";

/// Where the demo is shown.
pub(super) struct Stage {
    colours: bool,
    chapters: usize,
}

/// How a line looks on a terminal: the parameter of the escape sequence "select graphic rendition" (ECMA-48, 8.3.117).
#[derive(Clone, Copy)]
enum Look {
    Title = 1,
    Faint = 2,
    Good = 32,
    Command = 36,
}

impl Stage {
    /// Standard output; with colours if somebody looks at it and did not ask for none (<https://no-color.org>).
    pub(super) fn new() -> Self {
        let colours = stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        Self { colours, chapters: 0 }
    }

    /// Begins the next chapter.
    pub(super) fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        println!("\n{}", self.painted(Look::Title, &format!("{}. {title}", self.chapters)));
    }

    /// How many chapters there were.
    pub(super) fn chapters(&self) -> usize {
        self.chapters
    }

    /// Says something to the reader.
    pub(super) fn say(&self, text: &str) {
        self.lines(None, text);
    }

    /// Says something after an empty line.
    pub(super) fn pause(&self, text: &str) {
        println!();
        self.say(text);
    }

    /// Shows what a program printed.
    pub(super) fn output(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.lines(None, format!("  {line}").trim_end());
        }
    }

    /// Shows one line of output and says a word on it below.
    pub(super) fn explained(&self, line: &str, word: &str) {
        self.output(line);
        self.lines(Some(Look::Faint), &format!("      ^ {word}"));
    }

    /// Says what this chapter has proven.
    pub(super) fn good(&self, text: &str) {
        self.lines(Some(Look::Good), &format!("=> {text}"));
    }

    /// Shows a command with its prompt.
    pub(super) fn command(&self, place: &str, line: &str) {
        self.lines(Some(Look::Command), &format!("{place}$ {line}"));
    }

    /// Shows a command and runs it by a shell, which `shell` starts in the right place; gives its output, not shown yet.
    pub(super) fn run(&self, place: &str, shell: Invocation, line: &str) -> Result<String> {
        self.command(place, line);
        let output = shell.args(["-c", line]).output()?;
        ensure!(output.status.success(), "`{line}` failed: {}{}", output.stdout, output.stderr);
        Ok(output.stdout)
    }

    fn lines(&self, look: Option<Look>, text: &str) {
        for line in wrap(text, WIDTH - INDENT.len()) {
            match look {
                Some(look) => println!("{INDENT}{}", self.painted(look, &line)),
                None => println!("{}", format!("{INDENT}{line}").trim_end()),
            }
        }
    }

    fn painted(&self, look: Look, text: &str) -> String {
        if self.colours { format!("\x1b[{}m{text}\x1b[0m", look as u8) } else { text.to_owned() }
    }
}

/// Breaks a line after spaces and commas; what follows the first part is indented more than that.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let indent = " ".repeat(text.len() - text.trim_start().len() + 4);
    let mut lines = vec![String::new()];
    for piece in text.split_inclusive([' ', ',']) {
        let line = lines.last_mut().expect("there is always a line");
        if line.chars().count() + piece.trim_end().chars().count() > width
            && !line.trim().is_empty()
        {
            line.truncate(line.trim_end().len());
            lines.push(indent.clone());
        }
        lines.last_mut().expect("there is always a line").push_str(piece);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn long_lines_are_broken_after_spaces_and_commas() {
        assert_eq!(wrap("  one two,three four", 12), ["  one two,", "      three", "      four"]);
        assert_eq!(wrap("short", 12), ["short"]);
        assert_eq!(wrap("", 12), [""]);
        assert_eq!(wrap("unbreakable-as-it-is", 12), ["unbreakable-as-it-is"]);
    }
}
