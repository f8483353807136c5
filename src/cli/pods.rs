//! Flags that say which Pods are mirrored.

use std::{collections::BTreeSet, env};

use anyhow::Context as _;
use clap::{Args, ValueEnum, builder::BoolishValueParser};

use crate::{
    kubernetes::client,
    selection::NamespaceRule,
    settings::{self, StatedSettings, StatedSource},
};

/// What Kubernetes sets in every Pod.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";
/// The namespace of the cluster's own Pods.
const SYSTEM: &str = "kube-system";

/// Which Pods are mirrored.
#[derive(Clone, Debug, Args)]
pub(super) struct Pods {
    /// Mirror all Pods of the node, but those annotated with "false", not only those annotated with "true"
    #[arg(
        long, env = "OFMIRROR_ENABLE_MIRROR", value_parser = BoolishValueParser::new(),
        default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true
    )]
    pub(super) enable_mirror: bool,

    /// Where to learn which Pods there are and which are annotated [default: kubernetes in a Pod, else ovsdb]
    #[arg(long, env = "OFMIRROR_POD_SOURCE")]
    pod_source: Option<PodSource>,

    /// This node's name in Kubernetes [default: the host's name]
    #[arg(long, env = "OFMIRROR_NODE_NAME", value_name = "NAME", value_parser = subdomain)]
    node_name: Option<String>,

    /// Never mirror Pods of other namespaces than these, comma-separated: whoever may annotate a Pod could have its packets
    /// copied otherwise
    #[arg(long, env = "OFMIRROR_ALLOW_NAMESPACES", value_name = "NAMES", value_parser = namespaces)]
    allow_namespaces: Option<Namespaces>,

    /// Never mirror Pods of these namespaces, comma-separated, not even with --enable-mirror; kube-system is one by
    /// default since its Pods carry the cluster's own credentials; "" for none [default: kube-system, or none with
    /// --allow-namespaces]
    #[arg(long, env = "OFMIRROR_DENY_NAMESPACES", value_name = "NAMES", value_parser = namespaces)]
    deny_namespaces: Option<Namespaces>,
}

/// Where Pods are learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PodSource {
    /// The API server: the annotation ovn.kubernetes.io/mirror="true" of Pods and Namespaces
    Kubernetes,
    /// The interfaces on the bridge: what the CNI wrote to their `external_ids`, and there the annotation
    /// ovn.kubernetes.io/mirror="true"
    Ovsdb,
}

/// Names, or none at all.
#[derive(Clone, Debug, Default)]
struct Namespaces(BTreeSet<String>);

impl Pods {
    /// Where Pods are learnt from, without looking how.
    pub(super) fn stated_source(&self) -> StatedSource {
        let in_cluster = env::var_os(IN_CLUSTER).is_some();
        match self.pod_source {
            Some(PodSource::Kubernetes) => StatedSource::Kubernetes,
            None if in_cluster => StatedSource::Kubernetes,
            Some(PodSource::Ovsdb) | None => StatedSource::Ovsdb,
        }
    }

    /// Takes what an agent states in place of the flags.
    ///
    /// # Errors
    /// A name that can't be one.
    pub(super) fn adopt(&mut self, stated: &StatedSettings) -> Result<(), String> {
        let list = |names: &BTreeSet<String>| {
            namespaces(&names.iter().map(String::as_str).collect::<Vec<_>>().join(","))
        };
        let allowed = stated.allow_namespaces.as_ref().map(list).transpose()?;
        let denied = list(&stated.deny_namespaces)?;
        if let Some(name) = &stated.node_name {
            self.node_name = Some(subdomain(name)?);
        }
        (self.allow_namespaces, self.deny_namespaces) = (allowed, Some(denied));
        self.enable_mirror = stated.enable_mirror;
        self.pod_source = Some(match stated.pod_source {
            StatedSource::Kubernetes => PodSource::Kubernetes,
            StatedSource::Ovsdb => PodSource::Ovsdb,
        });
        Ok(())
    }

