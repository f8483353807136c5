//! The mirror NIC against a real kernel.
//!
//! Each test runs itself again in a network namespace of its own (user namespaces give it the rights, so
//! root is not needed), which the kernel removes when the test ends.

#![allow(clippy::unwrap_used)]

use std::{
    env,
    process::{Command, Output},
    thread,
    time::Duration,
};

use ofmirror::nic::{
    Absence, Change, Drain, Ipv4, Link, NicError, Shield, Unattachable, Watch, apply,
    check_attachable, find_elsewhere, generation, leave_to_host, observe, quiet, take_from_host,
    watch,
};

/// Tells the test that it is the inner run, and how deep.
const INSIDE: &str = "TEST_IN_NAMESPACE";

/// Runs `body` in a fresh network namespace, after `ip` has carried out `setup`, a command a line.
fn in_namespace(test: &str, setup: &str, body: impl AsyncFnOnce()) {
    if env::var_os(INSIDE).is_none() {
        run_again(test, "outer", &["--user", "--map-root-user", "--net", "--mount"]);
        return;
    }
    for line in setup.lines().map(str::trim).filter(|line| !line.is_empty()) {
        ip(line);
    }
    block_on(body());
}

/// Runs the test called `test` once more, within the namespaces that `flags` of unshare(1) ask for.
fn run_again(test: &str, depth: &str, flags: &[&str]) {
    let this = env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(flags)
        .arg(this)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, depth)
        .output()
        .expect("unshare (util-linux) is needed to run this test");
    assert!(
        succeeded(&output, "1 passed"),
        "in a namespace of its own (unshare {flags:?}): {output:#?}"
    );
}

