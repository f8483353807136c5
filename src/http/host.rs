//! Whom a request takes the agent for.
//!
//! A foreign web page can't read what is served at 127.0.0.1, unless a name of its own comes to lead there after the browser
//! has loaded it (DNS rebinding). Then the browser asks by that name.

use std::net::IpAddr;

use hyper::{Request, header::HOST, http::uri::Authority};

/// Whether it is asked for by an address, as localhost, or without a name, as no browser does.
pub(super) fn is_of_localhost<T>(request: &Request<T>) -> bool {
    let named = |value: &hyper::header::HeaderValue| {
        let authority = Authority::try_from(value.as_bytes());
        authority.is_ok_and(|authority| is_local(&authority))
    };
    request.uri().authority().is_none_or(is_local)
        && request.headers().get_all(HOST).into_iter().all(named)
}

fn is_local(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(host: &str) -> bool {
        is_of_localhost(&Request::get("/status").header(HOST, host).body(()).unwrap())
    }

    #[test]
    fn only_addresses_and_localhost_are_this_machine_for_sure() {
        for host in ["127.0.0.1", "127.0.0.1:9475", "[::1]:9475", "localhost:8080", "LOCALHOST"] {
            assert!(asks(host), "{host}");
        }
        for host in [
            "evil.example:9475",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "node1",
            "",
            "a b",
        ] {
            assert!(!asks(host), "{host}");
        }
        assert!(is_of_localhost(&Request::get("/").body(()).unwrap()));
        let absolute = Request::get("http://evil.example/").header(HOST, "localhost").body(());
        assert!(!is_of_localhost(&absolute.unwrap()));
    }
}
