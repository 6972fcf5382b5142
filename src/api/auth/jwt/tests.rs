//! Tokens of the standards, and bad ones of every kind.

use super::super::vectors::{EC, ED, RSA, set};
use super::*;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW_S: u64 = 1_800_000_000;
const HS256: &str = r#"{"alg":"HS256"}"#;
/// RFC 7515 A.1.1: `{"iss":"joe", "exp":1300819380, "http://example.com/is_root":true}`, with line feeds.
const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const JOE_EXP_S: u64 = 1_300_819_380;

/// Header and claims as a token.
type Sign = fn(&str, &str) -> String;

fn secret() -> HmacSecret {
    HmacSecret::new(SECRET).unwrap()
}

fn keys() -> KeySet {
    KeySet::parse(&set(&[RSA, EC, ED])).unwrap()
}

fn b64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A token of ours under any header.
fn hs256(header: &str, claims: &str) -> String {
    signed_with(SECRET, header, claims)
}

fn signed_with(key: &[u8], header: &str, claims: &str) -> String {
    let message = format!("{}.{}", b64(header), b64(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
    format!("{message}.{}", b64(tag))
}

fn ed25519(header: &str, claims: &str) -> String {
    let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap(); // RFC 8037 A.1
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let message = format!("{}.{}", b64(header), b64(claims));
    format!("{message}.{}", b64(pair.sign(message.as_bytes())))
}

fn es256(header: &str, claims: &str) -> String {
    let d = URL_SAFE_NO_PAD.decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI").unwrap(); // RFC 7515 A.3.1
    let keys = KeySet::parse(&set(&[EC])).unwrap();
    let Some(super::super::jwks::PublicKey::P256(point)) = keys.candidates(Algorithm::Es256, None).next().cloned()
    else {
        panic!("the set has a P-256 key");
    };
    let random = SystemRandom::new();
    let pair =
        EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &d, &point, &random).unwrap();
    let message = format!("{}.{}", b64(header), b64(claims));
    format!("{message}.{}", b64(pair.sign(&random, message.as_bytes()).unwrap()))
}

fn verify_at(token: &str, now_s: u64) -> Result<Claims, AuthError> {
    let (secret, keys) = (secret(), keys());
    verify(token, &Trust { secret: &secret, keys: &keys, audience: None, issuer: None }, now_s * US_PER_S)
}

fn verify_now(token: &str) -> Result<Claims, AuthError> {
    verify_at(token, NOW_S)
}

/// Claims that hold now, and more.
fn claims(more: &str) -> String {
    format!(r#"{{"exp":{}{more}}}"#, NOW_S + 60)
}

#[test]
fn the_token_of_rfc_7515_a_1_is_verified() {
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let secret = HmacSecret::new(&URL_SAFE_NO_PAD.decode(key).unwrap()).unwrap();
    let keys = KeySet::default();
    let trust = Trust { secret: &secret, keys: &keys, audience: None, issuer: Some("joe") };
    let token = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let claims = verify(&token, &trust, (JOE_EXP_S - 1) * US_PER_S).unwrap();
    assert_eq!(claims, Claims { iss: Some("joe".into()), exp: JOE_EXP_S, ..Claims::default() });
}

#[test]
fn the_token_of_rfc_7515_a_2_is_verified() {
    let token = format!(
        "eyJhbGciOiJSUzI1NiJ9.{JOE}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    assert_eq!(verify_at(&token, JOE_EXP_S - 1).map(|claims| claims.exp), Ok(JOE_EXP_S));
    assert_eq!(verify_at(&token, JOE_EXP_S + TOKEN_LEEWAY_S), Err(AuthError::Expired));
}

#[test]
fn the_token_of_rfc_7515_a_3_is_verified() {
    let token = format!(
        "eyJhbGciOiJFUzI1NiJ9.{JOE}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    assert_eq!(verify_at(&token, JOE_EXP_S - 1).map(|claims| claims.exp), Ok(JOE_EXP_S));
}

#[test]
fn the_signature_of_rfc_8037_a_4_is_verified() {
    let keys = keys();
    let key = keys.candidates(Algorithm::EdDsa, None).next().unwrap();
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = URL_SAFE_NO_PAD
        .decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    assert!(key.verifies(message, &signature.unwrap()));
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(verify_now(token), Err(AuthError::Claims), "genuine, but prose");
}

#[test]
fn what_is_signed_here_is_verified_and_reads_back() {
    let claims = Claims {
        uid: Some(7),
        ns: Some("acme".into()),
        sub: Some("al\"ice".into()),
        scope: Some("agent:a".into()),
        session: Some("01K6GR2EV9Z7PSMEVVJ5M954CX".into()),
        key: Some("01K6GR2EV9Z7PSMEVVJ5M954CX".into()),
        iss: Some("me".into()),
        aud: None,
        iat: Some(NOW_S),
        nbf: Some(NOW_S),
        exp: NOW_S + 60,
    };
    let token = sign(&secret(), &claims);
    assert_eq!(verify_now(&token), Ok(claims));
    assert_eq!(URL_SAFE_NO_PAD.decode(HEADER).unwrap(), br#"{"alg":"HS256","typ":"JWT"}"#);
}

#[test]
fn every_algorithm_is_verified_by_its_own_key_only() {
    let made: [(&str, Sign); 3] = [("HS256", hs256), ("ES256", es256), ("EdDSA", ed25519)];
    for (name, sign) in made {
        assert!(verify_now(&sign(&format!(r#"{{"alg":"{name}"}}"#), &claims(""))).is_ok(), "{name}");
        for other in ["HS256", "RS256", "ES256", "EdDSA"].into_iter().filter(|other| *other != name) {
            let token = sign(&format!(r#"{{"alg":"{other}"}}"#), &claims(""));
            assert_eq!(verify_now(&token), Err(AuthError::Invalid), "{name} said to be {other}");
        }
    }
}

#[test]
fn an_algorithm_that_is_none_of_ours_is_refused() {
    for name in ["none", "None", "NONE", "", "hs256", "HS384", "HS512", "RS384", "PS256", "ES384", "ES256K", "eddsa"] {
        let header = format!(r#"{{"alg":"{name}"}}"#);
        assert_eq!(verify_now(&hs256(&header, &claims(""))), Err(AuthError::Invalid), "{name}");
        let unsigned = format!("{}.{}.", b64(&header), b64(claims("")));
        assert_eq!(verify_now(&unsigned), Err(AuthError::Invalid), "{name} without a signature");
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let n = RSA.split('"').nth(7).unwrap();
    let der_like = URL_SAFE_NO_PAD.decode(n).unwrap();
    for text in [RSA.as_bytes(), n.as_bytes(), &der_like] {
        assert_eq!(verify_now(&signed_with(text, HS256, &claims(""))), Err(AuthError::Invalid));
    }
}

#[test]
fn a_kid_that_is_not_there_is_told_apart() {
    let named = |key: &str, kid: &str| format!("{},\"kid\":\"{kid}\"}}", &key[..key.len() - 1]);
    let other = ED.replace("11qYAYKx", "xKYAYq11");
    let (secret, keys) = (secret(), KeySet::parse(&set(&[&named(ED, "a"), &named(&other, "b")])).unwrap());
    let trust = Trust { secret: &secret, keys: &keys, audience: None, issuer: None };
    let with = |kid: &str| {
        let token = ed25519(&format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#), &claims(""));
        verify(&token, &trust, NOW_S * US_PER_S).map(drop)
    };
    assert_eq!(with("a"), Ok(()));
    assert_eq!(with("b"), Err(AuthError::Invalid));
    assert_eq!(with("c"), Err(AuthError::UnknownKey));
    assert_eq!(verify(&es256(r#"{"alg":"ES256"}"#, &claims("")), &trust, 0), Err(AuthError::UnknownKey));
}

#[test]
fn headers_that_say_too_much_or_something_else_are_refused() {
    for header in [
        r#"{}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"["HS256"]"#,
        r#"["HS256",null,null,null]"#,
        r#""HS256""#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":"HS256","kid":null}"#,
        r#"{"alg":"HS256","typ":1}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":null}"#,
        r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"HS256"}x"#,
        r#"{"alg":"HS256""#,
        "",
    ] {
        assert_eq!(verify_now(&hs256(header, &claims(""))), Err(AuthError::Invalid), "{header}");
    }
    for header in [r#"{"alg":"HS256","kid":"any"}"#, r#" {"typ":"at+jwt","alg":"HS256","x":[1]} "#] {
        assert!(verify_now(&hs256(header, &claims(""))).is_ok(), "{header}");
    }
}

#[test]
fn claims_of_a_wrong_type_or_twice_or_without_an_end_are_refused() {
    for text in [
        "{}".to_owned(),
        "[]".to_owned(),
        format!("[null,null,null,null,null,null,null,null,null,null,{}]", NOW_S + 60),
        "null".to_owned(),
        "prose".to_owned(),
        claims("").replace(':', ":\"").replace('}', "\"}"),
        claims("").replace('}', ".5}"),
        claims("").replace('}', ".0}"),
        claims("").replace('}', "e1}"),
        r#"{"exp":null}"#.to_owned(),
        r#"{"exp":true}"#.to_owned(),
        r#"{"exp":-1}"#.to_owned(),
        r#"{"exp":1e400}"#.to_owned(),
        r#"{"exp":18446744073709551616}"#.to_owned(),
        claims(r#","exp":9999999999"#),
        claims(r#","nbf":"1""#),
        claims(r#","nbf":null"#),
        claims(r#","nbf":1.5"#),
        claims(r#","iat":"now""#),
        claims(r#","sub":1"#),
        claims(r#","sub":null"#),
        claims(r#","sub":"a","sub":"b""#),
        claims(r#","ns":"a","ns":"a""#),
        claims(r#","ns":"a","namespace":"b""#),
        claims(r#","scope":["all"]"#),
        claims(r#","session":7"#),
        claims(r#","key":{}"#),
        claims(r#","uid":"7""#),
        claims(r#","iss":null"#),
        claims(r#","aud":null"#),
        claims(r#","aud":[1]"#),
        claims("}").replace("}}", "}}x"),
    ] {
        assert_eq!(verify_now(&hs256(HS256, &text)), Err(AuthError::Claims), "{text}");
    }
    let message =
        format!("{HEADER}.{}", b64([claims("").trim_end_matches('}').as_bytes(), b",\"x\":\"\xff\"}"].concat()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    assert_eq!(verify_now(&format!("{message}.{}", b64(tag))), Err(AuthError::Claims), "bytes that are no UTF-8");
    let more = claims(r#","namespace":"acme","name":null,"roles":[{"a":1.5}],"email":"a@b.c""#);
    assert_eq!(verify_now(&hs256(HS256, &more)).unwrap().ns.as_deref(), Some("acme"));
}

#[test]
fn a_token_holds_from_nbf_to_exp_and_half_a_minute_more_on_both_sides() {
    let token = |nbf: u64, exp: u64| hs256(HS256, &format!(r#"{{"nbf":{nbf},"exp":{exp}}}"#));
    let leeway = TOKEN_LEEWAY_S;
    assert!(verify_now(&token(NOW_S + leeway, NOW_S + 60)).is_ok());
    assert_eq!(verify_now(&token(NOW_S + leeway + 1, NOW_S + 60)), Err(AuthError::NotYet));
    assert!(verify_now(&token(0, NOW_S - leeway + 1)).is_ok());
    assert_eq!(verify_now(&token(0, NOW_S - leeway)), Err(AuthError::Expired));
    assert_eq!(verify_now(&token(u64::MAX, u64::MAX)), Err(AuthError::NotYet));
    assert!(verify_now(&token(0, u64::MAX)).is_ok());
}

#[test]
fn audience_and_issuer_are_ours_when_they_are_set_and_an_audience_is_never_somebody_elses() {
    let (secret, keys) = (secret(), keys());
    let with = |audience, issuer, more: &str| {
        let trust = Trust { secret: &secret, keys: &keys, audience, issuer };
        verify(&hs256(HS256, &claims(more)), &trust, NOW_S * US_PER_S).map(drop)
    };
    for good in [r#","aud":"us""#, r#","aud":["them","us"]"#] {
        assert_eq!(with(Some("us"), None, good), Ok(()), "{good}");
        assert_eq!(with(None, None, good), Err(AuthError::Claims), "{good}");
    }
    for bad in ["", r#","aud":"them""#, r#","aud":[]"#, r#","aud":["them"]"#, r#","aud":"US""#] {
        assert_eq!(with(Some("us"), None, bad), Err(AuthError::Claims), "{bad}");
    }
    assert_eq!(with(None, Some("me"), r#","iss":"me""#), Ok(()));
    assert_eq!(with(None, Some("me"), r#","iss":"you""#), Err(AuthError::Claims));
    assert_eq!(with(None, Some("me"), ""), Err(AuthError::Claims));
    assert_eq!(with(None, None, r#","iss":"you""#), Ok(()));
}

#[test]
fn what_is_not_three_parts_of_base64url_is_refused() {
    let good = hs256(HS256, &claims(r#","sub":"alice""#));
    assert!(verify_now(&good).is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    let (header, body, tag) = (parts[0], parts[1], parts[2]);
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        header.to_owned(),
        format!("{header}.{body}"),
        format!("{header}.{body}."),
        format!(".{body}.{tag}"),
        format!("{header}..{tag}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{tag}"),
        format!("{good}="),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{header}.{body}.{tag}{tag}"),
        format!("{header}.{body}.{}", &tag[..tag.len() - 1]),
        format!("{header}.{body}.{}", &tag[..tag.len() - 4]),
        format!("{header}.{body}=.{tag}"),
        format!("{header}.{body}.ä{tag}"),
    ] {
        assert_eq!(verify_now(&bad), Err(AuthError::Invalid), "{bad}");
    }
}

#[test]
fn a_token_has_eight_kilobytes_at_the_most() {
    let filled = |bytes: usize| hs256(HS256, &claims(&format!(r#","x":"{}""#, "x".repeat(bytes))));
    let least = filled(0).len();
    let fitting = (0..TOKEN_BYTES_MAX).rev().find(|bytes| least + bytes * 4 / 3 + 3 <= TOKEN_BYTES_MAX).unwrap();
    assert!(verify_now(&filled(fitting)).is_ok());
    assert_eq!(verify_now(&filled(TOKEN_BYTES_MAX)), Err(AuthError::Invalid));
}

#[test]
fn another_secret_and_a_changed_token_are_refused() {
    let good = hs256(HS256, &claims(r#","sub":"alice""#));
    assert_eq!(
        verify_now(&signed_with(b"another secret of 32 bytes or so", HS256, &claims(""))),
        Err(AuthError::Invalid)
    );
    let forged = hs256(HS256, &claims(r#","sub":"mallory""#));
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let mixed = format!("{}.{}.{}", parts(&good)[0], parts(&forged)[1], parts(&good)[2]);
    assert_eq!(verify_now(&mixed), Err(AuthError::Invalid));
}

#[test]
fn a_secret_is_long_and_not_shown() {
    assert_eq!(HmacSecret::new(&[7; 31]).err(), Some(SecretTooShort));
    assert_eq!(format!("{:?}", secret()), "HmacSecret(..)");
}

proptest! {
    #[test]
    fn no_changed_character_goes_unnoticed(at in 0usize..180, with in "[A-Za-z0-9_.-]", which in 0usize..2) {
        let more = claims(r#","sub":"alice","ns":"acme","iat":1"#);
        let good = if which == 0 { hs256(HS256, &more) } else { ed25519(r#"{"alg":"EdDSA"}"#, &more) };
        let at = at % good.len();
        let mut changed = good.clone();
        changed.replace_range(at..=at, &with);
        prop_assert_eq!(verify_now(&changed).is_ok(), changed == good);
    }

    #[test]
    fn no_text_brings_it_down(text in "\\PC{0,40}|[A-Za-z0-9_.=-]{0,80}") {
        prop_assert!(verify_now(&text).is_err());
    }
}
