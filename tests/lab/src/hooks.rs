//! The agent's flows as the switch has them, and what is missing of them: found without the agent's help.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;

use crate::{Agent, EVERYONE, MIRROR, Node, Result, until};

/// The upper half of the cookies of all flows of the agent's: "ofmr" in ASCII.
const TAG: u64 = 0x6f66_6d72 << 32;
/// Bits 28 to 31 of a cookie: the flow copies what a Pod sends ...
const FROM_POD: u64 = 1 << 28;
/// ... what is delivered to one ...
const TO_POD: u64 = 2 << 28;
/// ... notes that a frame was rewritten since it was copied, of which there are four a table ...
const REWRITTEN: u64 = 3 << 28;
const REWRITTEN_FLOWS: usize = 4;
/// ... or keeps out what comes in by the mirror port.
const GUARD: u64 = 4 << 28;

/// How many flows the agent has when it mirrors all Pods: two a Pod, those for rewritten frames, and the guard.
pub const HOOKS: usize = 2 * EVERYONE.len() + REWRITTEN_FLOWS + 1;

/// ovs-vswitchd accepts OpenFlow connections but answers nothing while ovsdb-server is away (`bridge_run()` in
/// vswitchd/bridge.c returns before it runs its bridges).
const AT_ONCE: &str = "--timeout=1";

/// A flow of the agent's.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// Cookie, table, priority, match and actions, as `ovs-ofctl` prints them.
    pub flow: String,
    /// Packets that it has counted.
    pub packets: u64,
    /// For how long it has been there, in seconds.
    pub seconds: f64,
}

impl Node {
    /// The agent's flows in the switch, sorted.
    ///
    /// # Errors
    /// The switch does not answer.
    pub fn hooks(&self) -> Result<Vec<Hook>> {
        let filter = format!("cookie={TAG:#x}/{:#x}", u64::MAX << 32);
        let text = self.ofctl(&["--no-names", "dump-flows"], [filter.as_str()])?;
        let lines = text.lines().filter(|line| line.contains("actions="));
        let mut hooks = lines.map(Hook::parse).collect::<Result<Vec<_>>>()?;
        hooks.sort_by(|a, b| a.flow.cmp(&b.flow));
        Ok(hooks)
    }

    /// What is not mirrored, by the switch's word alone: Pod ports without a flow for what they send, Pod ports that
    /// OVN delivers to without a flow for that, tables where it does without those for rewritten frames, and a missing
    /// guard.
    ///
    /// # Errors
    /// The switch does not answer.
    pub fn unhooked(&self) -> Result<Vec<String>> {
        self.unhooked_with(&[])
    }

    /// As [`Self::unhooked`], of a switch that answers within a second.
    pub(crate) fn unhooked_at_once(&self) -> Result<Vec<String>> {
        self.unhooked_with(&[AT_ONCE])
    }

    fn unhooked_with(&self, options: &[&str]) -> Result<Vec<String>> {
        let ports = self.switch_ports(options)?;
        // With counters, as without them table 0 is not named.
        let text = self.ofctl(&[options, &["--no-names", "dump-flows"]].concat(), [])?;
        let flows: Vec<_> = text.lines().filter(|line| line.contains("actions=")).collect();
        let count = |cookie: u64, table: &str| {
            let words = [format!("cookie={:#x},", TAG | cookie), table.to_owned()];
            let is_it = |flow: &&&str| {
                let mut found = flow.split_whitespace();
                words.iter().all(|word| found.any(|candidate| candidate == word))
            };
            flows.iter().filter(is_it).count()
        };
        let mut missing = Vec::new();
        for (name, port) in ports {
            let number = u64::from(port);
            if name == MIRROR && count(GUARD | number, "table=0,") == 0 {
                missing.push("the guard".to_owned());
            }
            if !name.ends_with("_h") {
                continue;
            }
            if count(FROM_POD | number, "table=0,") == 0 {
                missing.push(format!("what {name} sends"));
            }
            for table in flows.iter().filter_map(|flow| delivery_table(flow, port)) {
                if count(TO_POD | number, table) == 0 || count(REWRITTEN, table) < REWRITTEN_FLOWS {
                    missing.push(format!("what {name} receives by {table}"));
                }
            }
        }
        Ok(missing)
    }

