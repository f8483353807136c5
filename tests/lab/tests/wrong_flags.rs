//! Each flag with each kind of wrong value: Pods that ping lose nothing, the agent says what is wrong, and the node is as it was.
//!
//! `WRONG_FLAGS=WORD` tries those rows only that have the word; `--nocapture` shows the table as it grows.

use std::env;

use lab::{FlagStage, Impostor, Result, WrongFlag, wrong, wrong_variable};

/// A NIC of the host: a veth, whose other end leads nowhere.
const NIC: &str =
    "ip link add nic0 type veth peer name far0; ip link set nic0 up; ip link set far0 up;";
/// The same, with the MTU of Pods' ports: a port of the bridge must not lower that of others.
const LARGE_NIC: &str = "ip link add nic0 mtu 8900 type veth peer name far0 mtu 8900; ip link set nic0 up; ip link set far0 up;";
const NO_NIC: &str = "ip link del nic0;";

/// NICs that the node, a Pod or Open vSwitch has another use for, and names that are none.
fn mirror_nics() -> Vec<WrongFlag> {
    let nic = |value, more: &'static str, undo: &'static str| {
        wrong("--mirror-iface=nic0", value)
            .given(&[NIC, more].concat(), &[NO_NIC, undo].concat())
            .refused(&["nic0"])
    };
    let name = |value| wrong(&format!("--mirror-iface={value}"), "no name of a NIC");
    vec![
        wrong("--mirror-iface=ovn0", "the node's own port on OVN").refused(&["ovn0"]),
        wrong("--mirror-iface=a_h", "a Pod's port").refused(&["a_h"]),
        wrong("--mirror-iface=br-int", "the bridge itself").refused(&["br-int"]),
        wrong("--mirror-iface=other", "another bridge").refused(&["other"]),
        wrong("--mirror-iface=port0", "a port of another bridge").refused(&["port0", "other"]),
        wrong("--mirror-iface=patch0", "a patch port").refused(&["patch0"]),
        wrong("--mirror-iface=tunnel0", "a tunnel").refused(&["tunnel0"]),
        wrong("--mirror-iface=ovs-netdev", "the datapath's own device").refused(&["ovs-netdev"]),
        wrong("--mirror-iface=lo", "the loopback").refused(&["lo has the address"]),
        name("mirror0123456789").refused(&["mirror-iface", "mirror0123456789", "15"]),
        name("mirror%d").refused(&["mirror-iface", "mirror%d"]),
        name("a/b").refused(&["mirror-iface", "a/b"]),
        name("a b").refused(&["mirror-iface", "a b"]),
        name("a:b").refused(&["mirror-iface", "a:b"]),
        name("..").refused(&["mirror-iface", ".."]),
        name("").refused(&["mirror-iface", "empty"]),
        nic("has an address", "ip address add 192.0.2.7/24 dev nic0;", "")
            .refused(&["nic0", "192.0.2.7/24"]),
        nic(
            "has an IPv6 address",
            "ip link set nic0 addrgenmode none; \
             sysctl -qw net.ipv6.conf.nic0.disable_ipv6=0; \
             ip address add 2001:db8::7/64 dev nic0 nodad;",
            "",
        )
        .refused(&["nic0", "2001:db8::7/64"]),
        nic("has the default route", "ip route add default dev nic0;", "")
            .refused(&["nic0", "default route"]),
        // A bond is one more master, which not every kernel has.
        nic(
            "is in a Linux bridge",
            "ip link add lbr0 type bridge; ip link set nic0 master lbr0;",
            "ip link del lbr0;",
        )
        .refused(&["nic0", "lbr0"]),
        wrong("--mirror-iface=tun0", "has no Ethernet frames")
            .given("ip tuntap add tun0 mode tun", "ip tuntap del tun0 mode tun")
            .refused(&["tun0", "Ethernet"]),
        wrong("--mirror-iface=other-name", "another name of the node's own port")
            .given(
                "ip link property add dev ovn0 altname other-name",
                "ip link property del dev ovn0 altname other-name",
            )
            .refused(&["ovn0"]),
        wrong("--mirror-iface=other-name", "another name of a Pod's port")
            .given(
                "ip link property add dev b_h altname other-name",
                "ip link property del dev b_h altname other-name",
            )
            .refused(&["other-name"]),
    ]
}

