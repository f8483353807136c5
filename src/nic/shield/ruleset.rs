//! A filter in the words of nfnetlink (linux/netfilter/nf_tables.h).

use rtnetlink::packet_core::{
    DefaultNla, Emitable as _, NLA_F_NESTED, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NlasIterator,
};

use super::{
    Ipv4,
    nfnetlink::{Answer, Request},
};

/// The subsystem of nftables (`NFNL_SUBSYS_NFTABLES`).
const NFTABLES: u16 = 10;
/// The messages around a batch (`NFNL_MSG_BATCH_BEGIN`, `_END`).
const BATCH: [u16; 2] = [0x10, 0x11];
/// Messages of nftables (`enum nf_tables_msg_types`).
pub(super) const NEW_TABLE: u16 = NFTABLES << 8;
const GET_TABLE: u16 = NFTABLES << 8 | 1;
const DEL_TABLE: u16 = NFTABLES << 8 | 2;
const NEW_CHAIN: u16 = NFTABLES << 8 | 3;
const NEW_RULE: u16 = NFTABLES << 8 | 6;
const GET_RULE: u16 = NFTABLES << 8 | 7;
const NEW_GENERATION: u16 = NFTABLES << 8 | 15;
const GET_GENERATION: u16 = NFTABLES << 8 | 16;

/// Length of the header that all messages of nfnetlink have (`struct nfgenmsg`), in bytes.
pub(super) const HEADER: usize = 4;
/// What the name of a table of ours begins with; that of its NIC follows.
pub(super) const PREFIX: &str = "ofmirror_";
/// A hook's number: the first of each family, `NF_INET_PRE_ROUTING` and `NF_ARP_IN`.
const HOOK: u32 = 0;
/// Before whatever others do (`NF_IP_PRI_RAW_BEFORE_DEFRAG`).
const PRIORITY: i32 = -450;
/// The chain's name.
const CHAIN: &str = "in";
/// Length of a link's name with its end (`IFNAMSIZ` of linux/if.h).
const IFNAMSIZ: usize = libc::IFNAMSIZ;

/// What a rule can look at (`enum nft_meta_keys`).
const IIFNAME: u32 = 6;
const L4PROTO: u32 = 16;
/// `IPPROTO_ICMP`.
const ICMP: u8 = 1;
/// A register of the rules' machine (`NFT_REG_1`), and that of the verdict.
const REGISTER: u32 = 1;
const VERDICT: u32 = 0;
/// `NF_DROP` and `NF_ACCEPT`.
const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// Which packets a filter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `NFPROTO_IPV4`.
    Ipv4 = 2,
    /// `NFPROTO_ARP`.
    Arp = 3,
    /// `NFPROTO_IPV6`.
    Ipv6 = 10,
}

impl Family {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Ipv6, Self::Ipv4, Self::Arp];
}

/// What is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropped {
    Everything,
    Icmp,
}

/// A table with one chain and its rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruleset<'a> {
    pub(super) family: Family,
    pub(super) nic: &'a str,
    /// Another link that the same holds for.
    pub(super) peer: Option<&'a str>,
    pub(super) ipv4: Ipv4,
}

impl Ruleset<'_> {
    /// Makes all of it anew.
    pub(super) fn install(&self) -> Vec<Request> {
        // A table can only be deleted that is there.
        let mut requests = vec![
            self.request(NEW_TABLE, NLM_F_CREATE, &[self.table(1)]),
            self.request(DEL_TABLE, 0, &[self.table(1)]),
        ];
        if !self.is_empty() {
            requests.push(self.request(NEW_TABLE, NLM_F_CREATE, &[self.table(1)]));
            requests.push(self.request(NEW_CHAIN, NLM_F_CREATE, &self.chain()));
            let rules = self.rules().into_iter();
            requests.extend(rules.map(|(link, dropped)| {
                self.request(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, &self.rule(link, dropped))
            }));
        }
        batch(requests)
    }

    /// Whether nothing is dropped, and no table is wanted.
    pub(super) fn is_empty(&self) -> bool {
        self.rules().is_empty()
    }

    /// Deletes all of it.
    pub(super) fn remove(&self) -> Vec<Request> {
        remove_table(self.family, &table_name(self.nic))
    }

    /// Asks for its rules.
    pub(super) fn list(&self) -> Request {
        list_rules(self.family, &table_name(self.nic))
    }

    /// Whether its rules, and no others, are among the answers to [`Self::list`].
    pub(super) fn is_whole(&self, answers: &[Answer]) -> bool {
        comments(answers)
            .eq(self.rules().into_iter().map(|(link, dropped)| Some(comment(link, dropped))))
    }

    /// What is dropped, and of which link.
    fn rules(&self) -> Vec<(&str, Dropped)> {
        let dropped = match (self.family, self.ipv4) {
            (Family::Ipv4, Ipv4::Nothing) => None,
            (Family::Ipv4, Ipv4::Icmp) => Some(Dropped::Icmp),
            _ => Some(Dropped::Everything),
        };
        let links = [Some(self.nic), self.peer].into_iter().flatten();
        links.filter_map(|link| Some((link, dropped?))).collect()
    }

    fn table(&self, kind: u16) -> DefaultNla {
        string(kind, &table_name(self.nic))
    }

    fn chain(&self) -> Vec<DefaultNla> {
        let hook = nested(4, &[number(1, HOOK), number(2, PRIORITY.cast_unsigned())]);
        vec![self.table(1), string(3, CHAIN), hook, number(5, ACCEPT), string(7, "filter")]
    }

    fn rule(&self, link: &str, dropped: Dropped) -> Vec<DefaultNla> {
        let mut name = [0; IFNAMSIZ];
        for (place, byte) in name.iter_mut().zip(link.bytes().take(IFNAMSIZ - 1)) {
            *place = byte;
        }
        let mut expressions = comparison(IIFNAME, &name).to_vec();
        match dropped {
            Dropped::Everything => {}
            Dropped::Icmp => expressions.extend(comparison(L4PROTO, &[ICMP])),
        }
        let verdict = nested(2, &[nested(2, &[number(1, DROP)])]);
        expressions.push(expression("immediate", &[number(1, VERDICT), verdict]));
        let comment = DefaultNla::new(7, comment(link, dropped));
        vec![self.table(1), string(2, CHAIN), nested(4, &expressions), comment]
    }

    fn request(&self, kind: u16, flags: u16, attributes: &[DefaultNla]) -> Request {
        request(self.family, kind, flags, attributes)
    }
}

