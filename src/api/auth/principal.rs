//! Who a request comes from: where its token stands, what the token is, and what its holder may do.
//!
//! Invariants: nobody gets more than his key or token says, and a text that is neither gets nothing; an administrator is only who has an
//! administrator's key, never a token; in open mode tokens are not looked at, everybody is the same one, who is no administrator.
//! Not here: which session belongs to whom ([`Principal::access`] goes with every command to where that is known), how a refusal looks
//! in each dialect.

use super::jwt::{Claims, HmacSecret, Trust};
use super::{Access, AuthError, Class, KeySet, Namespace, Reach, Verified, digest_of, keys};
use crate::api::query;
use crate::limits::NAME_BYTES_MAX;
use crate::protocol::http::{RemoteUser, Request};
use crate::session::{KeyId, KeyPut, KeyScope, SessionId};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::borrow::Cow;

/// The user as whom a key acts that names none, and everybody in open mode.
pub const USER_DEFAULT: &str = "default";
/// The header with which a key of the whole namespace says as whom it acts.
pub const ACTOR_HEADER: &str = "x-user-id";
/// Begins the subprotocol in which phoenix.js sends its `authToken`.
const PHOENIX_TOKEN: &str = "base64url.bearer.phx.";

/// Whether tokens matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are not looked at.
    #[default]
    Open,
    /// Without one there is nothing but what is public.
    Required,
}

/// What the operator has set.
#[derive(Debug)]
pub struct Settings {
    /// Whether tokens matter.
    pub mode: Mode,
    /// Signs what [`exchange`](super::exchange) gives, and verifies HS256: the operator's, or a random one of this process.
    pub secret: HmacSecret,
    /// See [`Trust::audience`].
    pub audience: Option<String>,
    /// See [`Trust::issuer`].
    pub issuer: Option<String>,
    /// The key of the operator's file, see [`keys::admin`].
    pub admin: Option<KeyPut>,
}

/// Knows the API keys.
pub trait Keyring {
    /// The key of this id, revoked or not.
    fn key(&self, id: KeyId) -> Option<&KeyPut>;
}

impl Keyring for crate::shard::Keyring {
    fn key(&self, id: KeyId) -> Option<&KeyPut> {
        self.key(id)
    }
}

/// Everything that decides whom to let in.
#[derive(Clone, Copy)]
pub struct Authority<'a> {
    /// What the operator has set.
    pub settings: &'a Settings,
    /// The API keys.
    pub keyring: &'a dyn Keyring,
    /// The public keys of whoever signs tokens.
    pub keys: &'a KeySet,
    /// Tokens that were verified with these.
    pub verified: &'a Verified,
}

impl<'a> Authority<'a> {
    /// The key of this id; the operator's file has the first word.
    pub fn key(&self, id: KeyId) -> Option<&'a KeyPut> {
        self.settings.admin.as_ref().filter(|admin| admin.id == id).or_else(|| self.keyring.key(id))
    }

    fn trust(&self) -> Trust<'a> {
        Trust {
            secret: &self.settings.secret,
            keys: self.keys,
            audience: self.settings.audience.as_deref(),
            issuer: self.settings.issuer.as_deref(),
        }
    }
}

/// What a token's holder may do within its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything, as any user.
    All,
    /// What the one user may.
    User,
    /// The sessions of this agent, as it or as any user.
    Agent(String),
    /// The sessions of this team, likewise.
    Team(String),
    /// Read everything.
    Read,
}

impl From<KeyScope> for Scope {
    fn from(scope: KeyScope) -> Self {
        match scope {
            KeyScope::All => Self::All,
            KeyScope::Read => Self::Read,
            KeyScope::Agent(agent) => Self::Agent(agent),
            KeyScope::Team(team) => Self::Team(team),
        }
    }
}

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The tenant.
    pub namespace: Namespace,
    /// The user it is (scope [`Scope::User`]) or acts as when it names none.
    pub user: Option<String>,
    /// What it may do.
    pub scope: Scope,
    /// Whether it may make and revoke keys.
    pub is_admin: bool,
    /// Whether it came in open mode.
    pub is_open: bool,
    /// The one session it is for.
    pub session: Option<SessionId>,
    /// When its token ends, without leeway, microseconds since 1970: live connections end then. A request within the leeway is
    /// answered, a live connection is not begun.
    pub expires_us: Option<u64>,
    /// The API key that it came with, or that its token was given for.
    pub key: Option<KeyId>,
    /// The same for all requests of one principal, for limits: a key and its tokens are one.
    pub fingerprint: u64,
}

impl Principal {
    /// Everybody in open mode.
    pub fn anyone() -> Self {
        Self {
            namespace: Namespace::default(),
            user: None,
            scope: Scope::All,
            is_admin: false,
            is_open: true,
            session: None,
            expires_us: None,
            key: None,
            fingerprint: 0,
        }
    }

