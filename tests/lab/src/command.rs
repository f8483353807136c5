//! Running a program to its end and saying well what went wrong.

use std::{
    ffi::OsStr,
    io::Write as _,
    process::{self, ExitStatus, Stdio},
};

use anyhow::{Context as _, bail};

use crate::Result;

/// A program with its arguments and environment, not started yet.
#[derive(Clone, Debug)]
pub struct Invocation {
    argv: Vec<String>,
    env: Vec<(String, String)>,
}

/// What a program left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, as text.
    pub stdout: String,
    /// Its standard error, as text.
    pub stderr: String,
}

impl Invocation {
    /// A program, looked up in `PATH`.
    pub fn new(program: impl Into<String>) -> Self {
        Self { argv: vec![program.into()], env: Vec::new() }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.argv.push(arg.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.argv.extend(args.into_iter().map(Into::into));
        self
    }

    /// One more variable in the program's environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The command for [`std::process`], input from nowhere.
    pub fn command(&self) -> process::Command {
        let mut command = process::Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).stdin(Stdio::null());
        command.envs(self.env.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value))));
        command
    }

    /// Runs to the end, whatever the end is.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn output(&self) -> Result<Output> {
        self.finish(None)
    }

    /// Runs to a good end and gives the standard output.
    ///
    /// # Errors
    /// The program cannot be started or ends with anything but success; its words are in the error.
    pub fn run(&self) -> Result<String> {
        self.succeed(None)
    }

    /// Like [`Self::run`], with `input` on the standard input.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_with_input(&self, input: &str) -> Result<String> {
        self.succeed(Some(input))
    }

    fn succeed(&self, input: Option<&str>) -> Result<String> {
        let output = self.finish(input)?;
        if !output.status.success() {
            let Output { status, stdout, stderr } = output;
            bail!(
                "`{}` failed ({status}): {}{}",
                self.argv.join(" "),
                stdout.trim(),
                stderr.trim()
            );
        }
        Ok(output.stdout)
    }

    fn finish(&self, input: Option<&str>) -> Result<Output> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child =
            command.spawn().with_context(|| format!("cannot start `{}`", self.argv.join(" ")))?;
        if let Some((text, mut stdin)) = input.zip(child.stdin.take()) {
            // A program that stops reading says why by its status.
            let _ = stdin.write_all(text.as_bytes());
        }
        let output = child.wait_with_output()?;
        Ok(Output {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
