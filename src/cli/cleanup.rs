//! `ofmirror cleanup`.

use std::process::ExitCode;

use clap::Args;

use super::{Place, print};
use crate::remains::{self, Remain, Remains};

const HELP: &str = "\
Examples:
  ofmirror cleanup --dry-run       what an agent has left that was killed, or had --on-exit=keep
  ofmirror cleanup                 take it away
  ofmirror cleanup --bridge br0    the same for an agent that had --bridge=br0

It takes away what bears ofmirror's marks, and nothing else: flows with its cookie, the mirror port and the bridge on it if an
agent made them, the filters of nftables. A NIC of the node that an agent attached comes off the bridge and stays on the node; one
that somebody else put on the bridge stays there. Mirror records that --replace-mirrors emptied stay empty.

Nothing is done while an agent has the bridge. An agent that starts meanwhile waits.

Exit status: 0 nothing is left, or was; 1 something may be, or an agent has the bridge.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,

    /// Say what would be taken away, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Options {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.clean())
    }

    async fn clean(self) -> anyhow::Result<ExitCode> {
        let bridge = self.place.bridge.clone();
        let remains = Remains::of(remains::Place {
            ovsdb: self.place.ovsdb(),
            openflow: self.place.openflow(),
            bridge: bridge.clone(),
        })
        .await?;
        if !remains.has_bridge() {
            print::tell(&format!(
                "there is no bridge {bridge} in OVSDB, so no flows of it: is it --bridge that is wrong?"
            ));
        }
        let found = remains.find().await?;
        if found.is_empty() {
            print::write(format!("Nothing of ofmirror's is left on {bridge}.\n").as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.dry_run {
            let lines = found.iter().map(|remain| format!("would remove {}\n", shown(remain)));
            print::write(lines.collect::<String>().as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut code = ExitCode::SUCCESS;
        for remain in &found {
            let Err(error) = remains.remove(remain).await else {
                print::write(format!("removed {}\n", shown(remain)).as_bytes())?;
                continue;
            };
            code = ExitCode::FAILURE;
            print::tell(&format!("{} may be left: {error}", shown(remain)));
            if remain.comes_first() {
                print::tell("all else stays, as long as flows may make copies");
                break;
            }
        }
        Ok(code)
    }
}

/// What was left, on one line.
fn shown(remain: &Remain) -> String {
    print::line(&remain.to_string())
}
