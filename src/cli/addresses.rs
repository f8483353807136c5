//! Flags that say where the agent answers by HTTP.

use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;

use crate::http;

/// Where the agent answers by HTTP; the same for every command, as some ask it.
#[derive(Clone, Debug, Args)]
pub(super) struct Addresses {
    /// Address that the agent serves /metrics at, or none
    ///
    /// One of localhost serves all that --status-addr does by default, too. Labels of metrics name the mirrored Pods: see
    /// --metrics-auth for who may read them
    #[arg(long, env = "OFMIRROR_METRICS_ADDR", default_value = "127.0.0.1:9475", value_name = "ADDR:PORT", value_parser = address)]
    metrics_addr: Address,

    /// Address that the agent serves a page for people, /status, /healthz, /readyz and /metrics at, or none [default: --metrics-addr
    /// if that is of localhost, else 127.0.0.1 and its port]
    ///
    /// Whoever reaches it reads which Pods are mirrored, and whether anybody listens. At localhost these are the programs of the
    /// node, and whoever may use kubectl port-forward to the agent's Pod
    #[arg(long, env = "OFMIRROR_STATUS_ADDR", value_name = "ADDR:PORT", value_parser = address)]
    status_addr: Option<Address>,
}

/// `none`, or an address.
#[derive(Clone, Copy, Debug)]
struct Address(Option<SocketAddr>);

impl Addresses {
    /// Where the agent tells how it is.
    pub(super) fn status(&self) -> Option<SocketAddr> {
        if let Some(asked) = self.status_addr {
            return asked.0;
        }
        let metrics = self.metrics_addr.0?;
        if metrics.ip().to_canonical().is_loopback() {
            return Some(metrics);
        }
        Some((Ipv4Addr::LOCALHOST, metrics.port()).into())
    }

    /// Where it serves what.
    pub(super) fn all(&self) -> http::Addresses {
        http::Addresses { status: self.status(), metrics: self.metrics_addr.0 }
    }
}

fn address(text: &str) -> Result<Address, String> {
    if text == "none" {
        return Ok(Address(None));
    }
    // A Pod is told its address without saying of which family it is, so [$(POD_IP)]:9475 must do for both.
    let bracketed = || {
        let (ip, port) = text.strip_prefix('[')?.rsplit_once("]:")?;
        Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
    };
    let address = text.parse().ok().or_else(bracketed);
    address.map_or_else(
        || Err("write ADDRESS:PORT, as in 0.0.0.0:9475 or [::1]:9475, or none".to_owned()),
        |address| Ok(Address(Some(address))),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        addresses: Addresses,
    }

    #[test]
    fn an_address_of_either_family_may_stand_in_brackets() {
        for (text, read) in [
            ("10.0.0.1:9475", "10.0.0.1:9475"),
            ("[10.0.0.1]:9475", "10.0.0.1:9475"),
            ("[2001:db8::1]:9475", "[2001:db8::1]:9475"),
        ] {
            assert_eq!(address(text).unwrap().0.unwrap().to_string(), read, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_with_a_port_is_refused() {
        // The last is what a Pod without an address would make of [$(POD_IP)]:9475.
        for text in [
            "",
            "10.0.0.1",
            "2001:db8::1:9475:",
            "[10.0.0.1]",
            "[10.0.0.1:9475",
            "10.0.0.1]:9475",
            "[10.0.0.1]:94750",
            "[node1]:9475",
            "[]:9475",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_tells_who_is_watched_is_at_localhost_unless_asked_otherwise() {
        for (flags, status) in [
            (&[][..], Some("127.0.0.1:9475")),
            (&["--metrics-addr=127.0.0.1:9000"], Some("127.0.0.1:9000")),
            (&["--metrics-addr=[::1]:9000"], Some("[::1]:9000")),
            (&["--metrics-addr=[::ffff:127.0.0.1]:9000"], Some("[::ffff:127.0.0.1]:9000")),
            (&["--metrics-addr=10.0.0.1:9000"], Some("127.0.0.1:9000")),
            (&["--metrics-addr=0.0.0.0:9000"], Some("127.0.0.1:9000")),
            (&["--metrics-addr=[2001:db8::1]:9000"], Some("127.0.0.1:9000")),
            (&["--metrics-addr=none"], None),
            (&["--metrics-addr=10.0.0.1:9000", "--status-addr=none"], None),
            (&["--metrics-addr=none", "--status-addr=127.0.0.1:1"], Some("127.0.0.1:1")),
            (
                &["--metrics-addr=10.0.0.1:9000", "--status-addr=10.0.0.1:9000"],
                Some("10.0.0.1:9000"),
            ),
        ] {
            let command = Command::try_parse_from([&["ofmirror"], flags].concat()).unwrap();
            let found = command.addresses.status().map(|address| address.to_string());
            assert_eq!(found.as_deref(), status, "{flags:?}");
        }
    }
}
