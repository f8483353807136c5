use std::fs;

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_rustls::TlsConnector;

use super::*;

/// A certificate for localhost in a file, and its key in another.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.renew();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn renew(&self) -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = |label: &str, der: &[u8]| {
            use base64::prelude::{BASE64_STANDARD, Engine as _};
            format!(
                "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
                BASE64_STANDARD.encode(der)
            )
        };
        fs::write(self.path("tls.crt"), pem("CERTIFICATE", made.cert.der())).unwrap();
        let key = pem("PRIVATE KEY", &made.signing_key.serialize_der());
        fs::write(self.path("tls.key"), key).unwrap();
        made.cert.der().to_vec()
    }

    fn source(&self) -> Source {
        Source::Files { certificate: self.path("tls.crt"), key: self.path("tls.key") }
    }
}

/// The certificate that a client sees that trusts `authority` alone.
async fn seen(identity: &Identity, authority: &[u8]) -> Result<Vec<u8>, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.to_vec())).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (client, server) = duplex(1 << 16);
    let accepting = identity.acceptor().accept(server);
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, client);
    let (accepted, connected) = tokio::join!(accepting, connecting);
    let mut connected = connected.map_err(|error| error.to_string())?;
    let mut accepted = accepted.unwrap();
    accepted.write_all(b"hello").await.unwrap();
    accepted.shutdown().await.unwrap();
    let mut heard = String::new();
    connected.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "hello");
    Ok(connected.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}

fn look_now(identity: &Identity, files: &Files) {
    identity.current.lock().unwrap().look(&files.path("tls.crt"), &files.path("tls.key"));
}

#[tokio::test]
async fn a_given_certificate_is_shown_and_so_is_the_next_one_in_its_place() {
    let files = Files::new();
    let first = files.renew();
    let identity = Identity::new(files.source()).unwrap();
    assert_eq!(seen(&identity, &first).await.unwrap(), first);
    let second = files.renew();
    look_now(&identity, &files);
    assert_eq!(seen(&identity, &second).await.unwrap(), second);
    let error = seen(&identity, &first).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn files_that_become_unusable_leave_the_certificate_that_was_there() {
    let files = Files::new();
    let first = files.renew();
    let identity = Identity::new(files.source()).unwrap();
    // A key of another certificate, nonsense, nothing, and no file.
    let key = fs::read(files.path("tls.key")).unwrap();
    files.renew();
    fs::write(files.path("tls.key"), key).unwrap();
    look_now(&identity, &files);
    for text in ["no PEM", ""] {
        fs::write(files.path("tls.crt"), text).unwrap();
        look_now(&identity, &files);
    }
    fs::remove_file(files.path("tls.key")).unwrap();
    look_now(&identity, &files);
    assert_eq!(seen(&identity, &first).await.unwrap(), first);
}

#[test]
fn what_is_no_certificate_is_told_with_its_file() {
    let files = Files::new();
    let told = || Identity::new(files.source()).unwrap_err().to_string();
    fs::write(files.path("tls.key"), "no PEM").unwrap();
    assert!(told().contains("tls.key has no private key in PEM"), "{}", told());
    let source = Source::Files { certificate: files.path("tls.crt"), key: files.path("tls.crt") };
    let error = Identity::new(source).unwrap_err().to_string();
    assert!(error.contains("tls.crt has no private key in PEM"), "{error}");
    fs::remove_file(files.path("tls.crt")).unwrap();
    assert!(
        told().starts_with("can't read ") && told().contains("tls.crt: No such file"),
        "{}",
        told()
    );
}

#[tokio::test]
async fn a_self_made_certificate_is_nobody_elses() {
    let names = vec!["10.0.0.1".to_owned(), "localhost".to_owned()];
    let identity = Identity::new(Source::SelfMade(names)).unwrap();
    let other = Files::new().renew();
    assert!(seen(&identity, &other).await.is_err());
}
