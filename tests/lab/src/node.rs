//! A whole OVN node: its daemons, its folder, its namespaces.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU16, AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context as _, anyhow};
use nix::sys::signal::Signal;

use crate::{
    Invocation, Namespace, Pod, Result, Service,
    daemon::{Daemon, tail},
    sandbox,
    switch::{chrooted, environment, schema},
    topology, until,
};

/// The type of the userspace datapath.
const USERSPACE_DATAPATH: &str = "netdev";
/// The type of the kernel's datapath, where it has one.
pub const KERNELS_DATAPATH: &str = "system";

/// Tells apart the nodes of one test process.
static NEXT_NODE: AtomicU32 = AtomicU32::new(1);

/// The type of the nodes' datapath: the userspace one, unless `LAB_DATAPATH` says otherwise.
pub fn datapath() -> String {
    env::var("LAB_DATAPATH").unwrap_or_else(|_| USERSPACE_DATAPATH.to_owned())
}

/// A node with OVN, Open vSwitch, and Pods; it goes when dropped.
#[derive(Debug)]
pub struct Node {
    namespace: Namespace,
    folder: PathBuf,
    /// The folder of the node that has OVN's databases.
    central: PathBuf,
    daemons: Vec<(Service, Daemon)>,
    pods: Mutex<BTreeMap<String, Pod>>,
    pub(crate) next_host: AtomicU32,
    pub(crate) next_bare: AtomicU16,
    /// Type of interface that bare ports have.
    pub(crate) bare_type: &'static str,
}

impl Node {
    /// A node with the whole topology: a router, two switches, five Pods, service VIPs, DHCP, an ACL that rejects.
    ///
    /// # Errors
    /// Outside of the sandbox, and whenever a daemon or a tool fails.
    pub fn start() -> Result<Self> {
        let node = Self::start_bare()?;
        node.populate()?;
        Ok(node)
    }

    /// Builds the topology that [`Self::start`] has, on a bare node.
    ///
    /// # Errors
    /// Whatever a tool says.
    pub fn populate(&self) -> Result {
        topology::build(self).or_else(|error| {
            self.alive()?;
            Err(error)
        })
    }

