//! Nothing of a lab outlives its sandbox, however it ends.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use lab::{Result, until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A sandbox within this test's own, in which a script runs. It heeds the signals that a test which runs in the background, or
/// under nohup, is made to ignore.
fn sandbox(script: &str) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox"));
    command.args(["bash", "-c", script]).stdin(Stdio::null());
    command
}

/// Whether a process whose command line holds `text` runs.
fn runs(text: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|command| String::from_utf8_lossy(&command).replace('\0', " ").contains(text))
}

/// Starts a sandbox with a namespace, an interface and a process in it, and waits until they are there.
fn start(seconds: u32) -> Result<Child> {
    let script = format!(
        "ip netns add inner && ip link add lab-x type veth peer name lab-y netns inner \
         && {{ setsid sleep {seconds} & echo started; wait; }}"
    );
    let mut child = sandbox(&script).stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut said)?;
    assert_eq!(said, "started\n");
    Ok(child)
}

fn goes_with_everything(signal: Signal, seconds: u32) -> Result {
    let mut child = start(seconds)?;
    let process = format!("sleep {seconds}");
    until("the process to run", || Ok(runs(&process).then_some(())))?;
    kill(Pid::from_raw(child.id().cast_signed()), signal)?;
    assert!(!child.wait()?.success());
    until("the process to go", || Ok((!runs(&process)).then_some(())))?;
    assert!(!Path::new("/run/netns/inner").exists(), "the namespace was seen outside");
    Ok(())
}

#[test]
fn a_killed_sandbox_takes_everything_with_it() -> Result {
    goes_with_everything(Signal::SIGKILL, 100_001)
}

#[test]
fn an_interrupted_sandbox_takes_everything_with_it() -> Result {
    goes_with_everything(Signal::SIGINT, 100_002)
}

#[test]
fn a_terminated_sandbox_takes_everything_with_it() -> Result {
    goes_with_everything(Signal::SIGTERM, 100_003)
}

#[test]
fn a_command_that_ends_takes_what_it_left_in_the_background_with_it() -> Result {
    let status = sandbox("setsid sleep 100004 & exit 7").status()?;
    assert_eq!(status.code(), Some(7), "the sandbox ends as its command did");
    until("the process to go", || Ok((!runs("sleep 100004")).then_some(())))
}

#[test]
fn a_lab_outside_of_the_sandbox_is_refused() -> Result {
    // Away with this test's own sandbox's mark, for one process.
    let lab = env!("CARGO_BIN_EXE_lab");
    let hidden = format!("mount -t tmpfs none /run && {lab} serve");
    let output = Command::new("unshare").args(["--mount", "bash", "-c", &hidden]).output()?;
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("a lab only runs in its sandbox"), "{said}");
    Ok(())
}
