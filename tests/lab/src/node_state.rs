//! Everything of a node that an agent must leave as it found it: links, addresses, routes, neighbours, kernel parameters, Open
//! vSwitch's rows, flows and ports, and what Pods have of their own.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::{Node, Result};

/// What `ip -json -details link` tells of a link that somebody could have changed.
const OF_LINK: [&str; 12] = [
    "ifindex",
    "address",
    "flags",
    "mtu",
    "link",
    "master",
    "group",
    "qdisc",
    "txqlen",
    "promiscuity",
    "allmulti",
    "linkinfo",
];
/// What the kernel changes by itself.
const RESTLESS_FLAGS: [&str; 3] = ["LOWER_UP", "RUNNING", "NO-CARRIER"];
/// Neighbours that are not known, or that the kernel needs no entry for: they come and go.
const FLEETING: [&str; 3] = ["FAILED", "INCOMPLETE", "NOARP"];

/// A node at one moment, by kinds of things; each is a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState(BTreeMap<&'static str, Vec<String>>);

impl NodeState {
    /// What is not as it was: one line for each thing that has gone or is new.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (what, now) in &self.0 {
            let none = Vec::new();
            let then = before.0.get(what).unwrap_or(&none);
            let lacks = |list: &[String], other: &[String]| -> Vec<String> {
                list.iter().filter(|line| !other.contains(line)).cloned().collect()
            };
            changes.extend(lacks(then, now).iter().map(|line| format!("{what}: - {line}")));
            changes.extend(lacks(now, then).iter().map(|line| format!("{what}: + {line}")));
            if changes.is_empty() && now.len() != then.len() {
                changes.push(format!("{what}: {} instead of {}", now.len(), then.len()));
            }
        }
        changes
    }
}

