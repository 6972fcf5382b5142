//! Who is let in, as the operator has set it: secrets and keys from files, read before the shards run and again on SIGHUP, and the check
//! that every request passes.
//!
//! Invariants: in open mode nothing is looked at; files that cannot be used change nothing while the server runs; no secret is logged
//! or shown. Each shard has a copy that its heartbeat renews, so that requests of all cores do not count on one number.

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use rand::Rng;

use super::limiter::Limiter;
use super::world::World;
use crate::api::admission::{self, NotAdmitted};
use crate::api::auth::forwarded;
use crate::api::auth::jwks::KeySetError;
use crate::api::auth::{AuthError, HmacSecret, KeySet, Mode, Principal, Settings, keys};
use crate::api::error::{ApiError, Kind};
use crate::api::origin::{self, Hosts, Origins};
use crate::api::own_origin::OwnOrigin;
use crate::config::{AuthConfig, AuthMode, Secret};
use crate::limits::JWT_SECRET_BYTES_MIN;
use crate::protocol::http::{Request, Response};
use crate::session::KeyPut;

/// Why nobody can be let in as the operator wants it.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthConfigError {
    #[error(
        "listening on {address} without authentication would let everybody in: give --auth required, or --insecure-open if \
         something else keeps strangers away"
    )]
    Exposed { address: SocketAddr },
    #[error("{flag} would do nothing: without --auth required no token is looked at and everybody may do everything")]
    Unused { flag: &'static str },
    #[error("cannot read {flag} {path}: {why}")]
    Unreadable { flag: &'static str, path: PathBuf, why: std::io::Error },
    #[error("the secret of tokens has fewer than {JWT_SECRET_BYTES_MIN} bytes")]
    ShortSecret,
    #[error("{path} holds no API key (flk_..)")]
    NoKey { path: PathBuf },
    #[error("cannot use the keys in {path}: {why}")]
    Keys { path: PathBuf, why: KeySetError },
    #[error("--jwks {url}: keys are fetched over https, or from this machine")]
    PlainAddress { url: String },
}

/// What requests are checked with.
#[derive(Clone)]
pub(super) struct Trusted {
    pub(super) settings: Arc<Settings>,
    pub(super) keys: Arc<KeySet>,
}

/// See the top of the file. One per process.
pub(super) struct ServerAuth {
    mode: Mode,
    config: AuthConfig,
    /// Signs tokens where the operator has set no secret; they end with the process.
    own_secret: [u8; 32],
    trusted: RwLock<Arc<Trusted>>,
    /// Somebody came with a token of a key that is not known.
    is_key_missed: AtomicBool,
    limiter: Limiter,
    origins: Origins,
    hosts: Hosts,
}

impl fmt::Debug for ServerAuth {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerAuth").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl ServerAuth {
    /// What the operator asked for, on a server that listens on `address`, with TLS or without.
    ///
    /// # Errors
    /// [`AuthConfigError`], with what to do about it.
    pub(super) fn of_config(config: &AuthConfig, address: SocketAddr, is_tls: bool) -> Result<Self, AuthConfigError> {
        let mode = match config.auth {
            AuthMode::Open => Mode::Open,
            AuthMode::Required => Mode::Required,
        };
        if mode == Mode::Open && !config.insecure_open && !address.ip().is_loopback() {
            return Err(AuthConfigError::Exposed { address });
        }
        if let Some(flag) = (mode == Mode::Open).then(|| unused(config)).flatten() {
            return Err(AuthConfigError::Unused { flag });
        }
        let own_secret: [u8; 32] = rand::rng().random();
        let (settings, keys) = read(config, mode, &own_secret)?;
        let (settings, keys) = (Arc::new(settings), Arc::new(keys.unwrap_or_default()));
        let trusted = RwLock::new(Arc::new(Trusted { settings, keys }));
        let is_key_missed = AtomicBool::new(false);
        // Something else keeps strangers away: tokens, or what the operator vouches for.
        let is_kept = mode == Mode::Required || config.insecure_open;
        let default_origins = if is_kept { Origins::Any } else { Origins::Near };
        let own = OwnOrigin::new(is_tls, address.ip(), &config.allow_host, &config.allow_origin);
        let origins = Origins::listed(&config.allow_origin, own).unwrap_or(default_origins);
        // Names that are listed are asked for wherever everybody is let in.
        let is_any = config.allow_host.is_empty() && (is_kept || origins == Origins::Any);
        let is_asked = mode == Mode::Open && !is_any;
        let hosts = if is_asked { Hosts::near(&config.allow_host) } else { Hosts::Any };
        let limiter = Limiter::of_config(config);
        Ok(Self { mode, config: config.clone(), own_secret, trusted, is_key_missed, limiter, origins, hosts })
    }

    /// Whether tokens matter.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Where keys are fetched from, if they are.
    pub(super) fn jwks_url(&self) -> Option<&str> {
        self.config.jwks.as_deref().filter(|source| is_url(source) && self.mode == Mode::Required)
    }

    /// Takes over keys that were fetched.
    pub(super) fn take_keys(&self, keys: KeySet) {
        self.change(|trusted| trusted.keys = Arc::new(keys));
    }

    /// Whether a key was missed since this was asked last.
    pub(super) fn take_missed_key(&self) -> bool {
        self.is_key_missed.swap(false, Ordering::Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut Trusted)) {
        let mut place = self.trusted.write().expect("no thread panics with this lock: panics abort");
        let mut fresh = Trusted::clone(&place);
        change(&mut fresh);
        *place = Arc::new(fresh);
    }

    /// How often somebody may ask.
    pub(super) fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// Whom `request` is from, which came from `peer`.
    pub(super) fn client_of(&self, peer: Option<IpAddr>, request: &Request) -> Option<IpAddr> {
        peer.map(|peer| forwarded::client_of(peer, request, &self.config.trust_forwarded_for))
    }

    /// Which web pages may connect.
    pub(super) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// What requests are checked with from now on.
    pub(super) fn current(&self) -> Arc<Trusted> {
        Arc::clone(&self.trusted.read().expect("no thread panics with this lock: panics abort"))
    }

    /// Reads the files again. Blocks: not for a shard's thread.
    ///
    /// # Errors
    /// [`AuthConfigError`]; what was read before stays.
    pub(super) fn reload(&self) -> Result<(), AuthConfigError> {
        let (settings, keys) = read(&self.config, self.mode, &self.own_secret)?;
        self.change(|trusted| {
            trusted.settings = Arc::new(settings);
            trusted.keys = keys.map_or_else(|| Arc::clone(&trusted.keys), Arc::new);
        });
        Ok(())
    }
}

/// A flag of tokens, if there is one: whoever gives it believes that they are looked at.
fn unused(config: &AuthConfig) -> Option<&'static str> {
    let has_secret = config.jwt_secret_file.is_some() || config.has_jwt_secret();
    let given = [
        ("--jwks", config.jwks.is_some()),
        ("--jwt-secret-file (or FLEETLM_JWT_SECRET)", has_secret),
        ("--jwt-audience", config.jwt_audience.is_some()),
        ("--jwt-issuer", config.jwt_issuer.is_some()),
        ("--admin-key-file", config.admin_key_file.is_some()),
        ("--rate-limit-principal", config.rate_limit_principal.is_some()),
    ];
    given.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
}

