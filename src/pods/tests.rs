use super::*;
use crate::{annotation::Network, ovsdb::Ofport};

fn interface(kind: &str, name: &str, external_ids: &[(&str, &str)]) -> Interface {
    Interface {
        name: name.to_owned(),
        kind: kind.to_owned(),
        ofport: Ofport::Number(5),
        external_ids: external_ids
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..Interface::default()
    }
}

fn claim(kind: &str, name: &str, external_ids: &[(&str, &str)]) -> Option<Claim> {
    PodPort::of(&interface(kind, name, external_ids)).map(|port| port.claim)
}

/// The Pod by name, and its network.
fn pod(external_ids: &[(&str, &str)]) -> Option<(String, Network)> {
    let claim = claim("", "3f2a_h", external_ids)?;
    Some((claim.pod().to_string(), claim.network))
}

fn attached(name: &str) -> Network {
    Network::Attached(name.into())
}

#[test]
fn a_pod_of_kube_ovn_is_known_by_its_own_keys_as_its_iface_id_is_ambiguous() {
    for (iface_id, network) in [
        ("web.0.shop", Network::Cluster),
        ("web.0.shop.net1.infra.ovn", attached("net1.infra")),
        ("web.0.shop.net1.infra.ovn.eth2", attached("net1.infra")),
        ("web.0.shop.net.1.infra.ovn", attached("net.1.infra")),
    ] {
        let ids = [("iface-id", iface_id), ("pod_name", "web.0"), ("pod_namespace", "shop")];
        assert_eq!(pod(&ids), Some(("shop/web.0".to_owned(), network)), "{iface_id}");
    }
}

#[test]
fn a_port_whose_names_contradict_each_other_is_nobodys() {
    for iface_id in ["db.shop", "web.0.shops", "web.0", "xweb.0.shop"] {
        let ids = [("iface-id", iface_id), ("pod_name", "web.0"), ("pod_namespace", "shop")];
        assert_eq!(pod(&ids), None, "{iface_id}");
    }
}

#[test]
fn a_pod_of_ovn_kubernetes_is_known_by_its_iface_id_and_its_uid() {
    let uid = ("iface-id-ver", "b9f0");
    for namespace in ["shop", "k8s-shop"] {
        let iface_id = format!("{namespace}_web-0");
        let ids = [("iface-id", iface_id.as_str()), uid];
        assert_eq!(pod(&ids), Some((format!("{namespace}/web-0"), Network::Cluster)));
        assert_eq!(claim("", "3f2a", &ids).unwrap().uid.as_deref(), Some("b9f0"));
    }
    for (nad, prefix) in [("infra/net-b", "infra.net.b_"), ("infra/net-b/1", "infra.net.b.1_")] {
        let iface_id = format!("{prefix}shop_web-0");
        let ids = [("iface-id", iface_id.as_str()), uid, ("k8s.ovn.org/nad", nad)];
        assert_eq!(pod(&ids), Some(("shop/web-0".to_owned(), attached("net-b.infra"))));
    }
}

#[test]
fn the_primary_network_of_a_namespace_counts_as_the_clusters() {
    let ids = [
        ("iface-id", "shop.udn_shop_web-0"),
        ("iface-id-ver", "b9f0"),
        ("k8s.ovn.org/nad", "shop/udn"),
        ("pod-if-name", "ovn-udn1"),
    ];
    assert_eq!(pod(&ids), Some(("shop/web-0".to_owned(), Network::Cluster)));
}

#[test]
fn a_port_of_plain_ovn_goes_by_its_logical_port() {
    let port = claim("internal", "vm1", &[("iface-id", "vm_1.x")]).unwrap();
    assert_eq!(port.pod().to_string(), "vm_1.x");
    let candidates: Vec<_> = port.candidates().iter().map(ToString::to_string).collect();
    assert_eq!(candidates, ["x/vm_1", "vm/1.x"]);
}

#[test]
fn a_stale_port_without_iface_id_is_nobodys() {
    assert_eq!(pod(&[("pod_name", "web"), ("pod_namespace", "shop")]), None);
    assert_eq!(pod(&[("iface-id", ""), ("pod_name", "web")]), None);
}

#[test]
fn the_nodes_own_ports_and_tunnels_are_not_pods() {
    for (kind, name, iface_id) in [
        ("internal", "ovn0", "node-worker1"),
        ("internal", "ovnext0", "worker1"),
        ("internal", "ovn-k8s-mp0", "k8s-worker1"),
        ("internal", "mp1", "k8s-worker1"),
        ("geneve", "ovn-worker2-0", "x"),
        ("patch", "patch-br-int-to-localnet", "x"),
    ] {
        assert_eq!(claim(kind, name, &[("iface-id", iface_id)]), None, "{name}");
    }
    assert_eq!(pod(&[("vendor", "kube-ovn"), ("iface-id", "x")]), None);
    let ids = [("iface-id", "shop.udn_k8s-worker1"), ("k8s.ovn.org/network", "shop_udn")];
    assert_eq!(claim("internal", "ovn-k8s-mp7", &ids), None);
}

#[test]
fn only_true_and_false_say_something_about_mirroring() {
    for (value, annotated) in
        [("true", Some(true)), ("false", Some(false)), ("True", None), ("", None)]
    {
        let port = interface("", "p", &[("iface-id", "x"), (MIRROR_ANNOTATION, value)]);
        assert_eq!(PodPort::of(&port).map(|port| port.annotated), Some(annotated), "{value}");
    }
}
