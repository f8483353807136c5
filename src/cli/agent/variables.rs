//! Variables of the environment that look like flags and are none, such as a misspelt one: whoever set it wants something that does
//! not happen.

use std::{collections::BTreeSet, env, ffi::OsString};

use clap::Command;

/// What the variable of each flag begins with.
const PREFIX: &str = "OFMIRROR_";
/// What Kubernetes sets in Pods beside a Service that is called ofmirror: `OFMIRROR_SERVICE_HOST`, `OFMIRROR_PORT`,
/// `OFMIRROR_PORT_9475_TCP_ADDR` and more.
const OF_SERVICES: [&str; 2] = ["OFMIRROR_SERVICE_", "OFMIRROR_PORT"];

/// Variables of this process that no flag of `command` is set by.
pub(super) fn unknown(command: &Command) -> BTreeSet<String> {
    unknown_of(command, env::vars_os().map(|(name, _)| name))
}

fn unknown_of(command: &Command, names: impl Iterator<Item = OsString>) -> BTreeSet<String> {
    let known: BTreeSet<_> = command.get_arguments().filter_map(clap::Arg::get_env).collect();
    let unknown = names.filter(|name| !known.contains(name.as_os_str()));
    unknown
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with(PREFIX))
        .filter(|name| !OF_SERVICES.iter().any(|service| name.starts_with(service)))
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::{super::Options, *};

    #[test]
    fn only_what_no_flag_and_no_service_has_is_unknown() {
        let command = Options::augment_args(Command::new("agent"));
        let names = [
            "PATH",
            "OFMIRROR_BRIDGE",
            "OFMIRROR_ON_EXIT",
            "OFMIRROR_SERVICE_HOST",
            "OFMIRROR_PORT_9475_TCP_ADDR",
            "OFMIRROR_BRIGDE",
        ];
        let unknown = unknown_of(&command, names.iter().map(OsString::from));
        assert_eq!(unknown, BTreeSet::from(["OFMIRROR_BRIGDE".to_owned()]));
    }
}