/// Keys are `None` where they are fetched, or there are none to be.
fn read(config: &AuthConfig, mode: Mode, own_secret: &[u8; 32]) -> Result<(Settings, Option<KeySet>), AuthConfigError> {
    let unreadable = |flag, path: &Option<PathBuf>| {
        let path = path.clone().unwrap_or_default();
        move |why| AuthConfigError::Unreadable { flag, path, why }
    };
    let secret = config.jwt_secret().map_err(unreadable("--jwt-secret-file", &config.jwt_secret_file))?;
    let secret = secret.as_ref().map_or(&own_secret[..], |secret| secret.reveal().as_bytes());
    let secret = HmacSecret::new(secret).map_err(|_| AuthConfigError::ShortSecret)?;
    let admin = config.admin_key_file.as_deref().map(admin_of).transpose()?;
    let keys = match &config.jwks {
        Some(url) if is_url(url) => check_address(url).map(|()| None)?,
        Some(path) => Some(keys_of(path.into())?),
        None => None,
    };
    let (audience, issuer) = (config.jwt_audience.clone(), config.jwt_issuer.clone());
    Ok((Settings { mode, secret, audience, issuer, admin }, keys))
}

fn is_url(source: &str) -> bool {
    source.contains("://")
}

/// Whoever can change what is fetched can let anybody in.
fn check_address(source: &str) -> Result<(), AuthConfigError> {
    if is_safe_address(source) { Ok(()) } else { Err(AuthConfigError::PlainAddress { url: source.to_owned() }) }
}

