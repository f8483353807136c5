//! What is compared: who copies, and whether somebody listens.

use std::{fmt, str::FromStr};

use anyhow::bail;
use serde::{Deserialize, Serialize};

/// Who copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Copier {
    /// Nobody; `mirror0` is there, as it is with Kube-OVN when its mirror is off.
    Off,
    /// ofmirror's agent on each node, with `--enable-mirror`.
    Ofmirror,
    /// A Mirror record of Open vSwitch on each node, with `select_all`, as Kube-OVN makes it.
    OvsMirror,
}

impl Copier {
    pub(crate) const ALL: [Self; 3] = [Self::Off, Self::Ofmirror, Self::OvsMirror];
}

/// Who copies, and whether tcpdump listens on `mirror0` of each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Variant {
    pub(crate) copier: Copier,
    pub(crate) listener: bool,
}

const LISTENER: &str = "+listener";

impl FromStr for Variant {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (copier, listener) =
            text.strip_suffix(LISTENER).map_or((text, false), |copier| (copier, true));
        let copier = match copier {
            "off" => Copier::Off,
            "ofmirror" => Copier::Ofmirror,
            "ovs-mirror" => Copier::OvsMirror,
            _ => bail!("a variant is off, ofmirror or ovs-mirror, and {LISTENER} if one listens"),
        };
        Ok(Self { copier, listener })
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.copier {
            Copier::Off => "off",
            Copier::Ofmirror => "ofmirror",
            Copier::OvsMirror => "ovs-mirror",
        })?;
        f.write_str(if self.listener { LISTENER } else { "" })
    }
}

impl TryFrom<String> for Variant {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Variant> for String {
    fn from(variant: Variant) -> Self {
        variant.to_string()
    }
}

/// Pairs to compare, of those that were measured: each mirror with off, and ofmirror with Open vSwitch's. What has a
/// listener is compared with what has one too, where there is such.
pub(crate) fn comparisons(measured: &[Variant]) -> Vec<(Variant, Variant)> {
    let pairs = [
        (Copier::Ofmirror, Copier::Off),
        (Copier::OvsMirror, Copier::Off),
        (Copier::Ofmirror, Copier::OvsMirror),
    ];
    let mut all = Vec::new();
    for listener in [false, true] {
        for (copier, base) in pairs {
            let variant = Variant { copier, listener };
            let bases = [listener, false].map(|listener| Variant { copier: base, listener });
            let base = match base {
                Copier::Off => bases.into_iter().find(|base| measured.contains(base)),
                _ => Some(bases[0]).filter(|base| measured.contains(base)),
            };
            if let Some(base) = base.filter(|_| measured.contains(&variant)) {
                all.push((variant, base));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_is_read_as_it_is_shown() {
        for text in ["off", "off+listener", "ofmirror", "ovs-mirror+listener"] {
            assert_eq!(text.parse::<Variant>().map(|v| v.to_string()).ok().as_deref(), Some(text));
        }
        assert!("listener".parse::<Variant>().is_err());
    }

    #[test]
    fn listened_variants_are_compared_with_listened_ones_or_with_off() -> anyhow::Result<()> {
        let [off, ours, ovs, heard, ovs_heard] =
            ["off", "ofmirror", "ovs-mirror", "ofmirror+listener", "ovs-mirror+listener"]
                .map(str::parse::<Variant>);
        let [off, ours, ovs, heard, ovs_heard] = [off?, ours?, ovs?, heard?, ovs_heard?];
        assert_eq!(
            comparisons(&[off, ours, ovs, heard, ovs_heard]),
            [
                (ours, off),
                (ovs, off),
                (ours, ovs),
                (heard, off),
                (ovs_heard, off),
                (heard, ovs_heard)
            ]
        );
        assert_eq!(comparisons(&[off, heard, ovs]), [(ovs, off), (heard, off)]);
        Ok(())
    }
}
