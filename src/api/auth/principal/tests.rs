//! Places of tokens, and what their holders may do.

use super::*;
use crate::api::auth::jwt;
use crate::protocol::http::Method;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const NOW_S: u64 = 1_800_000_000;
const NOW_US: u64 = NOW_S * 1_000_000;

#[derive(Default)]
struct Ring(Vec<KeyPut>);

impl Keyring for Ring {
    fn key(&self, id: KeyId) -> Option<&KeyPut> {
        self.0.iter().find(|key| key.id == id)
    }
}

fn settings() -> Settings {
    Settings {
        mode: Mode::Required,
        secret: HmacSecret::new(&[7; 32]).unwrap(),
        audience: None,
        issuer: None,
        admin: keys::admin(&text(99)),
    }
}

fn text(number: u8) -> String {
    keys::make(KeyId::from(u128::from(number)), &[number; 32]).0.reveal().to_owned()
}

fn key(number: u8, namespace: &str, scope: KeyScope) -> KeyPut {
    let base = keys::admin(&text(number)).unwrap();
    KeyPut { namespace: namespace.into(), user: "robot".into(), scope, is_admin: false, ..base }
}

/// Whose `token` is, to a server with three keys: 1 of everything, 2 of an agent of `acme`, 3 revoked.
fn of(token: &str) -> Result<Principal, AuthError> {
    let ring = Ring(vec![
        key(1, "", KeyScope::All),
        key(2, "acme", KeyScope::Agent("helpdesk".into())),
        key(3, "", KeyScope::Read).revoked(1),
    ]);
    let (settings, keys) = (settings(), KeySet::default());
    let verified = Verified::default();
    principal_of(token, &Authority { settings: &settings, keyring: &ring, keys: &keys, verified: &verified }, NOW_US)
}

fn token(claims: Claims) -> String {
    jwt::sign(&settings().secret, &Claims { exp: NOW_S + 60, ..claims })
}

fn user(name: &str) -> Claims {
    Claims { sub: Some(name.into()), ..Claims::default() }
}

fn scoped(scope: &str) -> Claims {
    Claims { scope: Some(scope.into()), ..Claims::default() }
}

#[test]
fn keys_are_who_they_were_made_for() {
    let all = of(&text(1)).unwrap();
    assert_eq!((all.namespace.name(), all.user.as_deref(), &all.scope), ("default", Some("robot"), &Scope::All));
    assert_eq!((all.is_admin, all.expires_us, all.key), (false, None, Some(KeyId::from(1))));
    let agent = of(&text(2)).unwrap();
    assert_eq!((agent.namespace.name(), agent.scope), ("acme", Scope::Agent("helpdesk".into())));
    assert!(of(&text(99)).unwrap().is_admin);
    assert_eq!(of(&text(3)), Err(AuthError::Revoked));
    assert_eq!(of(&text(4)), Err(AuthError::Invalid));
    let wrong = format!("{}{}", &text(1)[..31], &text(2)[31..]);
    assert_eq!(of(&wrong), Err(AuthError::Invalid));
    for other in ["", "x", "flk_", "a.b", "a.b.c", "a.b.c.d", "at_123"] {
        assert_eq!(of(other), Err(AuthError::Invalid), "{other}");
    }
}

#[test]
fn a_token_is_its_user_unless_its_scope_says_more() {
    let alice = of(&token(Claims { ns: Some("acme".into()), ..user("alice") })).unwrap();
    assert_eq!((alice.namespace.name(), alice.user.as_deref(), &alice.scope), ("acme", Some("alice"), &Scope::User));
    assert_eq!((alice.is_admin, alice.expires_us), (false, Some((NOW_S + 60) * 1_000_000)));
    assert_eq!(of(&token(scoped("all"))).unwrap().scope, Scope::All);
    assert_eq!(of(&token(scoped("team:t"))).unwrap().scope, Scope::Team("t".into()));
    for bad in [
        Claims::default(),
        user(""),
        user(&"x".repeat(256)),
        scoped("admin"),
        scoped("openid profile"),
        Claims { ns: Some("a/b".into()), ..user("alice") },
        Claims { ns: Some(String::new()), ..user("alice") },
        Claims { session: Some("x".into()), ..user("alice") },
        Claims { key: Some("x".into()), ..user("alice") },
    ] {
        assert_eq!(of(&token(bad.clone())), Err(AuthError::Claims), "{bad:?}");
    }
}

#[test]
fn a_token_given_for_a_key_ends_with_it_and_stays_in_its_namespace() {
    let given = |number: u128, ns: Option<&str>| {
        let key = Some(KeyId::from(number).to_string());
        of(&token(Claims { key, ns: ns.map(str::to_owned), ..user("alice") }))
    };
    assert_eq!(given(1, None).unwrap().fingerprint, of(&text(1)).unwrap().fingerprint);
    assert_eq!(given(1, Some("acme")), Err(AuthError::Claims));
    assert!(given(2, Some("acme")).is_ok());
    assert_eq!(given(3, None), Err(AuthError::Revoked));
    assert_eq!(given(4, None), Err(AuthError::Revoked));
    let by_admin = given(99, Some("acme")).unwrap();
    assert!(!by_admin.is_admin, "an administrator has the key itself");
}