/// NICs by which copies would come back to the bridge, and those that can't do what Pods' ports can.
fn mirror_nics_that_lead_back() -> Vec<WrongFlag> {
    let loops = |value, more: &str, undo: &str| {
        wrong("--mirror-iface=nic0", value)
            .given(&[LARGE_NIC, more].concat(), &[undo, NO_NIC].concat())
            .refused(&["nic0"])
    };
    vec![
        loops(
            "leads to a port of the bridge",
            "ovs-vsctl add-port br-int far0;",
            "ovs-vsctl del-port far0;",
        ),
        loops(
            "leads to a Pod's port",
            "ovn-nbctl lsp-add sw1 loop -- lsp-set-addresses loop unknown; \
             ovs-vsctl add-port br-int far0 -- set Interface far0 external_ids:iface-id=loop; \
             ovn-nbctl --timeout=30 wait-until Logical_Switch_Port loop up=true; \
             ovn-nbctl --timeout=30 --wait=hv sync;",
            "ovs-vsctl del-port far0; ovn-nbctl --timeout=30 --wait=hv lsp-del loop;",
        ),
        loops(
            "leads to the bridge by another",
            "ip link add lbr0 mtu 8900 type bridge; ip link set lbr0 up; \
             ip link set far0 master lbr0; \
             ip link add far1 mtu 8900 type veth peer name back1 mtu 8900; \
             ip link set far1 master lbr0 up; \
             ip link set back1 up; ovs-vsctl add-port br-int back1;",
            "ovs-vsctl del-port back1; ip link del back1; ip link del lbr0;",
        ),
        wrong("--mirror-iface=nic0", "a macvlan on a Pod's port")
            .given("ip link add link b_h name nic0 type macvlan; ip link set nic0 up", NO_NIC)
            .refused(&["nic0", "b_h"]),
        wrong("--mirror-iface=nic0", "has a smaller MTU than Pods").given(NIC, NO_NIC).runs(&[]),
        wrong("--mirror-iface=nic0", "can't have the MTU of Pods")
            .given(
                "ip link add nic1 type veth peer name far1; \
                 ip link set nic1 up; ip link set far1 up; \
                 ip link add link nic1 name nic0 type macvlan; ip link set nic0 up",
                "ip link del nic0; ip link del nic1",
            )
            .explained(&["nic0", "1500"]),
        wrong("--mirror-iface=eth7", "a NIC that is not there").runs(&["eth7"]),
        wrong("--mirror-iface=mirror0", "another has the name of its bridge")
            .given(
                "ip link add mirror0-drain type bridge; ip link set mirror0-drain up; \
                 ip address add 192.0.2.9/24 dev mirror0-drain;",
                "ip link del mirror0-drain",
            )
            .runs(&[]),
    ]
}

fn bridges() -> Vec<WrongFlag> {
    vec![
        wrong("--bridge=nowhere", "not there").refused(&["--bridge", "nowhere"]),
        wrong("--bridge=a_h", "a port").refused(&["--bridge", "a_h"]),
        wrong("--bridge=other", "not OVN's").refused(&["--bridge", "other"]),
        wrong("--bridge=", "empty").refused(&["--bridge", "empty"]),
        wrong("--bridge=br-int-0123456789", "too long").refused(&["--bridge", "17 bytes", "15"]),
        wrong("--bridge=../br-int", "a path").refused(&["--bridge", "../br-int"]),
    ]
}

/// Both sockets with everything that is no such socket.
fn sockets() -> Vec<WrongFlag> {
    let mut rows = Vec::new();
    for (flag, it) in [("--ovsdb", "OVSDB"), ("--openflow", "OpenFlow")] {
        // The last part of the value names it.
        let mut add = |value: &str, name: &str, what| {
            rows.push(wrong(&format!("{flag}={value}{name}"), what).refused(&[it, name]));
        };
        add("unix:RUN/", "none.sock", "no socket");
        add("unix:RUN/..", "/run", "a folder");
        add("unix:RUN/", "ovs-vswitchd.pid", "a file");
        add("unix:RUN/", "ovs-vswitchd.ctl", "another daemon's socket");
        add("unix:RUN/", "ovnnb_db.sock", "another database");
        add("tcp:", "127.0.0.1:9", "a closed port");
        add("tcp:", "127.0.0.1:9801", "a port that is silent");
        for impostor in Impostor::ALL {
            add("unix:RUN/", &format!("{}.sock", impostor.name()), "a socket of something else");
        }
        for value in [
            "RUN/db.sock",
            "ssl:127.0.0.1:6640",
            "unix:",
            "ptcp:6640",
            "tcp:127.0.0.1",
            "tcp:127.0.0.1:99999",
            "",
        ] {
            rows.push(wrong(&format!("{flag}={value}"), "not written so").refused(&[flag]));
        }
    }
    rows.extend([
        wrong("--ovsdb=unix:RUN/br-int.mgmt", "an OpenFlow socket")
            .refused(&["OVSDB", "br-int.mgmt"]),
        wrong("--openflow=unix:RUN/db.sock", "an OVSDB socket").refused(&["OpenFlow", "db.sock"]),
        wrong("--openflow=unix:RUN/other.mgmt", "another bridge's")
            .refused(&["other.mgmt", "br-int"]),
        wrong("--openflow=unix:RUN/br-int.snoop", "one that only listens")
            .refused(&["OpenFlow", "br-int.snoop"]),
        wrong("--ovs-rundir=/nowhere", "not there").refused(&["/nowhere/db.sock"]),
        wrong("--ovs-rundir=RUN/../log", "a folder without sockets").refused(&["db.sock"]),
        wrong("--ovs-rundir=RUN/ovs-vswitchd.pid", "a file").refused(&["ovs-vswitchd.pid/db.sock"]),
        wrong("--ovs-rundir=", "empty").refused(&["--ovs-rundir"]),
    ]);
    rows
}