/// The table's name: `ofmirror_mirror0`. Names of links may have characters that nft(8) can't read.
pub(super) fn table_name(nic: &str) -> String {
    let mut name = PREFIX.to_owned();
    for byte in nic.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => name.push(byte.into()),
            other => name.push_str(&format!("_{other:02x}")),
        }
    }
    name
}

/// Asks for the tables of a family.
pub(super) fn list_tables(family: Family) -> Request {
    request(family, GET_TABLE, NLM_F_DUMP, &[])
}

/// Asks for the rules of a table.
pub(super) fn list_rules(family: Family, table: &str) -> Request {
    request(family, GET_RULE, NLM_F_DUMP, &[string(1, table)])
}

/// Deletes a table with all that is in it.
pub(super) fn remove_table(family: Family, table: &str) -> Vec<Request> {
    batch(vec![request(family, DEL_TABLE, 0, &[string(1, table)])])
}

/// Whether there are rules among the answers to [`list_rules`], and all of them are ours.
pub(super) fn are_ours(answers: &[Answer]) -> bool {
    let is_ours = |comment: Option<Vec<u8>>| {
        let comment = comment.unwrap_or_default();
        let text = String::from_utf8_lossy(comment.get(2..).unwrap_or_default()).into_owned();
        text.starts_with(COMMENT[0]) && text.contains(COMMENT[1])
    };
    comments(answers).next().is_some() && comments(answers).all(is_ours)
}

/// The comment of each rule among the answers.
fn comments(answers: &[Answer]) -> impl Iterator<Item = Option<Vec<u8>>> {
    answers.iter().filter(|(kind, _)| *kind == NEW_RULE).map(|(_, payload)| {
        let mut attributes = NlasIterator::new(payload.get(HEADER..)?).flatten();
        let comment = attributes.find(|attribute| attribute.kind() == 7)?;
        Some(comment.value().to_vec())
    })
}

fn request(family: Family, kind: u16, flags: u16, attributes: &[DefaultNla]) -> Request {
    let payload = [&header(family as u8, 0)[..], &bytes(attributes)].concat();
    Request { kind, flags, payload }
}

/// What stands before and after the name of the link in the comment of a rule.
const COMMENT: [&str; 2] = ["copies on ", " must not change the node: "];

/// A comment as nft(8) shows it: its kind, its length, and text with an end. It also tells rules apart.
fn comment(link: &str, dropped: Dropped) -> Vec<u8> {
    let what = match dropped {
        Dropped::Everything => "all",
        Dropped::Icmp => "ICMP",
    };
    let [before, after] = COMMENT;
    let text = format!("{before}{link}{after}{what}\0");
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[0, length], text.as_bytes()].concat()
}

/// Asks for the number of the last change.
pub(super) fn get_generation() -> Request {
    Request { kind: GET_GENERATION, flags: 0, payload: header(0, 0).to_vec() }
}

/// The number of the last change.
pub(super) fn read_generation(answers: &[Answer]) -> Option<u32> {
    let (_, payload) = answers.iter().find(|(kind, _)| *kind == NEW_GENERATION)?;
    let mut attributes = NlasIterator::new(payload.get(HEADER..)?).flatten();
    let id = attributes.find(|attribute| attribute.kind() == 1)?;
    Some(u32::from_be_bytes(*id.value().first_chunk()?))
}

fn batch(requests: Vec<Request>) -> Vec<Request> {
    let [begin, end] =
        BATCH.map(|kind| Request { kind, flags: 0, payload: header(0, NFTABLES).to_vec() });
    [vec![begin], requests, vec![end]].concat()
}

/// `struct nfgenmsg`: family, version, and what the message is about.
fn header(family: u8, resource: u16) -> [u8; HEADER] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// Expressions that go on only if a packet has this value.
fn comparison(key: u32, value: &[u8]) -> [DefaultNla; 2] {
    let value = nested(3, &[DefaultNla::new(1, value.to_vec())]);
    [
        expression("meta", &[number(1, REGISTER), number(2, key)]),
        expression("cmp", &[number(1, REGISTER), number(2, 0), value]),
    ]
}

fn expression(name: &str, data: &[DefaultNla]) -> DefaultNla {
    nested(1, &[string(1, name), nested(2, data)])
}

fn string(kind: u16, text: &str) -> DefaultNla {
    DefaultNla::new(kind, [text.as_bytes(), &[0]].concat())
}

fn number(kind: u16, number: u32) -> DefaultNla {
    DefaultNla::new(kind, number.to_be_bytes().to_vec())
}

fn nested(kind: u16, attributes: &[DefaultNla]) -> DefaultNla {
    DefaultNla::new(kind | NLA_F_NESTED, bytes(attributes))
}

fn bytes(attributes: &[DefaultNla]) -> Vec<u8> {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    bytes
}