    /// The Pod ports that have a flow for what they send, by the switch's word alone.
    ///
    /// # Errors
    /// The switch does not answer.
    pub fn hooked(&self) -> Result<BTreeSet<String>> {
        let hooks = self.hooks()?;
        let is_hooked = |port: u16| {
            let cookie = format!("cookie={:#x},", TAG | FROM_POD | u64::from(port));
            hooks.iter().any(|hook| hook.flow.starts_with(&cookie))
        };
        let ports = self.switch_ports(&[])?.into_iter();
        Ok(ports.filter(|(_, port)| is_hooked(*port)).map(|(name, _)| name).collect())
    }

    /// Waits until these Pod ports and no others have flows, and no flow is missing or on its way.
    ///
    /// # Errors
    /// The agent ends, or it does not come true within a minute.
    pub fn await_hooked(&self, agent: &Agent<'_>, ports: &[&str]) -> Result {
        let wanted: BTreeSet<_> = ports.iter().map(|name| (*name).to_owned()).collect();
        let mut seen = BTreeSet::new();
        let result = until(&format!("flows for {ports:?} and no others"), || {
            agent.alive()?;
            seen = self.hooked()?;
            let counted = |name: &str| agent.metric(&format!("ofmirror_flows_{name}"));
            let all = seen == wanted && counted("installed")? == counted("desired")?;
            Ok((all && self.our_flows()?.len() as f64 == counted("desired")?).then_some(()))
        });
        result.with_context(|| format!("there are flows for {seen:?}"))
    }

    /// The switch's ports by name, asked without OVSDB.
    fn switch_ports(&self, options: &[&str]) -> Result<BTreeMap<String, u16>> {
        // ` 3(a_h): addr:...`
        let text = self.ofctl(&[options, &["dump-ports-desc"]].concat(), [])?;
        let ports = text.lines().filter_map(|line| {
            let (number, rest) = line.trim().split_once('(')?;
            let (name, _) = rest.split_once("):")?;
            Some((name.to_owned(), number.parse().ok()?))
        });
        Ok(ports.collect())
    }
}

/// The `table=T,` of a flow that outputs to a port.
fn delivery_table(flow: &str, port: u16) -> Option<&str> {
    let (condition, actions) = flow.split_once("actions=")?;
    let output = format!("output:{port}");
    let delivers = actions.split(',').any(|action| action == output);
    delivers.then(|| condition.split(' ').find(|word| word.starts_with("table=")))?
}

impl Hook {
    /// ` cookie=0x1, duration=2.5s, table=0, n_packets=3, n_bytes=180, idle_age=1, priority=5,ip actions=drop`
    fn parse(line: &str) -> Result<Self> {
        const COUNTERS: [&str; 5] =
            ["duration=", "n_packets=", "n_bytes=", "idle_age=", "hard_age="];
        let words = || line.split_whitespace();
        let value = |name: &str| {
            let found = words().find_map(|word| word.strip_prefix(name)?.strip_suffix(','));
            found.with_context(|| format!("no {name} in {line}"))
        };
        let lasting = |word: &&str| !COUNTERS.iter().any(|counter| word.starts_with(counter));
        Ok(Self {
            flow: words().filter(lasting).collect::<Vec<_>>().join(" "),
            packets: value("n_packets=")?.parse()?,
            seconds: value("duration=")?.trim_end_matches('s').parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_flow_is_read_with_its_counters() {
        let line = " cookie=0x6f666d7210000001, duration=2.5s, table=0, n_packets=3, n_bytes=180, send_flow_rem idle_age=7, priority=65534,reg10=0/0x8000000,in_port=1 actions=output:6,resubmit(,0)";
        let flow = "cookie=0x6f666d7210000001, table=0, send_flow_rem priority=65534,reg10=0/0x8000000,in_port=1 actions=output:6,resubmit(,0)";
        let hook = Hook { flow: flow.to_owned(), packets: 3, seconds: 2.5 };
        assert_eq!(Hook::parse(line).expect("it is a flow"), hook);
    }
}
