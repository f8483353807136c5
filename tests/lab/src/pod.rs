//! Pods: a namespace with `eth0`, a veth pair, an Interface on `br-int`, a logical port.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::Ordering,
};

use crate::{Invocation, Mac, Namespace, Node, PortName, Result, topology::Switch};

/// What a new Pod shall be.
#[derive(Clone, Debug)]
pub struct PodSpec {
    /// The Pod's name; its Kubernetes namespace is `default`.
    pub name: String,
    /// The logical switch.
    pub switch: &'static Switch,
    /// The last part of its MAC and IP addresses, 2 to 65,000; unique on the node.
    pub host: u16,
    /// The MTU of both ends of the veth pair, in bytes.
    pub mtu: u16,
}

/// A Pod that runs.
#[derive(Clone, Debug)]
pub struct Pod {
    name: String,
    switch: &'static Switch,
    namespace: Namespace,
    interface: String,
    mac: Mac,
    ip4: Ipv4Addr,
    ip6: Ipv6Addr,
}

impl PodSpec {
    /// A Pod with an MTU of 1500.
    pub fn new(name: &str, switch: &'static Switch, host: u16) -> Self {
        Self { name: name.to_owned(), switch, host, mtu: 1500 }
    }

    pub(crate) fn mac(&self) -> Mac {
        let [high, low] = self.host.to_be_bytes();
        Mac([2, 0, 0, 0x10, high, low])
    }
}

impl Pod {
    /// The Pod's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The logical switch that it is on.
    pub fn switch(&self) -> &'static Switch {
        self.switch
    }

    /// Its network namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The name of the interface on `br-int`.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The logical port: `NAME.default`.
    pub fn logical_port(&self) -> String {
        format!("{}.default", self.name)
    }

    /// Its MAC address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Its IPv4 address.
    pub fn ip4(&self) -> IpAddr {
        self.ip4.into()
    }

    /// Its IPv6 address, not the link-local one.
    pub fn ip6(&self) -> IpAddr {
        self.ip6.into()
    }

    /// Both addresses, IPv4 first.
    pub fn ips(&self) -> [IpAddr; 2] {
        [self.ip4(), self.ip6()]
    }

    /// A program that runs in the Pod.
    pub fn program(&self, program: &str) -> Invocation {
        self.namespace.program(program)
    }
}

impl Node {
    /// Adds a Pod and waits until OVN has made its port work.
    ///
    /// # Errors
    /// Whatever a tool says.
    pub fn add_pod(&self, spec: &PodSpec) -> Result<Pod> {
        Ok(self.add_pods(std::slice::from_ref(spec))?.remove(0))
    }

    /// Adds Pods in few commands and waits until OVN has made their ports work.
    ///
    /// # Errors
    /// Whatever a tool says.
    pub fn add_pods(&self, specs: &[PodSpec]) -> Result<Vec<Pod>> {
        let mut northbound = Vec::new();
        let mut local = Vec::new();
        let mut pods = Vec::new();
        for spec in specs {
            let pod = self.wire(spec)?;
            let addresses = format!("{} {} {}", pod.mac, pod.ip4, pod.ip6);
            let port = pod.logical_port();
            northbound.extend(["--", "lsp-add", spec.switch.name, &port].map(str::to_owned));
            northbound.extend(["--", "lsp-set-addresses", &port, &addresses].map(str::to_owned));
            local.extend(attach(&pod, &pod.interface));
            pods.push(pod);
        }
        self.nbctl(northbound)?;
        self.vsctl(local)?;
        self.pods_locked().extend(pods.iter().map(|pod| (pod.name.clone(), pod.clone())));
        self.await_ports(pods.iter().map(Pod::logical_port))?;
        Ok(pods)
    }

    /// Makes the namespace and the veth pair, and keeps both ends from doing what no Pod asked for.
    fn wire(&self, spec: &PodSpec) -> Result<Pod> {
        let namespace = Namespace::create(&format!("{}-{}", self.name(), spec.name))?;
        let pod = Pod {
            name: spec.name.clone(),
            switch: spec.switch,
            interface: format!("{}_h", spec.name),
            mac: spec.mac(),
            ip4: spec.switch.ip4(spec.host),
            ip6: spec.switch.ip6(spec.host),
            namespace,
        };
        self.plug(&pod, &pod.interface, spec.mtu)?;
        Ok(pod)
    }

    /// A veth pair from the host to a Pod's `eth0`.
    fn plug(&self, pod: &Pod, interface: &str, mtu: u16) -> Result {
        let (inside, mac) = (pod.namespace.name(), pod.mac);
        self.namespace().ip_batch(&format!(
            "link add {interface} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {inside}\n"
        ))?;
        self.quiet(interface)?;
        // No autoconfiguration: addresses and routes are given, and the wire is silent until a test speaks. That it joins or
        // leaves groups a Pod tells twice, the second time up to a second later, unless told otherwise (in milliseconds).
        pod.namespace.sysctl([
            "net.ipv6.conf.eth0.accept_ra=0",
            "net.ipv6.conf.eth0.accept_dad=0",
            "net.ipv6.conf.eth0.router_solicitations=0",
            "net.ipv6.conf.eth0.mldv2_unsolicited_report_interval=1",
            "net.ipv4.conf.eth0.igmpv3_unsolicited_report_interval=1",
        ])?;
        // What leaves with an unfinished checksum, or merged from several segments, is not what is on the wire.
        pod.namespace.offload("eth0", false)?;
        self.namespace().offload(interface, false)?;
        let Switch { gateway4, gateway6, .. } = pod.switch;
        pod.namespace.ip_batch(&format!(
            "link set eth0 address {mac} up\n\
             addr add {}/16 brd + dev eth0\n\
             addr add {}/64 dev eth0 nodad\n",
            pod.ip4, pod.ip6
        ))?;
        self.namespace().ip(["link", "set", interface, "up"])?;
        pod.namespace.ip_batch(&format!(
            "route add default via {gateway4}\nroute add default via {gateway6}\n"
        ))
    }