fn addresses() -> Vec<WrongFlag> {
    let address =
        |value, what| wrong(&format!("--metrics-addr={value}"), what).refused(&["--metrics-addr"]);
    vec![
        address("127.0.0.1:9801", "in use").refused(&["--metrics-addr", "127.0.0.1:9801"]),
        address("192.0.2.1:9475", "another host's").refused(&["--metrics-addr", "192.0.2.1:9475"]),
        address("127.0.0.1", "without a port"),
        address("9475", "without an address"),
        address("localhost:9475", "a name"),
        address("127.0.0.1:99999", "no port"),
        address("", "empty"),
        wrong("--status-addr=127.0.0.1:9801", "in use")
            .refused(&["--status-addr", "127.0.0.1:9801"]),
        wrong("--status-addr=localhost:9475", "a name").refused(&["--status-addr"]),
        wrong("--metrics-auth=password", "no such way").refused(&["--metrics-auth", "password"]),
        guarded(&[]).refused(&["--metrics-auth=kubernetes", "--status-addr"]),
        guarded(&["--status-addr=0.0.0.0:9476"]).refused(&["0.0.0.0:9476"]),
        guarded(&[
            "--status-addr=127.0.0.1:9476",
            "--metrics-tls-cert=RUN/none",
            "--metrics-tls-key=RUN/none",
        ])
        .refused(&["/none: No such file"]),
        wrong("--metrics-tls-cert=a", "for nothing")
            .and("--metrics-tls-key=b")
            .refused(&["--metrics-auth"]),
    ]
}

/// Guarded metrics, with other flags that do not go with that.
fn guarded(flags: &[&str]) -> WrongFlag {
    let wrong = wrong("--metrics-auth=kubernetes", "what is served without asking");
    flags.iter().fold(wrong, |wrong, flag| wrong.and(flag))
}

/// Which Pods, and when.
fn pods() -> Vec<WrongFlag> {
    let kubeconfig =
        |value, what| wrong_variable("KUBECONFIG", value, what).and("--pod-source=kubernetes");
    vec![
        wrong("--enable-mirror=maybe", "neither yes nor no").refused(&["--enable-mirror", "maybe"]),
        wrong("--pod-source=etcd", "no such source").refused(&["--pod-source", "etcd"]),
        wrong("--node-name=Node_1", "no name of a node").refused(&["--node-name", "Node_1"]),
        wrong("--node-name=", "empty").refused(&["--node-name"]),
        wrong("--allow-namespaces=a,B", "no name of a namespace")
            .refused(&["--allow-namespaces", "B"]),
        wrong("--deny-namespaces=a.b", "no name of a namespace")
            .refused(&["--deny-namespaces", "a.b"]),
        wrong("--mirror-when=sometimes", "no such time").refused(&["--mirror-when", "sometimes"]),
        kubeconfig("/nowhere/config", "not there").refused(&["KUBECONFIG", "/nowhere/config"]),
        kubeconfig("RUN", "a folder").refused(&["KUBECONFIG"]),
        kubeconfig("RUN/ovs-vswitchd.pid", "not a kubeconfig").refused(&["KUBECONFIG"]),
        kubeconfig("RUN/kubeconfig", "of a server that is not there")
            .given(KUBECONFIG, "rm $OVS_RUNDIR/kubeconfig")
            .refused(&["Kubernetes"]),
    ]
}

