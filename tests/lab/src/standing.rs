//! A lab that stays up for work by hand: started in the background, found again by its file, entered, removed.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};

use crate::{Node, Result, agent, daemon::tail, sandbox, switch::environment, until};

/// What the background process prints when the lab can be used.
const READY: &str = "the lab is up";
/// How often the background process looks after the daemons.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The lab that stays up; there is at most one for a machine.
#[derive(Debug)]
pub struct Standing {
    /// The sandbox's outermost process.
    sandbox: Pid,
}

impl Standing {
    /// Starts it and waits until it can be used.
    ///
    /// # Errors
    /// Not root, one is up already, or it does not come up; its last words are in the error.
    pub fn up() -> Result<Self> {
        ensure!(
            Uid::effective().is_root(),
            "a lab needs root, for namespaces and network interfaces"
        );
        ensure!(Self::find()?.is_none(), "the lab is up already; `make lab-down` removes it");
        let folder = folder();
        fs::create_dir_all(&folder)?;
        let log = folder.join("log");
        // A session of its own, so that neither Ctrl-C nor the end of this terminal ends it.
        let mut child = Command::new("setsid")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox"))
            .arg(env::current_exe()?)
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .context("cannot start the sandbox")?;
        let sandbox = Pid::from_raw(child.id().cast_signed());
        fs::write(folder.join("pid"), sandbox.to_string())?;
        let said = BufReader::new(child.stdout.take().context("the lab has no output")?);
        for line in said.lines() {
            if line? == READY {
                return Ok(Self { sandbox });
            }
        }
        child.wait()?;
        let words = tail(&log);
        fs::remove_dir_all(&folder)?;
        bail!("the lab did not come up:\n{words}")
    }

    /// The lab that is up, if one is.
    ///
    /// # Errors
    /// Its file is unreadable.
    pub fn find() -> Result<Option<Self>> {
        let Ok(text) = fs::read_to_string(folder().join("pid")) else { return Ok(None) };
        let sandbox = Pid::from_raw(text.trim().parse()?);
        // Numbers of processes are used again: it must be the sandbox, too.
        let command = fs::read(format!("/proc/{sandbox}/cmdline")).unwrap_or_default();
        let ours = String::from_utf8_lossy(&command).contains("tests/lab/sandbox");
        Ok(ours.then_some(Self { sandbox }))
    }

    /// What runs in the background, inside of the sandbox: a node, until killed.
    ///
    /// # Errors
    /// The node does not start, or one of its daemons dies.
    pub fn serve() -> Result {
        let node = Node::start()?;
        println!("{READY}");
        loop {
            node.alive()?;
            thread::sleep(CHECK_INTERVAL);
        }
    }

    /// Replaces this process by a command inside of the lab: on the node, or in a Pod.
    ///
    /// # Errors
    /// The lab is not whole, or the command cannot be started.
    pub fn exec(&self, place: &str, command: &[String]) -> Result {
        let namespace = if place == "node" { "n1".to_owned() } else { format!("n1-{place}") };
        let node = Path::new(sandbox::FOLDER).join("n1");
        let error = Command::new("nsenter")
            .arg(format!("--target={}", self.first_process()?))
            .args(["--mount", "--net", "--pid", "--", "ip", "netns", "exec", &namespace])
            .args(command)
            .envs(environment(&node, &node))
            .env("PATH", agent::path()?)
            .exec();
        Err(error).context("cannot start nsenter")
    }

    /// Removes the lab and waits until all of it is gone.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn down(self) -> Result {
        let first = self.first_process();
        kill(self.sandbox, Signal::SIGKILL)?;
        for pid in [Ok(self.sandbox), first].into_iter().flatten() {
            until(&format!("process {pid} to end"), || match kill(pid, None) {
                Err(Errno::ESRCH) => Ok(Some(())),
                // Whoever adopted it has to notice first.
                Ok(()) if is_zombie(pid) => Ok(Some(())),
                other => Ok(other.map(|()| None)?),
            })?;
        }
        fs::remove_dir_all(folder())?;
        Ok(())
    }

    /// The first process of the sandbox's namespaces, a descendant of the sandbox's outermost one.
    fn first_process(&self) -> Result<Pid> {
        let mut pid = self.sandbox;
        loop {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            if numbers.is_some_and(|numbers| numbers.ends_with("\t1")) && pid != self.sandbox {
                return Ok(pid);
            }
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
            let child = children.split(' ').next().filter(|child| !child.is_empty());
            let child =
                child.ok_or_else(|| anyhow!("the lab is not whole; try `make lab-down`"))?;
            pid = Pid::from_raw(child.parse()?);
        }
    }
}

fn is_zombie(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:\tZ"))
}

/// Where the lab that stays up is noted down.
fn folder() -> PathBuf {
    env::temp_dir().join("ofmirror-lab")
}
