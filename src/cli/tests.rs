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