fn succeeded(output: &Output, says: &str) -> bool {
    output.status.success() && String::from_utf8_lossy(&output.stdout).contains(says)
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

fn ip(arguments: &str) {
    run("ip", arguments);
}

fn run(program: &str, arguments: &str) {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments}: {output:#?}");
}

async fn link(name: &str) -> Link {
    observe(name).await.unwrap().unwrap_or_else(|| panic!("there is no link {name}"))
}

/// Looks and changes until nothing is left to change, as the agent does.
async fn make_quiet(name: &str, mtu: u32) -> Link {
    for _ in 0..3 {
        let link = link(name).await;
        let changes = quiet(&link, mtu);
        if changes.is_empty() {
            return link;
        }
        apply(&link, &changes).await.unwrap();
    }
    panic!("{name} does not become quiet");
}

/// A bridge of ours that a link is a port of.
fn drain(name: &str, leaks: bool) -> Option<Drain> {
    Some(Drain { name: name.to_owned(), leaks })
}

const VETH: &str = "link add mirror0 type veth peer name peer0";

#[test]
fn a_link_that_does_not_exist_is_no_error() {
    in_namespace("a_link_that_does_not_exist_is_no_error", "", async || {
        assert_eq!(observe("mirror0").await.unwrap(), None);
    });
}

#[test]
fn a_link_is_described_as_the_kernel_has_it() {
    let setup = "
        link add mirror0 mtu 1420 address 02:00:00:00:00:07 type veth peer name peer0
        tuntap add dev tap0 mode tap
        tuntap add dev layer3 mode tun";
    in_namespace("a_link_is_described_as_the_kernel_has_it", setup, async || {
        let veth = link("mirror0").await;
        assert_eq!(veth.name, "mirror0");
        assert_eq!(veth.kind.as_deref(), Some("veth"));
        assert_eq!(veth.mac, Some([2, 0, 0, 0, 0, 7]));
        assert_eq!((veth.mtu, veth.up, veth.arp), (1420, false, true));
        assert_eq!((&veth.master, veth.addresses.len(), veth.default_routes.len()), (&None, 0, 0));
        assert_eq!(check_attachable(&veth), Ok(()));

        assert_eq!(link("tap0").await.kind.as_deref(), Some("tun"));
        for other in ["layer3", "lo"] {
            let refusal = check_attachable(&link(other).await);
            assert!(matches!(refusal, Err(Unattachable::NotEthernet { .. })), "{refusal:?}");
        }

        ip("link set mirror0 up");
        ip("link set mirror0 arp off");
        ip("link property add dev mirror0 altname copies");
        let changed = link("copies").await;
        assert_eq!((changed.name.as_str(), changed.up, changed.arp), ("mirror0", true, false));
    });
}

#[test]
fn a_fresh_link_becomes_quiet_and_stays_so() {
    in_namespace("a_fresh_link_becomes_quiet_and_stays_so", VETH, async || {
        let before = link("mirror0").await;
        apply(&before, &quiet(&before, 8900)).await.unwrap();
        ip("link set peer0 up");
        let after = link("mirror0").await;
        assert_eq!(quiet(&after, 8900), [], "{after:?}");
        assert_eq!((after.mtu, after.up, after.arp), (8900, true, false));
        let ipv6 = after.ipv6.expect("this kernel has IPv6");
        assert!(ipv6.disabled && ipv6.address_generation_off && ipv6.link_local.is_empty());

        ip("link set mirror0 down");
        assert_eq!(quiet(&link("mirror0").await, 8900), [Change::Up]);
    });
}

#[test]
fn a_link_that_already_speaks_ipv6_falls_silent() {
    let setup = "
        link add mirror0 type veth peer name peer0
        link set peer0 up
        link set mirror0 up";
    in_namespace("a_link_that_already_speaks_ipv6_falls_silent", setup, async || {
        let before = link("mirror0").await;
        assert_eq!(before.ipv6.unwrap().link_local.len(), 1, "the kernel makes one address");
        assert_eq!(before.addresses, [], "which is nobody's doing and does not count");
        let ipv6 = make_quiet("mirror0", 1500).await.ipv6.unwrap();
        assert!(ipv6.disabled && ipv6.link_local.is_empty());
    });
}

#[test]
fn ipv6_is_silent_too_where_proc_is_read_only() {
    let setup = "
        link add mirror0 type veth peer name peer0
        link set peer0 up
        link set mirror0 up";
    in_namespace("ipv6_is_silent_too_where_proc_is_read_only", setup, async || {
        run("mount", "--bind /proc/sys /proc/sys");
        run("mount", "-o remount,bind,ro /proc/sys");
        let ipv6 = make_quiet("mirror0", 1500).await.ipv6.unwrap();
        assert!(!ipv6.can_disable && !ipv6.disabled, "{ipv6:?}");
        assert!(ipv6.address_generation_off && ipv6.link_local.is_empty(), "{ipv6:?}");

        let link = link("mirror0").await;
        apply(&link, &[Change::DisableIpv6]).await.expect("what cannot be written is no error");
    });
}

#[test]
fn ipv6_does_not_return_with_a_larger_mtu() {
    let setup = "link add mirror0 mtu 1000 type veth peer name peer0";
    in_namespace("ipv6_does_not_return_with_a_larger_mtu", setup, async || {
        let before = link("mirror0").await;
        assert_eq!(before.ipv6, None, "an MTU of 1000 is too small for IPv6");
        apply(&before, &quiet(&before, 1500)).await.unwrap();
        let after = link("mirror0").await;
        assert_eq!(quiet(&after, 1500), [], "{after:?}");
        assert!(after.ipv6.unwrap().disabled);
    });
}

#[test]
fn a_nic_in_use_is_refused_with_what_it_is_used_for() {
    let setup = "
        link add mirror0 type veth peer name peer0
        link add br0 type bridge
        link set peer0 up
        link set mirror0 up";
    in_namespace("a_nic_in_use_is_refused_with_what_it_is_used_for", setup, async || {
        let refusal = async || check_attachable(&link("mirror0").await).unwrap_err().to_string();
        let accepted = async || check_attachable(&link("mirror0").await) == Ok(());
        assert!(accepted().await);

        for address in ["192.0.2.7/24", "2001:db8::7/64"] {
            ip(&format!("address add {address} dev mirror0"));
            assert!(refusal().await.contains(address), "{}", refusal().await);
            ip(&format!("address del {address} dev mirror0"));
            assert!(accepted().await);
        }
        for (route, text) in [
            ("default dev mirror0 metric 4000", "0.0.0.0/0 metric 4000 table 254"),
            ("default dev mirror0 table 77", "0.0.0.0/0 metric 0 table 77"),
            ("-6 default via fe80::1 dev mirror0 metric 9", "::/0 via fe80::1 metric 9 table 254"),
            (
                "default nexthop dev peer0 nexthop via 192.0.2.1 dev mirror0 onlink",
                "0.0.0.0/0 via 192.0.2.1 metric 0 table 254",
            ),
        ] {
            let (family, route) = match route.strip_prefix("-6 ") {
                Some(route) => ("-6", route),
                None => ("-4", route),
            };
            ip(&format!("{family} route add {route}"));
            assert!(refusal().await.contains(text), "{}", refusal().await);
            ip(&format!("{family} route del {route}"));
            assert!(accepted().await);
        }
        // Somebody else's default route does not count.
        ip("route add default dev peer0");
        assert!(accepted().await);

        ip("link set mirror0 master br0");
        assert!(refusal().await.contains("mirror0 belongs to br0"), "{}", refusal().await);
    });
}

#[test]
fn a_change_that_the_kernel_refuses_is_named_with_its_reason() {
    in_namespace("a_change_that_the_kernel_refuses_is_named_with_its_reason", VETH, async || {
        let link = link("mirror0").await;
        let error = apply(&link, &[Change::Mtu(70_000)]).await.unwrap_err().to_string();
        assert!(
            error.starts_with("mirror0: cannot set the MTU to 70000: Invalid argument"),
            "{error}"
        );

        ip("link del mirror0");
        let error = apply(&link, &[Change::Up]).await.unwrap_err();
        assert!(
            matches!(&error, NicError::Refused { errno, .. } if errno.raw_os_error() == Some(libc::ENODEV)),
            "{error}"
        );
        assert!(error.to_string().starts_with("mirror0: cannot bring the link up: No such device"));
    });
}

#[test]
fn without_rights_the_error_names_the_missing_capability() {
    let test = "without_rights_the_error_names_the_missing_capability";
    if env::var(INSIDE).as_deref() == Ok("inner") {
        block_on(async {
            let link = link("mirror0").await;
            for change in [Change::Up, Change::StopArp, Change::StopAddressGeneration] {
                let error = apply(&link, &[change]).await.unwrap_err().to_string();
                assert!(error.starts_with(&format!("mirror0: cannot {change}: ")), "{error}");
                assert!(error.contains("CAP_NET_ADMIN"), "{error}");
            }
        });
        return;
    }
    in_namespace(test, VETH, async || {
        // A further user namespace has no rights over the network namespace of this one.
        run_again(test, "inner", &["--user"]);
    });
}

/// Carries out `action` and waits until the watch signals, however long that takes.
async fn expect_signal(watch: &mut Watch, action: impl AsyncFnOnce()) {
    action().await;
    watch.changed().await;
}

#[test]
fn a_watch_signals_whatever_happens_to_the_link() {
    in_namespace("a_watch_signals_whatever_happens_to_the_link", "", async || {
        let mut watch = watch("mirror0").unwrap();
        expect_signal(&mut watch, async || ip(VETH)).await;
        assert!(observe("mirror0").await.unwrap().is_some());
        settle(&mut watch).await;
        for action in [
            "link set mirror0 up",
            "link set mirror0 mtu 1400",
            "link set mirror0 arp off",
            "address add 192.0.2.7/24 dev mirror0",
            "address del 192.0.2.7/24 dev mirror0",
            "link set mirror0 down",
            "link set mirror0 name other0",
            "link set other0 name mirror0",
            "link del mirror0",
            VETH,
            "address add 192.0.2.7/24 dev mirror0",
        ] {
            expect_signal(&mut watch, async || ip(action)).await;
            settle(&mut watch).await;
        }
    });
}

/// Takes a signal that is still to come from what was done so far: the kernel announces the marker link
/// later, on every socket, so what was before it is through.
async fn settle(watch: &mut Watch) {
    let mut marker = ofmirror::nic::watch("marker0").unwrap();
    ip("link add marker0 type bridge");
    marker.changed().await;
    ip("link del marker0");
    let _none_or_one = tokio::time::timeout(Duration::ZERO, watch.changed()).await;
}

#[test]
fn copies_drain_away_from_the_host_and_the_bridge_for_that_leaves_nothing_behind() {
    let test = "copies_drain_away_from_the_host_and_the_bridge_for_that_leaves_nothing_behind";
    in_namespace(test, VETH, async || {
        let fresh = link("mirror0").await;
        assert_eq!(fresh.drain, None);
        leave_to_host("mirror0").await.expect("there is nothing to be undone");
        for _ in 0..2 {
            take_from_host(&fresh).await.expect("what is there already is no error");
            let kept = link("mirror0").await;
            assert_eq!(kept.drain, drain("mirror0-drain", false));
            assert_eq!(kept.master, None, "ours is nobody who takes them");
        }
        assert!(!link("mirror0-drain").await.up, "it never sends anything");
        leave_to_host("mirror0").await.unwrap();
        assert_eq!(link("mirror0").await, fresh);
        assert_eq!(observe("mirror0-drain").await.unwrap(), None);

        // A NIC that is made anew finds the bridge of the one before.
        take_from_host(&fresh).await.unwrap();
        ip("link del mirror0");
        ip(VETH);
        let anew = link("mirror0").await;
        assert_eq!(anew.drain, None);
        take_from_host(&anew).await.unwrap();
        assert_eq!(link("mirror0").await.drain, drain("mirror0-drain", false));
    });
}

#[test]
fn a_bridge_that_is_renamed_during_a_look_is_no_device_that_wants_copies() {
    let test = "a_bridge_that_is_renamed_during_a_look_is_no_device_that_wants_copies";
    in_namespace(test, VETH, async || {
        run("mount", "-t sysfs sysfs /sys");
        take_from_host(&link("mirror0").await).await.unwrap();
        let renaming = thread::spawn(|| {
            for _ in 0..50 {
                ip("link set mirror0-drain name renamed");
                ip("link set renamed name mirror0-drain");
            }
        });
        while !renaming.is_finished() {
            assert_eq!(link("mirror0").await.outlets, Vec::<String>::new());
        }
        renaming.join().unwrap();
    });
}

#[test]
fn a_bridge_that_somebody_renames_or_brings_up_is_still_ours_and_made_tight_again() {
    let test = "a_bridge_that_somebody_renames_or_brings_up_is_still_ours_and_made_tight_again";
    let setup = &format!("{VETH}\nlink set peer0 up\nlink set mirror0 up");
    in_namespace(test, setup, async || {
        take_from_host(&link("mirror0").await).await.unwrap();
        let mut watch = watch("mirror0").unwrap();
        ip("link set mirror0-drain name other");
        expect_signal(&mut watch, async || ip("link set other up")).await;
        let leaking = link("mirror0").await;
        assert_eq!(leaking.drain, drain("other", true));
        take_from_host(&leaking).await.unwrap();
        assert_eq!(link("mirror0").await.drain, drain("other", false));
        leave_to_host("mirror0").await.unwrap();
        assert_eq!(observe("other").await.unwrap(), None);
        assert_eq!(link("mirror0").await.drain, None);
    });
}

#[test]
fn copies_that_somebody_else_takes_are_left_to_him() {
    let setup = "
        link add mirror0 type veth peer name peer0
        link add upon link mirror0 type macvlan
        link add other0 type veth peer name other1
        link add other0-drain type bridge";
    in_namespace("copies_that_somebody_else_takes_are_left_to_him", setup, async || {
        let error = take_from_host(&link("mirror0").await).await.unwrap_err().to_string();
        assert!(error.contains("Device or resource busy"), "{error}");
        assert_eq!(observe("mirror0-drain").await.unwrap(), None);

        let error = take_from_host(&link("other0").await).await.unwrap_err().to_string();
        assert!(error.starts_with("other0-drain: there is a link of this name already"), "{error}");
        leave_to_host("other0").await.unwrap();
        let theirs = link("other0-drain").await;
        ip("link set other0 master other0-drain");
        let used = link("other0").await;
        assert_eq!(used.drain, None, "it is not ours for its name");
        assert_eq!(used.master.map(|master| master.index), Some(theirs.index));
    });
}

#[test]
fn a_device_that_was_moved_is_told_from_one_that_was_deleted() {
    let test = "a_device_that_was_moved_is_told_from_one_that_was_deleted";
    let setup = "
        tuntap add dev mirror0 mode tap
        tuntap add dev other0 mode tap";
    in_namespace(test, setup, async || {
        let mac = link("mirror0").await.mac;
        let whereabouts = async || find_elsewhere("mirror0", mac).await.unwrap();
        let mut pod = Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().unwrap();
        let inside = format!("--target {} --net --preserve-credentials ip", pod.id());
        let own = || std::fs::read_link("/proc/self/ns/net").unwrap();
        while std::fs::read_link(format!("/proc/{}/ns/net", pod.id())).unwrap() == own() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Another device moved there first, so that the other namespace is known.
        ip(&format!("link set other0 netns {}", pod.id()));
        ip(&format!("link set mirror0 netns {}", pod.id()));
        assert_eq!(observe("mirror0").await.unwrap(), None);
        assert_eq!(whereabouts().await, Absence::Moved { up: false });
        run("nsenter", &format!("{inside} link set mirror0 name eth1 up"));
        assert_eq!(whereabouts().await, Absence::Moved { up: true }, "by its address");
        run("nsenter", &format!("{inside} link set eth1 name mirror0 address 02:00:00:00:00:99"));
        assert_eq!(whereabouts().await, Absence::Moved { up: true }, "by its name");
        run("nsenter", &format!("{inside} link del mirror0"));
        assert_eq!(whereabouts().await, Absence::Deleted);
        run("nsenter", &format!("{inside} link add mirror0 type bridge"));
        assert_eq!(whereabouts().await, Absence::Deleted, "no switch makes such a device");
        pod.kill().unwrap();
        pod.wait().unwrap();
        assert_eq!(whereabouts().await, Absence::Deleted);
    });
}

#[test]
fn the_filter_of_a_nic_stands_until_it_is_removed_and_tells_what_it_lets_pass() {
    let test = "the_filter_of_a_nic_stands_until_it_is_removed_and_tells_what_it_lets_pass";
    in_namespace(test, "", async || {
        // A name as long as can be, with what nft(8) does not take in a name.
        let nic = "mirror-of.node1";
        let all = Shield::new(nic, None, Ipv4::Everything);
        all.lower().expect("there is nothing to remove");
        assert!(!all.stands().unwrap());
        let others = [
            Shield::new(nic, None, Ipv4::Icmp),
            Shield::new(nic, None, Ipv4::Nothing),
            Shield::new(nic, Some("peer0"), Ipv4::Everything),
            Shield::new("mirror1", None, Ipv4::Everything),
        ];
        let before = generation().unwrap();
        all.hold().unwrap();
        let raised = generation().unwrap();
        assert_ne!(before, raised);
        all.hold().unwrap();
        assert_eq!(generation().unwrap(), raised, "what stands is left alone");
        assert!(all.stands().unwrap());
        for other in others {
            assert!(!other.stands().unwrap(), "{other:?}");
            other.hold().unwrap();
            assert!(other.stands().unwrap(), "{other:?}");
        }
        assert!(!all.stands().unwrap(), "another took its place");
        all.lower().unwrap();
        assert!(!all.stands().unwrap());
        assert!(Shield::new("mirror1", None, Ipv4::Everything).stands().unwrap());
    });
}

#[test]
fn where_frames_get_to_is_told_as_far_as_the_nodes_links_tell() {
    let setup = "
        link add mirror0 type veth peer name peer0
        link add br0 type bridge
        link add in0 type veth peer name out0
        link set in0 master br0
        link add link br0 name upon type macvlan";
    let test = "where_frames_get_to_is_told_as_far_as_the_nodes_links_tell";
    in_namespace(test, setup, async || {
        let names = |names: &std::collections::BTreeSet<String>| {
            names.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        let alone = link("mirror0").await.reach;
        assert_eq!((names(&alone.enters), names(&alone.leaves)), ("peer0".into(), String::new()));
        assert_eq!(alone.peer.as_deref(), Some("peer0"));

        ip("link set peer0 master br0");
        let bridged = link("mirror0").await.reach;
        assert_eq!(names(&bridged.enters), "br0 out0 peer0 upon");
        assert_eq!(names(&bridged.leaves), "in0");
        assert_eq!(bridged.peer, None);

        // What is in another namespace can't be seen, and its number there is no link's here.
        let mut elsewhere =
            Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().unwrap();
        let namespace = format!("/proc/{}/ns/net", elsewhere.id());
        let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
        while std::fs::read_link(&namespace).unwrap() == ours {
            tokio::task::yield_now().await;
        }
        ip(&format!("link set peer0 netns {}", elsewhere.id()));
        assert_eq!(link("mirror0").await.reach, Default::default());
        elsewhere.kill().unwrap();
        elsewhere.wait().unwrap();
    });
}
