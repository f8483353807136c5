//! The program under test: `ofmirror agent`, as a child process in the node's namespace.

use std::{
    env, fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::ExitStatus,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;

use crate::{
    Invocation, Namespace, Node, Output, Result,
    daemon::{Daemon, tail},
    until,
};

/// Where an agent serves its health and metrics, within the node's namespace: the first port; each agent has its own.
const FIRST_PORT: u16 = 9500;

/// Tells apart the agents of one process.
static NEXT_AGENT: AtomicU32 = AtomicU32::new(0);

/// An agent that was started; it is killed when dropped.
#[derive(Debug)]
pub struct Agent<'a> {
    node: &'a Node,
    daemon: Daemon,
    port: u16,
}

/// What an agent answered by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status code, as 200.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// The agent's binary: `LAB_OFMIRROR`, or the one that was built beside this test.
pub(crate) fn binary() -> Result<PathBuf> {
    if let Ok(path) = env::var("LAB_OFMIRROR") {
        return Ok(path.into());
    }
    // target/PROFILE/deps/TEST or target/PROFILE/lab
    let here = env::current_exe()?;
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join("ofmirror"));
    let found = found.into_iter().find(|path| path.is_file());
    found.with_context(|| {
        format!("there is no ofmirror beside {}; build it or set LAB_OFMIRROR", here.display())
    })
}

/// Where the agent's binary is.
pub(crate) fn path_of_binary() -> Result<String> {
    Ok(binary()?.display().to_string())
}

/// `PATH` with the folder of the agent's binary in front, so that a shell finds `ofmirror`.
pub(crate) fn path() -> Result<String> {
    let binary = binary()?;
    let folder = binary.parent().context("the agent's binary is in no folder")?;
    Ok(format!("{}:{}", folder.display(), env::var("PATH").unwrap_or_default()))
}

impl HttpAnswer {
    /// What somebody in a namespace is answered by HTTP; nothing if nobody listens there (yet).
    ///
    /// # Errors
    /// The answer is not HTTP.
    pub fn get(namespace: &Namespace, address: SocketAddr, path: &str) -> Result<Option<Self>> {
        namespace.inside(|| {
            let mut stream = match TcpStream::connect(address) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(None),
                other => other?,
            };
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let (head, body) = answer.split_once("\r\n\r\n").context("half an HTTP answer")?;
            let status = head.split(' ').nth(1).context("no HTTP status")?.parse()?;
            Ok(Some(Self { status, body: body.to_owned() }))
        })
    }
}

/// The port of localhost that the agent serves its status at because these arguments have it serve its metrics elsewhere.
fn port_of_status(args: &[&str]) -> Option<u16> {
    let mut values = args.iter().filter_map(|arg| arg.strip_prefix("--metrics-addr="));
    let metrics: SocketAddr = values.next()?.parse().ok()?;
    (!metrics.ip().is_loopback()).then(|| metrics.port())
}

impl Node {
    /// Starts an agent with `args` besides those that point it at this node, and waits until it is ready.
    ///
    /// # Errors
    /// It ends, or is not ready within a minute.
    pub fn agent(&self, args: &[&str]) -> Result<Agent<'_>> {
        let agent = self.launch_agent(args)?;
        agent.await_ready()?;
        Ok(agent)
    }

    /// Starts an agent and does not wait for it.
    ///
    /// # Errors
    /// There is no binary.
    pub fn launch_agent(&self, args: &[&str]) -> Result<Agent<'_>> {
        self.launch_agent_with(&[], args)
    }

    /// Starts an agent with `env` in its environment, such as `KUBECONFIG` or `RUST_LOG`, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Self::agent`].
    pub fn agent_with(&self, env: &[(&str, &str)], args: &[&str]) -> Result<Agent<'_>> {
        let agent = self.launch_agent_with(env, args)?;
        agent.await_ready()?;
        Ok(agent)
    }

    /// Starts an agent with `env` in its environment and does not wait for it.
    ///
    /// # Errors
    /// There is no binary.
    pub fn launch_agent_with(&self, env: &[(&str, &str)], args: &[&str]) -> Result<Agent<'_>> {
        self.start_agent(self.program(&binary()?.display().to_string()), env, args)
    }

    /// Starts an agent, without those of the usual flags that are among `args`; `program` is the agent's binary in whatever surroundings it shall have.
    pub(crate) fn start_agent(
        &self,
        program: Invocation,
        env: &[(&str, &str)],
        args: &[&str],
    ) -> Result<Agent<'_>> {
        let number = NEXT_AGENT.fetch_add(1, Ordering::Relaxed);
        let own_port = FIRST_PORT + u16::try_from(number % 10_000)?;
        let port = port_of_status(args).unwrap_or(own_port);
        let log = self.log_folder().join(format!("ofmirror-{number}.log"));
        let own = [
            ("--ovs-rundir", self.run_folder().display().to_string()),
            ("--metrics-addr", format!("127.0.0.1:{port}")),
        ];
        let given = |flag| args.iter().any(|arg| arg.starts_with(flag));
        let own = own.into_iter().filter(|(flag, _)| !given(*flag));
        let invocation = env
            .iter()
            .fold(program, |program, (name, value)| program.env(*name, *value))
            .arg("agent")
            .args(own.flat_map(|(flag, value)| [flag.to_owned(), value]))
            .args(args.iter().copied());
        let daemon = Daemon::new("ofmirror agent", invocation, log);
        daemon.start()?;
        Ok(Agent { node: self, daemon, port })
    }
}

