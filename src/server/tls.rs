//! The server's own certificate and key: read from files before the shards run, and again whenever the operator says so.
//!
//! All that a handshake needs is one immutable configuration, shared by the shards. A reload makes a new one, tickets for resumption
//! included, and puts it in the place of the old one; connections that are there keep theirs. Files that do not fit together change
//! nothing. The key is never logged and never shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use futures_rustls::pki_types::pem::{self, PemObject};
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::server::NoServerSessionStorage;
use futures_rustls::rustls::{self, ServerConfig};

use crate::config::ServeConfig;

/// Why the server's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("--tls-cert and --tls-key are given together or not at all")]
    Half,
    #[error("cannot read the certificates in {path}: {why}")]
    Certificates { path: PathBuf, why: String },
    #[error("{path} holds no certificate (PEM, CERTIFICATE)")]
    NoCertificate { path: PathBuf },
    #[error("cannot read the private key in {path}: {why}")]
    Key { path: PathBuf, why: String },
    #[error("{path} holds no private key (PEM, PRIVATE KEY, not encrypted)")]
    NoKey { path: PathBuf },
    #[error("the certificate in {certificates} and the key in {key} cannot be used together: {why}")]
    Pair { certificates: PathBuf, key: PathBuf, why: String },
}

/// Where the operator keeps them.
#[derive(Debug)]
struct Files {
    certificates: PathBuf,
    key: PathBuf,
}

/// See the top of the file. One per process.
pub(super) struct ServerTls {
    files: Files,
    current: RwLock<Arc<ServerConfig>>,
}

impl ServerTls {
    /// What the operator asked for, if he did. Reads files: call it before the shards run.
    ///
    /// # Errors
    /// [`TlsError`], with the file and what is wrong with it.
    pub(super) fn of_config(config: &ServeConfig) -> Result<Option<Self>, TlsError> {
        match (&config.tls_cert, &config.tls_key) {
            (None, None) => Ok(None),
            (Some(certificates), Some(key)) => Self::load(certificates, key).map(Some),
            _ => Err(TlsError::Half),
        }
    }

    fn load(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { certificates: certificates.to_owned(), key: key.to_owned() };
        let current = RwLock::new(Arc::new(files.read()?));
        Ok(Self { files, current })
    }

    /// What a handshake that begins now goes by.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().expect("no thread panics with this lock: panics abort"))
    }

    /// Reads the files again. Blocks: not for a shard's thread.
    ///
    /// # Errors
    /// [`TlsError`]; what was read before stays.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let fresh = Arc::new(self.files.read()?);
        *self.current.write().expect("no thread panics with this lock: panics abort") = fresh;
        Ok(())
    }
}

impl fmt::Debug for ServerTls {
    /// Without the configuration, which holds the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Files {
    fn read(&self) -> Result<ServerConfig, TlsError> {
        let (chain, key) = (self.chain()?, self.key()?);
        let unusable = |error: rustls::Error| TlsError::Pair {
            certificates: self.certificates.clone(),
            key: self.key.clone(),
            why: match error {
                rustls::Error::InconsistentKeys(_) => "the key is not that of the first certificate".to_owned(),
                other => other.to_string(),
            },
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Who comes back brings his session along, encrypted: nothing is kept here, and every shard can read it.
        config.ticketer = ring::Ticketer::new().map_err(unusable)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let path = &self.certificates;
        let unreadable = |error: pem::Error| TlsError::Certificates { path: path.clone(), why: why(&error) };
        let chain: Vec<_> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(unreadable)?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { path: path.clone() });
        }
        Ok(chain)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let path = &self.key;
        PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey { path: path.clone() },
            other => TlsError::Key { path: path.clone(), why: why(&other) },
        })
    }
}

/// What is wrong with a file, never with a word of what it holds: the wrong file may be the key.
fn why(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::MissingSectionEnd { .. } => "a section does not end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section does not begin as it should".to_owned(),
        pem::Error::Base64Decode(_) => "a section is not base64".to_owned(),
        pem::Error::SectionTooLarge => "a section is too large".to_owned(),
        _ => "it is not PEM".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    struct Pair {
        certificate: String,
        key: String,
    }

    fn pair() -> Pair {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Pair { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn files(folder: &TempDir, certificates: &str, key: &str) -> (PathBuf, PathBuf) {
        let paths = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&paths.0, certificates).unwrap();
        std::fs::write(&paths.1, key).unwrap();
        paths
    }

    #[test]
    fn an_error_names_the_file_and_what_is_wrong_with_it_and_not_what_it_holds() {
        let folder = TempDir::new().unwrap();
        let (good, other) = (pair(), pair());
        let torn = &good.key[..good.key.len() - 40];
        let cases = [
            ("", good.key.as_str(), "cert.pem holds no certificate"),
            (&good.key, &good.key, "cert.pem holds no certificate"),
            (&good.certificate, "", "key.pem holds no private key"),
            (&good.certificate, &good.certificate, "key.pem holds no private key"),
            (&good.certificate, torn, "key.pem: a section does not end"),
            (&good.certificate, &other.key, "the key is not that of the first certificate"),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                &good.key,
                "cert.pem: a section is not base64",
            ),
        ];
        for (certificates, key, expected) in cases {
            let (certificates, key) = files(&folder, certificates, key);
            let error = ServerTls::load(&certificates, &key).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("BEGIN") && error.len() < 400, "{error}");
        }
        let missing = folder.path().join("nowhere.pem");
        let error = ServerTls::load(&missing, &missing).unwrap_err().to_string();
        assert!(error.contains("nowhere.pem") && error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_reload_takes_what_fits_together_and_nothing_else() {
        let folder = TempDir::new().unwrap();
        let (first, second) = (pair(), pair());
        let (certificates, key) = files(&folder, &first.certificate, &first.key);
        let tls = ServerTls::load(&certificates, &key).unwrap();
        let before = tls.current();
        std::fs::write(&certificates, &second.certificate).unwrap();
        tls.reload().unwrap_err();
        assert!(Arc::ptr_eq(&before, &tls.current()), "half of a renewal is none");
        std::fs::write(&key, &second.key).unwrap();
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.current()));
        assert!(!format!("{tls:?}").contains("Config"), "{tls:?}");
    }
}
