//! A part that panics takes the whole process along. Each test runs itself again for that.

#![allow(clippy::unwrap_used)]

use std::{
    env,
    future::pending,
    os::unix::process::ExitStatusExt as _,
    process::{Command, Output},
    thread,
};

/// Tells the test that it is the inner run.
const INSIDE: &str = "TEST_PANIC";
/// SIGABRT of signal.h.
const ABORT: i32 = 6;

/// Runs the test `name` again with `part`, which panics in a process that is busy with something else for ever.
fn end_of_process(name: &str, part: impl FnOnce()) -> Option<Output> {
    if env::var_os(INSIDE).is_none() {
        let mut again = Command::new(env::current_exe().unwrap());
        again.args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
        return Some(again.output().unwrap());
    }
    ofmirror::panics::end_the_process();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        part();
        pending::<()>().await;
    });
    None
}

fn assert_told_and_ended(output: Option<Output>) {
    let Some(output) = output else { return };
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(ABORT), "{:?}: {error}", output.status);
    assert!(error.contains("out of order") && error.contains("panics.rs"), "{error}");
}

#[test]
fn a_task_that_nobody_waits_for_ends_the_process() {
    let part = || drop(tokio::spawn(async { panic!("out of order") }));
    assert_told_and_ended(end_of_process("a_task_that_nobody_waits_for_ends_the_process", part));
}

#[test]
fn blocking_work_ends_the_process() {
    let part = || drop(tokio::task::spawn_blocking(|| panic!("out of order")));
    assert_told_and_ended(end_of_process("blocking_work_ends_the_process", part));
}

#[test]
fn a_thread_of_its_own_ends_the_process() {
    let part = || drop(thread::spawn(|| panic!("out of order")));
    assert_told_and_ended(end_of_process("a_thread_of_its_own_ends_the_process", part));
}