impl Node {
    /// Runs another command of `ofmirror`, such as `cleanup`, on the node, whether an agent runs or not, and waits for its end.
    ///
    /// # Errors
    /// There is no binary.
    pub fn ofmirror(&self, args: &[&str]) -> Result<Output> {
        let program = self.program(&binary()?.display().to_string()).args(args.iter().copied());
        program.arg("--ovs-rundir").arg(self.run_folder().display().to_string()).output()
    }
}

impl Agent<'_> {
    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// The agent ends, a daemon of the node dies, or a minute passes.
    pub fn await_ready(&self) -> Result {
        until("the agent to be ready", || {
            self.alive()?;
            Ok(self.is_ready()?.then_some(()))
        })
        .with_context(|| format!("the agent's log ends with:\n{}", tail(self.daemon.log())))
    }

    /// Waits until the agent answers by HTTP, whatever it says.
    ///
    /// # Errors
    /// The agent ends, or a minute passes.
    pub fn await_listening(&self) -> Result {
        until("the agent to listen", || {
            self.alive()?;
            Ok(self.get("/healthz")?.map(drop))
        })
    }

    /// Waits until `/readyz` says no.
    ///
    /// # Errors
    /// The agent ends, a daemon of the node dies, or a minute passes.
    pub fn await_unready(&self) -> Result {
        until("the agent to be unready", || {
            self.alive()?;
            Ok((!self.is_ready()?).then_some(()))
        })
    }

    /// Whether `/readyz` says yes now.
    ///
    /// # Errors
    /// The answer is not HTTP.
    pub fn is_ready(&self) -> Result<bool> {
        Ok(self.get("/readyz")?.is_some_and(|answer| answer.status == 200))
    }

    /// Asks the agent by HTTP; nothing comes back from one that does not listen (yet).
    ///
    /// # Errors
    /// The answer is not HTTP.
    pub fn get(&self, path: &str) -> Result<Option<HttpAnswer>> {
        HttpAnswer::get(self.node.namespace(), (Ipv4Addr::LOCALHOST, self.port).into(), path)
    }

    /// What `/status` says, which may be half a second old.
    ///
    /// # Errors
    /// The agent does not listen, or what it says is no JSON.
    pub fn status(&self) -> Result<serde_json::Value> {
        let body = self.get("/status")?.context("the agent does not listen")?.body;
        serde_json::from_str(&body)
            .with_context(|| format!("{body}\n{}", self.log().unwrap_or_default()))
    }

    /// The value of one sample of `/metrics`, named with its labels just as it is written there.
    ///
    /// # Errors
    /// The agent does not listen, or has no such sample.
    pub fn metric(&self, sample: &str) -> Result<f64> {
        let answer = self.get("/metrics")?.context("the agent does not listen")?;
        let mut lines = answer.body.lines().filter_map(|line| line.rsplit_once(' '));
        match lines.find(|(name, _)| *name == sample) {
            Some((_, value)) => Ok(value.parse()?),
            None => bail!("there is no metric {sample} in:\n{}", answer.body),
        }
    }

    /// What the agent logged so far.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.daemon.log())?)
    }

    /// Runs another command of `ofmirror`, such as `status`, on the agent's node, and asks this agent. Gives what it prints.
    ///
    /// # Errors
    /// It fails.
    pub fn beside(&self, args: &[&str]) -> Result<String> {
        let program = self.node.program(&binary()?.display().to_string());
        let folder = self.node.run_folder();
        let here = ["--ovs-rundir", &folder.display().to_string(), "--metrics-addr"];
        program.args(args.iter().copied()).args(here).arg(self.address()).run()
    }

    /// Where it serves its status, health and metrics, within the node's namespace.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process, for measurements.
    ///
    /// # Errors
    /// It does not run (any more).
    pub fn pid(&self) -> Result<u32> {
        self.daemon.pid().context("the agent does not run")
    }

    /// Fails when the agent or a daemon of its node ended by itself.
    ///
    /// # Errors
    /// See above, with the last words.
    pub fn alive(&self) -> Result {
        self.node.alive()?;
        self.daemon.alive()
    }

    /// Whether it has not ended by itself.
    ///
    /// # Errors
    /// Nothing can be found out about it.
    pub fn runs(&self) -> Result<bool> {
        self.daemon.runs()
    }

    /// Holds the agent still (SIGSTOP): it hears and does nothing, until [`Self::go_on`].
    ///
    /// # Errors
    /// It ended before.
    pub fn hold(&self) -> Result {
        self.daemon.signal(Signal::SIGSTOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// It ended before.
    pub fn go_on(&self) -> Result {
        self.daemon.signal(Signal::SIGCONT)
    }

    /// Asks the agent to stop (SIGTERM) and waits for a good end.
    ///
    /// # Errors
    /// It ended before, or ends with anything but success.
    pub fn stop(self) -> Result {
        self.stop_by(Signal::SIGTERM)
    }

    /// Asks the agent to stop by this signal and waits for a good end.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub fn stop_by(self, signal: Signal) -> Result {
        let status = self.daemon.end(signal)?;
        let log = self.daemon.log();
        ensure!(status.success(), "the agent stopped with {status}:\n{}", tail(log));
        Ok(())
    }

    /// Kills the agent (SIGKILL): it cannot clean up.
    ///
    /// # Errors
    /// It ended before.
    pub fn kill(self) -> Result {
        self.daemon.end(Signal::SIGKILL).map(drop)
    }

    /// Waits for the agent to end by itself, as it must on an error at start; gives its status and its log.
    ///
    /// # Errors
    /// Its log cannot be read.
    pub fn await_end(self) -> Result<(ExitStatus, String)> {
        let status = self.daemon.wait()?;
        Ok((status, self.log()?))
    }
}
