//! A go-between for the agent's OpenFlow connection: it can cut the connection, make the switch look older, and refuse
//! a flow in its name.

use std::{
    io::{Read, Write as _},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{Node, Result};

/// OFPT_MULTIPART_REQUEST of OpenFlow 1.5.
const MULTIPART_REQUEST: u8 = 18;
/// OFPMP_FLOW_MONITOR of OpenFlow 1.5.
const FLOW_MONITOR: [u8; 2] = [0, 16];
/// OFPT_ERROR.
const ERROR: u8 = 1;
/// OFPET_BAD_REQUEST and OFPBRC_BAD_MULTIPART, which Open vSwitch calls OFPBRC_BAD_STAT: what it answers to a multipart
/// type that it does not know (`ofperr_decode_hdrs()` in lib/ofp-msgs.c).
const BAD_STAT: [u8; 4] = [0, 1, 0, 2];
/// OFPT_BUNDLE_CONTROL and OFPT_BUNDLE_ADD_MESSAGE.
const BUNDLE_CONTROL: u8 = 33;
const BUNDLE_ADD: u8 = 34;
/// OFPET_FLOW_MOD_FAILED and OFPFMFC_TABLE_FULL.
const TABLE_FULL: [u8; 4] = [0, 5, 0, 1];
/// How much of a refused request an error repeats at most, in bytes.
const REPEATED: usize = 64;

/// What the switch behind a proxy can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Whatever the real one can.
    AsItIs,
    /// All but flow monitors on OpenFlow 1.5, as Open vSwitch before 3.0.
    WithoutMonitors,
    /// Whatever the real one can, but the first flow with this cookie finds no room.
    Crowded(u64),
    /// Whatever the real one can, but the first connection's bundles are lost.
    Forgetful,
}

impl Peer {
    /// The error that this peer answers a message with, if it refuses it; `before` is how many it has refused.
    fn error(self, message: &[u8], before: usize) -> Option<[u8; 4]> {
        match self {
            Self::AsItIs | Self::Forgetful => None,
            Self::WithoutMonitors => asks_for_monitor(message).then_some(BAD_STAT),
            Self::Crowded(cookie) => {
                let bears_it = || message.windows(8).any(|bytes| bytes == cookie.to_be_bytes());
                let refused = before == 0 && message[1] == BUNDLE_ADD && bears_it();
                refused.then_some(TABLE_FULL)
            }
        }
    }
}

/// A socket that leads to the bridge's management socket.
#[derive(Debug)]
pub struct Proxy {
    path: PathBuf,
    connections: Arc<Mutex<Vec<UnixStream>>>,
    refused: Arc<AtomicUsize>,
    passed: Arc<AtomicUsize>,
}

impl Node {
    /// Listens beside the bridge's management socket, for as long as the process lives.
    ///
    /// # Errors
    /// There is a proxy of that name already.
    pub fn proxy(&self, name: &str, peer: Peer) -> Result<Proxy> {
        let path = self.run_folder().join(format!("{name}.proxy"));
        let switch = self.run_folder().join("br-int.mgmt");
        let listener = UnixListener::bind(&path)?;
        let connections = Arc::<Mutex<Vec<UnixStream>>>::default();
        let refused = Arc::<AtomicUsize>::default();
        let passed = Arc::<AtomicUsize>::default();
        let (held, counts) = (Arc::clone(&connections), [&refused, &passed].map(Arc::clone));
        thread::spawn(move || {
            for agent in listener.incoming().flatten() {
                // As long as the switch is away, an agent is sent away too.
                let Ok(switch) = UnixStream::connect(&switch) else { continue };
                let held = || held.lock().unwrap_or_else(PoisonError::into_inner);
                held().extend(agent.try_clone());
                let _ = join(agent, switch, peer, counts.clone());
            }
        });
        Ok(Proxy { path, connections, refused, passed })
    }
}

impl Proxy {
    /// What an agent takes as `--openflow`.
    pub fn endpoint(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    /// Cuts all connections; new ones are let through.
    pub fn disconnect(&self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// How many requests were refused in the switch's name.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many bytes of OpenFlow came from either side.
    pub fn passed(&self) -> usize {
        self.passed.load(Ordering::Relaxed)
    }
}

/// Passes whole messages on in both directions, until one side ends.
fn join(
    agent: UnixStream,
    switch: UnixStream,
    peer: Peer,
    [refused, passed_on]: [Arc<AtomicUsize>; 2],
) -> Result {
    let count = Arc::clone(&passed_on);
    let to_agent = Arc::new(Mutex::new(agent.try_clone()?));
    let tell_agent = Arc::clone(&to_agent);
    let mut from_switch = switch.try_clone()?;
    let (mut from_agent, mut to_switch) = (agent, switch);
    let tell = |agent: &Mutex<UnixStream>, message: &[u8]| {
        agent.lock().unwrap_or_else(PoisonError::into_inner).write_all(message)
    };
    thread::spawn(move || {
        while let Ok(message) = read_message(&mut from_switch) {
            count.fetch_add(message.len(), Ordering::Relaxed);
            if tell(&tell_agent, &message).is_err() {
                break;
            }
        }
        let _ = tell_agent.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let mut forgets = false;
        while let Ok(message) = read_message(&mut from_agent) {
            passed_on.fetch_add(message.len(), Ordering::Relaxed);
            if peer == Peer::Forgetful && [BUNDLE_CONTROL, BUNDLE_ADD].contains(&message[1]) {
                forgets |= refused.fetch_add(1, Ordering::Relaxed) == 0;
                if forgets {
                    continue;
                }
            }
            let passed = match peer.error(&message, refused.load(Ordering::Relaxed)) {
                Some(error) => {
                    refused.fetch_add(1, Ordering::Relaxed);
                    tell(&to_agent, &refusal(&message, error))
                }
                None => to_switch.write_all(&message),
            };
            if passed.is_err() {
                break;
            }
        }
        let _ = to_switch.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// One OpenFlow message, header and all.
fn read_message(from: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 8];
    from.read_exact(&mut message)?;
    let length = u16::from_be_bytes([message[2], message[3]]);
    message.resize(usize::from(length).max(8), 0);
    from.read_exact(&mut message[8..])?;
    Ok(message)
}

fn asks_for_monitor(message: &[u8]) -> bool {
    message[1] == MULTIPART_REQUEST && message.get(8..10) == Some(&FLOW_MONITOR)
}

fn refusal(request: &[u8], error: [u8; 4]) -> Vec<u8> {
    let repeated = &request[..request.len().min(REPEATED)];
    let length = u16::try_from(12 + repeated.len()).expect("it is a short message").to_be_bytes();
    let header = [request[0], ERROR, length[0], length[1]];
    [&header, &request[4..8], &error, repeated].concat()
}
