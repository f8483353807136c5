//! The `ofmirror` command.

use std::process::ExitCode;

use clap::Parser as _;
use ofmirror::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
