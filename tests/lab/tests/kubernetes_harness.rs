//! The lab's API server proves itself: it keeps objects over its own death, and RBAC refuses whoever has no role.

use lab::{Cluster, Component, Node, Result};

const MIRROR: &str = "ovn.kubernetes.io/mirror";

/// An annotation of a Pod, empty when it is not there.
fn annotation(cluster: &Cluster<'_>, pod: &str, key: &str) -> Result<String> {
    let path = format!("jsonpath={{.metadata.annotations.{}}}", key.replace('.', r"\."));
    cluster.kubectl(["get", "pod", pod, "-o", &path])
}

#[test]
fn a_pod_object_is_made_annotated_and_deleted() -> Result {
    let node = Node::start_bare()?;
    let cluster = Cluster::start(&node)?;
    let first = cluster.create_pod("default", "a", &[(MIRROR, "true")])?;
    cluster.create_host_pod("kube-system", "h", &[])?;
    assert_eq!(annotation(&cluster, "a", MIRROR)?, "true");
    cluster.annotate_pod("default", "a", &format!("{MIRROR}=false"))?;
    assert_eq!(annotation(&cluster, "a", MIRROR)?, "false");
    cluster.annotate_pod("default", "a", &format!("{MIRROR}-"))?;
    assert_eq!(annotation(&cluster, "a", MIRROR)?, "");

    let of_this_node = format!("--field-selector=spec.nodeName={}", node.name());
    let columns = "-o=custom-columns=:.metadata.namespace,:.metadata.name,:.spec.hostNetwork";
    let seen = || cluster.kubectl(["get", "pods", "-A", "--no-headers", &of_this_node, columns]);
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(seen()?), ["default", "a", "<none>", "kube-system", "h", "true"]);

    cluster.delete_pod("default", "a")?;
    assert_eq!(words(seen()?), ["kube-system", "h", "true"]);
    let second = cluster.create_pod("default", "a", &[])?;
    assert_ne!(first, second, "a Pod that was made again is another one");
    Ok(())
}

#[test]
fn objects_outlive_the_death_of_the_api_server_and_of_etcd() -> Result {
    let node = Node::start_bare()?;
    let cluster = Cluster::start(&node)?;
    cluster.create_namespace("team")?;
    cluster.annotate_namespace("team", &format!("{MIRROR}=true"))?;
    let uid = cluster.create_pod("team", "a", &[])?;
    let seen = || cluster.kubectl(["get", "pod", "-n", "team", "a", "-o=jsonpath={.metadata.uid}"]);
    for component in [Component::ApiServer, Component::Etcd] {
        cluster.restart(component)?;
        cluster.await_ready()?;
        assert_eq!(seen()?, uid, "after {} was killed", component.name());
    }
    cluster.stop(Component::ApiServer)?;
    assert!(seen().is_err(), "somebody answers without an API server");
    cluster.start_component(Component::ApiServer)?;
    assert_eq!(seen()?, uid);
    Ok(())
}

#[test]
fn a_service_account_may_do_what_its_role_says_and_nothing_else() -> Result {
    let node = Node::start_bare()?;
    let cluster = Cluster::start(&node)?;
    cluster.create_namespace("team")?;
    cluster.kubectl(["create", "serviceaccount", "-n", "team", "reader"])?;
    let token = cluster.service_account_token("team", "reader")?;
    let kubeconfig = cluster.kubeconfig(&token)?.display().to_string();
    let pods = || cluster.kubectl(["--kubeconfig", &kubeconfig, "get", "pods", "-A"]);

    let refused = format!("{:#}", pods().expect_err("it has no role"));
    let who = r#"User "system:serviceaccount:team:reader" cannot list resource "pods""#;
    assert!(refused.contains("Forbidden") && refused.contains(who), "{refused}");

    cluster.kubectl(["create", "clusterrole", "reader", "--verb=list", "--resource=pods"])?;
    let subject = "--serviceaccount=team:reader";
    cluster.kubectl(["create", "clusterrolebinding", "reader", "--clusterrole=reader", subject])?;
    // The authorizer hears of new roles by watching, too.
    lab::until("the role to be known", || Ok(pods().ok()))?;
    let create = ["--kubeconfig", &kubeconfig, "create", "namespace", "mine"];
    let refused = format!("{:#}", cluster.kubectl(create).expect_err("its role is to read"));
    assert!(refused.contains("Forbidden"), "{refused}");

    let stranger = cluster.kubectl(["--token", "no-such-token", "get", "pods"]);
    let refused = format!("{:#}", stranger.expect_err("the token is made up"));
    assert!(refused.contains("You must be logged in to the server"), "{refused}");
    Ok(())
}

