//! The end of the folder of sockets, as a container sees it.
//!
//! A container has the host's folder mounted, not its path. systemd removes the folder of some distributions' Open
//! vSwitch when that stops, and makes another when it starts; the container keeps the old one, which nobody will ever
//! put a socket into. A container that is started again gets the new one.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use tokio::time::sleep;

/// How often to look; Open vSwitch takes longer to be of use again.
const LOOK: Duration = Duration::from_secs(5);

/// Ends when `folder` is one that has been removed. Where it is found by its path it never is: then it is not found, or it
/// is another one.
pub(super) async fn removed(folder: &Path) {
    while !is_removed(folder) {
        sleep(LOOK).await;
    }
}

fn is_removed(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|metadata| metadata.nlink() == 0)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd as _};

    use super::*;

    #[test]
    fn a_folder_that_is_there_or_not_found_has_not_been_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("openvswitch");
        assert!(!is_removed(&folder));
        fs::create_dir(&folder).unwrap();
        assert!(!is_removed(&folder));
        // A descriptor goes on showing it, as a mount does.
        let held = File::open(&folder).unwrap();
        let held = format!("/proc/self/fd/{}", held.as_raw_fd());
        assert!(!is_removed(Path::new(&held)));
        fs::remove_dir(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        assert!(is_removed(Path::new(&held)) && !is_removed(&folder));
    }
}
