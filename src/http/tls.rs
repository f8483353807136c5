//! HTTPS: the certificate that clients see, made at the start or read from files.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
    server::NoServerSessionStorage,
};
use tokio_rustls::TlsAcceptor;

/// How often to look whether the files have changed. Whoever renews certificates does so days before they expire.
const LOOK: Duration = Duration::from_secs(60);
/// Most bytes that are read of a file; chains of certificates have a few thousand.
const FILE: u64 = 1 << 20;

/// Where the certificate is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Made when the agent starts, for these names and addresses, and signed by itself: clients can't know it.
    SelfMade(Vec<String>),
    /// Files with PEM, read again when they change.
    Files {
        /// The certificate, and those that lead to its authority.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It can't be made.
    #[error("can't make a certificate: {0}")]
    Make(rcgen::Error),
    /// A file can't be read.
    #[error("can't read {}: {error}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file has something else in it.
    #[error("{} has no {what} in PEM: {error}", .path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
        /// Why it is none.
        error: rustls::pki_types::pem::Error,
    },
    /// Certificate and key are not usable, or not of each other.
    #[error("can't use the certificate: {0}")]
    Use(rustls::Error),
}

/// What the agent proves by TLS that it is.
#[derive(Debug)]
pub struct Identity {
    source: Source,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// What the files held.
    text: Text,
    looked: Instant,
    /// What is wrong with the files now, as it was logged.
    failure: Option<String>,
}

/// Certificate and key as they stand in files.
#[derive(Debug, Default, PartialEq, Eq)]
struct Text {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Identity {
    /// Makes or reads the certificate.
    ///
    /// # Errors
    /// There is none, or it can't be used.
    pub fn new(source: Source) -> Result<Self, TlsError> {
        let (config, text) = match &source {
            Source::SelfMade(names) => (make(names)?, Text::default()),
            Source::Files { certificate, key } => {
                let text = Text::read(certificate, key)?;
                (text.config(certificate, key)?, text)
            }
        };
        let config = Arc::new(config);
        let current = Current { config, text, looked: Instant::now(), failure: None };
        Ok(Self { source, current: Mutex::new(current) })
    }

    /// What accepts the next connection. If the files have changed, and are not usable, the certificate that was there
    /// before goes on.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Source::Files { certificate, key } = &self.source
            && current.looked.elapsed() >= LOOK
        {
            current.look(certificate, key);
        }
        TlsAcceptor::from(Arc::clone(&current.config))
    }
}

impl Current {
    fn look(&mut self, certificate: &Path, key: &Path) {
        self.looked = Instant::now();
        let read = Text::read(certificate, key).and_then(|text| {
            let changed = text != self.text;
            let config = changed.then(|| text.config(certificate, key)).transpose()?;
            Ok(config.map(|config| (config, text)))
        });
        let failure = read.as_ref().err().map(ToString::to_string);
        if let Ok(Some((config, text))) = read {
            tracing::info!(certificate = %certificate.display(), "took the new certificate for /metrics");
            self.config = Arc::new(config);
            self.text = text;
        }
        if let Some(error) = &failure
            && self.failure != failure
        {
            tracing::warn!(%error, "the certificate for /metrics stays the one that was there before");
        }
        self.failure = failure;
    }
}

impl Text {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self { certificate: read(certificate)?, key: read(key)? })
    }

    fn config(&self, certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
        let wrong = |path: &Path, what| {
            let path = path.to_owned();
            move |error| TlsError::Parse { path, what, error }
        };
        let chain = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<_, _>>();
        let chain = chain.map_err(wrong(certificate, "certificate"))?;
        let private = PrivateKeyDer::from_pem_slice(&self.key);
        serve(chain, private.map_err(wrong(key, "private key"))?)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE).read_to_end(&mut text))
        .map_err(|error| TlsError::Read { path: path.to_owned(), error })?;
    Ok(text)
}

fn make(names: &[String]) -> Result<ServerConfig, TlsError> {
    let make = || {
        let mut wanted = CertificateParams::new(names)?;
        wanted.distinguished_name.push(DnType::CommonName, "ofmirror");
        let key = KeyPair::generate()?;
        Ok((wanted.self_signed(&key)?, key))
    };
    let (certificate, key) = make().map_err(TlsError::Make)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    serve(vec![certificate.der().clone()], key.into())
}

fn serve(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Use)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A connection is for one request, and the next scrape comes when a session is over: nothing is kept of clients.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[cfg(test)]
mod tests;
