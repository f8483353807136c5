//! `/metrics` is for whom Kubernetes lets: real ServiceAccounts with real tokens ask, and a real API server says who they are
//! and what they may.

use std::collections::BTreeSet;

use anyhow::Context as _;
use lab::{Agent, Cluster, Component, HttpAnswer, Node, Request, Result, until};

const ADDRESS: &str = "192.0.2.1:9475";
const NAMESPACE: &str = "ofmirror-system";

/// What an agent with the component for the Prometheus operator is started with, on a node that has the address.
fn start<'a>(node: &Node, cluster: &Cluster<'a>) -> Result<Agent<'a>> {
    node.namespace().ip(["addr", "add", "192.0.2.1/32", "dev", "lo"])?;
    cluster.add_operator_types()?;
    cluster.apply_deploy_with("base", &["prometheus-operator"])?;
    let metrics = format!("--metrics-addr={ADDRESS}");
    let flags = ["--pod-source=ovsdb", "--enable-mirror", &metrics];
    let agent = cluster.launch_container(&cluster.daemon_set()?, &flags)?;
    agent.await_ready()?;
    Ok(agent)
}

/// A ServiceAccount of another namespace, which may get /metrics or not, and its token.
fn account(cluster: &Cluster<'_>, name: &str, may: bool) -> Result<String> {
    cluster.kubectl(["create", "serviceaccount", "-n", "default", name])?;
    if may {
        let [verb, url] = ["--verb=get", "--non-resource-url=/metrics"];
        cluster.kubectl(["create", "clusterrole", name, verb, url])?;
        let [role, subject] =
            [format!("--clusterrole={name}"), format!("--serviceaccount=default:{name}")];
        cluster.kubectl(["create", "clusterrolebinding", name, &role, &subject])?;
        // The authorizer hears of new roles by watching.
        let who = format!("--as=system:serviceaccount:default:{name}");
        until("the role to be known", || {
            let question = cluster.kubectl_command(["auth", "can-i", "get", "/metrics", &who]);
            Ok((question.output()?.stdout.trim() == "yes").then_some(()))
        })?;
    }
    cluster.service_account_token("default", name)
}

/// What is answered to who asks for a URL with this token.
fn ask(node: &Node, url: &str, token: Option<&str>) -> Result<HttpAnswer> {
    let header = token.map(|token| format!("Authorization: Bearer {token}"));
    let header = header.iter().flat_map(|header| ["-H", header.as_str()]);
    let curl = node.program("curl").args(["-sS", "-k", "-w", "\n%{http_code}"]);
    let said = curl.args(header).arg(url).run()?;
    let (body, status) = said.rsplit_once('\n').context("no status")?;
    Ok(HttpAnswer { status: status.parse()?, body: body.to_owned() })
}

fn scrape(node: &Node, token: Option<&str>) -> Result<HttpAnswer> {
    ask(node, &format!("https://{ADDRESS}/metrics"), token)
}

/// What the agent asked the API server for that has to do with tokens.
fn reviews(cluster: &Cluster<'_>) -> Result<Vec<Request>> {
    let mut requests = cluster.requests(NAMESPACE, "ofmirror")?;
    requests.retain(|request| request.resource.ends_with("reviews"));
    Ok(requests)
}

#[test]
fn only_whom_rbac_lets_get_metrics_gets_them() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let agent = start(&node, &cluster)?;
    let (prometheus, stranger) =
        (account(&cluster, "prometheus", true)?, account(&cluster, "stranger", false)?);

    for (token, status, words) in [
        (None, 401, "Authorization: Bearer"),
        (Some("made-up"), 401, "does not know this token"),
        (Some(&*stranger), 403, "system:serviceaccount:default:stranger may not get /metrics"),
        (Some(&*prometheus), 200, "ofmirror_ready 1"),
    ] {
        let answer = scrape(&node, token)?;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(words), "{answer:?}");
        assert_eq!(answer.body.contains("# TYPE"), status == 200, "{answer:?}");
    }
    // Nothing else is there, whoever asks, nor by HTTP.
    for path in ["/", "/status", "/readyz", "/healthz"] {
        let answer = ask(&node, &format!("https://{ADDRESS}{path}"), Some(&prometheus))?;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    let plain = ask(&node, &format!("http://{ADDRESS}/metrics"), Some(&prometheus))?;
    assert!(plain.status == 400 && plain.body.contains("speaks HTTPS"), "{plain:?}");
    // kubelet's probes, and the node's own programs.
    for path in ["/healthz", "/readyz", "/status", "/metrics"] {
        assert_eq!(agent.get(path)?.map(|answer| answer.status), Some(200), "{path}");
    }

    // The component's rights are what it takes, and all needed.
    let asked = reviews(&cluster)?;
    let kinds: BTreeSet<_> =
        asked.iter().map(|request| (&*request.verb, &*request.group, &*request.resource)).collect();
    let expected = BTreeSet::from([
        ("create", "authentication.k8s.io", "tokenreviews"),
        ("create", "authorization.k8s.io", "subjectaccessreviews"),
    ]);
    assert_eq!(kinds, expected);
    assert!(asked.iter().all(|request| request.status == 201), "{asked:?}");
    // One more scrape costs no more questions.
    for _ in 0..10 {
        assert_eq!(scrape(&node, Some(&prometheus))?.status, 200);
    }
    assert_eq!(reviews(&cluster)?.len(), asked.len());
    agent.stop()
}

#[test]
fn an_api_server_that_is_away_or_refuses_lets_nobody_in_and_leaves_the_probes_alone() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let agent = start(&node, &cluster)?;
    let first = account(&cluster, "prometheus", true)?;
    let another = || cluster.service_account_token("default", "prometheus");
    let [second, third] = [another()?, another()?];
    assert_eq!(scrape(&node, Some(&first))?.status, 200);

    cluster.kubectl(["delete", "clusterrolebinding", "ofmirror-metrics-auth"])?;
    let words = r#"cannot create resource "tokenreviews""#;
    let refused = until("the right to be gone", || {
        let answer = scrape(&node, Some(&another()?))?;
        Ok((answer.status != 200).then_some(answer))
    })?;
    assert!(refused.status == 503 && refused.body.contains(words), "{refused:?}");
    assert!(agent.log()?.contains(words), "{}", agent.log()?);

    cluster.kill(Component::ApiServer)?;
    for token in [Some(&*second), Some(&*third)] {
        let answer = scrape(&node, token)?;
        assert!(answer.status == 503 && answer.body.contains("can't be found out"), "{answer:?}");
    }
    assert_eq!(scrape(&node, None)?.status, 401);
    assert_eq!(agent.get("/healthz")?.map(|answer| answer.status), Some(200));
    assert_eq!(agent.get("/readyz")?.map(|answer| answer.status), Some(200));

    cluster.start_component(Component::ApiServer)?;
    cluster.apply_deploy_with("base", &["prometheus-operator"])?;
    until("the agent to ask again", || {
        agent.alive()?;
        Ok((scrape(&node, Some(&another()?))?.status == 200).then_some(()))
    })?;
    agent.stop()
}
