use http_body_util::Full;
use metrics::Metrics;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::watch,
    time::Instant,
};

use super::*;
use crate::{health::Health, inquiry};

/// A service whose agent's loop answers nothing.
fn service(health: Health) -> Service {
    let (_, health) = watch::channel(health);
    let (agent, _) = inquiry::channel();
    Service::new(health, Metrics::new(), agent)
}

fn healthy() -> Health {
    Health { ready: true, complete: true, ..Health::default() }
}

/// A client's end of a connection that is served.
fn connect(health: Health) -> DuplexStream {
    connect_to(View::Everything, health)
}

fn connect_to(view: View, health: Health) -> DuplexStream {
    let (client, server) = duplex(1 << 16);
    tokio::spawn(serve_connection(server, view, service(health)));
    client
}

/// What a service answers to who gets everything.
async fn get(service: &Service, path: &str) -> hyper::Response<Full<bytes::Bytes>> {
    service.answer(&View::Everything, &Request::get(path).body(()).unwrap()).await
}

/// All that comes back until the connection ends.
async fn answer(mut client: DuplexStream, request: &[u8]) -> String {
    // It may end before all of the request was taken.
    let _ = client.write_all(request).await;
    let mut bytes = Vec::new();
    let _ = client.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

/// Status line, head and body.
async fn ask(health: Health, method: &str, path: &str) -> (String, String, String) {
    ask_for(View::Everything, health, "node", method, path).await
}

/// The same, by who gets `view` and calls the agent `host`.
async fn ask_for(
    view: View,
    health: Health,
    host: &str,
    method: &str,
    path: &str,
) -> (String, String, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let text = answer(connect_to(view, health), request.as_bytes()).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let (status, fields) = head.split_once("\r\n").unwrap();
    (status.to_owned(), fields.to_owned(), body.to_owned())
}

#[tokio::test]
async fn the_agent_is_alive_as_long_as_it_answers() {
    let (status, _, body) = ask(Health::default(), "GET", "/healthz").await;
    assert_eq!((&*status, &*body), ("HTTP/1.1 200 OK", "ok\n"));
}

#[tokio::test]
async fn an_agent_that_is_ready_says_so() {
    let (status, _, body) = ask(healthy(), "GET", "/readyz").await;
    assert_eq!((&*status, &*body), ("HTTP/1.1 200 OK", "ready\n"));
}

#[tokio::test]
async fn an_agent_that_mirrors_nothing_as_nobody_listens_is_ready_and_says_so() {
    let (status, _, body) = ask(Health { paused: true, ..healthy() }, "GET", "/readyz").await;
    let told = "ready\npaused: nobody listens on the mirror NIC\n";
    assert_eq!((&*status, &*body), ("HTTP/1.1 200 OK", told));
}

#[tokio::test]
async fn an_agent_that_is_not_ready_says_why_a_reason_a_line() {
    let unavailable = "HTTP/1.1 503 Service Unavailable";
    let problems = vec!["OVSDB: connecting".to_owned(), "no bridge".to_owned()];
    for (problems, complete, expected) in [
        (problems.clone(), true, "OVSDB: connecting\nno bridge\n"),
        (problems, false, "OVSDB: connecting\nno bridge\nflows are not all installed yet\n"),
        (vec![], false, "flows are not all installed yet\n"),
    ] {
        let health = Health { complete, problems, ..Health::default() };
        let (status, _, body) = ask(health, "GET", "/readyz").await;
        assert_eq!((&*status, &*body), (unavailable, expected));
    }
}

#[tokio::test]
async fn readiness_is_that_of_the_moment() {
    let (sender, health) = watch::channel(Health::default());
    let service = Service::new(health, Metrics::new(), inquiry::channel().0);
    assert_eq!(get(&service, "/readyz").await.status(), 503);
    sender.send_replace(healthy());
    assert_eq!(get(&service, "/readyz").await.status(), 200);
}

#[tokio::test]
async fn metrics_are_in_prometheus_text_format() {
    let (status, head, body) = ask(healthy(), "GET", "/metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("\n# TYPE ofmirror_ready gauge\nofmirror_ready 0\n"), "{body}");
}

#[tokio::test]
async fn another_path_is_told_which_there_are() {
    for path in ["/index.html", "/metrics/", "/status/", "/../etc/passwd"] {
        let (status, _, body) = ask(healthy(), "GET", path).await;
        assert_eq!(status, "HTTP/1.1 404 Not Found", "{path}");
        assert!(body.contains("/, /status, /healthz, /readyz and /metrics"), "{body}");
    }
}

#[tokio::test]
async fn a_query_does_not_matter() {
    let (status, ..) = ask(healthy(), "GET", "/healthz?verbose").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn nothing_can_be_posted() {
    let (status, head, _) = ask(healthy(), "POST", "/metrics").await;
    assert_eq!(status, "HTTP/1.1 405 Method Not Allowed");
    assert!(head.contains("allow: GET, HEAD"), "{head}");
}

#[tokio::test]
async fn a_head_request_has_no_body() {
    let (status, head, body) = ask(healthy(), "HEAD", "/healthz").await;
    assert_eq!((&*status, &*body), ("HTTP/1.1 200 OK", ""));
    assert!(head.contains("content-length: 3"), "{head}");
}

#[tokio::test]
async fn a_connection_is_for_one_request() {
    let requests = "GET /healthz HTTP/1.1\r\nhost: node\r\n\r\n\
                    GET /readyz HTTP/1.1\r\nhost: node\r\n\r\n";
    let text = answer(connect(healthy()), requests.as_bytes()).await;
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 1, "{text}");
    assert!(text.contains("connection: close") && text.ends_with("ok\n"), "{text}");
}

#[tokio::test]
async fn no_answer_is_kept_by_a_cache_or_taken_for_something_else() {
    for path in ["/", "/status", "/healthz", "/readyz", "/metrics", "/nothing"] {
        let (_, head, _) = ask(healthy(), "GET", path).await;
        for field in ["cache-control: no-store", "x-content-type-options: nosniff"] {
            assert!(head.contains(field), "{path}: {head}");
        }
        assert!(head.contains("content-security-policy: default-src 'none'; "), "{path}: {head}");
    }
}

#[tokio::test]
async fn the_page_allows_its_own_style_and_script_and_nothing_else() {
    let (status, head, body) = ask(healthy(), "GET", "/").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: "));
    let policy = policy.unwrap();
    assert!(!policy.contains("unsafe"), "{policy}");
    for source in ["style-src 'sha256-", "script-src 'sha256-", "connect-src 'self'"] {
        assert!(policy.contains(source), "{policy}");
    }
    // One document: what it names by URL is in it, or served here.
    assert_eq!((body.matches("<style>").count(), body.matches("<script>").count()), (1, 1));
    assert!(!body.contains(" src=") && !body.contains("http-equiv"), "{body}");
    let links = body.split(" href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    for link in links {
        assert!(
            link.starts_with("data:") || ["status", "metrics", "readyz"].contains(&link),
            "{link}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_answer_is_told_at_status_after_a_while() {
    let (_, health) = watch::channel(healthy());
    let (agent, _inquiries) = inquiry::channel();
    let service = Service::new(health, Metrics::new(), agent);
    let response = get(&service, "/status").await;
    assert_eq!(response.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_loop_stands_still_is_not_alive() {
    let service = service(healthy());
    assert_eq!(get(&service, "/healthz").await.status(), 200);
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(get(&service, "/healthz").await.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_is_cut_off() {
    let start = Instant::now();
    assert_eq!(answer(connect(healthy()), b"").await, "");
    assert_eq!(start.elapsed().as_secs(), HEAD_TIME.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_come_to_an_end_is_cut_off() {
    let start = Instant::now();
    answer(connect(healthy()), b"GET /healthz HTTP/1.1\r\nhost: ").await;
    assert_eq!(start.elapsed().as_secs(), HEAD_TIME.as_secs());
}

#[tokio::test]
async fn garbage_is_refused() {
    for garbage in [&b"\x06\0\0\x08\0\0\0\x01\r\n\r\n"[..], b"{\"method\":\"echo\"}\r\n\r\n"] {
        let text = answer(connect(healthy()), garbage).await;
        assert!(text.starts_with("HTTP/1.1 400 Bad Request"), "{text}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let request = format!("GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(4 * HEAD));
    let text = answer(connect(healthy()), request.as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 431 Request Header Fields Too Large"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_cut_off() {
    let (mut client, server) = duplex(100);
    let serving =
        timeout(CONNECTION_TIME, serve_connection(server, View::Everything, service(healthy())));
    client.write_all(b"GET /metrics HTTP/1.1\r\nhost: node\r\n\r\n").await.unwrap();
    assert!(serving.await.is_err(), "it was not sent, nor was it given up before its time");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_the_flag() {
    let site = Site::status("127.0.0.1:0".parse().unwrap());
    let listener = listen(&site).await.unwrap();
    let address = listener.address().unwrap();
    let error = listen(&Site::status(address)).await.map(drop).unwrap_err().to_string();
    assert!(error.starts_with(&format!("can't listen at {address}: ")), "{error}");
    assert!(error.contains("--status-addr"), "{error}");
}

#[tokio::test]
async fn who_gets_metrics_alone_learns_nothing_else_and_where_that_is() {
    let health = Health { problems: vec!["default/a: secret".to_owned()], ..Health::default() };
    let (status, ..) = ask_for(View::Metrics, health.clone(), "node", "GET", "/metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    for path in ["/", "/status", "/readyz", "/healthz", "/metrics/", "//metrics"] {
        let (status, _, body) = ask_for(View::Metrics, health.clone(), "node", "GET", path).await;
        assert_eq!(status, "HTTP/1.1 404 Not Found", "{path}");
        assert!(body.contains("--status-addr") && !body.contains("secret"), "{body}");
    }
}

#[tokio::test]
async fn at_localhost_a_page_of_another_name_is_refused() {
    for (host, expected) in [
        ("localhost:9475", "200 OK"),
        ("127.0.0.1", "200 OK"),
        ("evil.example", "421 Misdirected Request"),
    ] {
        for path in ["/", "/readyz", "/metrics"] {
            let (status, ..) = ask_for(View::Local, healthy(), host, "GET", path).await;
            assert_eq!(status, format!("HTTP/1.1 {expected}"), "{host} {path}");
        }
    }
}

#[tokio::test]
async fn who_speaks_http_where_https_is_spoken_is_told() {
    let (status, _, body) = ask_for(View::Plain, healthy(), "node", "GET", "/metrics").await;
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
    assert!(body.contains("speaks HTTPS"), "{body}");
}