#[test]
fn principals_have_fingerprints_of_their_own() {
    let tokens = [
        text(1),
        text(2),
        text(99),
        token(user("a")),
        token(user("b")),
        token(Claims { ns: Some("a".into()), ..user("") }),
    ];
    let mut seen: Vec<u64> = tokens.iter().filter_map(|token| of(token).ok()).map(|who| who.fingerprint).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 5);
    assert_eq!(of(&token(user("a"))).unwrap().fingerprint, of(&token(user("a"))).unwrap().fingerprint);
}

#[test]
fn classes_are_for_those_whose_scope_covers_them() {
    use Class::{Admin, Manage, Public, Read, Write};
    let of_scope = |scope| of(&token(Claims { sub: Some("alice".into()), ..scope })).unwrap();
    let locked = Claims { session: Some(SessionId::from(7).to_string()), ..scoped("all") };
    for (who, allowed) in [
        (Principal::anyone(), &[Public, Read, Write, Manage][..]),
        (of(&text(99)).unwrap(), &[Public, Read, Write, Manage, Admin]),
        (of(&text(1)).unwrap(), &[Public, Read, Write, Manage]),
        (of_scope(Claims::default()), &[Public, Read, Write]),
        (of_scope(scoped("agent:a")), &[Public, Read, Write]),
        (of_scope(scoped("team:t")), &[Public, Read, Write]),
        (of_scope(scoped("read")), &[Public, Read]),
        (of_scope(locked), &[Public, Read, Write]),
    ] {
        for class in [Public, Read, Write, Manage, Admin] {
            let expected = if allowed.contains(&class) { Ok(()) } else { Err(AuthError::Forbidden) };
            assert_eq!(who.permits(class), expected, "{class:?} for {who:?}");
        }
    }
}

#[test]
fn a_user_acts_as_himself_and_others_as_whom_they_name() {
    let alice = of(&token(user("alice"))).unwrap();
    assert_eq!(alice.actor(None).unwrap(), "alice");
    assert_eq!(alice.actor(Some("")).unwrap(), "alice");
    assert_eq!(alice.actor(Some("alice")).unwrap(), "alice");
    assert_eq!(alice.actor(Some("bob")), Err(AuthError::Forbidden));
    let key = of(&text(1)).unwrap();
    assert_eq!((key.actor(None).unwrap().as_str(), key.actor(Some("bob")).unwrap().as_str()), ("robot", "bob"));
    assert_eq!(Principal::anyone().actor(None).unwrap(), USER_DEFAULT);
    assert_eq!(of(&token(scoped("all"))).unwrap().actor(None).unwrap(), USER_DEFAULT);
}

#[test]
fn only_agents_and_whoever_may_do_all_speak_as_an_agent() {
    let agent = of(&text(2)).unwrap();
    assert_eq!((agent.speaks_as("helpdesk"), agent.speaks_as("other")), (Ok(()), Err(AuthError::Forbidden)));
    assert_eq!(of(&text(1)).unwrap().speaks_as("other"), Ok(()));
    assert_eq!(of(&token(user("alice"))).unwrap().speaks_as("alice"), Err(AuthError::Forbidden));
    assert_eq!(of(&token(scoped("read"))).unwrap().speaks_as("a"), Err(AuthError::Forbidden));
}

#[test]
fn commands_carry_what_the_scope_reaches() {
    let access = |token: &str| *of(token).unwrap().access().unwrap();
    let acme = || Namespace::parse("acme").unwrap();
    let expected = Access { namespace: acme(), reach: Reach::Agent("helpdesk".into()), ..Access::default() };
    assert_eq!(access(&text(2)), expected);
    assert_eq!(access(&token(user("alice"))), Access { reach: Reach::Party("alice".into()), ..Access::default() });
    assert_eq!(access(&token(scoped("team:t"))).reach, Reach::Agent("t".into()));
    assert_eq!(access(&token(scoped("read"))), Access { reads_only: true, ..Access::default() });
    let locked = Claims { session: Some(SessionId::from(7).to_string()), ..scoped("all") };
    assert_eq!(access(&token(locked)), Access { session: Some(SessionId::from(7)), ..Access::default() });
    assert_eq!(access(&text(1)), Access::default());
    assert_eq!(Principal::anyone().access(), None);
}

fn get(target: &str) -> Request {
    Request::new(Method::Get, target)
}

fn found(request: &Request, place: TokenPlace) -> Option<String> {
    token_of(request, place).map(Cow::into_owned)
}

const PLACES: [TokenPlace; 4] = [TokenPlace::Header, TokenPlace::Query, TokenPlace::Socket, TokenPlace::LongPoll];