    /// A node with an empty `br-int` and empty OVN databases.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_bare() -> Result<Self> {
        Self::boot_new(None)
    }

    /// Another node of the OVN whose databases `central` has, with an empty `br-int`. It must go before that one.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn join(central: &Self) -> Result<Self> {
        Self::boot_new(Some(central))
    }

    fn boot_new(central: Option<&Self>) -> Result<Self> {
        let node = Self::create(central)?;
        node.boot()?;
        Ok(node)
    }

    /// As [`Self::start_bare`], with room for thousands of ports: those of [`Self::add_bare_ports`] lead nowhere at all, as no kernel
    /// likes to have so many devices.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_for_thousands() -> Result<Self> {
        let mut node = Self::create(None)?;
        node.bare_type = "dummy";
        let node = node.with_daemons();
        node.boot()?;
        Ok(node)
    }

    /// A node with nothing that runs; OVN's databases are those of `central`, or its own.
    pub(crate) fn create(central: Option<&Self>) -> Result<Self> {
        sandbox::ensure_inside()?;
        let name = format!("n{}", NEXT_NODE.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(sandbox::FOLDER).join(&name);
        for part in ["run", "log", "db"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let node = Self {
            namespace: Namespace::create(&name)?,
            central: central.map_or_else(|| folder.clone(), |central| central.folder.clone()),
            folder,
            daemons: Vec::new(),
            pods: Mutex::default(),
            next_host: AtomicU32::new(1),
            next_bare: AtomicU16::new(0),
            bare_type: "internal",
        };
        Ok(node.with_daemons())
    }

    fn with_daemons(mut self) -> Self {
        let daemon = |service: Service| {
            let log = self.log_folder().join(format!("{}.out", service.name()));
            (service, Daemon::new(service.name(), self.daemon_command(service), log))
        };
        let has_central = self.central == self.folder;
        let services =
            Service::ALL.into_iter().filter(|service| has_central || !service.is_central());
        self.daemons = services.map(daemon).collect();
        self
    }

    fn boot(&self) -> Result {
        for (file, schema_name) in [
            ("conf.db", "vswitch.ovsschema"),
            ("nb.db", "ovn-nb.ovsschema"),
            ("sb.db", "ovn-sb.ovsschema"),
        ] {
            if file != "conf.db" && self.central != self.folder {
                continue;
            }
            let path = self.folder.join("db").join(file).display().to_string();
            let schema = schema(schema_name).display().to_string();
            self.tool("ovsdb-tool").args(["create", &path, &schema]).run()?;
        }
        self.start_services(&[Service::Ovsdb, Service::Northbound, Service::Southbound])?;
        let southbound = self.central.join("run/ovnsb_db.sock");
        self.vsctl(["--no-wait", "init"])?;
        self.vsctl([
            "--no-wait".to_owned(),
            "set".into(),
            "Open_vSwitch".into(),
            ".".into(),
            format!("external_ids:system-id={}", self.name()),
            format!("external_ids:ovn-remote=unix:{}", southbound.display()),
            "external_ids:ovn-encap-type=geneve".into(),
            "external_ids:ovn-encap-ip=127.0.0.1".into(),
        ])?;
        let datapath = datapath();
        self.vsctl(
            format!(
                "--no-wait add-br br-int -- \
                 set Bridge br-int datapath_type={datapath} fail_mode=secure"
            )
            .split(' '),
        )?;
        self.start_services(&[Service::Vswitchd, Service::Northd, Service::Controller])?;
        self.quiet("br-int")
    }

    /// Starts those of the services that this node has.
    fn start_services(&self, services: &[Service]) -> Result {
        let here = |service: &&Service| self.daemons.iter().any(|(of, _)| of == *service);
        services.iter().filter(here).try_for_each(|service| self.start_service(*service))
    }

    /// The name, which is also that of the namespace.
    pub fn name(&self) -> &str {
        self.namespace.name()
    }

    /// The namespace that stands for the node's own network.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The folder with `run`, `log` and `db`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder with the sockets: what an agent gets as `--ovs-rundir`.
    pub fn run_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    pub(crate) fn log_folder(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// A program that runs in the node's namespace and talks to its databases.
    pub fn program(&self, program: &str) -> Invocation {
        self.environment()
            .into_iter()
            .fold(self.namespace.program(program), |i, (name, value)| i.env(name, value))
    }

    /// The variables that point tools at this node.
    pub(crate) fn environment(&self) -> [(&'static str, String); 9] {
        environment(&self.folder, &self.central)
    }

    /// Stops the IPv6 stack from sending by an interface of the host side.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn quiet(&self, interface: &str) -> Result {
        self.namespace.sysctl([format!("net.ipv6.conf.{interface}.disable_ipv6=1").as_str()])
    }

    /// A Pod by name.
    ///
    /// # Panics
    /// When there is none; a test that asks for it is wrong.
    pub fn pod(&self, name: &str) -> Pod {
        self.pods_locked().get(name).cloned().unwrap_or_else(|| panic!("there is no Pod {name}"))
    }

    /// All Pods that have a namespace, by name.
    pub fn pods(&self) -> Vec<Pod> {
        self.pods_locked().values().cloned().collect()
    }

    pub(crate) fn pods_locked(&self) -> MutexGuard<'_, BTreeMap<String, Pod>> {
        self.pods.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn daemon(&self, service: Service) -> Result<&Daemon> {
        let found = self.daemons.iter().find(|(of, _)| *of == service);
        found.map(|(_, daemon)| daemon).ok_or_else(|| anyhow!("no daemon {}", service.name()))
    }

    /// The process of a service, for measurements.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self, service: Service) -> Result<u32> {
        self.daemon(service)?.pid().with_context(|| format!("{} does not run", service.name()))
    }

    /// Starts a service that does not run, and waits until it does its work.
    ///
    /// # Errors
    /// It cannot be started, dies, or is not ready within a minute.
    pub fn start_service(&self, service: Service) -> Result {
        self.launch(service)?;
        self.await_service(service)
    }

    /// Starts a service that does not run, and does not wait for it.
    ///
    /// # Errors
    /// It runs already or cannot be started.
    pub fn launch(&self, service: Service) -> Result {
        self.daemon(service)?.start()
    }

    /// Waits until a service that was launched does its work: a database answers, the switch has taken in its
    /// configuration, OVN has brought its flows to the switch.
    ///
    /// # Errors
    /// It dies or is not ready within a minute.
    pub fn await_service(&self, service: Service) -> Result {
        let daemon = self.daemon(service)?;
        match service {
            Service::Ovsdb => self.await_socket(daemon, "db.sock"),
            Service::Northbound => self.await_socket(daemon, "ovnnb_db.sock"),
            Service::Southbound => self.await_socket(daemon, "ovnsb_db.sock"),
            // Any change makes the switch confirm that it has taken in the whole configuration.
            Service::Vswitchd => {
                let pid = daemon.pid().context("ovs-vswitchd does not run")?;
                self.vsctl(["set", "Open_vSwitch", ".", &format!("external_ids:lab={pid}")])?;
                Ok(())
            }
            Service::Northd => self.nbctl(["--wait=sb", "sync"]).map(drop),
            Service::Controller => self.sync(),
        }
    }

    fn await_socket(&self, daemon: &Daemon, name: &str) -> Result {
        let path = self.run_folder().join(name);
        until(&format!("{} to listen", path.display()), || {
            daemon.alive()?;
            Ok(UnixStream::connect(&path).is_ok().then_some(()))
        })
    }

    /// Kills a service by SIGKILL and waits for its end.
    ///
    /// # Errors
    /// It did not run (any more).
    pub fn kill(&self, service: Service) -> Result {
        self.daemon(service)?.end(Signal::SIGKILL).map(drop)
    }

    /// Holds a service still (SIGSTOP), until [`Self::go_on`].
    ///
    /// # Errors
    /// It does not run.
    pub fn hold(&self, service: Service) -> Result {
        self.daemon(service)?.signal(Signal::SIGSTOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// It ended meanwhile.
    pub fn go_on(&self, service: Service) -> Result {
        self.daemon(service)?.signal(Signal::SIGCONT)
    }

    /// Ends a service by SIGTERM and waits for its end. ovn-controller then takes itself out of the southbound
    /// database, as on a node that leaves the cluster.
    ///
    /// # Errors
    /// It did not run (any more).
    pub fn stop(&self, service: Service) -> Result {
        self.daemon(service)?.end(Signal::SIGTERM).map(drop)
    }

    /// Kills and starts a service, keeping its folder and databases, and waits until it does its work.
    ///
    /// # Errors
    /// As [`Self::kill`] and [`Self::start_service`].
    pub fn restart(&self, service: Service) -> Result {
        self.kill(service)?;
        self.start_service(service)
    }

    /// Waits until the switch has the flows for all that is in the northbound database.
    ///
    /// # Errors
    /// OVN does not manage within a minute, or one of its daemons died.
    pub fn sync(&self) -> Result {
        self.nbctl(["--wait=hv", "sync"]).map(drop)
    }

    /// Fails when a daemon ended by itself, naming it and its last words. Open vSwitch 3.1.0's connection tracking is
    /// known to abort once in many hours: that must not be blamed on the agent.
    ///
    /// # Errors
    /// A daemon ended without [`Self::kill`] or [`Self::stop`].
    pub fn alive(&self) -> Result {
        self.daemons.iter().try_for_each(|(service, daemon)| {
            daemon
                .alive()
                .with_context(|| format!("the log file:\n{}", tail(&self.log_file(*service))))
        })
    }

    /// Takes note of daemons that ended by themselves, so that a node that is no longer wanted can go without a panic;
    /// gives what [`Self::alive`] would have said of each.
    pub fn bury_the_dead(&self) -> Vec<String> {
        let dead = self.daemons.iter().filter_map(|(_, daemon)| {
            let words = daemon.alive().err()?;
            let _ = daemon.wait();
            Some(words.to_string())
        });
        dead.collect()
    }

    /// A service's log file.
    pub fn log_file(&self, service: Service) -> PathBuf {
        self.log_folder().join(format!("{}.log", service.name()))
    }

    fn daemon_command(&self, service: Service) -> Invocation {
        let database = |socket: &str, file: &str| {
            vec![
                format!("--remote=punix:{}", self.run_folder().join(socket).display()),
                self.folder.join("db").join(file).display().to_string(),
            ]
        };
        let local = format!("unix:{}", self.run_folder().join("db.sock").display());
        let (program, args) = match service {
            Service::Ovsdb => ("ovsdb-server", database("db.sock", "conf.db")),
            Service::Northbound => ("ovsdb-server", database("ovnnb_db.sock", "nb.db")),
            Service::Southbound => ("ovsdb-server", database("ovnsb_db.sock", "sb.db")),
            Service::Vswitchd if self.bare_type == "dummy" => {
                ("ovs-vswitchd", vec![local, "--enable-dummy".to_owned()])
            }
            Service::Vswitchd => ("ovs-vswitchd", vec![local]),
            Service::Northd => ("ovn-northd", vec![]),
            Service::Controller => ("ovn-controller", vec![local]),
        };
        let file = |suffix| self.run_folder().join(format!("{}.{suffix}", service.name()));
        let mut argv = chrooted(program).into_iter();
        let invocation = self
            .program(&argv.next().unwrap_or_default())
            .args(argv)
            .arg(format!("--log-file={}", self.log_file(service).display()))
            .arg("--verbose=console:off")
            .arg(format!("--pidfile={}", file("pid").display()))
            .args(args);
        match service {
            // It has no such option before OVN 23.09.
            Service::Controller => invocation,
            _ => invocation.arg(format!("--unixctl={}", file("ctl").display())),
        }
    }

    /// Copies the logs to `$LAB_LOGS/NAME`, if that is set. Whether the test has failed is not known here: most fail by an
    /// error that they give back.
    fn save_logs(&self) {
        if let Ok(target) = env::var("LAB_LOGS") {
            let target = Path::new(&target).join(self.name());
            let logs = self.log_folder().display().to_string();
            let _ = fs::create_dir_all(&target);
            let copied =
                Invocation::new("cp").args(["-r", &logs]).arg(target.display().to_string());
            let _ = copied.run();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let alive = self.alive();
        self.save_logs();
        // The agents of OVN first, so that none complains of a database that went.
        for (_, daemon) in self.daemons.drain(..).rev() {
            drop(daemon);
        }
        for pod in self.pods_locked().values() {
            let _ = pod.namespace().delete();
        }
        let _ = self.namespace.delete();
        let _ = fs::remove_dir_all(&self.folder);
        if let Err(error) = alive {
            if thread::panicking() {
                eprintln!("{error:?}");
            } else {
                panic!("{error:?}");
            }
        }
    }
}
