//! Steady load between two Pods, by iperf3.

use crate::{Node, Result, daemon::Daemon, until};

/// Bytes of a datagram, small so that there are many.
const LENGTH: u32 = 200;

/// Datagrams at a steady rate, until dropped.
#[derive(Debug)]
pub struct Load {
    // In the order in which they are to end.
    client: Daemon,
    server: Daemon,
}

impl Node {
    /// Lets Pod `from` send `rate` datagrams a second to Pod `to`.
    ///
    /// # Errors
    /// iperf3 cannot be started, or does not get through within a minute.
    pub fn load(&self, from: &str, to: &str, rate: u32) -> Result<Load> {
        let daemon = |what: &str, pod: &str, arguments: &[&str]| {
            let log = self.log_folder().join(format!("iperf3-{what}-{pod}.out"));
            let program = self.pod(pod).program("iperf3").args(arguments.iter().copied());
            Daemon::new(&format!("iperf3 {what}"), program, log)
        };
        let address = self.pod(to).ip4().to_string();
        let server = daemon("server", to, &["-s", "-4"]);
        server.start()?;
        let [length, bits] = [LENGTH, rate * LENGTH * 8].map(|number| number.to_string());
        // An hour, which is longer than anybody waits.
        let steady = ["-c", &address, "-u", "-l", &length, "-b", &bits, "-t", "3600"];
        let client = daemon("client", from, &steady);
        let ready = || {
            server.alive()?;
            let sockets = self.pod(to).program("ss").args(["-Hltn", "sport = :5201"]).run()?;
            Ok((!sockets.is_empty()).then_some(()))
        };
        until("iperf3 to listen", ready)?;
        client.start()?;
        let load = Load { client, server };
        let before = self.received()?;
        until("the load to flow", || {
            load.alive()?;
            Ok((self.received()? > before + u64::from(rate)).then_some(()))
        })?;
        Ok(load)
    }

    /// Packets that Pods have sent so far, by the word of their NICs on the host's side.
    ///
    /// # Errors
    /// Whatever `ip` says.
    pub fn received(&self) -> Result<u64> {
        let text = self.namespace().ip(["-s", "-j", "link", "show"])?;
        let links: Vec<serde_json::Value> = serde_json::from_str(&text)?;
        let of_pods = |link: &&serde_json::Value| {
            link["ifname"].as_str().is_some_and(|name| name.ends_with("_h"))
        };
        let received = links.iter().filter(of_pods).map(|link| &link["stats64"]["rx"]["packets"]);
        Ok(received.filter_map(serde_json::Value::as_u64).sum())
    }
}

impl Load {
    /// Fails when it has ended.
    ///
    /// # Errors
    /// The last words of iperf3.
    pub fn alive(&self) -> Result {
        self.server.alive()?;
        self.client.alive()
    }
}
