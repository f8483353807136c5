//! Keeps copies from the host's network stack: a tc filter takes them when packet sockets have had them.
//!
//! On the NIC of an internal port the kernel offers each copy to the packet sockets, tcpdump's among them, then to the
//! ingress filters of tc, then to devices on the NIC, and last to the host's IPv4 and IPv6, which drop what is for somebody
//! else's hardware address at once, but look at a broadcast for longer than it took to copy it, and may hand it to a DHCP
//! server of the node (`__netif_receive_skb_core()` of net/core/dev.c).
//!
//! The filter is a classic BPF program of one instruction. `tc filter show dev mirror0 ingress` prints it as
//!
//! ```text
//! filter protocol all pref 65535 bpf chain 0 handle 0x1 direct-action not_in_hw bytecode '1,6 0 0 4'
//! ```
//!
//! Others' filters have smaller numbers, and come first.

use futures::StreamExt as _;
use rtnetlink::{
    Error, Handle,
    packet_core::{
        DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage,
        NetlinkPayload,
    },
    packet_route::{
        RouteNetlinkMessage,
        tc::{
            TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcMessage, TcOption,
        },
    },
};

use super::{error::NicError, link::Link, observe::connect};

/// The queueing discipline that filters hang on; it queues nothing.
const CLSACT: &str = "clsact";
/// Last of all filters (`pref` of tc).
const PREFERENCE: u16 = u16::MAX;
/// Its number among the filters of that preference.
const NUMBER: TcHandle = TcHandle { major: 0, minor: 1 };
/// Length of a program in instructions (`TCA_BPF_OPS_LEN` of linux/pkt_cls.h).
const OPS_LEN: u16 = 4;
/// The program (`TCA_BPF_OPS` of linux/pkt_cls.h).
const OPS: u16 = 5;

/// The packet is taken, and not counted as dropped (`TC_ACT_STOLEN` of linux/pkt_cls.h).
const STOLEN: u32 = 4;

/// `ret #4`:
///
/// | field of `sock_filter` | bytes | value          |
/// |------------------------|-------|----------------|
/// | `code`                 | 2     | `BPF_RET`, 6   |
/// | `jt`, `jf`             | 1, 1  | 0              |
/// | `k`                    | 4     | [`STOLEN`]     |
fn program() -> Vec<u8> {
    let code = (libc::BPF_RET as u16).to_ne_bytes();
    let action = STOLEN.to_ne_bytes();
    [&code[..], &[0, 0], &action].concat()
}

/// Puts the filter on `link`.
///
/// # Errors
/// The kernel refuses it; one without `NET_CLS_BPF` or `NET_SCH_INGRESS` with `ENOENT`.
pub async fn take_from_host(link: &Link) -> Result<(), NicError> {
    let attempt = "keep copies from the host's network stack";
    let mut handle = connect()?;
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    for message in [
        RouteNetlinkMessage::NewQueueDiscipline(queueing(link)),
        RouteNetlinkMessage::NewTrafficFilter(filter(link)),
    ] {
        match ask(&mut handle, message, flags).await {
            Ok(()) => {}
            Err(error) => match NicError::new(&link.name, attempt, error) {
                error if error.is(libc::EEXIST) => {}
                error => return Err(error),
            },
        }
    }
    tracing::info!(link = link.name, "{attempt}");
    Ok(())
}

/// Takes the filter off `link`, where it was seen.
///
/// # Errors
/// The kernel refuses.
pub async fn leave_to_host(link: &Link) -> Result<(), NicError> {
    let attempt = "let copies into the host's network stack";
    let message = RouteNetlinkMessage::DelTrafficFilter(filter(link));
    let done = ask(&mut connect()?, message, 0).await;
    done.map_err(|error| NicError::new(&link.name, attempt, error))?;
    tracing::info!(link = link.name, "{attempt}");
    Ok(())
}

/// Whether the ingress filter that `message` tells of is ours; none where it only says that a preference is in use.
pub(super) fn is_ours(message: &TcMessage) -> Option<bool> {
    let options = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    })?;
    let header = &message.header;
    let last = header.info >> 16 == u32::from(PREFERENCE) && header.handle == NUMBER;
    Some(last && options.contains(&instructions()))
}

/// The program as the filter has it.
fn instructions() -> TcOption {
    TcOption::Bpf(TcFilterBpfOption::Other(DefaultNla::new(OPS, program())))
}

fn queueing(link: &Link) -> TcMessage {
    let mut message = about(link);
    message.header.parent = TcHandle::CLSACT;
    message.header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
    message.attributes.push(TcAttribute::Kind(CLSACT.to_owned()));
    message
}

fn filter(link: &Link) -> TcMessage {
    let mut message = about(link);
    message.header.parent =
        TcHandle { major: TcHandle::CLSACT.major, minor: TcHandle::MIN_INGRESS };
    message.header.handle = NUMBER;
    let every_packet = (libc::ETH_P_ALL as u16).to_be();
    message.header.info = u32::from(PREFERENCE) << 16 | u32::from(every_packet);
    let length = DefaultNla::new(OPS_LEN, 1_u16.to_ne_bytes().to_vec());
    let options = vec![
        TcOption::Bpf(TcFilterBpfOption::Other(length)),
        instructions(),
        TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
    ];
    message.attributes.push(TcAttribute::Kind(TcFilterBpf::KIND.to_owned()));
    message.attributes.push(TcAttribute::Options(options));
    message
}

fn about(link: &Link) -> TcMessage {
    // The kernel's numbers of links are positive integers of C.
    TcMessage::with_index(link.index.cast_signed())
}

async fn ask(handle: &mut Handle, message: RouteNetlinkMessage, flags: u16) -> Result<(), Error> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    let mut answers = handle.request(request)?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(error) = answer.payload
            && error.code.is_some()
        {
            return Err(Error::NetlinkError(error));
        }
    }
    Ok(())
}
