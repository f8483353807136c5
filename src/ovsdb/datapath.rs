//! Who moves packets between the ports of a bridge.

use super::tables::Bridge;

/// The kind of a bridge's datapath, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Datapath {
    /// The kernel's module moves packets, mostly in softirqs.
    #[default]
    Kernel,
    /// ovs-vswitchd moves packets itself.
    Userspace,
}

impl Bridge {
    /// The datapath that the bridge's row asks for. Open vSwitch takes an empty `datapath_type` for `system`; every other one,
    /// `netdev` and the `dummy` of tests, runs within ovs-vswitchd.
    pub fn datapath(&self) -> Datapath {
        match self.datapath_type.as_str() {
            "" | "system" => Datapath::Kernel,
            _ => Datapath::Userspace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_system_and_nothing_at_all_stand_for_the_kernels_datapath() {
        for (datapath_type, datapath) in [
            ("", Datapath::Kernel),
            ("system", Datapath::Kernel),
            ("netdev", Datapath::Userspace),
            ("dummy", Datapath::Userspace),
        ] {
            let bridge = Bridge { datapath_type: datapath_type.to_owned(), ..Bridge::default() };
            assert_eq!(bridge.datapath(), datapath, "{datapath_type:?}");
        }
    }
}
