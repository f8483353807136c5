//! The `ofmirror` command.

use std::process::ExitCode;

use ofmirror::{cli::Cli, panics};

fn main() -> ExitCode {
    panics::end_the_process();
    Cli::read().run()
}