    /// Whoever asks for what is public and need not say who it is: reaches nothing else.
    pub fn nobody() -> Self {
        Self { scope: Scope::User, is_open: false, ..Self::anyone() }
    }

    /// Whether it is [`Self::nobody`].
    pub fn is_nobody(&self) -> bool {
        self.scope == Scope::User && self.user.is_none()
    }

    /// As whom its requests act. `None`: whatever they say themselves, as in open mode.
    pub fn remote_user(&self) -> Option<RemoteUser> {
        let user = self.user.as_deref().or((!self.is_open).then_some(USER_DEFAULT))?;
        let realm = self.namespace.stored().to_owned();
        Some(RemoteUser { name: user.to_owned(), realm, is_fixed: self.scope == Scope::User })
    }

    /// Who holds `key`.
    fn of_key(key: &KeyPut) -> Self {
        Self {
            namespace: Namespace::from_stored(&key.namespace),
            user: Some(key.user.clone()),
            scope: key.scope.clone().into(),
            is_admin: key.is_admin,
            is_open: false,
            session: None,
            expires_us: None,
            key: Some(key.id),
            fingerprint: digest_of(&["key", &key.id.to_string()]),
        }
    }

    fn of_claims(claims: Claims, authority: &Authority<'_>) -> Result<Self, AuthError> {
        let namespace = match &claims.ns {
            Some(name) => Namespace::parse(name).ok_or(AuthError::Claims)?,
            None => Namespace::default(),
        };
        if claims.sub.as_ref().is_some_and(|user| !(1..=NAME_BYTES_MAX).contains(&user.len())) {
            return Err(AuthError::Claims);
        }
        let scope = match claims.scope.as_deref().map(KeyScope::parse) {
            Some(scope) => scope.ok_or(AuthError::Claims)?.into(),
            None if claims.sub.is_some() => Scope::User,
            None => return Err(AuthError::Claims),
        };
        let session = claims.session.as_deref().map(|id| SessionId::parse(id).ok_or(AuthError::Claims)).transpose()?;
        let key = claims.key.as_deref().map(|id| live_key(id, &namespace, authority)).transpose()?;
        let fingerprint = match key {
            Some(key) => digest_of(&["key", &key.to_string()]),
            None => digest_of(&["token", namespace.stored(), claims.sub.as_deref().unwrap_or_default()]),
        };
        Ok(Self {
            namespace,
            scope,
            is_admin: false,
            is_open: false,
            session,
            expires_us: Some(claims.expires_us()),
            user: claims.sub,
            key,
            fingerprint,
        })
    }

    /// Whether it may use routes of `class`. One that is for a single session manages nothing beside it.
    ///
    /// # Errors
    /// [`AuthError::Forbidden`]
    pub fn permits(&self, class: Class) -> Result<(), AuthError> {
        allow(match class {
            Class::Public | Class::Read => true,
            Class::Write => self.scope != Scope::Read,
            Class::Manage => self.scope == Scope::All && self.session.is_none(),
            Class::Admin => self.is_admin && self.session.is_none(),
        })
    }

    /// Whether it may see how the whole server does: nothing of other tenants stands there, but it is about all of them.
    pub fn may_see_the_server(&self) -> bool {
        self.namespace.is_default() && matches!(self.scope, Scope::All | Scope::Read) && self.session.is_none()
    }

    /// The user as whom a request acts that names `named`; an empty name is none.
    ///
    /// # Errors
    /// [`AuthError::Forbidden`] when a user names another one.
    pub fn actor(&self, named: Option<&str>) -> Result<String, AuthError> {
        let named = named.filter(|named| !named.is_empty());
        let own = self.user.as_deref();
        if self.scope == Scope::User {
            allow(named.is_none() || named == own)?;
        }
        Ok(named.or(own).unwrap_or(USER_DEFAULT).to_owned())
    }

    /// Whether it may write in the name of this agent or team.
    ///
    /// # Errors
    /// [`AuthError::Forbidden`]
    pub fn speaks_as(&self, agent: &str) -> Result<(), AuthError> {
        allow(match &self.scope {
            Scope::All => true,
            Scope::Agent(own) | Scope::Team(own) => own == agent,
            Scope::User | Scope::Read => false,
        })
    }

    /// What goes with each of its commands. `None` in open mode: everything of the default namespace.
    pub fn access(&self) -> Option<Box<Access>> {
        if self.is_open {
            return None;
        }
        let reach = match (&self.scope, &self.user) {
            (Scope::All | Scope::Read, _) => Reach::All,
            (Scope::Agent(agent) | Scope::Team(agent), _) => Reach::Agent(agent.as_str().into()),
            // Whoever is a user has a name; should he not, he reaches what has none: nothing.
            (Scope::User, user) => Reach::Party(user.as_deref().unwrap_or_default().into()),
        };
        let reads_only = self.scope == Scope::Read;
        Some(Box::new(Access { namespace: self.namespace.clone(), reach, session: self.session, reads_only }))
    }
}

