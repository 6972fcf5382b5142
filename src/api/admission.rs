//! Who may pass to the routes: asked of every request before anything else of it is looked at, with the class that the table of routes
//! says of its path.
//!
//! Invariants: a malformed path passes nowhere, whoever sends it; without a token nothing passes but what the table says is public, and
//! preflights; what passes carries as whom it acts ([`Request::remote_user`]) and gets no further than its principal's access.
//! Not here: what a token is ([`auth`](super::auth)), which sessions it reaches (the shard admits each command).

use super::auth::principal::authenticate;
use super::auth::{AuthError, Authority, Principal, TokenPlace};
use super::cors::Envelope;
use super::error::{ApiError, Kind};
use super::params::Params;
use super::routes::Segments;
use super::table::{self, Class};
use super::{Context, Dialect, longpoll};
use crate::protocol::channels::longpoll::status;
use crate::protocol::http::{Method, Request, Response};

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// Its path is none, and so has no route that would say who may.
    Malformed,
    /// Who sends it may not.
    Auth(AuthError),
}

impl From<AuthError> for NotAdmitted {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

impl From<NotAdmitted> for ApiError {
    fn from(reason: NotAdmitted) -> Self {
        match reason {
            NotAdmitted::Malformed => Kind::BadRequest.into(),
            NotAdmitted::Auth(error) => error.into(),
        }
    }
}

/// Who sends `request`, if the path is for him.
///
/// # Errors
/// [`NotAdmitted`]
pub fn admit(request: &Request, authority: &Authority<'_>, now_us: u64) -> Result<Principal, NotAdmitted> {
    let segments = Segments::of(&request.path).map_err(|_| NotAdmitted::Malformed)?;
    let path = &segments.texts()[..segments.count()];
    let class = class_of(&request.method, path);
    if request.method == Method::Options || class == Some(Class::Public) {
        return Ok(Principal::nobody());
    }
    let principal = match authenticate(request, TokenPlace::of_path(path), authority, now_us) {
        Err(AuthError::Missing) if path == ["socket", "longpoll"] && longpoll::publishes(request) => {
            return Ok(Principal::nobody());
        }
        authenticated => authenticated?,
    };
    if let Some(class) = class {
        principal.permits(class)?;
    }
    Ok(principal)
}

/// What the route of a path asks of its caller; `None`: there is none. HEAD is served as GET, and a POST may name another method in its
/// body: it needs what any change at that path needs.
fn class_of(method: &Method, path: &[&str]) -> Option<Class> {
    let is_meant = |served: &str| match method {
        Method::Get | Method::Head => served == "GET",
        Method::Post => served != "GET",
        other => served == other.as_str(),
    };
    table::at(path).filter(|row| is_meant(row.method)).map(|row| row.class).max()
}

/// The answer to a request that is not let in, in the words of the dialect whose path it is.
pub fn refused(request: &Request, error: &ApiError, context: &Context) -> Response {
    let envelope = Envelope::of(request, context);
    let Ok(segments) = Segments::of(&request.path) else { return envelope.seal(error.response()) };
    let path = &segments.texts()[..segments.count()];
    let is_about_tokens = error.kind() != Kind::RateLimited;
    envelope.seal(match path {
        // phoenix.js takes a body that it does not understand for the loss of its session.
        ["socket", "longpoll"] if is_about_tokens => longpoll::answer(status(403)),
        ["api", "sessions", _, "messages"] => error.respond(dialect_of_messages(request)),
        _ => error.respond(Dialect::of_path(path)),
    })
}

/// In whose words a request to `path` is answered, if the path alone says it.
pub fn dialect_of(path: &str) -> Dialect {
    Segments::of(path).map_or(Dialect::Fleetlm, |segments| Dialect::of_path(&segments.texts()[..segments.count()]))
}

/// Of a request to the path that two dialects share. One that says nothing of itself counts as FleetLM's.
fn dialect_of_messages(request: &Request) -> Dialect {
    let Ok(params) = Params::of(request) else { return Dialect::Fleetlm };
    Dialect::of_messages_request(request, &request.method, &params, None).unwrap_or(Dialect::Fleetlm)
}

/// Whether `identity` may be that of a socket of `principal`.
///
/// # Errors
/// [`AuthError::Forbidden`]
pub fn admit_identity(principal: &Principal, identity: &str) -> Result<(), AuthError> {
    principal.actor(Some(identity)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::auth::{HmacSecret, KeySet, Keyring, Mode, Settings, Verified, keys};
    use crate::session::{KeyId, KeyPut, KeyScope};

    const NOW_US: u64 = 1_800_000_000_000_000;

    struct Ring(Vec<KeyPut>);

    impl Keyring for Ring {
        fn key(&self, id: KeyId) -> Option<&KeyPut> {
            self.0.iter().find(|key| key.id == id)
        }
    }

    fn text(number: u8) -> String {
        keys::make(KeyId::from(u128::from(number)), &[number; 32]).0.reveal().to_owned()
    }

    /// Key 1 reads, 2 does everything, 3 is one agent's, 9 an administrator's.
    fn admitted(method: &str, target: &str, key: Option<u8>) -> Result<Principal, NotAdmitted> {
        let base = |number| keys::admin(&text(number)).unwrap();
        let key_of = |number, scope| KeyPut { scope, is_admin: false, ..base(number) };
        let ring = Ring(vec![
            key_of(1, KeyScope::Read),
            key_of(2, KeyScope::All),
            key_of(3, KeyScope::Agent("helpdesk".into())),
        ]);
        let secret = HmacSecret::new(&[7; 32]).unwrap();
        let settings = Settings { mode: Mode::Required, secret, audience: None, issuer: None, admin: Some(base(9)) };
        let (keys, verified) = (KeySet::default(), Verified::default());
        let authority = Authority { settings: &settings, keyring: &ring, keys: &keys, verified: &verified };
        let request = Request::new(Method::parse(method), target);
        let request = match key {
            Some(key) => request.with_header("authorization", &format!("Bearer {}", text(key))),
            None => request,
        };
        admit(&request, &authority, NOW_US)
    }

    #[test]
    fn without_a_token_only_public_routes_and_preflights_pass_and_reach_nothing() {
        for row in table::all() {
            let target = row.pattern.replace(':', "");
            let outcome = admitted(row.method, &target, None);
            match row.class {
                Class::Public => assert_eq!(outcome, Ok(Principal::nobody()), "{row:?}"),
                _ => assert_eq!(outcome, Err(AuthError::Missing.into()), "{row:?}"),
            }
        }
        assert_eq!(admitted("OPTIONS", "/api/sessions", None), Ok(Principal::nobody()));
        assert_eq!(admitted("GET", "/nothing/here", None), Err(AuthError::Missing.into()));
        assert!(Principal::nobody().access().is_some_and(|access| access.reach != crate::shard::Reach::All));
    }

    #[test]
    fn a_malformed_path_passes_nowhere_whoever_sends_it() {
        for target in ["/%", "/%zz", "/api/sessions/%ff/upload", "/health/live/%0", "/socket/websocket/%c3"] {
            for method in ["GET", "POST", "OPTIONS"] {
                for key in [None, Some(2), Some(9)] {
                    assert_eq!(admitted(method, target, key), Err(NotAdmitted::Malformed), "{method} {target}");
                }
            }
            let context = Context { now: crate::shard::Now { unix_us: 0, mono_us: 0 }, random: 7, shards: 1 };
            let response = refused(&Request::new(Method::Get, target), &NotAdmitted::Malformed.into(), &context);
            assert_eq!(
                (response.status, &response.body[..]),
                (400, br#"{"errors":{"detail":"Bad Request"}}"#.as_slice())
            );
            assert_eq!(response.header("access-control-allow-origin"), Some("*"));
        }
    }

    #[test]
    fn each_scope_passes_where_the_class_of_the_route_lets_it() {
        for row in table::all().filter(|row| row.class != Class::Public) {
            let target = row.pattern.replace(':', "");
            let passes = |key| admitted(row.method, &target, Some(key)).is_ok();
            let expected = match row.class {
                Class::Public | Class::Read => [true, true, true, true],
                Class::Write => [false, true, true, true],
                Class::Manage => [false, true, false, true],
                Class::Admin => [false, false, false, true],
            };
            assert_eq!([1, 2, 3, 9].map(passes), expected, "{row:?}");
        }
    }

    #[test]
    fn a_post_that_may_name_another_method_needs_what_that_needs() {
        assert_eq!(admitted("POST", "/api/agents/x", Some(3)), Err(AuthError::Forbidden.into()));
        assert!(admitted("POST", "/api/agents/x", Some(2)).is_ok());
        assert_eq!(admitted("POST", "/api//agents/x/", Some(3)), Err(AuthError::Forbidden.into()));
        assert_eq!(admitted("HEAD", "/api/agents", None), Err(AuthError::Missing.into()));
        assert!(admitted("HEAD", "/api/agents", Some(1)).is_ok());
    }
}
