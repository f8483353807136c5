//! What `deploy/` has for Prometheus and Grafana names only what there is. `tests/lab/tests/prometheus.rs` runs it.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

fn deploy(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)).unwrap()
}

/// The metrics and recording rules that a text names, whatever else it says.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let words = words.map(|word| word.trim_matches(':'));
    words.filter(|word| word.starts_with("ofmirror_") || word.contains(":ofmirror_")).collect()
}

fn recorded(rules: &str) -> BTreeSet<&str> {
    rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect()
}

#[test]
fn every_metric_that_rules_and_dashboard_name_exists() {
    let rules = deploy("prometheus/rules.yml");
    let recorded = recorded(&rules);
    assert!(recorded.contains("node:ofmirror_mirrored_bytes:rate5m"), "{recorded:?}");
    let mut exported = BTreeSet::new();
    for family in metrics::ALL {
        match family.kind {
            metrics::Kind::Histogram => exported
                .extend(["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", family.name))),
            _ => exported.extend([family.name.to_owned()]),
        }
    }
    for file in ["prometheus/rules.yml", "grafana/ofmirror.json"] {
        let text = deploy(file);
        let names = names(&text);
        assert!(names.len() > 10, "{file}: {names:?}");
        for name in names {
            let exists = exported.contains(name) || recorded.contains(name);
            assert!(exists, "{file} names {name}, which nobody exports");
        }
    }
}

#[test]
fn the_rules_for_the_operator_are_the_same() {
    let resource = deploy("components/prometheus-operator/prometheusrule.yaml");
    let (_, wrapped) = resource.split_once("\nspec:\n").unwrap();
    let rules = deploy("prometheus/rules.yml");
    let rules = rules.lines().skip_while(|line| *line != "groups:");
    let indented: Vec<_> = rules
        .map(|line| if line.is_empty() { String::new() } else { format!("  {line}") })
        .collect();
    assert!(indented.len() > 100);
    assert_eq!(wrapped.lines().collect::<Vec<_>>(), indented, "run deploy/prometheus/wrap");
}

#[test]
fn readme_tells_of_each_alert_and_how_long_it_waits() {
    let rules = deploy("prometheus/rules.yml");
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let readme = readme.unwrap();
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 10);
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        let waits = alert.lines().find_map(|line| line.trim().strip_prefix("for: "));
        let waits = waits.map_or(String::new(), |waits| waits.replace('m', " min"));
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{name}`")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in README"));
        assert_eq!(row.rsplit('|').nth(1).unwrap().trim(), waits, "{row}");
    }
}
