use flows::{
    delivery::Deliveries,
    marker::MarkerBits,
    model::OfPort,
    plan::{Base, Plan, Planner, Withheld},
    tap::{Direction, Portion, Select, Tap},
};
use std::sync::Arc;

use kube::runtime::watcher::Event;

use super::*;
use crate::{
    annotation::{MIRROR_ANNOTATION, Network},
    cluster::{News, PodMeta},
    ovsdb::{Interface, Ofport},
    verdict::Verdict,
};

const NET1: &str = "net1.infra.ovn.kubernetes.io/mirror";

/// Pods by namespace, name, UID and annotations; and annotated namespaces.
type Annotations<'a> = &'a [(&'a str, &'a str)];

fn marks(annotations: Annotations<'_>) -> Marks {
    Marks::read(annotations.iter().copied())
}

fn cluster(
    pods: &[(&str, &str, Annotations<'_>)],
    namespaces: &[(&str, Annotations<'_>)],
) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.apply(News::Pods(Event::Init));
    for (namespace, name, annotations) in pods {
        // "launcher-db" has the virtual machine db in it, and "db@7" was made in second 7.
        let (name, created) = name.split_once('@').unwrap_or((name, ""));
        let machine = name.strip_prefix("launcher-").map(|rest| rest.trim_end_matches("-forged"));
        let meta = PodMeta {
            uid: format!("uid-{name}").into(),
            created: created.parse().ok(),
            marks: marks(annotations),
            virtual_machine: machine.map(Into::into),
        };
        cluster.apply(News::Pods(Event::InitApply((Pod::new(namespace, name), meta))));
    }
    cluster.apply(News::Pods(Event::InitDone));
    cluster.apply(News::Namespaces(Event::Init));
    for (name, annotations) in namespaces {
        let object = ((*name).into(), marks(annotations));
        cluster.apply(News::Namespaces(Event::InitApply(object)));
    }
    cluster.apply(News::Namespaces(Event::InitDone));
    cluster
}

fn wish(all: bool) -> Wish {
    Wish { bridge: "br-int".to_owned(), all, namespaces: NamespaceRule::default() }
}

/// A port by its external IDs.
fn port(name: &str, ids: &[(&str, &str)]) -> PodPort {
    let ids = ids.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let interface = Interface {
        name: name.to_owned(),
        ofport: Ofport::Number(5),
        external_ids: ids.collect(),
        ..Interface::default()
    };
    PodPort::of(&interface).unwrap()
}

fn kube_ovn(iface_id: &str, namespace: &str, pod: &str) -> PodPort {
    let ids = [("iface-id", iface_id), ("pod_namespace", namespace), ("pod_name", pod)];
    port(&format!("{pod}_h"), &ids)
}

/// What becomes of ports. The second of a name is called as it and "2", as no two are called the same.
fn select(ports: Vec<PodPort>, wish: &Wish, cluster: Option<&Cluster>) -> Selection {
    let mut selection = Selection::default();
    for mut port in ports {
        while selection.port(&port.interface).is_some() {
            port.interface = format!("{}2", port.interface).into();
        }
        selection.set_port(&Arc::clone(&port.interface), Some(port));
    }
    selection.settle(wish, cluster);
    selection
}

fn choices(ports: Vec<PodPort>, wish: &Wish, cluster: &Cluster) -> Vec<Choice> {
    let selection = select(ports, wish, Some(cluster));
    selection.ports().map(|selected| selected.choice).collect()
}

fn is_mirrored(pod: Annotations<'_>, namespace: Annotations<'_>, all: bool) -> bool {
    let cluster = cluster(&[("shop", "web", pod)], &[("shop", namespace)]);
    let ports = vec![kube_ovn("web.shop", "shop", "web")];
    choices(ports, &wish(all), &cluster) == [Choice::Mirror]
}

#[test]
fn the_pods_word_counts_before_its_namespaces_and_that_before_the_flag() {
    let yes = [(MIRROR_ANNOTATION, "true")];
    let no = [(MIRROR_ANNOTATION, "false")];
    let odd = [(MIRROR_ANNOTATION, "yes")];
    for (pod, namespace, all, mirrored) in [
        (&[][..], &[][..], false, false),
        (&[], &[], true, true),
        (&[], &yes, false, true),
        (&[], &no, true, false),
        (&yes, &[], false, true),
        (&yes, &no, false, true),
        (&no, &yes, true, false),
        (&odd, &[], false, false),
        (&odd, &yes, false, true),
        (&odd, &no, true, false),
    ] {
        assert_eq!(is_mirrored(pod, namespace, all), mirrored, "{pod:?} {namespace:?} {all}");
    }
}

#[test]
fn each_nic_goes_by_the_annotation_of_its_network() {
    let ports = || {
        vec![
            kube_ovn("web.shop", "shop", "web"),
            kube_ovn("web.shop.net1.infra.ovn", "shop", "web"),
            kube_ovn("web.shop.net2.infra.ovn", "shop", "web"),
        ]
    };
    let chosen = |annotations: Annotations<'_>, all| {
        let cluster = cluster(&[("shop", "web", annotations)], &[]);
        choices(ports(), &wish(all), &cluster)
            .into_iter()
            .map(|choice| choice == Choice::Mirror)
            .collect::<Vec<_>>()
    };
    assert_eq!(chosen(&[(MIRROR_ANNOTATION, "true")], false), [true, false, false]);
    assert_eq!(chosen(&[(NET1, "true")], false), [false, true, false]);
    assert_eq!(chosen(&[(NET1, "false")], true), [true, false, true]);
    assert_eq!(chosen(&[(MIRROR_ANNOTATION, "false")], true), [false, false, false]);
    let but_one = [(MIRROR_ANNOTATION, "false"), (NET1, "true")];
    assert_eq!(chosen(&but_one, true), [false, true, false]);
}

#[test]
fn ports_of_all_namings_find_their_pod() {
    let yes = [(MIRROR_ANNOTATION, "true")];
    let cluster = cluster(&[("shop", "web.0", &yes)], &[]);
    let uid = ("iface-id-ver", "uid-web.0");
    let ports = vec![
        kube_ovn("web.0.shop", "shop", "web.0"),
        port("p1", &[("iface-id", "shop_web.0"), uid]),
    ];
    for selected in select(ports, &wish(false), Some(&cluster)).ports() {
        assert_eq!(selected.choice, Choice::Mirror, "{selected:?}");
        assert_eq!(selected.pod().to_string(), "shop/web.0");
    }
    for iface_id in ["web.0.shop", "shop_web.0"] {
        let plain = vec![port("p", &[("iface-id", iface_id)])];
        assert_eq!(choices(plain, &wish(false), &cluster), [Choice::Mirror], "{iface_id}");
    }
}

#[test]
fn the_port_of_a_pod_that_was_made_again_is_not_the_new_pods() {
    let cluster = cluster(&[("shop", "web", &[(MIRROR_ANNOTATION, "true")])], &[]);
    let stale = port("p", &[("iface-id", "shop_web"), ("iface-id-ver", "uid-of-the-former")]);
    for all in [false, true] {
        assert_eq!(choices(vec![stale.clone()], &wish(all), &cluster), [Choice::Leave]);
    }
}

#[test]
fn a_port_of_nobody_on_this_node_is_left_alone_even_if_all_pods_are_mirrored() {
    let cluster = cluster(&[("shop", "web", &[])], &[]);
    let ports = vec![
        kube_ovn("db.shop", "shop", "db"),
        port("vm", &[("iface-id", "some-vm")]),
        port("p", &[("iface-id", "web.shops")]),
    ];
    assert_eq!(choices(ports, &wish(true), &cluster), [Choice::Leave; 3]);
}

#[test]
fn of_two_ports_with_one_name_only_the_one_that_ovn_took_is_mirrored() {
    let cluster = cluster(&[("shop", "web", &[(MIRROR_ANNOTATION, "true")])], &[]);
    let port = |installed| {
        let mut port = kube_ovn("web.shop", "shop", "web");
        port.installed = installed;
        port
    };
    use Choice::{Contested, Mirror};
    for (installed, chosen) in [
        ([true, false], [Mirror, Contested]),
        ([false, true], [Contested, Mirror]),
        ([false, false], [Contested, Contested]),
        ([true, true], [Contested, Contested]),
    ] {
        let ports = installed.map(port).to_vec();
        assert_eq!(choices(ports, &wish(false), &cluster), chosen, "{installed:?}");
    }
}

#[test]
fn a_virtual_machines_port_is_that_of_the_pod_it_runs_in() {
    let yes = [(MIRROR_ANNOTATION, "true")];
    let cluster_of = |pods: &[(&str, &str, Annotations<'_>)]| cluster(pods, &[]);
    let port = || vec![kube_ovn("db.shop", "shop", "db")];
    let launched = cluster_of(&[("shop", "launcher-db", &yes)]);
    let selection = select(port(), &wish(false), Some(&launched));
    let selected = selection.ports().next().unwrap();
    assert_eq!(selected.choice, Choice::Mirror);
    assert_eq!(selected.pod().to_string(), "shop/launcher-db");
    let elsewhere = cluster_of(&[("lab", "launcher-db", &yes)]);
    assert_eq!(choices(port(), &wish(false), &elsewhere), [Choice::Leave]);
    let namesake = cluster_of(&[("shop", "launcher-db", &yes), ("shop", "db", &[])]);
    assert_eq!(choices(port(), &wish(false), &namesake), [Choice::Contested], "whose is it?");
    let agreed = cluster_of(&[("shop", "launcher-db", &yes), ("shop", "db", &yes)]);
    assert_eq!(choices(port(), &wish(false), &agreed), [Choice::Mirror]);
}

#[test]
fn nobody_who_came_later_stops_the_mirroring_of_a_port_by_calling_it_his() {
    let (yes, no) = ([(MIRROR_ANNOTATION, "true")], [(MIRROR_ANNOTATION, "false")]);
    let port = || vec![kube_ovn("db.shop", "shop", "db")];
    for (first, later) in [
        ("launcher-db@5", "launcher-db-forged@6"),
        ("launcher-db@5", "db@6"),
        ("db@5", "launcher-db@6"),
    ] {
        let (first_name, _) = first.split_once('@').unwrap();
        let (later_name, _) = later.split_once('@').unwrap();
        for (words, all) in [(&no[..], false), (&[], false), (&no, true)] {
            let cluster = cluster(&[("shop", first, &yes), ("shop", later, words)], &[]);
            let selection = select(port(), &wish(all), Some(&cluster));
            let selected = selection.ports().next().unwrap();
            assert_eq!(selected.choice, Choice::Mirror, "{first}, {later}");
            assert_eq!(selected.pod(), Pod::new("shop", first_name));
            let reports = reports(&selection, &wish(all), &cluster, &Plan::default(), |_| None);
            let verdict = |name: &str| &reports[&*format!("uid-{name}")].verdict;
            assert!(matches!(verdict(first_name), Verdict::Mirrored(_)), "{reports:?}");
            assert_eq!(*verdict(later_name), Verdict::Left);
        }
        // Who came later can't have the first one's packets copied either; that is told.
        let cluster = cluster(&[("shop", first, &no), ("shop", later, &yes)], &[]);
        let selection = select(port(), &wish(false), Some(&cluster));
        assert_eq!(selection.ports().next().unwrap().choice, Choice::Contested);
        let reports = reports(&selection, &wish(false), &cluster, &Plan::default(), |_| None);
        let unclear =
            Refusal::Unclear { port: "db_h".into(), other: Pod::new("shop", first_name), more: 0 };
        let verdict = |name: &str| &reports[&*format!("uid-{name}")].verdict;
        assert_eq!(*verdict(later_name), Verdict::Refused(unclear));
        assert_eq!(*verdict(first_name), Verdict::Left, "it asks for nothing");
    }
}

#[test]
fn of_two_that_came_together_or_at_an_unknown_time_nobody_was_first() {
    let (yes, no) = ([(MIRROR_ANNOTATION, "true")], [(MIRROR_ANNOTATION, "false")]);
    for [wanted, other] in [
        ["launcher-db@5", "db@5"],
        ["launcher-db@5", "db"],
        ["launcher-db", "db@5"],
        ["launcher-db", "db"],
    ] {
        let cluster = cluster(&[("shop", wanted, &yes), ("shop", other, &no)], &[]);
        let ports = vec![kube_ovn("db.shop", "shop", "db")];
        assert_eq!(choices(ports, &wish(false), &cluster), [Choice::Contested], "{wanted} {other}");
    }
}

#[test]
fn no_pod_of_an_excluded_namespace_is_mirrored_whoever_asks() {
    let cluster = cluster(&[("shop", "web", &[(MIRROR_ANNOTATION, "true")])], &[]);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    for (allowed, denied, chosen) in [
        (None, &[][..], Choice::Mirror),
        (None, &["shop"], Choice::Leave),
        (Some(names(&["lab"])), &[], Choice::Leave),
        (Some(names(&["shop"])), &[], Choice::Mirror),
    ] {
        for all in [false, true] {
            let rule = NamespaceRule { allowed: allowed.clone(), denied: names(denied) };
            let wish = Wish { namespaces: rule, ..wish(all) };
            let ports = vec![kube_ovn("web.shop", "shop", "web")];
            assert_eq!(choices(ports, &wish, &cluster), [chosen], "{wish:?}");
        }
    }
}

#[test]
fn without_a_cluster_the_annotation_of_the_port_itself_counts() {
    for (value, all, choice) in [
        ("true", false, Choice::Mirror),
        ("false", true, Choice::Leave),
        ("", true, Choice::Mirror),
        ("", false, Choice::Leave),
    ] {
        let ports = vec![port("p", &[("iface-id", "lsp"), (MIRROR_ANNOTATION, value)])];
        let selection = select(ports, &wish(all), None);
        assert_eq!(selection.port("p").unwrap().choice, choice, "{value:?} {all}");
    }
}

/// The verdict on the one Pod.
fn verdict(
    pod: Annotations<'_>,
    namespace: Annotations<'_>,
    ports: Vec<PodPort>,
    wish: &Wish,
    plan: &Plan,
) -> Verdict {
    let cluster = cluster(&[("shop", "web", pod)], &[("shop", namespace)]);
    let selection = select(ports, wish, Some(&cluster));
    let mut reports = reports(&selection, wish, &cluster, plan, |_| None);
    reports.remove("uid-web").unwrap().verdict
}

/// The plan of a switch in which nothing is delivered to a port.
fn undelivered(port: &str) -> Plan {
    let tap = Tap {
        port: port.into(),
        ofport: Some(OfPort(5)),
        direction: Direction::ToPod,
        select: Select::Everything,
        portion: Portion::Whole,
        sink: OfPort(9),
    };
    let mut planner = Planner::default();
    planner.set_taps(&port.into(), vec![tap]);
    let marker = Some(MarkerBits::default());
    let base =
        Base { sinks: vec![OfPort(9)], marker, withheld: Withheld::Nothing, ..Base::default() };
    planner.settle(base, &Deliveries::default(), []);
    planner.plan().clone()
}

fn no_port(network: Network) -> Verdict {
    Verdict::Refused(Refusal::NoPort { bridge: "br-int".into(), network })
}

#[test]
fn a_mirrored_pod_is_reported_with_its_ports() {
    let ports = || vec![kube_ovn("web.shop", "shop", "web")];
    let plan = Plan::default();
    let mirrored = Verdict::Mirrored(vec![("web_h".into(), OfPort(5))]);
    let yes = [(MIRROR_ANNOTATION, "true")];
    assert_eq!(verdict(&yes, &[], ports(), &wish(false), &plan), mirrored);
    assert_eq!(verdict(&[], &yes, ports(), &wish(false), &plan), mirrored);
    assert_eq!(verdict(&[], &[], ports(), &wish(true), &plan), mirrored);
    assert_eq!(verdict(&[], &[], ports(), &wish(false), &plan), Verdict::Left);
}

#[test]
fn who_asks_in_vain_is_told_why() {
    let yes = [(MIRROR_ANNOTATION, "true")];
    let (no_ports, plan) = (Vec::new, Plan::default());
    assert_eq!(verdict(&yes, &[], no_ports(), &wish(false), &plan), no_port(Network::Cluster));
    assert_eq!(verdict(&[], &yes, no_ports(), &wish(false), &plan), no_port(Network::Cluster));
    let net1 = Network::Attached("net1.infra".into());
    let port = || kube_ovn("web.shop", "shop", "web");
    assert_eq!(verdict(&[(NET1, "true")], &[], vec![port()], &wish(false), &plan), no_port(net1));
    let twice = verdict(&yes, &[], vec![port(), port()], &wish(false), &plan);
    assert_eq!(twice, Verdict::Refused(Refusal::Ambiguous("web_h, web_h2".to_owned())));
    let plan = undelivered("web_h");
    let Verdict::Refused(refusal) = verdict(&yes, &[], vec![port()], &wish(false), &plan) else {
        panic!("it can't be mirrored whole")
    };
    assert_eq!(refusal.to_string(), "web_h: to_pod OVN has no flow that delivers to the port");
}

#[test]
fn who_does_not_ask_is_not_told_of_refusals() {
    let (nobody, plan) = (&[][..], Plan::default());
    assert_eq!(verdict(nobody, nobody, vec![], &wish(true), &plan), Verdict::Left);
    let rule = NamespaceRule { allowed: None, denied: ["shop".to_owned()].into() };
    let wish = Wish { namespaces: rule, ..wish(true) };
    assert_eq!(verdict(nobody, nobody, vec![], &wish, &plan), Verdict::Left);
    let yes = [(MIRROR_ANNOTATION, "true")];
    let denied = Verdict::Refused(Refusal::Denied("shop".into()));
    assert_eq!(verdict(&yes, nobody, vec![], &wish, &plan), denied);
    let no = [(MIRROR_ANNOTATION, "false")];
    assert_eq!(verdict(&no, &yes, vec![], &wish, &plan), Verdict::Left);
}

#[test]
fn values_that_are_not_understood_are_reported() {
    let of_namespace = [("shop", &[(MIRROR_ANNOTATION, "on")][..])];
    let cluster = cluster(&[("shop", "web", &[(MIRROR_ANNOTATION, "yes")])], &of_namespace);
    let reports =
        reports(&Selection::default(), &wish(false), &cluster, &Plan::default(), |_| None);
    let invalid = reports["uid-web"].invalid.iter().map(|(key, value)| (&**key, &**value));
    let both = [(MIRROR_ANNOTATION, "yes"), (MIRROR_ANNOTATION, "on")];
    assert_eq!(invalid.collect::<Vec<_>>(), both);
}
