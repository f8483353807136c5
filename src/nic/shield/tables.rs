//! The tables of nftables that are filters of ours, whichever NIC they are for.

use std::fmt;

use rtnetlink::packet_core::NlasIterator;

use super::{
    ShieldError, is_absent,
    nfnetlink::{Answer, Socket},
    ruleset::{self, Family, HEADER},
};

/// A filter of some NIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    family: Family,
    table: String,
}

/// All filters of ours: tables with our names, in which all rules are ours.
///
/// # Errors
/// The kernel does not tell. That it has no nftables is none: then there are no filters.
pub fn filters() -> Result<Vec<Filter>, ShieldError> {
    let mut found = Vec::new();
    for family in Family::ALL {
        match read(family) {
            Ok(filters) => found.extend(filters),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(ShieldError { attempt: "list filters", error }),
        }
    }
    Ok(found)
}

fn read(family: Family) -> std::io::Result<Vec<Filter>> {
    let tables = Socket::open()?.dump(&ruleset::list_tables(family))?;
    let names = tables.iter().filter_map(|answer| table_name(family, answer));
    let mut found = Vec::new();
    for table in names.filter(|name| name.starts_with(ruleset::PREFIX)) {
        let rules = Socket::open()?.dump(&ruleset::list_rules(family, &table))?;
        if ruleset::are_ours(&rules) {
            found.push(Filter { family, table });
        }
    }
    Ok(found)
}

/// The name of a table of this family, by what the kernel answered.
fn table_name(family: Family, (kind, payload): &Answer) -> Option<String> {
    // Some kernels answer for all families.
    if *kind != ruleset::NEW_TABLE || payload.first() != Some(&(family as u8)) {
        return None;
    }
    let mut attributes = NlasIterator::new(payload.get(HEADER..)?).flatten();
    let name = attributes.find(|attribute| attribute.kind() == 1)?.value().to_vec();
    String::from_utf8(name).ok().map(|name| name.trim_end_matches('\0').to_owned())
}

impl Filter {
    /// Whether it is for the NIC of this name.
    #[must_use]
    pub fn is_of(&self, nic: &str) -> bool {
        self.table == ruleset::table_name(nic)
    }

    /// Removes it; that it has gone is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn remove(&self) -> Result<(), ShieldError> {
        let removed = Socket::open()
            .and_then(|socket| socket.commit(&ruleset::remove_table(self.family, &self.table)));
        match removed {
            Err(error) if !is_absent(&error) => {
                Err(ShieldError { attempt: "remove a filter", error })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Ipv4 => "ip",
            Family::Arp => "arp",
            Family::Ipv6 => "ip6",
        };
        write!(f, "table {family} {} of nftables", self.table)
    }
}
