//! What mirroring costs: the metrics that tell it.

use std::{thread, time::Duration};

use lab::{Agent, HOOKS, Node, Result, Service, until};

const MAIN: &str = "ofmirror_datapath_cpu_seconds_total{component=\"main\"}";
const SWITCHED: [&str; 2] = ["ofmirror_switched_packets_total", "ofmirror_switched_bytes_total"];
const RATIO: &str = "ofmirror_cpu_overhead_ratio";

/// A sample of `/metrics`, if it is there.
fn sample(agent: &Agent<'_>, name: &str) -> Result<Option<f64>> {
    agent.alive()?;
    let text = agent.get("/metrics")?.map_or(String::new(), |answer| answer.body);
    let mut samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let found = samples.find(|(sample, _)| *sample == name);
    Ok(found.map(|(_, value)| value.parse()).transpose()?)
}

/// The counters, once all of them are above `least`.
fn counters_above(agent: &Agent<'_>, least: [f64; 3]) -> Result<[f64; 3]> {
    until("the counters to grow", || {
        thread::sleep(Duration::from_millis(50));
        let mut now = [0.0; 3];
        for (now, name) in now.iter_mut().zip([MAIN, SWITCHED[0], SWITCHED[1]]) {
            *now = sample(agent, name)?.unwrap_or(0.0);
        }
        let grown = now.iter().zip(least).all(|(now, least)| *now > least);
        let fallen = now.iter().zip(least).any(|(now, least)| *now < least);
        assert!(!fallen, "from {least:?} to {now:?}");
        Ok(grown.then_some(now))
    })
}

#[test]
fn counters_only_grow_also_when_the_switch_starts_anew() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let load = node.load("a", "b", 1000)?;
    let mut counters = counters_above(&agent, [0.0; 3])?;
    for _ in 0..2 {
        node.restart(Service::Vswitchd)?;
        agent.await_ready()?;
        load.alive()?;
        // Once for what is left of the time before, once for what the new switch counts.
        counters = counters_above(&agent, counters)?;
        counters = counters_above(&agent, counters)?;
    }
    // Nobody sends frames longer than 1514 bytes, or shorter than 42.
    let [_, packets, bytes] = counters;
    assert!((42.0..1514.0).contains(&(bytes / packets)), "{packets} packets, {bytes} bytes");
    assert!(packets <= node.received()? as f64, "no more than all Pods sent");
    Ok(())
}

#[test]
fn what_the_host_sends_by_an_internal_port_is_switched_and_what_it_gets_there_is_not() -> Result {
    const SENT: usize = 100;
    // An EtherType for local experiments (IEEE 802), which nobody answers.
    const FRAME: [u8; 60] = {
        let mut frame = [0; 60];
        (frame[0], frame[6], frame[12], frame[13]) = (0xff, 0x02, 0x88, 0xb5);
        frame
    };
    let node = Node::start()?;
    // Nothing in OVN's databases is bound to it.
    node.vsctl("add-port br-int host0 -- set Interface host0 type=internal".split(' '))?;
    node.namespace().ip(["link", "set", "host0", "up"])?;
    // All that is sent on purpose, and all that kernels send unasked.
    let sent = || Ok(node.received()? + node.namespace().transmissions("host0")?.1);
    let before = sent()?;
    let agent = node.agent(&["--enable-mirror"])?;
    until("a first reading", || Ok((sample(&agent, MAIN)? > Some(0.0)).then_some(())))?;
    for _ in 0..SENT {
        node.namespace().inject("host0", &FRAME)?;
    }
    let frame: String = FRAME.iter().map(|byte| format!("{byte:02x}")).collect();
    let outputs = ["output:host0"; 2 * SENT].join(",");
    node.ofctl(
        &["packet-out"],
        [format!("in_port=ANY,packet={frame},actions={outputs}").as_str()],
    )?;
    until("what came in to be counted", || {
        let counted = sample(&agent, SWITCHED[0])?.unwrap_or(0.0);
        let came: Result<u64> = sent();
        let came = (came? - before) as f64;
        assert!(counted <= came, "{counted} packets, of {came} that came in");
        Ok((counted >= SENT as f64).then_some(()))
    })?;
    agent.stop()
}

#[test]
fn the_ratio_is_absent_until_pauses_under_load_have_told_it() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror", "--overhead-probe=4s/1s"])?;
    let load = node.load("a", "b", 5000)?;
    assert_eq!(sample(&agent, RATIO)?, None);
    until("the ratio to be told", || {
        thread::sleep(Duration::from_millis(50));
        load.alive()?;
        sample(&agent, RATIO)
    })?;
    let metric = |name: &str| agent.metric(&format!("ofmirror_cpu_overhead_{name}"));
    let [ratio, error] = [metric("ratio")?, metric("standard_error")?];
    // Copies cost something, and less than ten times the rest.
    assert!(error > 0.0 && ratio > -4.0 * error && ratio < 10.0, "{ratio} +- {error}");
    let [bare, mirrored] =
        [metric("baseline_seconds_per_packet")?, metric("mirroring_seconds_per_packet")?];
    assert!(bare > 1e-8 && bare < 1e-2, "{bare} s a packet");
    assert!((mirrored / bare - 1.0 - ratio).abs() < 1e-6, "{mirrored} and {bare}, but {ratio}");
    assert!(metric("baseline_packets")? > 1000.0);
    assert!(metric("baseline_age_seconds")? < 60.0);
    agent.stop()?;
    drop(load);

    // Pauses leave nothing behind: the next agent, which makes none, copies everything.
    let agent = node.agent(&["--enable-mirror"])?;
    assert_eq!(sample(&agent, RATIO)?, None, "it has no baseline");
    node.assert_copies_are_exact()
}

#[test]
fn hooks_come_back_after_each_pause() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror", "--overhead-probe=2s/1s"])?;
    for _ in 0..3 {
        // What is lifted on purpose is not missing, once the switch has said that it is lifted.
        let lifted = || -> Result<bool> { Ok(node.hooks()?.len() < HOOKS) };
        until("a pause in which the agent is ready", || {
            Ok((lifted()? && agent.is_ready()? && lifted()?).then_some(()))
        })?;
        until("all hooks", || Ok(node.unhooked()?.is_empty().then_some(())))?;
    }
    // Nor does a pause keep back what OVN took.
    until("a pause", || Ok((node.hooks()?.len() < HOOKS).then_some(())))?;
    node.restart(Service::Controller)?;
    until("all hooks", || Ok(node.unhooked()?.is_empty().then_some(())))?;
    Ok(())
}
