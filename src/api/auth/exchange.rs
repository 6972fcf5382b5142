//! The two routes that give a token for an API key: HAPI's `POST /api/auth` and AgenFleet's `POST /api/auth/login`. A body goes in, a
//! body comes out.
//!
//! Invariants: a token is never worth more than the key it was given for, says its key and ends with it; only an administrator's key
//! opens a namespace that is not its own, and the token is no administrator. In open mode any key will do, and none is looked at.
//! Not here: how often somebody may try.

use super::jwt::{self, Audience, Claims};
use super::principal::{Principal, USER_DEFAULT, principal_of};
use super::{AuthError, Authority, Mode, Namespace, Scope, digest_of};
use crate::limits::{NAME_BYTES_MAX, TOKEN_LIFE_S};
use crate::session::KeyScope;
use serde::Deserialize;
use serde_json::json;

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The body is not what the route takes.
    #[error("malformed body")]
    Body,
    /// The key is not good, or not for this.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

#[derive(Deserialize)]
struct AccessToken {
    #[serde(rename = "accessToken")]
    access_token: String,
}

#[derive(Deserialize)]
struct Login {
    email: String,
    password: String,
}

/// `{"accessToken": "<key>[:<namespace>]"}` as `{"token", "user": {"id", "firstName"}}`. Without a namespace: the key's own.
///
/// # Errors
/// [`ExchangeError`]
pub fn access_token(body: &[u8], authority: &Authority<'_>, now_us: u64) -> Result<String, ExchangeError> {
    let AccessToken { access_token } = jwt::object(body).ok_or(ExchangeError::Body)?;
    if access_token.is_empty() {
        return Err(ExchangeError::Body);
    }
    let (key, name) = halves(&access_token).ok_or(AuthError::Invalid)?;
    let holder = holder(key, authority, now_us)?;
    let namespace = match name.filter(|_| !holder.is_open) {
        Some(name) => Namespace::parse(name).ok_or(AuthError::Invalid)?,
        None => holder.namespace.clone(),
    };
    if namespace != holder.namespace && !holder.is_admin {
        return Err(AuthError::Invalid.into());
    }
    let user = holder.user.clone().unwrap_or_else(|| USER_DEFAULT.to_owned());
    let claims = claims(&holder, namespace, user.clone(), scope_text(&holder.scope), authority, now_us);
    let token = jwt::sign(&authority.settings.secret, &claims);
    Ok(json!({"token": token, "user": {"id": claims.uid, "firstName": user}}).to_string())
}

/// `{"email", "password"}`, the password being an API key of the whole namespace, as `{"token", "user": {"id", "email", "role"}}`. The token is the
/// user of that address and nobody else.
///
/// # Errors
/// [`ExchangeError`]
pub fn login(body: &[u8], authority: &Authority<'_>, now_us: u64) -> Result<String, ExchangeError> {
    let Login { email, password } = jwt::object(body).ok_or(ExchangeError::Body)?;
    let is_name = (1..=NAME_BYTES_MAX).contains(&email.len()) && email.trim() == email;
    if !is_name || password.is_empty() {
        return Err(ExchangeError::Body);
    }
    let holder = holder(&password, authority, now_us)?;
    if holder.scope != Scope::All {
        return Err(AuthError::Forbidden.into());
    }
    let claims = claims(&holder, holder.namespace.clone(), email.clone(), None, authority, now_us);
    let token = jwt::sign(&authority.settings.secret, &claims);
    let id = claims.uid.unwrap_or_default().to_string();
    Ok(json!({"token": token, "user": {"id": id, "email": email, "role": "user"}}).to_string())
}

/// The key and the namespace's name: apart at the last colon, neither empty nor with blanks around it.
fn halves(text: &str) -> Option<(&str, Option<&str>)> {
    let is_sound = |half: &str| !half.is_empty() && half.trim() == half;
    match text.rsplit_once(':') {
        Some((key, name)) => (is_sound(key) && is_sound(name)).then_some((key, Some(name))),
        None => is_sound(text).then_some((text, None)),
    }
}