#[test]
fn a_program_in_a_pod_of_the_cluster_sees_its_own_service_account_only() -> Result {
    let (node, other_node) = (Node::start_bare()?, Node::start_bare()?);
    let cluster = Cluster::start(&node)?;
    let other_cluster = Cluster::start(&other_node)?;
    let user = |cluster: &Cluster<'_>, name: &str| -> Result<String> {
        cluster.kubectl(["create", "serviceaccount", "-n", "kube-system", name])?;
        let account = cluster.service_account("kube-system", name)?;
        let kubectl = cluster.program(&account, cluster.kubectl_program())?;
        // Without a kubeconfig file, kubectl takes what a Pod has.
        let kubectl = kubectl.env("KUBECONFIG", "/nowhere").env("KUBERC", "off");
        kubectl.args(["auth", "whoami", "-o=jsonpath={.status.userInfo.username}"]).run()
    };
    assert_eq!(user(&cluster, "one")?, "system:serviceaccount:kube-system:one");
    assert_eq!(user(&other_cluster, "two")?, "system:serviceaccount:kube-system:two");
    let outside = node.program("ls").arg("/run/secrets/kubernetes.io/serviceaccount").run()?;
    assert_eq!(outside, "", "the ServiceAccount is seen outside of the Pod");
    Ok(())
}

#[test]
fn events_of_a_pod_are_read_with_their_counts() -> Result {
    let node = Node::start_bare()?;
    let cluster = Cluster::start(&node)?;
    let uid = cluster.create_pod("default", "a", &[])?;
    cluster.create_pod("default", "b", &[])?;
    let event = |api: &str, name: &str, of: &str, rest: &str| {
        format!(
            "apiVersion: {api}\nkind: Event\nmetadata: {{namespace: default, name: {name}}}\n\
             {of}: {{kind: Pod, namespace: default, name: a, uid: {uid}, apiVersion: v1}}\n\
             reason: {name}\ntype: Normal\n{rest}\n---\n"
        )
    };
    let reporter = "reportingController: lab/test\nreportingInstance: lab\naction: Test\n\
                    eventTime: 2026-11-22T10:00:00.000000Z\n";
    let series = "series: {count: 7, lastObservedTime: 2026-11-22T10:00:00.000000Z}\n";
    cluster.apply(&event("v1", "old", "involvedObject", "message: one\ncount: 3"))?;
    cluster.apply(&event(
        "events.k8s.io/v1",
        "new",
        "regarding",
        &format!("note: two\n{reporter}{series}"),
    ))?;
    cluster.apply(&event(
        "events.k8s.io/v1",
        "single",
        "regarding",
        &format!("note: x\n{reporter}"),
    ))?;

    let mut seen: Vec<_> = cluster
        .events("default", "a")?
        .into_iter()
        .map(|event| (event.reason, event.kind, event.message, event.count, event.uid == uid))
        .collect();
    seen.sort_unstable();
    let want = |reason: &str, message: &str, count| {
        (reason.to_owned(), "Normal".to_owned(), message.to_owned(), count, true)
    };
    assert_eq!(seen, [want("new", "two", 7), want("old", "one", 3), want("single", "x", 1)]);
    assert!(cluster.events("default", "b")?.is_empty());
    Ok(())
}

#[test]
fn an_api_server_that_dies_by_itself_is_named() -> Result {
    let node = Node::start_bare()?;
    let cluster = Cluster::start(&node)?;
    // The lab does not know of this kill.
    let pid = cluster.pid(Component::ApiServer)?;
    node.program("kill").args(["-KILL", &pid.to_string()]).run()?;
    let error = lab::until("the death", || Ok(cluster.alive().err()))?;
    assert!(format!("{error:#}").contains("kube-apiserver died by itself"), "{error:#}");
    std::mem::forget(cluster); // it would complain again
    Ok(())
}
