//! A real Prometheus scrapes the agent: rules and dashboard have data, and alerts fire.

use std::{
    collections::BTreeSet,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, ensure};
use lab::{Haste, Invocation, Node, OURS, Prometheus, Result, Service, deployed, questions, until};
use serde_json::Value;

/// Metrics that a healthy agent has no series of, or not yet: nobody is left out, nothing went wrong, what mirroring costs can't
/// be told.
const RIGHTLY_EMPTY: &[&str] =
    &[REFUSED, "ofmirror_taps_rejected", "ofmirror_errors_total", "ofmirror_cpu_overhead_ratio"];
/// One that there is only with an API server: kubernetes_rules.rs has it.
const REFUSED: &str = "ofmirror_pods_refused";
/// So fast that a test needn't wait.
const HASTE: Haste = Haste { interval: 1, impatient: true };

/// Whether an expression may come to nothing.
fn may_be_empty(expression: &str) -> bool {
    RIGHTLY_EMPTY.iter().any(|metric| expression.contains(metric))
}

/// Whether there is a series, and one that is a number.
fn has_figures(series: &[Value]) -> bool {
    let figures = series.iter().filter_map(|series| series["value"][1].as_str()?.parse().ok());
    figures.clone().next().is_some() && figures.clone().all(|figure: f64| !figure.is_nan())
}

/// Waits until an expression comes to figures.
fn await_figures(prometheus: &Prometheus<'_>, expression: &str) -> Result {
    until(&format!("figures for {expression}"), || {
        Ok(has_figures(&prometheus.query(expression)?).then_some(()))
    })
}

/// The names of the alerts that fire.
fn firing(prometheus: &Prometheus<'_>) -> Result<BTreeSet<String>> {
    let alerts = prometheus.firing()?.into_iter();
    let name = |alert: Value| alert["labels"]["alertname"].as_str().map(str::to_owned);
    alerts.map(|alert| name(alert).context("an alert without a name")).collect()
}

/// Lets Pods talk for as long as `work` takes.
fn under_traffic<T>(node: &Node, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let talk = scope.spawn(|| -> Result {
            while !done.load(Ordering::Relaxed) {
                node.pod("a").ping(node.pod("c").ip4())?;
                node.pod("b").ping(node.pod("a").ip4())?;
            }
            Ok(())
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        talk.join().map_err(|_| anyhow::anyhow!("the Pods' talk panicked"))??;
        result
    })
}

#[test]
fn promtool_accepts_the_rules_and_their_cases() -> Result {
    let rules = deployed("prometheus/rules.yml");
    let cases = deployed("../tests/prometheus/rules_test.yml");
    let promtool = |args: [&str; 2], file: &std::path::Path| {
        Invocation::new("promtool").args(args).arg(file.display().to_string()).run()
    };
    promtool(["check", "rules"], &rules)?;
    promtool(["test", "rules"], &cases)?;
    // Each alert has a case in which it fires, by a name that tells what the near miss is.
    let (rules, cases) = (fs::read_to_string(rules)?, fs::read_to_string(cases)?);
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: Vec<_> = alerts.collect();
    ensure!(alerts.len() >= 10, "{alerts:?}");
    for alert in alerts {
        let fires = format!("alertname=\"{alert}\",alertstate=\"firing\"");
        ensure!(cases.contains(&fires), "{alert} never fires in tests/prometheus/rules_test.yml");
    }
    Ok(())
}

#[test]
fn promtool_accepts_the_metrics_of_a_busy_agent() -> Result {
    let node = Node::start()?;
    node.annotate("a")?;
    let agent = node.agent(&[])?;
    node.pod("a").ping(node.pod("c").ip4())?;
    until("packets to be counted", || {
        Ok((agent.metric("ofmirror_copies_offered_total")? > 0.0).then_some(()))
    })?;
    let metrics = agent.get("/metrics")?.context("the agent does not listen")?.body;
    let promtool = Invocation::new("promtool").args(["check", "metrics"]);
    let said = promtool.run_with_input(&metrics)?;
    ensure!(said.is_empty(), "{said}");
    // It finds what is wrong.
    let wrong = metrics.replace("ofmirror_copies_offered_total", "ofmirror_copies_offered");
    ensure!(promtool.run_with_input(&wrong).is_err(), "promtool accepts anything");
    agent.stop()
}

