//! Sockets that are not what somebody takes them for: they answer nothing, or something else.

use std::{
    io::{self, Read, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    thread,
};

use crate::{Node, Result};

/// What a wrong socket does with whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impostor {
    /// Accepts and never says a word.
    Silent,
    /// Answers like a web server.
    Web,
    /// Closes at once.
    Closing,
    /// Sends zeros without end.
    Zeros,
}

impl Impostor {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Silent, Self::Web, Self::Closing, Self::Zeros];

    /// What its socket is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Web => "web",
            Self::Closing => "closing",
            Self::Zeros => "zeros",
        }
    }

    /// Treats a client so, until that goes. Errors are its end.
    fn serve(self, mut client: impl Read + Write) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match self {
            Self::Silent => while client.read(&mut buffer)? > 0 {},
            Self::Web => {
                if client.read(&mut buffer)? > 0 {
                    client.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
                }
            }
            Self::Closing => {}
            Self::Zeros => loop {
                client.write_all(&buffer)?;
            },
        }
        Ok(())
    }
}

impl Node {
    /// Listens as each impostor at `NAME.sock` in the run folder, and as [`Impostor::Silent`] at a TCP port of the node's
    /// namespace, for as long as the process lives.
    ///
    /// # Errors
    /// A name or the port is taken.
    pub fn add_impostors(&self, silent_port: u16) -> Result {
        for impostor in Impostor::ALL {
            let path = self.run_folder().join(format!("{}.sock", impostor.name()));
            let listener = UnixListener::bind(path)?;
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    thread::spawn(move || impostor.serve(client));
                }
            });
        }
        let listener =
            self.namespace().inside(|| Ok(TcpListener::bind(("127.0.0.1", silent_port))?))?;
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                thread::spawn(move || Impostor::Silent.serve(client));
            }
        });
        Ok(())
    }
}
