//! What whoever reaches the agent's HTTP address can do to it: nothing but to get an answer, or none.
//!
//! The agent runs as on a node, as a process of its own, with a folder in which there is no switch: it can't be ready,
//! and says so all the time, whatever is done to it meanwhile.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use metrics::Metrics;
use ofmirror::{
    health::Health,
    http::{self, Service, Site},
    inquiry,
};
use tempfile::TempDir;
use tokio::sync::watch;

/// How much more memory the agent may hold after an attack than before, in KB: 16 MB of answers under way, and what
/// connections and the allocator take.
const GROWTH: u64 = 24 << 10;
/// Files that the agent may have open: 64 connections, and what it has without any.
const FILES: usize = 64 + 36;
/// How long somebody else may have to wait for answers meanwhile: kubelet's patience with /healthz in `deploy/`.
const WAIT: Duration = Duration::from_secs(5);

/// A kubeconfig of an API server that nobody runs.
const KUBECONFIG: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c",
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}], "users": [{"name": "c", "user": {}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]}"#;

struct Agent {
    process: Child,
    address: SocketAddr,
    /// Where /metrics is guarded, if it is.
    guarded: Option<SocketAddr>,
    _folder: TempDir,
}

impl Agent {
    fn start() -> Self {
        Self::start_with(&["--metrics-addr=127.0.0.1:0"])
    }

    fn start_guarded() -> Self {
        let status = "--status-addr=127.0.0.1:0";
        Self::start_with(&[status, "--metrics-addr=127.0.0.2:0", "--metrics-auth=kubernetes"])
    }

    fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, KUBECONFIG).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_ofmirror"))
            .args(["agent", "--pod-source=ovsdb"])
            .args(flags)
            .arg("--ovs-rundir")
            .arg(folder.path())
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut next = || -> SocketAddr {
            let line =
                lines.find(|line| line.contains("address=")).expect("it says where it listens");
            line.rsplit_once("address=").unwrap().1.trim().parse().unwrap()
        };
        let address = next();
        let guarded = (flags.len() > 1).then(next);
        thread::spawn(move || lines.for_each(drop));
        let agent = Self { process, address, guarded, _folder: folder };
        // What is made at the first request counts as there before.
        for path in ["/", "/status", "/metrics"] {
            assert!(agent.get(path).starts_with("HTTP/1.1 200 OK"));
        }
        agent
    }

    fn connect(&self) -> TcpStream {
        self.connect_to(self.address)
    }

    fn connect_to(&self, address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// All that comes back until the connection ends.
    fn answer(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // It may end before all of the request was taken.
        let _ = stream.write_all(request);
        rest(stream)
    }

    fn get(&self, path: &str) -> String {
        self.answer(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
    }

    fn memory(&self) -> u64 {
        memory(self.process.id())
    }

    /// Open file descriptors.
    fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// Somebody who wants to know how it is gets to know it.
    fn assert_serves(&self) {
        let start = Instant::now();
        let alive = self.get("/healthz");
        assert!(alive.ends_with("\r\n\r\nok\n"), "{alive}");
        let ready = self.get("/readyz");
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("OVSDB: "), "{ready}");
        assert!(start.elapsed() < WAIT, "{:?}", start.elapsed());
    }

    /// Runs `attack` a few times, and demands that the agent serves others after each, and holds no more memory.
    fn endures(&self, attack: impl Fn(&Self) -> Vec<TcpStream>) {
        let before = self.memory();
        for _ in 0..3 {
            let held = attack(self);
            self.assert_serves();
            let grown = self.memory().saturating_sub(before);
            assert!(grown < GROWTH, "{grown} KB more than {before} KB");
            assert!(self.files() < FILES, "{} files are open", self.files());
            drop(held);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Resident memory of a process in KB.
fn memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn an_agent_is_reached_at_the_address_that_it_was_given_and_at_no_other_of_the_node() {
    let agent = Agent::start();
    agent.assert_serves();
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], agent.address.port()));
    assert!(TcpStream::connect(elsewhere).is_err());
}

