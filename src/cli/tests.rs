use super::*;

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
