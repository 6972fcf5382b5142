//! Requests to the server, and who is trusted on the way to it.

use anyhow::{Context, anyhow, bail};
use futures_rustls::pki_types::CertificateDer;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::rustls;
use serde_json::Value;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use url::{Host, Url};

use crate::config::ServerAt;

/// A server that does not answer for so long is not there. Answers of the API take milliseconds.
const REQUEST: Duration = Duration::from_secs(30);
/// The largest page the server gives is 16 MiB and one message.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A running server.
pub(super) struct Rest {
    agent: ureq::Agent,
    url: Url,
    token: Option<String>,
    roots: Vec<CertificateDer<'static>>,
}

impl Rest {
    /// # Errors
    /// When the address, the token's file or the certificates cannot be used. Nothing is connected yet.
    pub(super) fn new(at: &ServerAt) -> anyhow::Result<Self> {
        let url = Url::parse(&at.url).with_context(|| format!("{} is not an address", at.url))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            bail!("{} is not an address of a server: http://host:port", at.url);
        }
        let roots = if url.scheme() == "https" { roots(at.ca.as_deref())? } else { Vec::new() };
        let trusted = roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect::<Vec<_>>();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(trusted)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST))
            .max_redirects(0) // a token goes nowhere else
            .proxy(None) // nor through whatever the environment names; a server of this machine is on no proxy's way
            .tls_config(tls)
            .build();
        let token = token(at)?;
        if token.is_some() && !at.insecure_http && !is_safe(&url) {
            bail!(
                "{}: a token is sent over https, or to this machine (--insecure-http where a network keeps strangers away)",
                at.url
            );
        }
        Ok(Self { agent: config.into(), url, token, roots })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// How the server's certificate is checked on a connection of one's own.
    pub(super) fn tls(&self) -> anyhow::Result<rustls::ClientConfig> {
        let mut store = rustls::RootCertStore::empty();
        store.add_parsable_certificates(self.roots.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(config.with_root_certificates(store).with_no_client_auth())
    }

    /// The answer's body to a GET.
    pub(super) fn get(&self, path: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Value> {
        self.call("GET", path, query, None, None)
    }

    /// The answer's body to a request, `null` when it has none.
    ///
    /// # Errors
    /// A refusal, in the server's words; when there was no answer.
    pub(super) fn call(
        &self,
        method: &str,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
        key: Option<&str>,
    ) -> anyhow::Result<Value> {
        let url = self.address(path, query)?;
        let mut request = ureq::http::Request::builder().method(method).uri(url.as_str());
        let token = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let headers = [("authorization", token.as_deref()), ("idempotency-key", key)];
        for (name, value) in headers.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            request = request.header(name, value);
        }
        let answer = match body {
            None => self.agent.run(request.body(())?),
            Some(body) => self.agent.run(request.header("content-type", "application/json").body(body.to_string())?),
        };
        let mut answer = answer.map_err(|error| anyhow!("{}: {error}", self.url.origin().ascii_serialization()))?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
        let value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        bail!("{method} {} was refused: {}", url.path(), refusal(status, &value));
    }

    /// `path` is below the server's address, each element one segment.
    fn address(&self, path: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Url> {
        let mut url = self.url.clone();
        url.path_segments_mut().map_err(|()| anyhow!("{} has no paths", self.url))?.pop_if_empty().extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }
}

/// Whether nobody between here and there can read what is sent.
fn is_safe(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    is_here || url.scheme() == "https"
}

/// What a refusal says, with its status.
fn refusal(status: ureq::http::StatusCode, body: &Value) -> String {
    if let Some(reasons) = body["reasons"].as_array() {
        return reasons.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    }
    let said = match (&body["error"], &body["errors"]) {
        (Value::String(text), _) => text.clone(),
        (Value::Null, Value::Null) => status.canonical_reason().unwrap_or("no reason").to_owned(),
        (Value::Null, fields) => fields.to_string(),
        (error, _) => error.to_string(),
    };
    format!("{said} ({})", status.as_u16())
}

fn token(at: &ServerAt) -> anyhow::Result<Option<String>> {
    let text = match &at.token_file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => std::env::var("FLEETLM_TOKEN").unwrap_or_default(),
    };
    let token = text.trim();
    if token.bytes().any(|byte| !byte.is_ascii_graphic()) {
        bail!("the token has characters that no token has");
    }
    Ok((!token.is_empty()).then(|| token.to_owned()))
}

fn roots(ca: Option<&Path>) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let mut roots = rustls_native_certs::load_native_certs().certs; // what is not readable there is not trusted
    if let Some(file) = ca {
        let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
        let found = found.map_err(|error| io::Error::other(error.to_string()));
        roots.extend(found.with_context(|| format!("cannot read the certificates in {}", file.display()))?);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leaves_this_machine_over_https_only() {
        let safe = |url: &str| is_safe(&Url::parse(url).unwrap());
        assert!(
            ["http://127.0.0.1:4000", "http://[::1]", "http://localhost:1", "https://a.example"].into_iter().all(safe)
        );
        assert!(!["http://a.example", "http://10.0.0.1:4000", "http://localhost.evil.example"].into_iter().any(safe));
    }
}
