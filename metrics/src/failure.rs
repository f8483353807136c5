//! What can go wrong, as `ofmirror_errors_total` counts it.

/// The values of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection to the bridge was lost, or not made.
    Openflow,
    /// The same with OVSDB.
    Ovsdb,
    /// The API server did not answer, or refused.
    Kubernetes,
    /// The switch refused a flow.
    FlowRefused,
    /// The switch refused a whole bundle of changes.
    BundleRefused,
    /// The API server refused an Event.
    EventRefused,
    /// The mirror NIC could not be had, or not made quiet.
    Nic,
}

impl Failure {
    /// The label's value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Openflow => "openflow",
            Self::Ovsdb => "ovsdb",
            Self::Kubernetes => "kubernetes",
            Self::FlowRefused => "flow_refused",
            Self::BundleRefused => "bundle_refused",
            Self::EventRefused => "event_refused",
            Self::Nic => "nic",
        }
    }
}
