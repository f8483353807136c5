//! What goes to standard output: text, tables, JSON and YAML.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::foreign;

/// Writes all of it. Whoever reads may stop early, as `head` does; that is no failure.
pub(super) fn write(text: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes a line to standard error, for people; that nobody reads it is no failure.
pub(super) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "ofmirror: {}", line(text));
}

/// An indented JSON text that ends in a new line.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(foreign::json(&serde_json::to_string_pretty(value)?).into_owned() + "\n")
}

/// A YAML document that ends in a new line.
pub(super) fn yaml(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(foreign::lines(&serde_saphyr::to_string(value)?).into_owned())
}

/// The text on one line, and harmless: names come from OVSDB, where anybody may have written anything, also what a
/// terminal takes for a command.
pub(super) fn line(text: &str) -> String {
    foreign::line(text).into_owned()
}

/// Rows with aligned columns, the last of which is as wide as it likes. Columns named in `right` are flush right.
pub(super) fn table<const N: usize>(rows: &[[String; N]], right: &[usize]) -> String {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| line(cell))).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[column] - cell.width());
            let gap = if column == 0 { "" } else { "  " };
            let (before, after) =
                if right.contains(&column) { (&*padding, "") } else { ("", &*padding) };
            let _ = write!(line, "{gap}{before}{cell}{after}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_they_take_on_a_terminal() {
        let rows = [["pod", "packets", "state"], ["網/a", "7", "ok"], ["b", "1234567890", ""]];
        let rows = rows.map(|row| row.map(str::to_owned));
        let expected = "\
pod      packets  state
網/a           7  ok
b     1234567890
";
        assert_eq!(table(&rows, &[1]), expected);
    }

    #[test]
    fn a_name_is_no_command_to_the_terminal_and_no_further_line() {
        let rows = [["evil\u{1b}[2J\nok\u{202e}".to_owned(), "x".to_owned()]];
        assert_eq!(table(&rows, &[]), "evil\\u{1b}[2J\\nok\\u{202e}  x\n");
    }

    #[test]
    fn what_programs_read_is_no_command_to_a_terminal_either() {
        let value = serde_json::json!({ "name": "evil\u{1b}[2J\u{9b}\u{202e}" });
        for text in [json(&value).unwrap(), yaml(&value).unwrap()] {
            assert_eq!(foreign::lines(&text), text);
            assert!(text.contains("evil"), "{text}");
        }
    }
}