    /// Whose Pods may be mirrored.
    pub(super) fn rule(&self) -> NamespaceRule {
        let names = |list: &Namespaces| list.0.clone();
        let by_default = || match self.allow_namespaces {
            Some(_) => BTreeSet::new(),
            None => BTreeSet::from([SYSTEM.to_owned()]),
        };
        NamespaceRule {
            allowed: self.allow_namespaces.as_ref().map(names),
            denied: self.deny_namespaces.as_ref().map_or_else(by_default, names),
        }
    }

    /// Where Pods are learnt from.
    pub(super) async fn source(&self) -> anyhow::Result<settings::PodSource> {
        match self.stated_source() {
            StatedSource::Ovsdb => Ok(settings::PodSource::Ovsdb),
            StatedSource::Kubernetes => Ok(settings::PodSource::Kubernetes {
                config: Box::new(client::configure().await?),
                node: self.node_name()?,
            }),
        }
    }

    /// This node's name in Kubernetes.
    pub(super) fn node_name(&self) -> anyhow::Result<String> {
        if let Some(name) = &self.node_name {
            return Ok(name.clone());
        }
        let name = settings::host_name().context("can't read the host's name")?;
        subdomain(&name.to_lowercase())
            .map_err(anyhow::Error::msg)
            .context("the host's name can't be that of a node; say --node-name")
    }
}

fn namespaces(text: &str) -> Result<Namespaces, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let valid = names.map(|name| match subdomain(name) {
        Ok(name) if !name.contains('.') => Ok(name),
        _ => Err(format!("{name:?} can't be the name of a namespace")),
    });
    valid.collect::<Result<_, _>>().map(Namespaces)
}

/// A name as Kubernetes takes it: RFC 1123's subdomain.
fn subdomain(text: &str) -> Result<String, String> {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().copied().is_some_and(is_letter)
            && bytes.last().copied().is_some_and(is_letter)
            && bytes.iter().all(|byte| is_letter(*byte) || *byte == b'-')
    };
    if text.len() <= 253 && text.split('.').all(is_label) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no name of Kubernetes: lower-case letters, digits, '-' and '.'"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        pods: Pods,
    }

    fn rule(args: &[&str]) -> NamespaceRule {
        let args = std::iter::once("ofmirror").chain(args.iter().copied());
        Command::try_parse_from(args).map(|command| command.pods.rule()).unwrap()
    }

    /// Whether Pods of some namespaces may be mirrored.
    fn may(args: &[&str], namespaces: [&str; 3]) -> [bool; 3] {
        let rule = rule(args);
        namespaces.map(|namespace| rule.refusal(Some(namespace)).is_none())
    }

    #[test]
    fn the_clusters_own_namespace_is_denied_unless_lists_say_otherwise() {
        let namespaces = ["shop", "lab", "kube-system"];
        for (args, may_be) in [
            (vec![], [true, true, false]),
            (vec!["--deny-namespaces="], [true, true, true]),
            (vec!["--deny-namespaces=lab, shop"], [false, false, true]),
            (vec!["--allow-namespaces=shop"], [true, false, false]),
            (vec!["--allow-namespaces=shop,kube-system"], [true, false, true]),
            (vec!["--allow-namespaces=shop,lab", "--deny-namespaces=lab"], [true, false, false]),
            (vec!["--allow-namespaces="], [false, false, false]),
        ] {
            assert_eq!(may(&args, namespaces), may_be, "{args:?}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_name() {
        for bad in ["Shop", "a.b", "-a", "a_b", "ä"] {
            let error = namespaces(&format!("shop,{bad}")).unwrap_err();
            assert!(error.contains(bad), "{error}");
        }
        assert!(subdomain("node-1.example.org").is_ok());
        for bad in ["", "a..b", "Node", "a/b", "a,b", "a=b"] {
            assert!(subdomain(bad).is_err(), "{bad}");
        }
    }
}