/// Whose key this is. A token is none: it must not live on by being exchanged for the next one.
fn holder(key: &str, authority: &Authority<'_>, now_us: u64) -> Result<Principal, AuthError> {
    if authority.settings.mode == Mode::Open {
        return Ok(Principal::anyone());
    }
    let holder = principal_of(key, authority, now_us)?;
    if holder.expires_us.is_some() { Err(AuthError::Invalid) } else { Ok(holder) }
}

/// As tokens spell it. `None`: what the user may do.
fn scope_text(scope: &Scope) -> Option<String> {
    let scope = match scope {
        Scope::User => return None,
        Scope::All => KeyScope::All,
        Scope::Read => KeyScope::Read,
        Scope::Agent(agent) => KeyScope::Agent(agent.clone()),
        Scope::Team(team) => KeyScope::Team(team.clone()),
    };
    Some(scope.text().into_owned())
}

fn claims(
    holder: &Principal,
    namespace: Namespace,
    user: String,
    scope: Option<String>,
    authority: &Authority<'_>,
    now_us: u64,
) -> Claims {
    let now_s = now_us / 1_000_000;
    Claims {
        uid: Some(uid(&namespace, &user)),
        ns: Some(namespace.name().to_owned()),
        sub: Some(user),
        scope,
        session: None,
        key: holder.key.map(|key| key.to_string()),
        iss: authority.settings.issuer.clone(),
        aud: authority.settings.audience.clone().map(Audience::One),
        iat: Some(now_s),
        nbf: None,
        exp: now_s + TOKEN_LIFE_S,
    }
}

/// A number for clients that know users by numbers: 53 bits, which JavaScript can hold.
fn uid(namespace: &Namespace, user: &str) -> u64 {
    digest_of(&["uid", namespace.stored(), user]) >> 11
}

#[cfg(test)]
mod tests {
    use super::super::{HmacSecret, KeySet, Keyring, Settings, keys};
    use super::*;
    use crate::session::{KeyId, KeyPut};
    use serde_json::Value;

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

