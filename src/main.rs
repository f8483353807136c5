//! The `ofmirror` command.

fn main() {}