#[test]
fn every_rule_and_every_panel_has_data_of_a_healthy_node_and_no_alert_fires() -> Result {
    let node = Node::start()?;
    for pod in ["a", "b", "c"] {
        node.annotate(pod)?;
    }
    let agent = node.agent(&[])?;
    let prometheus = node.prometheus(&agent, HASTE)?;
    let target = until("a target", || Ok(prometheus.targets()?.pop()))?;
    assert_eq!(target["labels"]["node"], node.name());
    under_traffic(&node, || {
        await_figures(&prometheus, "ofmirror_build_info")?;
        // A loss, so that there is something to tell of it; as ovn-controller's, it is over before any alert.
        node.ofctl(&["del-flows"], [OURS])?;
        await_figures(&prometheus, "ofmirror_flow_losses_total == 1")?;
        let rules = prometheus.rules()?;
        for rule in &rules {
            assert_eq!(rule["health"], "ok", "{rule}");
            let (name, query) = (rule["name"].as_str(), rule["query"].as_str());
            let (name, query) = name.zip(query).with_context(|| format!("what is {rule}?"))?;
            if rule["type"] == "recording" && !may_be_empty(query) {
                await_figures(&prometheus, name)?;
            }
        }
        ensure!(rules.len() >= 20, "{} rules are too few", rules.len());
        let questions = questions()?;
        ensure!(questions.len() >= 25, "{} expressions are too few", questions.len());
        for question in questions {
            let result = if may_be_empty(&question.expression) {
                prometheus.query(&question.expression).map(drop)
            } else {
                await_figures(&prometheus, &question.expression)
            };
            result.with_context(|| format!("panel {:?}", question.panel))?;
        }
        // The names of the Pods, not of the agent's own.
        let copied = "namespace_pod:ofmirror_mirrored_bytes:rate5m";
        let wanted = BTreeSet::from([Some("a"), Some("b"), Some("c")]);
        until("figures of three Pods and no others", || {
            let pods = prometheus.query(&format!("group by (namespace, pod) ({copied} > 0)"))?;
            let pods: BTreeSet<_> = pods.iter().map(|pod| pod["metric"]["pod"].as_str()).collect();
            assert!(pods.is_subset(&wanted), "{pods:?}");
            Ok((pods == wanted).then_some(()))
        })
    })?;
    assert_eq!(firing(&prometheus)?, BTreeSet::new());
    until("Prometheus to have the agent's last figures", || {
        let counted = agent.metric("ofmirror_copies_offered_total")?;
        let scraped = prometheus.query("ofmirror_copies_offered_total")?;
        let scraped = scraped[0]["value"][1].as_str().context("no value")?.parse::<f64>()?;
        Ok((counted == scraped).then_some(()))
    })?;
    agent.stop()
}

#[test]
fn panels_that_are_empty_as_long_as_all_is_well_have_data_when_it_is_not() -> Result {
    let node = Node::start()?;
    // Nothing in OVN's databases has this name, so nothing is ever delivered there.
    node.vsctl(["add-port", "br-int", "stray"])?;
    node.vsctl(["set", "Interface", "stray", "type=internal", "external_ids:iface-id=stray"])?;
    let agent = node.agent(&["--enable-mirror", "--overhead-probe=4s/1s"])?;
    let prometheus = node.prometheus(&agent, HASTE)?;
    node.restart(Service::Vswitchd)?;
    agent.await_ready()?;
    let load = node.load("a", "b", 5000)?;
    let mut asked = 0;
    for question in questions()? {
        if may_be_empty(&question.expression) && !question.expression.contains(REFUSED) {
            let result = await_figures(&prometheus, &question.expression);
            result.with_context(|| format!("panel {:?}", question.panel))?;
            asked += 1;
        }
    }
    ensure!(asked >= 5, "{asked} expressions are too few");
    load.alive()?;
    agent.stop()
}

#[test]
fn an_alert_fires_for_a_switch_that_is_away_and_ends_and_another_for_a_dead_agent() -> Result {
    let node = Node::start()?;
    node.annotate("a")?;
    let agent = node.agent(&[])?;
    let prometheus = node.prometheus(&agent, HASTE)?;
    await_figures(&prometheus, "ofmirror_ready == 1")?;
    let await_alert = |name: &str| {
        until(&format!("the alert {name}"), || {
            let alerts = prometheus.firing()?;
            Ok(alerts.into_iter().find(|alert| alert["labels"]["alertname"] == name))
        })
    };

    node.kill(Service::Vswitchd)?;
    let alert = await_alert("OfmirrorNotConnected")?;
    let summary = format!(
        "ofmirror on node {} ({}) hears nothing from openflow of Open vSwitch",
        node.name(),
        agent.address()
    );
    assert_eq!(alert["annotations"]["summary"], summary.as_str());
    let others = firing(&prometheus)?;
    assert!(!others.contains("OfmirrorNotReady"), "said twice: {others:?}");
    node.start_service(Service::Vswitchd)?;
    agent.await_ready()?;
    until("all alerts to end", || Ok(firing(&prometheus)?.is_empty().then_some(())))?;

    let address = agent.address();
    agent.kill()?;
    let alert = await_alert("OfmirrorAgentDown")?;
    let summary = format!("No ofmirror agent answers on node {} ({address})", node.name());
    assert_eq!(alert["annotations"]["summary"], summary.as_str());
    Ok(())
}
