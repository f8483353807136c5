//! Text that others wrote: names and values of OVSDB and the API server, errors of the switch, requests of HTTP clients.
//!
//! A terminal takes some characters for commands, a log takes a line break for the end of an entry, and whoever reads is misled by
//! text that runs backwards or can't be seen. So whatever is shown to people goes through here at the edge where it is shown,
//! as one can't tell at a text by whom it was written: the log, `/readyz`, `/status`, Events, labels of metrics, and what the
//! commands print.

use std::{borrow::Cow, fmt::Write as _};

use unicode_width::UnicodeWidthChar as _;

/// Longest text that is shown, in characters; what a terminal shows on a few lines.
pub const LONGEST: usize = 1024;
/// What stands for what was left out.
const DOTS: &str = "...";

/// The text on one line, with nothing in it that can't be seen: such characters become escapes as of Rust, as in `\u{1b}`. At most
/// [`LONGEST`] characters of it are left.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    let is_short = text.len() <= LONGEST || text.chars().nth(LONGEST).is_none();
    if is_short && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    let mut left = LONGEST;
    for c in text.chars() {
        let escape = (!is_plain(c)).then(|| c.escape_default());
        let length = escape.as_ref().map_or(1, ExactSizeIterator::len);
        if length > left {
            shown.push_str(DOTS);
            break;
        }
        left -= length;
        match escape {
            Some(escape) => shown.extend(escape),
            None => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// As [`line()`] for each line of a text, and of any length: for what has lines of its own.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c == '\n' || is_plain(c)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push(c),
            c if is_plain(c) => shown.push(c),
            c => shown.extend(c.escape_default()),
        }
    }
    Cow::Owned(shown)
}

/// The same of a text of JSON, whose strings have what can't be seen as an escape that whoever reads them shows as such.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    let may_be_odd = |c| c == '\\' || !(c == '\n' || is_plain(c));
    if !text.contains(may_be_odd) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('"' | '\\' | '/')) => shown.extend(['\\', c]),
                // A control character, or a part of one that JSON needs no escape for.
                Some(c) => shown.extend(['\\', '\\', c]),
                None => shown.push(c),
            },
            // Between strings only.
            '\n' => shown.push(c),
            c if is_plain(c) => shown.push(c),
            c => {
                let _ = write!(shown, "\\{}", c.escape_default());
            }
        }
    }
    Cow::Owned(shown)
}

/// Whether a character is seen where it stands, as what it is.
fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\0'..='\u{9f}' => false,
        // Rust escapes what Unicode has no picture for: control and format characters, spaces that look like others, and
        // what is not assigned. Others take no place, as combining marks.
        c => c.escape_debug().len() == 1 && c.width().is_some_and(|width| width > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_seen_stays_as_it_is() {
        for text in ["", "shop/web-0", "ünï çødé 網 \"quoted\" 'so' \\n {} 100 %", "→ é 🦀"]
        {
            assert_eq!(line(text), text);
            assert_eq!(lines(text), text);
        }
        assert_eq!(lines("a\nb\n"), "a\nb\n");
    }

    #[test]
    fn what_a_terminal_obeys_or_nobody_sees_is_shown_as_an_escape() {
        for (text, shown) in [
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\nready\r\tb", "a\\nready\\r\\tb"),
            ("\u{7f}\u{9b}31m\0", "\\u{7f}\\u{9b}31m\\u{0}"),
            ("a\u{202e}b\u{2066}c\u{61c}d", "a\\u{202e}b\\u{2066}c\\u{61c}d"),
            ("a\u{200b}b\u{feff}c\u{2060}d\u{ad}e", "a\\u{200b}b\\u{feff}c\\u{2060}d\\u{ad}e"),
            ("a\u{2028}b\u{a0}c\u{3164}d", "a\\u{2028}b\\u{a0}c\\u{3164}d"),
            ("a\u{301}\u{e0041}\u{fe0f}", "a\\u{301}\\u{e0041}\\u{fe0f}"),
        ] {
            assert_eq!(line(text), shown);
        }
        assert_eq!(lines("a\n\u{1b}b\n"), "a\n\\u{1b}b\n");
    }

    #[test]
    fn a_long_text_ends_with_dots_and_in_no_half_of_an_escape() {
        for c in ["x", "網", "\u{202e}", "\n"] {
            let shown = line(&c.repeat(10_000)).into_owned();
            let (rest, escape) = (shown.strip_suffix(DOTS).unwrap(), line(c).into_owned());
            let count = rest.chars().count();
            assert!(count <= LONGEST && count + escape.len() > LONGEST - 8, "{count}");
            assert_eq!(rest, escape.repeat(rest.len() / escape.len()));
        }
        let fits = "x".repeat(LONGEST);
        assert_eq!(line(&fits), fits);
    }

    #[test]
    fn what_a_string_of_json_holds_can_be_seen_by_whoever_reads_it() {
        for text in ["plain", "a\"b\\c/d", "\u{1b}[2J\n\t\u{202e}\u{7f}", "\\n", "網\u{200b}"] {
            for pretty in [false, true] {
                let value = serde_json::json!({ text: [text, { "x": 1 }] });
                let written = match pretty {
                    true => serde_json::to_string_pretty(&value).unwrap(),
                    false => value.to_string(),
                };
                let read: serde_json::Value = serde_json::from_str(&json(&written)).unwrap();
                let (key, list) = read.as_object().unwrap().iter().next().unwrap();
                let seen = list[0].as_str().unwrap();
                assert_eq!(key, seen);
                assert_eq!(lines(seen), seen, "{text:?}");
                assert!(!seen.contains('\n'));
                let is_plain = line(text) == text;
                assert_eq!(seen == text, is_plain, "{seen:?} of {text:?}");
            }
        }
    }
}