    /// To a server with the keys 1 of `acme`, 2 of the default namespace for reading, 9 of an administrator; its tokens are for `us`.
    fn with<T>(mode: Mode, ask: impl FnOnce(&Authority<'_>) -> T) -> T {
        let key = |number, namespace: &str, scope| {
            let base = keys::admin(&text(number)).unwrap();
            KeyPut { namespace: namespace.into(), user: "robot".into(), scope, is_admin: false, ..base }
        };
        let ring = Ring(vec![key(1, "acme", KeyScope::All), key(2, "", KeyScope::Read)]);
        let settings = Settings {
            mode,
            secret: HmacSecret::new(&[7; 32]).unwrap(),
            audience: Some("us".into()),
            issuer: Some("me".into()),
            admin: keys::admin(&text(9)),
        };
        let (keys, verified) = (KeySet::default(), crate::api::auth::Verified::default());
        ask(&Authority { settings: &settings, keyring: &ring, keys: &keys, verified: &verified })
    }

    fn exchanged(access: &str) -> Result<(Value, Principal), ExchangeError> {
        with(Mode::Required, |authority| {
            let answer = access_token(json!({"accessToken": access}).to_string().as_bytes(), authority, NOW_US)?;
            let answer: Value = serde_json::from_str(&answer).unwrap();
            let who = principal_of(answer["token"].as_str().unwrap(), authority, NOW_US).unwrap();
            Ok((answer, who))
        })
    }

    const INVALID: ExchangeError = ExchangeError::Auth(AuthError::Invalid);

    #[test]
    fn a_key_is_exchanged_for_a_token_of_its_own_worth() {
        let (answer, who) = exchanged(&format!("{}:acme", text(1))).unwrap();
        assert_eq!((who.namespace.name(), who.user.as_deref(), &who.scope), ("acme", Some("robot"), &Scope::All));
        assert_eq!((who.key, who.is_admin), (Some(KeyId::from(1)), false));
        assert_eq!(who.expires_us, Some(NOW_US + TOKEN_LIFE_S * 1_000_000));
        assert_eq!(answer["user"]["firstName"], "robot");
        assert!(answer["user"]["id"].as_u64().is_some_and(|id| id < 1 << 53));
        assert_eq!(exchanged(&text(1)).unwrap().1, who, "without a namespace it is the key's own");
        assert_eq!(exchanged(&text(2)).unwrap().1.scope, Scope::Read, "reading stays reading");
    }

    #[test]
    fn only_an_administrators_key_opens_another_namespace_and_the_token_is_none() {
        assert_eq!(exchanged(&format!("{}:other", text(1))), Err(INVALID));
        assert_eq!(exchanged(&format!("{}:default", text(1))), Err(INVALID));
        assert!(exchanged(&format!("{}:default", text(2))).is_ok());
        let (_, who) = exchanged(&format!("{}:other", text(9))).unwrap();
        assert_eq!((who.namespace.name(), who.is_admin), ("other", false));
    }

    #[test]
    fn halves_are_apart_at_the_last_colon_and_sound() {
        assert_eq!(halves("a"), Some(("a", None)));
        assert_eq!(halves("a:b:c"), Some(("a:b", Some("c"))));
        for bad in ["", " ", ":", "a:", ":b", " a", "a ", "a :b", "a: b", "a:b ", "a:b\n"] {
            assert_eq!(halves(bad), None, "{bad:?}");
        }
        for bad in [format!("{}:", text(1)), format!(" {}", text(1)), format!("{}:a/b", text(9)), "nothing".to_owned()]
        {
            assert_eq!(exchanged(&bad), Err(INVALID), "{bad}");
        }
    }

    #[test]
    fn a_token_is_not_exchanged_for_another_one() {
        let (answer, _) = exchanged(&text(1)).unwrap();
        assert_eq!(exchanged(answer["token"].as_str().unwrap()), Err(INVALID));
    }

    #[test]
    fn a_login_is_the_user_of_its_address_only() {
        with(Mode::Required, |authority| {
            let body = |number| json!({"email": "a@b.c", "password": text(number), "x": 1}).to_string();
            let answer: Value = serde_json::from_str(&login(body(1).as_bytes(), authority, NOW_US).unwrap()).unwrap();
            assert_eq!((&answer["user"]["email"], &answer["user"]["role"]), (&json!("a@b.c"), &json!("user")));
            let who = principal_of(answer["token"].as_str().unwrap(), authority, NOW_US).unwrap();
            assert_eq!((who.namespace.name(), who.user.as_deref(), who.scope), ("acme", Some("a@b.c"), Scope::User));
            assert_eq!(login(body(2).as_bytes(), authority, NOW_US), Err(AuthError::Forbidden.into()));
            assert_eq!(login(body(3).as_bytes(), authority, NOW_US), Err(INVALID));
        });
    }

    #[test]
    fn other_bodies_are_malformed() {
        with(Mode::Required, |authority| {
            for body in [
                "",
                "[]",
                "[\"x\"]",
                "{}",
                "null",
                r#"{"accessToken":""}"#,
                r#"{"accessToken":7}"#,
                "{\"accessToken\":\"a\"",
            ] {
                assert_eq!(access_token(body.as_bytes(), authority, NOW_US), Err(ExchangeError::Body), "{body}");
            }
            for body in [
                r#"{"email":"a"}"#,
                r#"{"email":"","password":"x"}"#,
                r#"{"email":" a","password":"x"}"#,
                r#"["a","b"]"#,
            ] {
                assert_eq!(login(body.as_bytes(), authority, NOW_US), Err(ExchangeError::Body), "{body}");
            }
            let long = json!({"email": "x".repeat(256), "password": "x"}).to_string();
            assert_eq!(login(long.as_bytes(), authority, NOW_US), Err(ExchangeError::Body));
        });
    }

    #[test]
    fn an_open_server_gives_a_token_to_anyone() {
        with(Mode::Open, |authority| {
            let answer = access_token(br#"{"accessToken":"anything:acme"}"#, authority, NOW_US).unwrap();
            let answer: Value = serde_json::from_str(&answer).unwrap();
            let who = principal_of(answer["token"].as_str().unwrap(), authority, NOW_US).unwrap();
            assert_eq!((who.namespace.name(), who.user.as_deref(), who.key), ("default", Some(USER_DEFAULT), None));
            assert!(login(br#"{"email":"a@b.c","password":"x"}"#, authority, NOW_US).is_ok());
        });
    }
}
