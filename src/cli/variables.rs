//! Variables of the environment that look like flags and are none, such as a misspelt one: whoever set it wants something that
//! would not happen, so no command runs with one.

use std::{collections::BTreeSet, env, ffi::OsString};

use clap::Command;

/// What the variable of each flag begins with.
const PREFIX: &str = "OFMIRROR_";

/// Why no command runs: a variable that no flag has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no flag has the variable {name}: {}`ofmirror agent --help` names those that have one",
    .nearest.as_ref().map(|nearest| format!("is it {nearest}? ")).unwrap_or_default()
)]
pub(super) struct UnknownVariable {
    name: String,
    /// The most similar variable that a flag has, if any is similar.
    nearest: Option<String>,
}

/// Checks the variables of this process; `command` has all commands as its subcommands, as the environment of an agent is that of
/// the other commands in its Pod too.
///
/// # Errors
/// The first variable that no flag of any command has, and that Kubernetes does not make of the name of a Service.
pub(super) fn check(command: &Command) -> Result<(), UnknownVariable> {
    check_names(command, env::vars_os().map(|(name, _)| name))
}

fn check_names(
    command: &Command,
    names: impl Iterator<Item = OsString>,
) -> Result<(), UnknownVariable> {
    let known: BTreeSet<String> = command
        .get_subcommands()
        .flat_map(Command::get_arguments)
        .filter_map(clap::Arg::get_env)
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let ours = names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with(PREFIX));
    // In their order, so that the same environment gets the same answer.
    let ours: BTreeSet<_> = ours.collect();
    let mut unknown = ours.into_iter().filter(|name| !known.contains(name) && !is_of_service(name));
    match unknown.next() {
        None => Ok(()),
        Some(name) => Err(UnknownVariable { nearest: nearest(&name, &known), name }),
    }
}

/// Whether Kubernetes may have made a variable for a Service whose name begins with "ofmirror": it sets these in each Pod of the
/// Service's namespace, unless the Pod has `enableServiceLinks: false` (`makeEnvVariableName` and `makeLinkVariables` of
/// pkg/kubelet/envvars/envvars.go).
fn is_of_service(name: &str) -> bool {
    let words: Vec<_> = name.split('_').collect();
    // After the name of the Service, which has one word at least.
    (1..words.len()).any(|start| is_service_suffix(&words[start..]))
}

/// Whether these are the words after the name of a Service.
fn is_service_suffix(words: &[&str]) -> bool {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    match words {
        ["SERVICE", "HOST"] | ["PORT"] => true,
        // The name of a port may follow.
        ["SERVICE", "PORT", ..] => true,
        ["PORT", number, "TCP" | "UDP" | "SCTP", rest @ ..] => {
            is_number(number) && matches!(rest, [] | ["ADDR" | "PORT" | "PROTO"])
        }
        _ => false,
    }
}

/// The most similar of the known names, if it is similar enough to have been meant.
fn nearest(name: &str, known: &BTreeSet<String>) -> Option<String> {
    let body = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let distance = |other: &String| strsim::damerau_levenshtein(&body(name), &body(other));
    let best = known.iter().min_by_key(|other| distance(other))?;
    (2 * distance(best) <= body(best).len()).then(|| best.clone())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{super::Cli, *};

    fn check(names: &[&str]) -> Result<(), String> {
        let names = names.iter().map(OsString::from);
        check_names(&Cli::command(), names).map_err(|error| error.to_string())
    }

    #[test]
    fn the_variables_of_all_commands_and_those_of_others_are_known() {
        assert_eq!(check(&["PATH", "OFMIRROR_BRIDGE", "OFMIRROR_ON_EXIT", "XOFMIRROR_X"]), Ok(()));
    }

    #[test]
    fn a_misspelt_variable_is_told_with_the_name_that_is_meant() {
        for (wrong, right) in [
            ("OFMIRROR_ENABLE_MIRORR", "OFMIRROR_ENABLE_MIRROR"),
            ("OFMIRROR_BRIGDE", "OFMIRROR_BRIDGE"),
            ("OFMIRROR_METRICS_ADDRESS", "OFMIRROR_METRICS_ADDR"),
            ("OFMIRROR_DENY_NAMESPACE", "OFMIRROR_DENY_NAMESPACES"),
        ] {
            let told = check(&["OFMIRROR_BRIDGE", wrong]).unwrap_err();
            assert!(told.contains(&format!("{wrong}: is it {right}?")), "{told}");
        }
        let told = check(&["OFMIRROR_SOMETHING_ELSE_ALTOGETHER"]).unwrap_err();
        assert!(told.contains("ALTOGETHER: `ofmirror agent --help`"), "{told}");
    }

    #[test]
    fn what_kubernetes_sets_for_services_is_not_refused() {
        for service in ["OFMIRROR", "OFMIRROR_METRICS", "OFMIRROR_METRICS_2_X"] {
            for suffix in [
                "SERVICE_HOST",
                "SERVICE_PORT",
                "SERVICE_PORT_METRICS",
                "SERVICE_PORT_HTTP_METRICS",
                "PORT",
                "PORT_9475_TCP",
                "PORT_9475_TCP_PROTO",
                "PORT_9475_TCP_PORT",
                "PORT_9475_TCP_ADDR",
                "PORT_53_UDP_ADDR",
                "PORT_132_SCTP",
            ] {
                assert_eq!(check(&[&format!("{service}_{suffix}")]), Ok(()));
            }
        }
        for not_of_service in ["OFMIRROR_PORT_TCP", "OFMIRROR_PORT_9475_ICMP", "OFMIRROR_SERVICE"] {
            assert!(check(&[not_of_service]).is_err(), "{not_of_service}");
        }
    }

    #[test]
    fn no_service_can_set_a_flag() {
        for command in Cli::command().get_subcommands() {
            for name in command.get_arguments().filter_map(clap::Arg::get_env) {
                assert!(!is_of_service(&name.to_string_lossy()), "{name:?}");
            }
        }
    }
}
