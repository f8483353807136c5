use std::collections::BTreeSet;

use super::*;

#[test]
fn every_metric_is_described_and_named_as_prometheus_wants_it() {
    let mut names = BTreeSet::new();
    for Family { name, unit, kind, labels, help } in ALL {
        assert!(names.insert(name), "{name} is there twice");
        assert!(name.starts_with("ofmirror_"), "{name}");
        assert!(help.ends_with('.') && !help.contains(['\n', '|']), "{name}: {help}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(labels.len() <= 4, "{name}");
        let stem = name.trim_end_matches("_total");
        for (end, of) in [
            ("_seconds", Unit::Seconds),
            ("_seconds_per_packet", Unit::SecondsPerPacket),
            ("_bytes", Unit::Bytes),
        ] {
            assert_eq!(stem.ends_with(end), *unit == of, "{name} is in {unit}");
        }
        assert!(!stem.ends_with("_packets") || *unit == Unit::Packets, "{name} is in {unit}");
        assert!(!stem.ends_with("_ratio") || *unit == Unit::Ratio, "{name} is in {unit}");
    }
}

#[test]
fn what_is_exported_is_what_is_described() {
    let metrics = Metrics::new();
    metrics.connected.with_label_values(&["ovsdb"]).set(1);
    for family in metrics.registry.gather() {
        let described = ALL.iter().find(|described| described.name == family.name());
        let described = described.unwrap_or_else(|| panic!("{} is not in ALL", family.name()));
        assert_eq!(family.help(), described.help);
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        assert_eq!(kind, described.kind.to_string(), "{}", family.name());
        for series in family.get_metric() {
            let labels: Vec<_> = series.get_label().iter().map(|label| label.name()).collect();
            let mut wanted = described.labels.to_vec();
            wanted.sort_unstable();
            assert_eq!(labels, wanted, "{}", family.name());
        }
    }
    metrics.losses.inc();
    let text = String::from_utf8(metrics.render()).unwrap();
    assert!(text.contains("ofmirror_flow_losses_total 1"), "{text}");
    assert!(text.contains("process_resident_memory_bytes"), "{text}");
}

#[test]
fn the_table_in_readme_is_this_one() {
    let readme = include_str!("../../README.md");
    let table = table();
    let here = readme.contains(&table);
    assert!(here, "put this into README.md, under Metrics:\n\n{table}");
}
