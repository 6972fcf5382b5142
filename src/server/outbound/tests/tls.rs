//! Whom a call trusts.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::channel;

use futures_rustls::pki_types::PrivateKeyDer;
use futures_rustls::rustls::{ServerConfig, crypto};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::*;
use crate::server::outbound::tls::TrustError;

/// An authority of the test's own.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        Self::named("an authority")
    }

    fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A server with a certificate for `name`.
    fn server(&self, name: &str, expired: bool) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap()
    }

    /// What an operator who names the authority's certificate trusts.
    fn trust(&self) -> Trust {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(self.pem.as_bytes()).unwrap();
        Trust::load(Some(file.path())).unwrap()
    }
}

fn answering(config: ServerConfig) -> Webhook {
    Webhook::start_tls(config, |peer| {
        while let Some(request) = peer.request() {
            assert!(request.starts_with("POST / HTTP/1.1\r\n"), "{request}");
            let number = peer.number.to_string();
            peer.answer(&number);
        }
    })
}

#[track_caller]
fn assert_refused(trust: Trust, webhook: &Webhook, host: &str, why: &str) {
    run(async {
        let outbound = client_trusting(trust);
        let (ended, got) = post(&outbound, call(&webhook.url_at(host))).await;
        assert_reason(&ended, "tls");
        let text = ended.unwrap_err().to_string();
        assert!(text.contains(why), "{text}");
        assert_eq!((got, outbound.open_connections()), (Got::default(), 0));
    });
}

#[test]
fn a_webhook_with_a_good_certificate_is_called_and_its_connection_kept() {
    for name in ["localhost", "127.0.0.1"] {
        let authority = Authority::new();
        let webhook = answering(authority.server(name, false));
        run(async {
            let outbound = client_trusting(authority.trust());
            for _ in 0..3 {
                let (ended, got) = post(&outbound, call(&webhook.url_at(name))).await;
                assert_eq!((ended, got.body.as_str(), outbound.open_connections()), (Ok(()), "0", 1));
            }
        });
    }
}

#[test]
fn pieces_arrive_over_tls_too() {
    let authority = Authority::new();
    let (seen, was_seen) = channel::<()>();
    let was_seen = std::sync::Mutex::new(was_seen);
    let webhook = Webhook::start_tls(authority.server("localhost", false), move |peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for _ in 0..3 {
            peer.chunk("piece");
            was_seen.lock().unwrap().recv().unwrap();
        }
        peer.send("0\r\n\r\n");
        peer.wait_for_end();
    });
    run(async {
        let outbound = client_trusting(authority.trust());
        let seen = |_: &str| seen.send(()).unwrap();
        let (ended, got) = post_until(&outbound, call(&webhook.url_at("localhost")), &Stop::new(), seen).await;
        assert_eq!((ended, got.body.as_str()), (Ok(()), "piecepiecepiece"));
    });
}

#[test]
fn a_large_body_arrives_over_tls() {
    let authority = Authority::new();
    let webhook = Webhook::start_tls(authority.server("localhost", false), |peer| {
        peer.request();
        peer.answer(&"x".repeat(900_000));
    });
    run(async {
        let (ended, got) = post(&client_trusting(authority.trust()), call(&webhook.url_at("localhost"))).await;
        assert_eq!((ended, got.body.len()), (Ok(()), 900_000));
    });
}

#[test]
fn a_certificate_of_a_stranger_is_refused() {
    let webhook = answering(Authority::new().server("localhost", false));
    assert_refused(Authority::named("another").trust(), &webhook, "localhost", "issued by nobody");
    assert_refused(Authority::new().trust(), &webhook, "localhost", "issued by nobody"); // of the same name, with another key
    assert_refused(Trust::of_roots(RootCertStore::empty()), &webhook, "localhost", "issued by nobody");
    assert_refused(Trust::load(None).unwrap(), &webhook, "localhost", "issued by nobody");
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let webhook = answering(authority.server("other.example", false));
    assert_refused(authority.trust(), &webhook, "localhost", "another host name");
    assert_refused(authority.trust(), &webhook, "127.0.0.1", "another host name");
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let webhook = answering(authority.server("localhost", true));
    assert_refused(authority.trust(), &webhook, "localhost", "expired");
}

#[test]
fn a_peer_that_speaks_no_tls_is_refused() {
    let webhook = Webhook::start(|peer| {
        peer.send("HTTP/1.1 400 Bad Request\r\n\r\n");
        peer.wait_for_end();
    });
    run(async {
        let (ended, _) = post(&client(), call(&format!("https://{}/", webhook.address))).await;
        assert_reason(&ended, "tls");
    });
}

#[test]
fn peers_that_are_silent_in_the_handshake_do_not_keep_others_from_connecting() {
    let authority = Authority::new();
    let silent = Webhook::start(peer::Peer::wait_for_end);
    let webhook = answering(authority.server("localhost", false));
    run(async {
        let outbound = client_trusting(authority.trust());
        let mut silent: Vec<_> = (0..limits::TLS_HANDSHAKES_MAX)
            .map(|_| Box::pin(post(&outbound, call(&format!("https://{}/", silent.address)))))
            .collect();
        for call in &mut silent {
            assert!(future::poll_once(call.as_mut()).await.is_none(), "it waits");
        }
        let other = post(&outbound, call(&webhook.url_at("localhost")));
        let all_silent = std::future::poll_fn(|cx| {
            for call in &mut silent {
                if let std::task::Poll::Ready((ended, _)) = call.as_mut().poll(cx) {
                    return std::task::Poll::Ready(ended);
                }
            }
            std::task::Poll::Pending
        });
        let first = future::race(async { other.await.0 }, all_silent).await;
        assert_eq!(first, Ok(()), "the other one gets through before the silent ones give up");
        drop(silent);
        assert_eq!(outbound.open_connections(), outbound.idle_connections());
    });
}

#[test]
fn a_file_without_certificates_is_named() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"nothing").unwrap();
    let error = Trust::load(Some(file.path())).map(drop).unwrap_err();
    assert!(matches!(&error, TrustError::Empty { path } if path == file.path()), "{error}");
    let error = Trust::load(Some("/nowhere/ca.pem".as_ref())).map(drop).unwrap_err();
    assert!(matches!(&error, TrustError::Unreadable { .. }), "{error}");
}