    fn await_ports(&self, ports: impl IntoIterator<Item = String>) -> Result {
        let waits: Vec<_> = ports
            .into_iter()
            .flat_map(|port| {
                ["--", "wait-until", "Logical_Switch_Port", &port, "up=true"].map(str::to_owned)
            })
            .collect();
        self.nbctl(waits)?;
        self.sync()
    }

    /// Removes a Pod: its interface, logical port and namespace.
    ///
    /// # Errors
    /// Whatever a tool says.
    pub fn remove_pod(&self, name: &str) -> Result {
        let pod = self.pod(name);
        self.vsctl(["del-port", "br-int", &pod.interface])?;
        self.nbctl(["--wait=hv", "lsp-del", &pod.logical_port()])?;
        pod.namespace.delete()?;
        self.pods_locked().remove(name);
        Ok(())
    }

    /// Takes a Pod's interface off the switch and puts another on, with the same logical port and addresses, as a CNI
    /// does when a Pod is made again: another ofport. Gives the Pod as it is now.
    ///
    /// # Errors
    /// Whatever a tool says.
    pub fn replug_pod(&self, name: &str) -> Result<Pod> {
        let mut pod = self.pod(name);
        let number = self.next_host.fetch_add(1, Ordering::Relaxed);
        let interface = format!("{name}{number}_h");
        self.vsctl(["del-port", "br-int", &pod.interface])?;
        self.namespace().ip(["link", "del", &pod.interface])?;
        self.plug(&pod, &interface, 1500)?;
        self.vsctl(attach(&pod, &interface))?;
        pod.interface = interface;
        self.pods_locked().insert(name.to_owned(), pod.clone());
        // OVN says "up" of the port's former life until it has seen it go; its flows are the better sign.
        let port = self.ofport(&pod.interface)?;
        crate::until("OVN to deliver to the new port", || {
            self.alive()?;
            Ok((!self.dump_flows(&format!("out_port={port}"))?.is_empty()).then_some(()))
        })?;
        self.sync()?;
        Ok(pod)
    }

    /// Adds `count` ports on the first switch, each with a logical port and nothing behind it, and
    /// waits until OVN has flows for all. They are named `bare0`, `bare1` ..., where the next call goes on.
    ///
    /// # Errors
    /// Whatever a tool says.
    pub fn add_bare_ports(&self, count: u16) -> Result {
        // What a command line has room for.
        const MOST: u16 = 500;
        for done in (0..count).step_by(MOST.into()) {
            self.add_some_bare_ports(MOST.min(count - done))?;
        }
        Ok(())
    }

    fn add_some_bare_ports(&self, count: u16) -> Result {
        const FIRST_HOST: u16 = 1000;
        let mut northbound = Vec::new();
        let mut local = Vec::new();
        let first = self.next_bare.fetch_add(count, Ordering::Relaxed);
        for index in first..first + count {
            let name = format!("bare{index}");
            let spec = PodSpec::new(&name, &crate::SWITCHES[0], FIRST_HOST + index);
            let addresses = format!("{} {}", spec.mac(), spec.switch.ip4(spec.host));
            let port = format!("{name}.default");
            northbound.extend(["--", "lsp-add", spec.switch.name, &port].map(str::to_owned));
            northbound.extend(["--", "lsp-set-addresses", &port, &addresses].map(str::to_owned));
            local.extend(["--", "add-port", "br-int", &name].map(str::to_owned));
            let kind = format!("type={}", self.bare_type);
            local.extend(["--", "set", "Interface", &name, &kind].map(str::to_owned));
            local.extend(PortName::kube_ovn("default", &name).columns());
        }
        // Quiet before they are there: the default of this namespace, for as long as they are made.
        self.namespace().sysctl(["net.ipv6.conf.default.disable_ipv6=1"])?;
        self.nbctl(northbound)?;
        self.vsctl(local)?;
        self.namespace().sysctl(["net.ipv6.conf.default.disable_ipv6=0"])?;
        self.await_ports((first..first + count).map(|index| format!("bare{index}.default")))
    }
}

/// The part of an `ovs-vsctl` command that puts a Pod's interface on the bridge.
fn attach(pod: &Pod, interface: &str) -> Vec<String> {
    let mut args = ["--", "add-port", "br-int", interface].map(str::to_owned).to_vec();
    args.extend(["--", "set", "Interface", interface].map(str::to_owned));
    args.extend(PortName::kube_ovn("default", &pod.name).columns());
    args
}
