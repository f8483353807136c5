//! How the mirror port is, for those who use it or ask about it.

use flows::model::OfPort;

use super::{Facts, Step, mirrors, mtu, ofport, port};
use crate::nic::{Absence, Link};

/// What the mirror port is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkState {
    /// Whether it has been looked at; as long as it hasn't, the rest means nothing.
    pub known: bool,
    /// Its OpenFlow number, once it has been ready under it.
    pub ofport: Option<OfPort>,
    /// Why it isn't ready, or why copies are not exact.
    pub problem: Option<String>,
    /// What is odd about it but does no harm.
    pub warning: Option<String>,
    /// The NIC as the kernel has it.
    pub link: Option<Link>,
    /// Whether it is up in another network namespace, if somebody moved it there.
    pub moved: Option<bool>,
    /// Whether the NIC, or the port of its name, must not be the mirror port: nothing of ours may be on it.
    pub refused: bool,
    /// Whether it is an internal port of the bridge: what it gets comes out at the host and nowhere else.
    pub internal: bool,
}

impl SinkState {
    /// The mirror port as the facts and the step that follows from them show it; `ready_as` is the OpenFlow number under
    /// which it has been ready before: it goes on being used while something about it is mended.
    #[must_use]
    pub fn of(facts: &Facts<'_>, step: &Step<'_>, ready_as: Option<OfPort>) -> Self {
        let number = ofport(facts);
        let selecting = mirrors(facts).find(|(_, mirror)| mirror.selects());
        let idle = mirrors(facts).find(|(_, mirror)| !mirror.selects());
        let nic = facts.nic;
        let problem = match step {
            Step::Wait(problem) => Some(problem.to_string()),
            Step::Done(_) => selecting.map(|(_, mirror)| {
                format!("Mirror record {:?} in OVSDB copies to {nic} too, so every copy would come twice: let it select nothing, or have --replace-mirrors do that", mirror.name)
            }),
            _ => Some(format!("{nic} is not ready yet; still to do: {step}")),
        };
        // A port that turns out to be somebody else's is let go of at once, and so is one whose copies come back.
        let refused = step.is_refusal();
        let idle = idle.map(|(_, mirror)| {
            let name = &mirror.name;
            format!("Mirror record {name:?} in OVSDB is there for {nic}, but selects nothing")
        });
        let warnings: Vec<_> = idle.into_iter().chain(shortcomings(facts)).collect();
        let warning = (!warnings.is_empty() && !refused).then(|| warnings.join("; "));
        let ready = selecting.is_none()
            && !refused
            && (matches!(step, Step::Done(_)) || (ready_as.is_some() && ready_as == number));
        Self {
            known: true,
            ofport: number.filter(|_| ready),
            problem,
            warning,
            link: facts.link.cloned(),
            moved: match facts.absence {
                Absence::Moved { up } if facts.link.is_none() => Some(up),
                _ => None,
            },
            refused,
            internal: port(facts).is_some_and(|(_, _, interface)| interface.kind == "internal"),
        }
    }
}

/// What is worse than it could be about the NIC of a mirror port that works.
pub fn shortcomings(facts: &Facts<'_>) -> impl Iterator<Item = String> {
    let found = ofport(facts).map(|_| [mtu::warning(facts), moved(facts)]);
    found.into_iter().flatten().flatten()
}

/// What is to be known of a device that somebody moved away.
fn moved(facts: &Facts<'_>) -> Option<String> {
    let nic = facts.nic;
    match facts.absence {
        _ if facts.link.is_some() => None,
        Absence::Moved { up: true } => Some(format!(
            "somebody moved {nic} into another network namespace: copies go on there, where ofmirror can't see who listens, nor keep the device quiet"
        )),
        Absence::Moved { up: false } => Some(format!(
            "somebody moved {nic} into another network namespace and it is down there, so copies are lost: bring it up there"
        )),
        Absence::Deleted | Absence::Unknown => None,
    }
}
