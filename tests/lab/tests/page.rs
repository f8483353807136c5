//! The page at `/` as a person sees it, in a real browser on the node.

use std::{env, fs, path::PathBuf};

use anyhow::Context as _;
use lab::{Agent, Browser, Node, Result, Service, until};
use serde_json::json;

/// The name of a logical port, for plain OVN that of the Pod, in the hands of somebody who means harm.
const EVIL: &str = "<img src=x onerror=window.harmed=1><script>window.harmed=1</script>";

fn url(agent: &Agent<'_>) -> String {
    format!("http://{}/", agent.address())
}

/// What a Pod's first port is called, by what `/status` says.
fn name(node: &Node, agent: &Agent<'_>, pod: &str) -> Result<String> {
    let status = agent.status()?;
    let interface = node.pod(pod).interface().to_owned();
    let tap =
        status["taps"].as_array().into_iter().flatten().find(|tap| tap["interface"] == *interface);
    let tap = tap.with_context(|| format!("{interface} is not mirrored: {status}"))?;
    let name = tap["pod"].as_str().unwrap_or_default();
    Ok(tap["namespace"]
        .as_str()
        .map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}")))
}

/// What the metrics say of the copies of what a Pod sent.
fn packets_from(node: &Node, agent: &Agent<'_>, pod: &str) -> Result<String> {
    let body = agent.get("/metrics")?.context("the agent does not listen")?.body;
    let labels = format!("interface=\"{}\"", node.pod(pod).interface());
    let line = body.lines().find(|line| {
        line.starts_with("ofmirror_mirrored_packets_total{")
            && line.contains(&labels)
            && line.contains("from_pod")
    });
    let (_, value) = line.and_then(|line| line.rsplit_once(' ')).context("no such metric")?;
    Ok(value.to_owned())
}

/// Saves pictures of the page in the folder that LAB_SCREENSHOTS names, or else in the node's.
fn picture(node: &Node, browser: &Browser<'_>, name: &str) -> Result {
    let folder =
        env::var_os("LAB_SCREENSHOTS").map_or_else(|| node.folder().to_owned(), PathBuf::from);
    fs::create_dir_all(&folder)?;
    for (screen, width, height) in [("desktop", 1280, 800), ("phone", 390, 844)] {
        for scheme in ["light", "dark"] {
            browser.look_as(width, height, scheme)?;
            let is_wider = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
            assert_eq!(browser.run(is_wider)?, false, "on a {screen} it must be moved sideways");
            let file = folder.join(format!("{name}-{screen}-{scheme}.png"));
            browser.screenshot(&file)?;
            assert!(fs::metadata(&file)?.len() > 5_000, "{} is empty", file.display());
        }
    }
    Ok(())
}

