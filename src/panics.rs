//! What a panic does: it ends the process, whichever task or thread it is in.
//!
//! tokio ends the task alone and keeps the panic for whoever waits for it. For most tasks nobody does, so the agent would go on
//! without a part of it, such as what answers probes or writes Events, and call itself ready. When the process ends instead,
//! the next one begins with all its parts, and adopts the flows that are there.

use std::{panic, process};

/// Lets each panic from now on end the process by SIGABRT, once it has been told.
pub fn end_the_process() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tell(panic);
        process::abort();
    }));
}
