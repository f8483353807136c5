//! The demo keeps its word: it shows everything, and its last line and exit status say whether all worked.

use std::{path::Path, process::Command};

use lab::Result;

/// The longest line that it may print, in characters.
const WIDTH: usize = 100;

/// The demo in a sandbox of its own, as `make demo` runs it.
fn demo() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox"));
    command.args([env!("CARGO_BIN_EXE_lab"), "demo"]);
    command
}

#[test]
fn the_demo_shows_that_everything_works_and_says_so_in_its_last_line() -> Result {
    let output = demo().output()?;
    let said = String::from_utf8(output.stdout)?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaints}");
    let last = said.lines().last().unwrap_or_default();
    let chapters =
        said.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count();
    assert!(last.starts_with(&format!("demo: all {chapters} things worked")), "{last}");
    assert_eq!(said.matches("   => ").count(), chapters, "{said}");
    assert!(!said.contains('\x1b'), "colours are for terminals");
    let long: Vec<_> = said.lines().filter(|line| line.chars().count() > WIDTH).collect();
    assert!(long.is_empty(), "{long:#?}");
    Ok(())
}

#[test]
fn a_demo_without_an_agent_fails_and_says_so_in_its_last_line() -> Result {
    let demo = demo().env("LAB_OFMIRROR", "/bin/false").output()?;
    assert_eq!(demo.status.code(), Some(1));
    let said = String::from_utf8(demo.stdout)?;
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("demo: FAILED: "), "{said}");
    Ok(())
}