const KUBECONFIG: &str = r#"echo '{"apiVersion": "v1", "kind": "Config", "current-context": "c",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}], "users": [{"name": "c", "user": {}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]}' > $OVS_RUNDIR/kubeconfig"#;

fn manners() -> Vec<WrongFlag> {
    let bits =
        |value, what| wrong(&format!("--marker-bits={value}"), what).refused(&["--marker-bits"]);
    let probe = |value, what| {
        wrong(&format!("--overhead-probe={value}"), what).refused(&["--overhead-probe"])
    };
    vec![
        bits("27", "one bit"),
        bits("27,27", "one bit twice"),
        bits("32,33", "no bits of a register"),
        bits("-1,2", "below zero"),
        bits("a,b", "no numbers"),
        bits("", "empty"),
        bits("0,1", "bits that OVN uses").refused(&["bits 0", "1"]),
        probe("", "empty"),
        probe("10m", "without a pause"),
        probe("10m/1ms", "too short a pause"),
        probe("10m/1h", "too long a pause"),
        probe("1s/1s", "all the time"),
        probe("10m/2s/150%", "more than all"),
        probe("10m/2s/0%", "nothing"),
        probe("500000000000y/2s", "longer than time can be"),
        wrong("--on-exit=explode", "no such end").refused(&["--on-exit", "explode"]),
        wrong("--host-stack=maybe", "neither").refused(&["--host-stack", "maybe"]),
        wrong("--replace-mirrors=always", "a value too many").refused(&["--replace-mirrors"]),
        wrong("--log-format=xml", "no such format").refused(&["--log-format", "xml"]),
        wrong("--mirror-nic=mirror0", "no flag").refused(&["--mirror-nic"]),
        wrong("--bridge=br-int", "twice").and("--bridge=br-int").refused(&["--bridge"]),
        wrong("mirror0", "no flag at all").refused(&["mirror0"]),
        wrong_variable("OFMIRROR_BRIDGE", "", "empty").refused(&["--bridge"]),
        wrong_variable("OFMIRROR_MARKER_BITS", "1", "one bit").refused(&["--marker-bits"]),
        wrong_variable("OFMIRROR_BRIGDE", "br0", "misspelt")
            .refused(&["OFMIRROR_BRIGDE", "is it OFMIRROR_BRIDGE?"]),
        wrong_variable("OFMIRROR_ENABLE_MIRORR", "false", "misspelt")
            .refused(&["OFMIRROR_ENABLE_MIRORR", "is it OFMIRROR_ENABLE_MIRROR?"]),
        wrong_variable("OFMIRROR_METRICS_SERVICE_HOST", "10.96.0.7", "of a Service").runs(&[]),
        wrong_variable("OFMIRROR_PORT", "tcp://10.96.0.7:9475", "of a Service").runs(&[]),
        wrong_variable("OFMIRROR_REPLACE_MIRRORS", "ture", "neither yes nor no")
            .refused(&["--replace-mirrors", "ture"]),
        wrong_variable("OFMIRROR_MIRROR_IFACE_MUST_EXIST", "", "empty")
            .refused(&["--mirror-iface-must-exist"]),
        wrong_variable("RUST_LOG", "ofmirror=loud", "no such level").runs(&["RUST_LOG", "loud"]),
    ]
}

#[test]
fn no_wrong_flag_harms_anybody_or_goes_unexplained() -> Result {
    let wanted = env::var("WRONG_FLAGS").unwrap_or_default();
    let table = [
        mirror_nics(),
        mirror_nics_that_lead_back(),
        bridges(),
        sockets(),
        addresses(),
        pods(),
        manners(),
    ]
    .concat();
    let mut stage = FlagStage::start()?;
    let mut red = Vec::new();
    for row in table.iter().filter(|row| row.text().contains(&wanted)) {
        let mut tried = stage.try_flag(row);
        if !tried.wrong.is_empty() {
            // A ping may be lost because the machine is busy; what is wrong must be so again, on a node that knows nothing of it.
            stage = stage.anew()?;
            tried = stage.try_flag(row);
        }
        println!("{}", tried.line);
        if !tried.wrong.is_empty() {
            let wrong = tried.wrong.join("\n      ");
            println!("      {wrong}");
            red.push(format!("{}\n      {wrong}", tried.line));
            stage = stage.anew()?;
        }
    }
    assert!(red.is_empty(), "{} of {} rows are red:\n{}", red.len(), table.len(), red.join("\n"));
    Ok(())
}