/// A cell of the row of a Pod and direction.
fn cell(browser: &Browser<'_>, pod: &str, direction: &str, cell: &str) -> Result<String> {
    let script = format!(
        "const of = [...document.querySelectorAll('tbody')].find(body => body.querySelector('.pod b').textContent === '{pod}');\
         return of ? of.querySelector('.{direction} .{cell}').innerText : ''"
    );
    Ok(browser.run(&script)?.as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_person_sees_what_is_mirrored_and_how_it_moves() -> Result {
    let node = Node::start()?;
    node.annotate("a")?;
    node.annotate("d")?;
    let agent = node.agent(&[])?;
    let browser = node.browser()?;
    browser.look_as(1280, 800, "light")?;
    browser.open(&url(&agent))?;
    let [a, d] = ["a", "d"].map(|name| node.pod(name));
    let ping = || a.ping_with(d.ip4(), 1000, 20);

    let names = [name(&node, &agent, "a")?, name(&node, &agent, "d")?];
    let text = until("the page to show the Pods", || {
        ping()?;
        let text = browser.text()?;
        Ok(names.iter().all(|name| text.contains(name)).then_some(text))
    })?;
    for part in [
        "all is mirrored that should be",
        "2 mirrored",
        "in sync",
        "mirror0 up",
        "OVSDB connected",
        "OpenFlow connected",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let rate = || cell(&browser, &names[0], "from_pod", "rate");
    until("a rate of what Pod a sends", || {
        ping()?;
        Ok(rate()?.contains("kbit/s").then_some(()))
    })?;
    until("a plot", || {
        ping()?;
        let drawn =
            browser.run("return document.querySelector('#plot .line').getAttribute('d').length")?;
        Ok((drawn.as_u64() > Some(30)).then_some(()))
    })?;
    picture(&node, &browser, "traffic")?;
    browser.look_as(1280, 800, "light")?;
    // Silence is seen too, and the totals are those of the metrics.
    until("the rate to fall to nothing", || Ok((rate()? == "0 bit/s").then_some(())))?;
    until("the same total as in the metrics", || {
        let shown = cell(&browser, &names[0], "from_pod", "packets")?.replace(',', "");
        Ok((shown == packets_from(&node, &agent, "a")? && shown != "0").then_some(()))
    })?;

    node.unannotate("d")?;
    until("the Pod to go from the page", || {
        Ok((!browser.text()?.contains(&names[1])).then_some(()))
    })?;

    assert_eq!(browser.console()?, Vec::<String>::new());
    let elsewhere: Vec<_> = browser
        .requests()?
        .into_iter()
        .filter(|asked| !asked.starts_with(&url(&agent)) && !asked.starts_with("data:"))
        .collect();
    assert_eq!(elsewhere, Vec::<String>::new());
    agent.stop()
}

#[test]
fn names_of_others_are_shown_as_they_are_and_do_nothing() -> Result {
    let node = Node::start()?;
    node.vsctl(["add-port", "br-int", "evil"])?;
    node.vsctl([
        "set",
        "Interface",
        "evil",
        "type=internal",
        &format!("external_ids:iface-id=\"{EVIL}\""),
    ])?;
    let agent = node.agent(&["--enable-mirror"])?;
    let browser = node.browser()?;
    browser.open(&url(&agent))?;
    let text = until("the name to be shown", || {
        Ok(Some(browser.text()?).filter(|text| text.contains(EVIL)))
    })?;
    assert!(text.contains("Mirrored only in part"), "{text}");
    let harm = "return [window.harmed ?? 0, document.images.length, document.scripts.length, document.querySelectorAll('main script').length]";
    assert_eq!(browser.run(harm)?, json!([0, 0, 1, 0]));
    // Nor could it, had it become HTML.
    browser.run(&format!(
        "document.querySelector('footer').innerHTML = `{EVIL}<img src=x onerror='window.harmed=1'>`"
    ))?;
    until("the browser to refuse it", || {
        Ok(browser
            .console()?
            .iter()
            .any(|line| line.contains("Content Security Policy"))
            .then_some(()))
    })?;
    assert_eq!(browser.run("return window.harmed ?? 0")?, 0);
    picture(&node, &browser, "names")?;
    agent.stop()
}

#[test]
fn a_person_sees_that_something_is_wrong_and_that_the_agent_is_gone() -> Result {
    let node = Node::start()?;
    node.annotate("a")?;
    let agent = node.agent(&[])?;
    let shown = name(&node, &agent, "a")?;
    let browser = node.browser()?;
    browser.open(&url(&agent))?;
    until("the page", || Ok(browser.text()?.contains(&shown).then_some(())))?;
    node.kill(Service::Vswitchd)?;
    let text = until("the loss of the switch to be shown", || {
        Ok(Some(browser.text()?).filter(|text| text.contains("OpenFlow no answer")))
    })?;
    assert!(
        text.contains("not ready") && text.contains("Wrong") && text.contains("OpenFlow: "),
        "{text}"
    );
    picture(&node, &browser, "wrong")?;
    node.start_service(Service::Vswitchd)?;
    until("it to be well again", || {
        Ok(browser.text()?.contains("all is mirrored that should be").then_some(()))
    })?;
    agent.kill()?;
    until("the silence to be shown", || Ok(browser.text()?.contains("no answer").then_some(())))?;
    let picture_of_before = browser.text()?;
    assert!(picture_of_before.contains(&shown), "{picture_of_before}");
    Ok(())
}

#[test]
fn a_person_sees_that_mirroring_is_paused_and_that_it_goes_on() -> Result {
    let node = Node::start()?;
    node.annotate("a")?;
    let agent = node.agent(&["--mirror-when=listened"])?;
    let browser = node.browser()?;
    browser.open(&url(&agent))?;
    let shows =
        |text: &'static str| until(text, || Ok(browser.text()?.contains(text).then_some(())));
    shows("paused: nobody listens")?;
    shows("0 listeners")?;
    let capture = node.watch(&["a"])?;
    shows("all is mirrored that should be")?;
    shows("1 listener")?;
    capture.finish()?;
    agent.stop()
}

#[test]
fn a_person_sees_that_what_is_wanted_is_not_done_while_mirroring_is_suspended() -> Result {
    let node = Node::start()?;
    node.annotate("a")?;
    let agent = node.agent(&[])?;
    let browser = node.browser()?;
    browser.open(&url(&agent))?;
    let tile = |id: &str, text: &str| {
        until(&format!("the tile {id} to say {text:?}"), || {
            let shown =
                browser.run(&format!("return document.getElementById('{id}').innerText"))?;
            Ok(shown.as_str().unwrap_or_default().contains(text).then_some(()))
        })
    };
    tile("pods", "1 mirrored")?;
    tile("flows", "in sync")?;
    let record = "-- --id=@out get port mirror0 -- --id=@m create mirror name=m0 select_all=true \
         output_port=@out -- set bridge br-int mirrors=@m";
    node.vsctl(record.split_whitespace())?;
    tile("pods", "0 mirrored")?;
    tile("pods-detail", "of 1 that should be; ")?;
    tile("flows", "suspended")?;
    tile("problems", "m0")?;
    node.vsctl(["clear", "bridge", "br-int", "mirrors"])?;
    tile("pods", "1 mirrored")?;
    tile("flows", "in sync")?;
    agent.stop()
}

#[test]
fn what_mirroring_costs_is_shown_with_its_error_once_it_is_known() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[])?;
    let browser = node.browser()?;
    browser.open(&url(&agent))?;
    until("the page", || Ok(browser.text()?.contains("No Pod is mirrored.").then_some(())))?;
    assert!(!browser.text()?.contains("Processor time per packet"));
    // An estimate takes minutes of traffic, so the script gets one here; tests/overhead.rs has the agent make its own.
    let cost = r#"{ ratio: 0.0712, standard_error: 0.0123, baseline_seconds_per_packet: 1.5e-6, mirroring_seconds_per_packet: 1.6068e-6 }"#;
    // The page's own next look would take it away.
    let script = format!("cost({cost}); cost = () => {{}}; return document.body.innerText");
    let text = browser.run(&script)?.as_str().unwrap_or_default().to_owned();
    for part in ["+7.1 %", "± 1.2 (standard error)", "1.50 µs without mirroring, 1.61 with"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    picture(&node, &browser, "cost")?;
    agent.stop()
}