#[test]
fn thousands_of_connections_that_say_nothing_keep_nobody_out() {
    let agent = Agent::start();
    agent.endures(|agent| (0..900).map(|_| agent.connect()).collect());
    // One after another, each held for a moment.
    let before = agent.memory();
    for _ in 0..5_000 {
        let _ = agent.connect().write_all(b"GET");
    }
    agent.assert_serves();
    assert!(agent.memory().saturating_sub(before) < GROWTH);
}

#[test]
fn heads_that_come_byte_by_byte_are_cut_off_and_keep_nobody_out() {
    let agent = Agent::start();
    let start = Instant::now();
    let mut slow: Vec<_> = (0..60).map(|_| agent.connect()).collect();
    for byte in b"GET /healthz HTTP/1.1\r\nHost: a" {
        for stream in &mut slow {
            let _ = stream.write_all(&[*byte]);
        }
        agent.assert_serves();
        thread::sleep(Duration::from_millis(100));
    }
    for stream in slow {
        assert_eq!(rest(stream), "", "it was answered before it had asked");
    }
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
}

#[test]
fn answers_that_nobody_reads_take_bounded_memory_and_keep_nobody_out() {
    let agent = Agent::start();
    let pipeline = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
    agent.endures(|agent| {
        let all = (0..900).map(|_| {
            let mut stream = agent.connect();
            let _ = stream.write_all(&pipeline);
            stream
        });
        all.collect()
    });
}

#[test]
fn large_answers_that_nobody_reads_take_bounded_memory() {
    // As of a node with thousands of Pods. It is served by this process, in which clients that don't read hold nothing.
    let metrics = Metrics::new();
    for number in 0..300 {
        let reason = format!("{number}{}", "x".repeat(10_000));
        metrics.taps_rejected.with_label_values(&[&reason]).inc();
    }
    let (_, health) = watch::channel(Health::default());
    let (nobody, _) = inquiry::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let site = Site::status("127.0.0.1:0".parse().unwrap());
    let listener = runtime.block_on(http::listen(&site)).unwrap();
    let address = listener.address().unwrap();
    runtime
        .block_on(async { http::start(vec![listener], Service::new(health, metrics, nobody)) })
        .unwrap();

    let ask = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    assert!(rest(ask()).len() > 3_000_000);
    let before = memory(std::process::id());
    let mut held: Vec<_> = (0..60).map(|_| ask()).collect();
    // The first bytes of each: it is answered, with what was asked for or a refusal.
    let mut refused = 0;
    for stream in &mut held {
        let mut line = [0; 12];
        stream.read_exact(&mut line).unwrap();
        refused += usize::from(&line == b"HTTP/1.1 503");
    }
    let grown = memory(std::process::id()).saturating_sub(before);
    assert!(grown < 2 * GROWTH, "{grown} KB more than {before} KB");
    assert!(refused > 40, "{refused} of 60 were refused");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(60);
    while rest(ask()).len() <= 3_000_000 {
        assert!(Instant::now() < deadline, "there is no room again");
    }
}

#[test]
fn of_many_requests_on_a_connection_one_is_answered() {
    let agent = Agent::start();
    let text = agent.answer(&b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2));
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
}

#[test]
fn heads_and_bodies_without_end_are_not_kept() {
    let agent = Agent::start();
    let flood = |agent: &Agent, head: &str, more: &str| {
        let mut stream = agent.connect();
        stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let _ = stream.write_all(head.as_bytes());
        let more = more.repeat(1000);
        let mut sent = 0;
        while sent < 64 << 20 && stream.write_all(more.as_bytes()).is_ok() {
            sent += more.len();
        }
        assert!(sent < 16 << 20, "it took {sent} bytes of {head:?}");
        stream
    };
    agent.endures(|agent| {
        let host = "HTTP/1.1\r\nHost: localhost\r\n";
        let chunked = format!("{host}Transfer-Encoding: chunked\r\n\r\n");
        let long = format!("{host}Content-Length: 99999999999\r\n\r\n");
        let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
        vec![
            flood(agent, "GET /", "a"),
            flood(agent, &format!("GET / {host}X: "), "a"),
            flood(agent, &format!("GET / {host}"), "X: y\r\n"),
            flood(agent, &format!("GET /metrics {chunked}"), &chunk),
            flood(agent, &format!("POST /metrics {chunked}"), &chunk),
            flood(agent, &format!("POST /metrics {long}"), &chunk),
        ]
    });
}