fn allow(is_allowed: bool) -> Result<(), AuthError> {
    if is_allowed { Ok(()) } else { Err(AuthError::Forbidden) }
}

/// The key that a token was given for, if it still lives.
fn live_key(id: &str, namespace: &Namespace, authority: &Authority<'_>) -> Result<KeyId, AuthError> {
    let id = KeyId::parse(id).ok_or(AuthError::Claims)?;
    let key = authority.key(id).filter(|key| key.revoked_at_us.is_none()).ok_or(AuthError::Revoked)?;
    let is_its_own = key.is_admin || key.namespace == namespace.stored();
    if is_its_own { Ok(id) } else { Err(AuthError::Claims) }
}

/// Where a request may carry its token, besides `Authorization: Bearer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// Nowhere: addresses are written to logs.
    Header,
    /// `?token=`, where browsers cannot set a header and the dialects' clients expect it.
    Query,
    /// The subprotocol of phoenix.js 1.8, or `?auth_token=` for those before it.
    Socket,
    /// `X-Phoenix-AuthToken`, or `?auth_token=`: `token` is the poll's own.
    LongPoll,
}

impl TokenPlace {
    /// Of a path's decoded segments.
    pub fn of_path(segments: &[&str]) -> Self {
        match segments {
            ["api", "chat", "ws"] | ["api", "events"] => Self::Query,
            ["socket", "websocket"] => Self::Socket,
            ["socket", "longpoll"] => Self::LongPoll,
            _ => Self::Header,
        }
    }
}

/// Who `request` comes from.
///
/// # Errors
/// [`AuthError`], never [`AuthError::Forbidden`].
pub fn authenticate(
    request: &Request,
    place: TokenPlace,
    authority: &Authority<'_>,
    now_us: u64,
) -> Result<Principal, AuthError> {
    if authority.settings.mode == Mode::Open {
        return Ok(Principal::anyone());
    }
    let token = token_of(request, place).ok_or(AuthError::Missing)?;
    principal_of(&token, authority, now_us)
}

/// Whose token this is: a JSON Web Token has two dots, a key its prefix.
///
/// # Errors
/// As [`authenticate`].
pub fn principal_of(token: &str, authority: &Authority<'_>, now_us: u64) -> Result<Principal, AuthError> {
    if token.bytes().filter(|byte| *byte == b'.').count() == 2 {
        let claims = authority.verified.claims(token, &authority.trust(), now_us)?;
        return Principal::of_claims(claims, authority);
    }
    let presented = keys::parse(token).ok_or(AuthError::Invalid)?;
    keys::check(&presented, authority.key(presented.id)).map(Principal::of_key)
}

/// The token that `request` carries. The header comes first, for it is the best place. What is there twice is not there, lest
/// two readers take two different ones; what cannot be decoded is an empty text, which is no token.
pub fn token_of(request: &Request, place: TokenPlace) -> Option<Cow<'_, str>> {
    if let Some(token) = bearer(request) {
        return Some(token.into());
    }
    match place {
        TokenPlace::Header => None,
        TokenPlace::Query => queried(&request.query, "token"),
        TokenPlace::Socket => {
            let offered =
                only(request.headers.list("sec-websocket-protocol").filter_map(|one| one.strip_prefix(PHOENIX_TOKEN)));
            offered.map(phoenix_token).or_else(|| queried(&request.query, "auth_token"))
        }
        TokenPlace::LongPoll => {
            let sent = only(request.headers.all("x-phoenix-authtoken")).map(Cow::Borrowed);
            sent.filter(|token| !token.is_empty()).or_else(|| queried(&request.query, "auth_token"))
        }
    }
}

/// RFC 6750 section 2.1; the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = only(request.headers.all("authorization"))?.split_once(' ')?;
    let token = token.trim_matches([' ', '\t']);
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn queried<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let values = pairs.filter(|(known, _)| query::decode(known, true).is_ok_and(|known| known == name));
    let value = only(values.map(|(_, value)| value))?;
    Some(query::decode(value, true).unwrap_or_default()).filter(|token| !token.is_empty() || !value.is_empty())
}

/// `btoa` writes the standard alphabet, other clients the one for addresses; neither pads.
fn phoenix_token(encoded: &str) -> Cow<'_, str> {
    let standard = encoded.replace('-', "+").replace('_', "/");
    let decoded = STANDARD_NO_PAD.decode(standard).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    Cow::Owned(decoded.unwrap_or_default())
}

/// The one element, if there is exactly one.
fn only<'a>(mut elements: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    elements.next().filter(|_| elements.next().is_none())
}

#[cfg(test)]
mod tests;
