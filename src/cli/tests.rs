use super::*;

#[test]
fn an_address_of_either_family_may_stand_in_brackets() {
    for (text, address) in [
        ("10.0.0.1:9475", "10.0.0.1:9475"),
        ("[10.0.0.1]:9475", "10.0.0.1:9475"),
        ("[2001:db8::1]:9475", "[2001:db8::1]:9475"),
    ] {
        let read = metrics_address(text).unwrap().0.unwrap();
        assert_eq!(read.to_string(), address, "{text}");
    }
}

#[test]
fn what_is_no_address_with_a_port_is_refused() {
    // The last is what a Pod without an address would make of [$(POD_IP)]:9475.
    for text in [
        "",
        "10.0.0.1",
        "2001:db8::1:9475:",
        "[10.0.0.1]",
        "[10.0.0.1:9475",
        "10.0.0.1]:9475",
        "[10.0.0.1]:94750",
        "[node1]:9475",
        "[]:9475",
    ] {
        assert!(metrics_address(text).is_err(), "{text}");
    }
}

#[test]
fn only_what_the_kernel_takes_as_the_name_of_one_device_is_a_name() {
    for name in ["mirror0", "eth1.100", "br-int", "a", "mirror-of-node1"] {
        assert_eq!(nic_name(name).as_deref(), Ok(name));
    }
    for name in [
        "",
        ".",
        "..",
        "mirror%d",
        "%",
        "a/b",
        "a b",
        "a\tb",
        "a\n",
        "eth0:1",
        "mirror-of-node-1",
        "spiegelß",
        "\0",
    ] {
        assert!(nic_name(name).is_err(), "{name:?}");
        for flag in ["--mirror-iface", "--bridge"] {
            let flag = format!("{flag}={name}");
            assert!(Cli::try_parse_from(["ofmirror", "agent", &flag]).is_err(), "{flag:?}");
        }
    }
}
