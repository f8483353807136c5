//! The `ofmirror` command.

use std::process::ExitCode;

use clap::Parser as _;
use ofmirror::{cli::Cli, panics};

fn main() -> ExitCode {
    panics::end_the_process();
    Cli::parse().run()
}
