//! What the API server has told of the cluster, as far as mirroring goes. No sockets, no clock.

mod listing;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;
use listing::{Listing, Touched};

use crate::{annotation::Marks, pods::Pod};

/// Something that the API server said, or didn't.
#[derive(Debug)]
pub enum News {
    /// Of the Pods of this node.
    Pods(Event<(Pod, PodMeta)>),
    /// Of all namespaces.
    Namespaces(Event<(Arc<str>, Marks)>),
    /// It answers to what is asked for this.
    Answered(Source),
    /// It doesn't, and why; it will be asked again.
    Failed(Source, String),
}

/// What the API server is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The Pods of this node.
    Pods,
    /// All namespaces.
    Namespaces,
}

/// What is known of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodMeta {
    /// Tells it from others that have or had its name.
    pub uid: Arc<str>,
    /// When it was made, in seconds since 1970, by the API server's clock: nobody else can set it.
    pub created: Option<i64>,
    /// What its annotations say.
    pub marks: Marks,
    /// The virtual machine of KubeVirt in it, by whose name Kube-OVN calls its ports.
    pub virtual_machine: Option<Arc<str>>,
}

/// What may be another story than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Nothing.
    Nothing,
    /// What is known of Pods of these names; one may be that of a virtual machine.
    Pods(Vec<Pod>),
    /// What a namespace says.
    Namespace(Arc<str>),
    /// All of it.
    Everything,
}

/// The cluster, as last heard.
#[derive(Debug)]
pub struct Cluster {
    pods: Listing<Pod, PodMeta>,
    /// Pods by the virtual machines in them.
    machines: BTreeMap<Pod, BTreeSet<Pod>>,
    namespaces: Listing<Arc<str>, Marks>,
    /// What there is no answer to now, and why; no reason as long as nothing has gone wrong.
    unanswered: BTreeMap<Source, Option<String>>,
}

impl Cluster {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pods: Listing::new(),
            machines: BTreeMap::new(),
            namespaces: Listing::new(),
            unanswered: [Source::Pods, Source::Namespaces].map(|source| (source, None)).into(),
        }
    }

    /// Takes in news; returns what they may have changed.
    pub fn apply(&mut self, news: News) -> Changed {
        match news {
            News::Pods(event) => return self.apply_to_pods(event),
            News::Namespaces(event) => {
                return match self.namespaces.apply(event) {
                    Touched::None => Changed::Nothing,
                    Touched::One(name) => Changed::Namespace(name),
                    Touched::All => Changed::Everything,
                };
            }
            News::Answered(source) => drop(self.unanswered.remove(&source)),
            News::Failed(source, reason) => {
                match source {
                    Source::Pods => self.pods.interrupt(),
                    Source::Namespaces => self.namespaces.interrupt(),
                }
                self.unanswered.insert(source, Some(reason));
            }
        }
        Changed::Nothing
    }

    fn apply_to_pods(&mut self, event: Event<(Pod, PodMeta)>) -> Changed {
        let machine_before = match &event {
            Event::Apply((pod, _)) | Event::Delete((pod, _)) => self.machine_in(pod),
            _ => None,
        };
        match self.pods.apply(event) {
            Touched::None => Changed::Nothing,
            Touched::One(pod) => {
                if let Some(machine) = &machine_before
                    && let Some(pods) = self.machines.get_mut(machine)
                {
                    pods.remove(&pod);
                    if pods.is_empty() {
                        self.machines.remove(machine);
                    }
                }
                let machine = self.machine_in(&pod);
                if let Some(machine) = machine.clone() {
                    self.machines.entry(machine).or_default().insert(pod.clone());
                }
                Changed::Pods([Some(pod), machine_before, machine].into_iter().flatten().collect())
            }
            Touched::All => {
                let mut machines: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
                for pod in self.pods.objects().keys() {
                    if let Some(machine) = self.machine_in(pod) {
                        machines.entry(machine).or_default().insert(pod.clone());
                    }
                }
                self.machines = machines;
                Changed::Everything
            }
        }
    }

    /// The virtual machine in a Pod, by the name that a Pod would have.
    fn machine_in(&self, pod: &Pod) -> Option<Pod> {
        let name = self.pods.objects().get(pod)?.virtual_machine.as_ref()?;
        Some(Pod { namespace: pod.namespace.clone(), name: Arc::clone(name) })
    }

    /// The Pods in which this virtual machine is: two while it moves within a node.
    pub fn pods_of_machine(&self, machine: &Pod) -> impl Iterator<Item = &Pod> {
        self.machines.get(machine).into_iter().flatten()
    }

    /// Whether all has been heard at least once; the last known state counts while the API server is away.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.pods.is_known() && self.namespaces.is_known()
    }

    /// Whether the API server answers.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// What the API server does not answer to, if there is anything.
    #[must_use]
    pub fn outage(&self) -> Option<String> {
        let failed = self.unanswered.iter().find(|(_, reason)| reason.is_some());
        let (source, reason) = failed.or_else(|| self.unanswered.first_key_value())?;
        let reason = reason.as_deref().unwrap_or("connecting");
        Some(format!("no answer about {source}: {reason}"))
    }

    /// The Pods of this node.
    #[must_use]
    pub fn pods(&self) -> &BTreeMap<Pod, PodMeta> {
        self.pods.objects()
    }

    /// What the annotations of a namespace say.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<&Marks> {
        self.namespaces.objects().get(name)
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl PodMeta {
    /// The Pod's name, and what is kept of it.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> (Pod, Self) {
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        let pod = Pod { namespace: Some(text(&meta.namespace)), name: text(&meta.name) };
        let machine = meta.owner_references.iter().flatten().find(|owner| {
            owner.kind == "VirtualMachineInstance" && owner.api_version.starts_with("kubevirt.io/")
        });
        let kept = Self {
            uid: text(&meta.uid),
            created: meta.creation_timestamp.as_ref().map(|time| time.0.as_second()),
            marks: Marks::of(meta),
            virtual_machine: machine.map(|owner| owner.name.as_str().into()),
        };
        (pod, kept)
    }
}

impl Marks {
    /// What the annotations of an object say.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Self {
        let annotations = meta.annotations.iter().flatten();
        Self::read(annotations.map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pods => "Pods",
            Self::Namespaces => "namespaces",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_before_what_is_still_under_way() {
        let mut cluster = Cluster::new();
        assert_eq!(cluster.outage().as_deref(), Some("no answer about Pods: connecting"));
        cluster.apply(News::Failed(Source::Namespaces, "forbidden".to_owned()));
        assert_eq!(cluster.outage().as_deref(), Some("no answer about namespaces: forbidden"));
        cluster.apply(News::Answered(Source::Namespaces));
        assert_eq!(cluster.outage().as_deref(), Some("no answer about Pods: connecting"));
        cluster.apply(News::Answered(Source::Pods));
        assert_eq!(cluster.outage(), None);
    }
}