impl Node {
    /// The node as it is now.
    ///
    /// # Errors
    /// A tool fails.
    pub fn state(&self) -> Result<NodeState> {
        let ip = |args: &str| self.namespace().ip(args.split(' '));
        let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let mut state = BTreeMap::new();
        state.insert("link", links(&ip("-json -details link show")?)?);
        state.insert("address", lifeless(&ip("-oneline address show")?, "valid_lft"));
        for (what, family) in [("IPv4 route", "-4"), ("IPv6 route", "-6")] {
            let routes = ip(&format!("-oneline {family} route show table all"))?;
            state.insert(what, lifeless(&routes, "expires"));
        }
        state.insert("IPv4 rule", lines(ip("-4 rule show")?));
        state.insert("IPv6 rule", lines(ip("-6 rule show")?));
        state.insert("neighbour", neighbours(&ip("neigh show nud all")?));
        state.insert("kernel parameter", self.namespace().inside(parameters)?);
        for pod in self.pods() {
            let links = links(&pod.namespace().ip(["-json", "-details", "link", "show"])?)?;
            let named = links.into_iter().map(|link| format!("{}: {link}", pod.name()));
            state.entry("link of a Pod").or_default().extend(named);
        }
        state
            .insert("Open vSwitch", self.estate()?.iter().flat_map(|line| columns(line)).collect());
        // Only OpenFlow 1.0 shows whether a port is flooded to.
        let ports = self.ofctl(&["-O", "OpenFlow10", "show"], [])?;
        state.insert("port", lines(ports).into_iter().filter(|line| !is_header(line)).collect());
        let files = fs::read_dir(self.run_folder())?;
        let names = files.map(|file| Ok(file?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<Result<Vec<_>>>()?;
        names.sort_unstable();
        state.insert("file", names);
        Ok(NodeState(state))
    }
}

/// The columns of a row of the database, one a line; a flow as it is. It begins with the table and the row's UUID.
fn columns(line: &str) -> Vec<String> {
    match line.split_once("; ") {
        Some((row, columns)) if row.contains(": _uuid ") => {
            let row = row.replace(": _uuid", "").split_whitespace().collect::<Vec<_>>().join(" ");
            columns.split("; ").map(|column| format!("{row} {column}")).collect()
        }
        _ => vec![line.to_owned()],
    }
}

/// The transaction's number is in it.
fn is_header(line: &str) -> bool {
    line.starts_with("OFPT_")
}

fn links(json: &str) -> Result<Vec<String>> {
    let links: Vec<Value> = serde_json::from_str(json)?;
    let lines = |link: &Value| {
        let parts = OF_LINK.iter().map(|key| match (*key, &link[*key]) {
            ("flags", Value::Array(flags)) => {
                let flags = flags.iter().filter_map(Value::as_str);
                let lasting = flags.filter(|flag| !RESTLESS_FLAGS.contains(flag));
                format!("{} flags={}", link["ifname"], lasting.collect::<Vec<_>>().join(","))
            }
            // What else it tells of a Linux bridge and its ports counts down.
            ("linkinfo", info) => {
                let [kind, port] = ["info_kind", "info_slave_kind"].map(|key| &info[key]);
                format!("{} kind={kind}, port of {port}", link["ifname"])
            }
            (key, value) => format!("{} {key}={value}", link["ifname"]),
        });
        parts.collect::<Vec<_>>()
    };
    Ok(links.iter().flat_map(lines).collect())
}

/// Lines up to what counts down.
fn lifeless(text: &str, life: &str) -> Vec<String> {
    text.lines().map(|line| line.split(life).next().unwrap_or(line).trim().to_owned()).collect()
}

/// Neighbours without how sure the kernel is of them.
fn neighbours(text: &str) -> Vec<String> {
    let known = text.lines().filter_map(|line| line.trim().rsplit_once(' '));
    let lasting = known.filter(|(_, how)| !FLEETING.contains(how));
    lasting.map(|(neighbour, _)| neighbour.to_owned()).collect()
}

/// What this thread's network namespace has set for each link.
fn parameters() -> Result<Vec<String>> {
    let mut parameters = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let folder = Path::new("/proc/sys/net").join(family).join("conf");
        for link in fs::read_dir(folder)? {
            for file in fs::read_dir(link?.path())? {
                let path = file?.path();
                // A link may go meanwhile, and there are secrets that are not set.
                let Ok(value) = fs::read_to_string(&path) else { continue };
                parameters.push(format!("{}={}", path.display(), value.trim()));
            }
        }
    }
    parameters.sort_unstable();
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(links: &[&str]) -> NodeState {
        NodeState(BTreeMap::from([("link", links.iter().map(|&link| link.to_owned()).collect())]))
    }

    #[test]
    fn what_went_and_what_came_is_told() {
        let (before, after) = (state(&["a mtu=1500", "b"]), state(&["a mtu=1000", "b"]));
        assert_eq!(after.changes_since(&before), ["link: - a mtu=1500", "link: + a mtu=1000"]);
        assert_eq!(before.changes_since(&before), [""; 0]);
        assert_eq!(state(&["b", "b"]).changes_since(&state(&["b"])), ["link: 2 instead of 1"]);
    }

    #[test]
    fn a_row_is_told_by_its_columns() {
        let row = "Port: _uuid               : 1-2; name                : mirror0; tag                 : []";
        let columns = columns(row);
        assert_eq!(
            columns,
            ["Port : 1-2 name                : mirror0", "Port : 1-2 tag                 : []"]
        );
        assert_eq!(super::columns("priority=5,ip actions=drop"), ["priority=5,ip actions=drop"]);
    }

    #[test]
    fn how_sure_the_kernel_is_of_a_neighbour_does_not_count() {
        let text = "10.16.0.12 dev ovn0 lladdr 02:00:00:10:00:0c STALE \n10.16.0.9 dev ovn0 FAILED";
        assert_eq!(neighbours(text), ["10.16.0.12 dev ovn0 lladdr 02:00:00:10:00:0c"]);
    }
}
