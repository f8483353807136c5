//! What has been counted: by our flows, by the Pods' kernels, by the mirror port.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};

use crate::{MIRROR, Node, Result, until};

/// The cookie of every flow of ours, as `ovs-ofctl` takes it: the upper half is "ofmr".
pub const OURS: &str = "cookie=0x6f666d7200000000/0xffffffff00000000";

/// Numbers of frames, all read while none was on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By Pod: what its own kernel says that `eth0` has sent.
    pub sent: BTreeMap<String, u64>,
    /// By Pod: what its own kernel says that `eth0` has received.
    pub received: BTreeMap<String, u64>,
    /// What the host's kernel says that the mirror port has received: the copies.
    pub copies: u64,
    /// By Pod: what our flow for what it sends has copied. Pods without such a flow are not in it.
    pub from_pod: BTreeMap<String, u64>,
    /// By Pod: what our flow for what is delivered to it has copied. Pods without such a flow are not in it.
    pub to_pod: BTreeMap<String, u64>,
    /// What our flows for frames that were rewritten in place have seen.
    pub rewritten: u64,
    /// What our flow has dropped that came in by the mirror port.
    pub guarded: u64,
}

impl Counters {
    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let less = |now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>| {
            now.iter().map(|(pod, n)| (pod.clone(), n - before.get(pod).unwrap_or(&0))).collect()
        };
        Self {
            sent: less(&self.sent, &before.sent),
            received: less(&self.received, &before.received),
            copies: self.copies - before.copies,
            from_pod: less(&self.from_pod, &before.from_pod),
            to_pod: less(&self.to_pod, &before.to_pod),
            rewritten: self.rewritten - before.rewritten,
            guarded: self.guarded - before.guarded,
        }
    }

    /// What all copying flows have copied.
    #[must_use]
    pub fn copied(&self) -> u64 {
        self.from_pod.values().chain(self.to_pod.values()).sum()
    }
}

impl Node {
    /// Reads everything that counts frames, again if a frame came by meanwhile.
    ///
    /// # Errors
    /// A tool fails, or the Pods are not silent for an instant within a minute.
    pub fn counters(&self) -> Result<Counters> {
        until("an instant of silence", || {
            let before = self.wires()?;
            let mut counters = before.clone();
            // The switch adds its cache's numbers to the flows now and then; now.
            self.revalidate()?;
            self.count_flows(&mut counters)?;
            Ok((self.wires()? == before).then_some(counters))
        })
    }

    /// What kernels have counted.
    fn wires(&self) -> Result<Counters> {
        let mut counters = Counters::default();
        for pod in self.pods() {
            let (received, sent) = pod.namespace().transmissions("eth0")?;
            counters.sent.insert(pod.name().to_owned(), sent);
            counters.received.insert(pod.name().to_owned(), received);
        }
        (counters.copies, _) = self.namespace().transmissions(MIRROR)?;
        Ok(counters)
    }

    /// What our flows have counted.
    fn count_flows(&self, counters: &mut Counters) -> Result {
        let mut pods = BTreeMap::new();
        for pod in self.pods() {
            pods.insert(u64::from(self.ofport(pod.interface())?), pod.name().to_owned());
        }
        let dump = self.ofctl(&["dump-flows"], [OURS])?;
        for flow in dump.lines().filter(|line| line.contains("actions=")) {
            let field = |name: &str| {
                let rest = flow.split(name).nth(1);
                let text = rest.and_then(|rest| rest.split([',', ' ']).next());
                text.with_context(|| format!("no {name} in {flow}"))
            };
            let cookie = u64::from_str_radix(field("cookie=0x")?, 16)?;
            let packets: u64 = field("n_packets=")?.parse()?;
            let pod = || {
                let pod = pods.get(&(cookie & 0xffff)).cloned();
                pod.with_context(|| format!("no Pod for {flow}"))
            };
            match cookie >> 28 & 0xf {
                1 => *counters.from_pod.entry(pod()?).or_default() += packets,
                2 => *counters.to_pod.entry(pod()?).or_default() += packets,
                3 => counters.rewritten += packets,
                4 => counters.guarded += packets,
                _ => bail!("a flow of ours of no known kind: {flow}"),
            }
        }
        Ok(())
    }
}