#[test]
fn a_bearer_header_is_read_everywhere_and_first() {
    for place in PLACES {
        for value in ["Bearer t", "bearer t", "BEARER   t \t"] {
            let request = get("/x?token=q&auth_token=q").with_header("Authorization", value);
            assert_eq!(found(&request, place).as_deref(), Some("t"), "{value}");
        }
        for value in ["", "Bearer", "Bearer ", "Basic dDp0", "Bearert", "t"] {
            assert_eq!(found(&get("/x").with_header("authorization", value), place), None, "{value}");
        }
        let twice = get("/x").with_header("authorization", "Bearer a").with_header("authorization", "Bearer b");
        assert_eq!(found(&twice, place), None);
    }
}

#[test]
fn a_query_is_read_only_where_it_is_allowed_and_by_its_name() {
    let both = get("/x?a=1&token=q%2E1&auth_token=s%2B1");
    let all = PLACES.map(|place| found(&both, place));
    assert_eq!(all.each_ref().map(Option::as_deref), [None, Some("q.1"), Some("s+1"), Some("s+1")]);
    for query in ["", "token=", "token", "token=a&token=b", "token=a&tok%65n=b", "Token=a", "xtoken=a"] {
        assert_eq!(found(&get(&format!("/x?{query}")), TokenPlace::Query), None, "{query}");
    }
    assert_eq!(found(&get("/x?token=%ff"), TokenPlace::Query).as_deref(), Some(""), "there, and no token");
}

#[test]
fn a_subprotocol_of_phoenix_is_decoded_from_both_alphabets() {
    let token = "ab?>~~é.x";
    let offer =
        |encoded: &str| get("/x").with_header("sec-websocket-protocol", &format!("phoenix, {PHOENIX_TOKEN}{encoded}"));
    for encoded in [STANDARD_NO_PAD.encode(token), URL_SAFE_NO_PAD.encode(token)] {
        assert_eq!(found(&offer(&encoded), TokenPlace::Socket).as_deref(), Some(token), "{encoded}");
        assert_eq!(found(&offer(&encoded), TokenPlace::LongPoll), None);
    }
    assert_ne!(STANDARD_NO_PAD.encode(token), URL_SAFE_NO_PAD.encode(token));
    for bad in ["!", "a", "YQ==", "_w"] {
        assert_eq!(found(&offer(bad), TokenPlace::Socket).as_deref(), Some(""), "{bad}");
    }
    let twice = offer("YQ").with_header("sec-websocket-protocol", &format!("{PHOENIX_TOKEN}Yg"));
    assert_eq!(found(&twice, TokenPlace::Socket), None);
}

#[test]
fn a_long_poll_has_its_own_header() {
    let request = get("/x?token=poll").with_header("X-Phoenix-AuthToken", "t.u.v");
    let all = PLACES.map(|place| found(&request, place));
    assert_eq!(all.each_ref().map(Option::as_deref), [None, Some("poll"), None, Some("t.u.v")]);
}

#[test]
fn places_follow_from_the_path() {
    assert_eq!(TokenPlace::of_path(&["api", "chat", "ws"]), TokenPlace::Query);
    assert_eq!(TokenPlace::of_path(&["api", "events"]), TokenPlace::Query);
    assert_eq!(TokenPlace::of_path(&["socket", "websocket"]), TokenPlace::Socket);
    assert_eq!(TokenPlace::of_path(&["socket", "longpoll"]), TokenPlace::LongPoll);
    for path in [&[][..], &["api"], &["api", "events", "x"], &["api", "sessions"], &["events"], &["socket"]] {
        assert_eq!(TokenPlace::of_path(path), TokenPlace::Header, "{path:?}");
    }
}

#[test]
fn without_a_token_only_an_open_server_answers() {
    let (ring, keys) = (Ring(vec![key(1, "", KeyScope::All)]), KeySet::default());
    let who = |mode, request: &Request| {
        let settings = Settings { mode, ..settings() };
        let verified = Verified::default();
        let authority = Authority { settings: &settings, keyring: &ring, keys: &keys, verified: &verified };
        authenticate(request, TokenPlace::Header, &authority, NOW_US)
    };
    let nonsense = get("/x").with_header("authorization", "Bearer nonsense");
    assert_eq!(who(Mode::Open, &get("/x")), Ok(Principal::anyone()));
    assert_eq!(who(Mode::Open, &nonsense), Ok(Principal::anyone()));
    assert_eq!(who(Mode::Required, &get("/x")), Err(AuthError::Missing));
    assert_eq!(who(Mode::Required, &nonsense), Err(AuthError::Invalid));
    let good = get("/x").with_header("authorization", &format!("Bearer {}", text(1)));
    assert_eq!(who(Mode::Required, &good).unwrap().key, Some(KeyId::from(1)));
}

#[test]
fn nothing_secret_is_shown() {
    let shown = format!("{:?} {:?}", settings(), of(&text(1)).unwrap());
    let secret = &text(99)[31..];
    assert!(!shown.contains(secret) && !shown.contains("[7, 7"), "{shown}");
}