/// Whether what goes to and fro between here and `source` is read and changed by nobody: over https, or on this machine.
pub(super) fn is_safe_address(source: &str) -> bool {
    let is_near = |url: &url::Url| match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url::Url::parse(source).is_ok_and(|url| url.scheme() == "https" || (url.scheme() == "http" && is_near(&url)))
}

fn admin_of(path: &Path) -> Result<KeyPut, AuthConfigError> {
    let flag = "--admin-key-file";
    let text = Secret::of_file(path).map_err(|why| AuthConfigError::Unreadable { flag, path: path.to_owned(), why })?;
    keys::admin(text.reveal()).ok_or_else(|| AuthConfigError::NoKey { path: path.to_owned() })
}

fn keys_of(path: PathBuf) -> Result<KeySet, AuthConfigError> {
    match fs::read(&path) {
        Ok(json) => KeySet::parse(&json).map_err(|why| AuthConfigError::Keys { path, why }),
        Err(why) => Err(AuthConfigError::Unreadable { flag: "--jwks", path, why }),
    }
}

impl World {
    /// Takes over what the operator has changed.
    pub(super) fn renew_trusted(&self) {
        if self.auth.mode() == Mode::Required {
            let current = self.auth.current();
            if !Arc::ptr_eq(&self.trusted.borrow(), &current) {
                self.verified.forget();
                *self.trusted.borrow_mut() = current;
            }
        }
    }
}

/// Who sends `request` from `address`; it is marked with as whom it acts.
///
/// # Errors
/// The refusal to answer instead.
pub(super) fn admit(
    world: &Rc<World>,
    address: Option<IpAddr>,
    request: &mut Request,
) -> Result<Rc<Principal>, Response> {
    decide(world, address, request).map_err(|error| admission::refused(request, &error, &world.context()))
}

/// The same for a request whose head was let in a while ago: it is not counted once more, and its key may have gone since.
///
/// # Errors
/// As for [`admit`].
pub(super) fn admit_again(world: &Rc<World>, request: &mut Request) -> Result<Rc<Principal>, Response> {
    identify(world, request).map_err(|reason| admission::refused(request, &reason.into(), &world.context()))
}

fn decide(world: &Rc<World>, address: Option<IpAddr>, request: &mut Request) -> Result<Rc<Principal>, ApiError> {
    let (auth, limiter) = (&world.auth, world.auth.limiter());
    limiter.take_address(address)?;
    if !auth.hosts.admit(request) {
        return Err(Kind::HostUnknown.into());
    }
    // A page that brings no token must not reach anything, whether or not it may read the answer.
    let is_concerned = || auth.mode() == Mode::Open || origin::is_concerned(&request.path);
    if request.headers.first("origin").is_some() && is_concerned() && !auth.origins().admit(request) {
        return Err(Kind::Forbidden.into());
    }
    match identify(world, request) {
        Ok(principal) => {
            if !principal.is_nobody() && !principal.is_open {
                // A good token does not end the silence that bad ones have brought about: who guesses learns nothing.
                limiter.check_failures(address)?;
                limiter.take_principal(principal.fingerprint)?;
            }
            Ok(principal)
        }
        Err(NotAdmitted::Auth(error)) => {
            if error == AuthError::UnknownKey {
                auth.is_key_missed.store(true, Ordering::Relaxed);
            }
            if error.is_unauthenticated() {
                limiter.take_failure(address)?;
            }
            Err(error.into())
        }
        Err(malformed) => Err(malformed.into()),
    }
}