#[test]
fn what_is_no_http_is_refused_or_dropped() {
    let agent = Agent::start();
    let noise: Vec<u8> =
        (0..64_u32 << 10).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let garbage: [&[u8]; 8] = [
        &noise,
        b"\r\n\r\n\r\n\r\n",
        b"\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nffffffffffffffffff\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
    ];
    agent.endures(|agent| {
        let send = |garbage: &&[u8]| {
            let mut stream = agent.connect();
            let _ = stream.write_all(garbage);
            stream
        };
        garbage.iter().map(send).collect()
    });
    for garbage in garbage {
        let text = agent.answer(garbage);
        assert!(!text.contains("panic"), "{text}");
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 "), "{text}");
    }
}

#[test]
fn those_who_ask_for_everything_all_the_time_leave_others_a_turn() {
    let agent = Agent::start();
    let before = agent.memory();
    let until = Instant::now() + Duration::from_secs(3);
    thread::scope(|scope| {
        for path in ["/metrics", "/status", "/", "/readyz"].repeat(5) {
            let agent = &agent;
            scope.spawn(move || {
                while Instant::now() < until {
                    agent.get(path);
                }
            });
        }
        while Instant::now() < until {
            agent.assert_serves();
        }
    });
    let grown = agent.memory().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} KB more than {before} KB");
}

#[test]
fn status_tells_scripts_how_it_is() {
    let agent = Agent::start();
    let text = agent.get("/status");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    let status: serde_json::Value = serde_json::from_str(body).unwrap();
    // The settings name a bridge and sockets, too.
    let (before, rest) = body.split_once("\"settings\":{").unwrap();
    let body = format!("{before}\"settings\":{}", rest.split_once('}').unwrap().1);
    for field in status.as_object().unwrap().keys() {
        assert_eq!(body.matches(&format!("\"{field}\":")).count(), 1, "{field} twice: {body}");
    }
    assert_eq!((&status["ready"], &status["complete"]), (&false.into(), &false.into()));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["uptime_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(status["ovsdb"]["connected"], false);
    assert_eq!(status["nic"]["name"], "mirror0");
    assert_eq!(
        (&status["settings"]["bridge"], &status["settings"]["enable_mirror"]),
        (&"br-int".into(), &false.into())
    );
    assert_eq!(status["taps"], serde_json::json!([]));
    assert!(status["problems"][0].as_str().unwrap().starts_with("OVSDB: "), "{status}");
}

#[test]
fn who_comes_by_no_https_where_that_is_spoken_takes_bounded_memory_and_keeps_nobody_out() {
    let agent = Agent::start_guarded();
    let guarded = agent.guarded.unwrap();
    // A record of TLS that is as long as can be said and never comes, and one of a handshake that is.
    let long = [&b"\x16\x03\x01\xff\xff\x01\xff\xff\xff"[..], &[0; 1 << 16]].concat();
    let endless = [&b"\x16\x03\x01\x40\x00\x01\xff\xff\xff"[..], &[0; 1 << 14]].concat();
    let noise: [&[u8]; 6] =
        [b"", b"\x16", b"\x16\x03\x01\x00\x02\x01", b"\x80\x2e\x01", &long, &endless];
    for noise in noise {
        agent.endures(|agent| {
            let all = (0..300).map(|_| {
                let mut stream = agent.connect_to(guarded);
                let _ = stream.write_all(noise);
                stream
            });
            all.collect()
        });
    }
    let mut plain = agent.connect_to(guarded);
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    let told = rest(plain);
    assert!(told.starts_with("HTTP/1.1 400") && told.contains("speaks HTTPS"), "{told}");
    assert!(!told.contains("ofmirror_"), "{told}");
}

#[test]
fn a_page_that_comes_by_a_name_of_its_own_reads_nothing() {
    let agent = Agent::start();
    for path in ["/", "/status", "/metrics", "/readyz"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        let told = agent.answer(request.as_bytes());
        assert!(told.starts_with("HTTP/1.1 421"), "{told}");
    }
}
