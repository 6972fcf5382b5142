//! Whom we trust, and handshakes.
//!
//! The configuration is loaded once per process and shared by the shards, tickets for resumption included. Handshakes are the
//! one part of a call that costs real CPU (about a millisecond of it), so few of them run at a time on a shard; one that is slow
//! because its peer is slow gives its place up, or a handful of silent peers would keep everybody from connecting.

use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore, crypto};

use super::alarm::{Alarm, Alarms};
use super::error::CallError;
use super::request::Place;
use super::stream::Tcp;
use crate::limits;
use crate::server::places::Places;

/// Why the operator's certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum TrustError {
    #[error("cannot read certificates from {path}: {why}")]
    Unreadable { path: PathBuf, why: String },
    #[error("{path} holds no certificate")]
    Empty { path: PathBuf },
}

/// Whom outbound calls trust. Cheap to clone; for all shards.
#[derive(Clone)]
pub(in crate::server) struct Trust {
    config: Arc<ClientConfig>,
}

impl Trust {
    /// The roots of the system, and those in the PEM file `extra`. Reads files: call it before the shards run.
    ///
    /// # Errors
    /// [`TrustError`] for `extra`. A system without roots is logged; then only plain HTTP can be called.
    pub(in crate::server) fn load(extra: Option<&Path>) -> Result<Self, TrustError> {
        let native = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(native.certs);
        if usable == 0 && extra.is_none() {
            tracing::warn!("the system has no root certificates: https webhooks cannot be called");
        }
        if let Some(path) = extra {
            add_file(&mut roots, path)?;
        }
        Ok(Self::of_roots(roots))
    }

    /// Exactly these roots.
    pub(in crate::server) fn of_roots(roots: RootCertStore) -> Self {
        let mut config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { config: Arc::new(config) }
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TrustError> {
    let unreadable = |why: String| TrustError::Unreadable { path: path.to_owned(), why };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
    let before = roots.len();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
    }
    if roots.len() == before {
        return Err(TrustError::Empty { path: path.to_owned() });
    }
    Ok(())
}

/// A shard's handshakes.
pub(super) struct Handshakes {
    connector: TlsConnector,
    places: Places,
    alarms: Rc<Alarms>,
}

impl Handshakes {
    pub(super) fn new(trust: Trust, alarms: Rc<Alarms>) -> Self {
        let places = Places::of(limits::TLS_HANDSHAKES_MAX);
        Self { connector: TlsConnector::from(trust.config), places, alarms }
    }

    /// Makes sure that the peer is `host`, and encrypts what follows.
    ///
    /// # Errors
    /// [`CallError::Tls`] when it is not, [`CallError::Connect`] when the connection fails meanwhile.
    pub(super) async fn shake(&self, host: &Place, tcp: Tcp) -> Result<TlsStream<Tcp>, CallError> {
        let name = match host {
            Place::Name(name) => ServerName::try_from(name.clone())
                .map_err(|_| CallError::Tls { why: "the host's name cannot stand in a certificate".to_owned() })?,
            Place::Address(address) => ServerName::from(*address),
        };
        let place = self.places.take().await;
        holding(&self.alarms, place, self.connector.connect(name, tcp)).await.map_err(|error| refused(&error))
    }
}

/// Waits for a handshake, holding its place for a bounded time: what is late waits for its peer and costs no CPU.
async fn holding<P, F: Future>(alarms: &Rc<Alarms>, place: P, handshake: F) -> F::Output {
    let over = Instant::now() + Duration::from_millis(limits::TLS_HANDSHAKE_PLACE_MS);
    let mut handshake = pin!(handshake);
    let mut place = Some(place);
    let mut alarm = None;
    poll_fn(|cx| {
        if Instant::now() >= over {
            place = None;
        } else if !alarm.as_ref().is_some_and(|alarm: &Alarm| alarm.is_for(cx)) {
            alarm = Some(alarms.set(over, cx));
        }
        handshake.as_mut().poll(cx)
    })
    .await
}

/// In plain words what is wrong with the peer; a connection that ended is the network's fault and not the peer's.
fn refused(error: &io::Error) -> CallError {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return CallError::Connect { why: format!("the TLS handshake did not end: {error}") };
    };
    let rustls::Error::InvalidCertificate(certificate) = tls else {
        return CallError::Tls { why: tls.to_string() };
    };
    let why = match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another host name"
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the certificate was issued by nobody this server trusts (see --webhook-ca)"
        }
        CertificateError::Revoked => "the certificate was revoked",
        _ => return CallError::Tls { why: tls.to_string() },
    };
    CallError::Tls { why: why.to_owned() }
}