fn identify(world: &Rc<World>, request: &mut Request) -> Result<Rc<Principal>, NotAdmitted> {
    if world.auth.mode() == Mode::Open {
        return Ok(Rc::clone(&world.anyone));
    }
    let now_us = world.now().unix_us;
    let principal = world.with_authority(|authority| admission::admit(request, authority, now_us))?;
    request.remote_user = principal.remote_user().map(Box::new);
    Ok(Rc::new(principal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cli;
    use clap::Parser;

    fn made(flags: &[&str]) -> Result<ServerAuth, AuthConfigError> {
        let serve = Cli::parse_from([&["fleetlm"], flags].concat()).serve;
        ServerAuth::of_config(&serve.auth, serve.address(), serve.tls_cert.is_some())
    }

    #[test]
    fn an_open_server_is_reached_from_its_own_machine_only_unless_the_operator_says_so() {
        for open in [&[][..], &["--listen", "[::1]:1"], &["--listen", "127.0.0.9:1"]] {
            assert_eq!(made(open).unwrap().mode(), Mode::Open);
        }
        for exposed in [&["--listen", "0.0.0.0:1"][..], &["--port", "1"], &["--listen", "[::]:1"]] {
            let error = made(exposed).unwrap_err().to_string();
            assert!(error.contains("--auth required") && error.contains("--insecure-open"), "{error}");
            assert!(made(&[exposed, &["--insecure-open"]].concat()).is_ok());
            assert!(made(&[exposed, &["--auth", "required"]].concat()).is_ok());
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_named_and_their_content_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "hush").unwrap();
        let path = file.path().to_str().unwrap();
        for flag in ["--jwt-secret-file", "--jwks", "--admin-key-file"] {
            let error = made(&["--auth", "required", flag, path]).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
            let error = made(&["--auth", "required", flag, "/nowhere/at/all"]).unwrap_err().to_string();
            assert!(error.contains("/nowhere/at/all") && error.contains(flag), "{error}");
        }
        fs::write(file.path(), "x".repeat(32)).unwrap();
        assert!(made(&["--auth", "required", "--jwt-secret-file", path]).is_ok());
    }

    #[test]
    fn what_tokens_are_checked_with_is_refused_where_none_are_looked_at() {
        for (flag, value) in [
            ("--jwt-secret-file", "/nowhere"),
            ("--jwks", "https://id.example/keys"),
            ("--jwt-audience", "us"),
            ("--jwt-issuer", "them"),
            ("--admin-key-file", "/nowhere"),
            ("--rate-limit-principal", "5"),
        ] {
            for open in [&[][..], &["--insecure-open"]] {
                let error = made(&[open, &[flag, value]].concat()).unwrap_err().to_string();
                assert!(error.starts_with(flag) && error.contains("--auth required"), "{error}");
            }
        }
        for serving in [["--rate-limit-address", "5"], ["--rate-limit-auth", "5"], ["--allow-origin", "https://a.b"]] {
            assert!(made(&serving).is_ok());
        }
    }

    #[test]
    fn names_matter_where_nothing_else_keeps_strangers_away() {
        let near = Hosts::Near(Vec::new());
        for (flags, hosts) in [
            (&[][..], near.clone()),
            (&["--allow-origin", "https://a.example"], near),
            (&["--allow-host", "chat.example"], Hosts::Near(vec!["chat.example".to_owned()])),
            (&["--allow-host", "*"], Hosts::Any),
            (&["--allow-origin", "*"], Hosts::Any),
            (&["--insecure-open"], Hosts::Any),
            (&["--auth", "required"], Hosts::Any),
        ] {
            assert_eq!(made(flags).unwrap().hosts, hosts, "{flags:?}");
        }
    }

    #[test]
    fn keys_are_fetched_over_https_or_from_this_machine() {
        for sound in ["https://id.example/keys", "http://127.0.0.1:1/keys", "http://[::1]:1/", "http://localhost/"] {
            assert_eq!(made(&["--auth", "required", "--jwks", sound]).unwrap().jwks_url(), Some(sound));
        }
        for plain in ["http://id.example/keys", "http://127.0.0.1.evil.com/", "ftp://id.example/", "https://"] {
            assert!(made(&["--auth", "required", "--jwks", plain]).is_err(), "{plain}");
        }
    }

    #[test]
    fn a_reload_that_fails_leaves_what_was_there() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "x".repeat(32)).unwrap();
        let auth = made(&["--auth", "required", "--jwt-secret-file", file.path().to_str().unwrap()]).unwrap();
        let before = auth.current();
        fs::write(file.path(), "short").unwrap();
        assert!(auth.reload().is_err() && Arc::ptr_eq(&before, &auth.current()));
        fs::write(file.path(), "y".repeat(32)).unwrap();
        assert!(auth.reload().is_ok() && !Arc::ptr_eq(&before, &auth.current()));
    }
}
