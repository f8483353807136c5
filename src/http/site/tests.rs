use super::*;

fn addresses(status: &str, metrics: &str) -> Addresses {
    let read = |text: &str| (text != "none").then(|| text.parse().unwrap());
    Addresses { status: read(status), metrics: read(metrics) }
}

/// Where is listened at, by which flag, and what is served there.
fn sites(status: &str, metrics: &str) -> Vec<String> {
    let sites = addresses(status, metrics).sites(None);
    let words = |site: Site| format!("{} {} {}", site.address, site.flag, site.description());
    sites.into_iter().map(words).collect()
}

const ALL: &str = "/, /status, /healthz, /readyz and /metrics";

#[test]
fn an_address_for_both_is_listened_at_once_and_serves_everything() {
    let both = [format!("127.0.0.1:9475 --metrics-addr {ALL}")];
    assert_eq!(sites("127.0.0.1:9475", "127.0.0.1:9475"), both);
    assert_eq!(sites("none", "none"), [""; 0]);
    assert_eq!(sites("127.0.0.1:1", "none"), [format!("127.0.0.1:1 --status-addr {ALL}")]);
    assert_eq!(sites("none", "10.0.0.1:1"), ["10.0.0.1:1 --metrics-addr /metrics"]);
}

#[test]
fn two_addresses_are_listened_at_apart_unless_one_has_the_other_in_it() {
    let apart = [
        format!("127.0.0.1:9475 --status-addr {ALL}"),
        "10.0.0.1:9475 --metrics-addr /metrics".to_owned(),
    ];
    assert_eq!(sites("127.0.0.1:9475", "10.0.0.1:9475"), apart);
    for all in ["0.0.0.0:9475", "[::]:9475"] {
        let one = format!("{all} --metrics-addr {ALL} at 127.0.0.1, and /metrics elsewhere");
        assert_eq!(sites("127.0.0.1:9475", all), [one]);
    }
    assert_eq!(sites("127.0.0.1:9476", "0.0.0.0:9475").len(), 2);
    assert_eq!(sites("[::1]:9475", "0.0.0.0:9475").len(), 2);
    assert_eq!(
        sites("0.0.0.0:9475", "10.0.0.1:9475"),
        [format!("0.0.0.0:9475 --status-addr {ALL}")]
    );
}

/// What somebody gets who comes from `peer` to `local`.
fn view(rule: &Rule, local: &str, peer: &str) -> &'static str {
    match rule.view(local.parse().unwrap(), peer.parse().unwrap()) {
        Some(View::Local) => "everything, at localhost",
        Some(View::Everything) => "everything",
        Some(View::Metrics) => "metrics",
        Some(View::Guarded(_) | View::Plain) => "guarded",
        None => "nothing",
    }
}

#[test]
fn of_all_addresses_only_that_of_the_status_serves_everything() {
    let rule = Rule::Both("127.0.0.1".parse().unwrap(), None);
    assert_eq!(view(&rule, "127.0.0.1", "127.0.0.1"), "everything, at localhost");
    assert_eq!(view(&rule, "::ffff:127.0.0.1", "::ffff:127.0.0.1"), "everything, at localhost");
    assert_eq!(view(&rule, "10.0.0.1", "10.0.0.1"), "metrics");
    assert_eq!(view(&rule, "10.0.0.1", "10.0.0.9"), "metrics");
    assert_eq!(view(&rule, "::1", "::1"), "metrics");
}

#[test]
fn who_comes_to_localhost_from_elsewhere_gets_nothing() {
    for rule in [Rule::Status, Rule::Both("127.0.0.1".parse().unwrap(), None)] {
        assert_eq!(view(&rule, "127.0.0.1", "10.0.0.9"), "nothing");
        assert_eq!(view(&rule, "127.0.0.1", "127.0.0.2"), "everything, at localhost");
    }
    assert_eq!(view(&Rule::Status, "10.0.0.1", "10.0.0.9"), "everything");
}

#[test]
fn no_flags_lead_past_the_guard() {
    for (status, metrics) in [
        ("127.0.0.1:9475", "10.0.0.1:9475"),
        ("none", "0.0.0.0:9475"),
        ("127.0.0.1:9475", "0.0.0.0:9475"),
        ("127.0.0.1:1", "127.0.0.1:2"),
    ] {
        assert_eq!(addresses(status, metrics).check_guarded(), Ok(()), "{status} {metrics}");
    }
    for (status, metrics) in [
        ("127.0.0.1:9475", "127.0.0.1:9475"),
        ("10.0.0.1:9475", "10.0.0.1:9475"),
        ("10.0.0.1:9476", "10.0.0.1:9475"),
        ("0.0.0.0:9475", "10.0.0.1:9475"),
        ("127.0.0.1:9475", "none"),
    ] {
        let error = addresses(status, metrics).check_guarded().unwrap_err().to_string();
        assert!(error.contains("--metrics-addr"), "{error}");
    }
}
