//! What strangers say who they are: tokens, and the key sets that verify them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetlm::api::auth::jwt::{Algorithm, Claims, Trust, sign, verify};
use fleetlm::api::auth::{AuthError, HmacSecret, KeySet};
use fleetlm::limits::{JWK_TRIES_MAX, JWKS_BYTES_MAX, JWKS_KEYS_MAX, TOKEN_BYTES_MAX};
use serde_json::Value;

const NOW_S: u64 = 1_800_000_000;
const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const P256: &str = r#"{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const RSA: &str = r#"{"kty":"RSA","key_ops":["verify"],"n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;

/// Nobody who has no key makes a token: what is taken is one of ours to the letter. And the claims of whoever has the key are read as an
/// independent reader does: `data` is signed as claims, and what is taken says what it says as plain JSON.
pub fn jwt(data: &[u8]) {
    let secret = secret();
    let keys = KeySet::parse(&set(&[ED25519, P256])).expect("both are usable");
    let trust = Trust { secret: &secret, keys: &keys, audience: None, issuer: None };
    let now_us = NOW_S * 1_000_000;
    if let Ok(token) = std::str::from_utf8(data)
        && verify(token, &trust, now_us).is_ok()
    {
        assert!(tokens().iter().any(|ours| ours == token), "a token was forged: {token}");
    }
    let Some(token) = signed(&secret, data) else { return };
    match verify(&token, &trust, now_us) {
        Ok(claims) => check(&claims, data, now_us),
        Err(error) => {
            let after_signature = [AuthError::Claims, AuthError::Expired, AuthError::NotYet];
            assert!(after_signature.contains(&error), "the signature is good, and yet {error}");
        }
    }
}

fn check(claims: &Claims, data: &[u8], now_us: u64) {
    let Some(value) = plain(data) else { return };
    assert_eq!(value["exp"].as_u64(), Some(claims.exp));
    assert_eq!(value.get("sub").map(|sub| sub.as_str()), claims.sub.as_deref().map(Some));
    assert_eq!(value.get("scope").map(|scope| scope.as_str()), claims.scope.as_deref().map(Some));
    assert_eq!(value.get("nbf").map(Value::as_u64), claims.nbf.map(Some));
    assert!(claims.aud.is_none() && value.get("aud").is_none(), "it is for somebody else");
    assert!(claims.expires_us().saturating_add(30_000_000) > now_us);
    let secret = secret();
    let keys = KeySet::default();
    let trust = Trust { secret: &secret, keys: &keys, audience: None, issuer: None };
    assert_eq!(verify(&sign(&secret, claims), &trust, now_us).as_ref(), Ok(claims), "signed again it reads back");
}

/// A set is bounded, and offers keys of the asked algorithm only, few at a time. No signature of nonsense is one.
pub fn jwks(data: &[u8]) {
    let Ok(keys) = KeySet::parse(data) else { return };
    assert!(data.len() <= JWKS_BYTES_MAX && (1..=JWKS_KEYS_MAX).contains(&keys.len()));
    if let Some(value) = plain(data) {
        assert!(value["keys"].as_array().is_some_and(|members| members.len() >= keys.len()));
    }
    assert_eq!(keys.candidates(Algorithm::Hs256, None).count(), 0, "a public text is no secret");
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        for kid in [None, Some("a"), Some("b")] {
            let found: Vec<_> = keys.candidates(algorithm, kid).collect();
            assert!(found.len() <= JWK_TRIES_MAX);
            assert!(found.iter().all(|key| key.algorithm() == algorithm && !key.verifies(b"x", &[1; 64])));
        }
    }
}

/// What was taken as plain JSON. `None` only for halves of surrogate pairs in members that are passed over.
fn plain(data: &[u8]) -> Option<Value> {
    let value = serde_json::from_slice(data).ok();
    assert!(value.is_some() || data.windows(2).any(|pair| pair == b"\\u"), "what was taken is JSON");
    value
}

fn secret() -> HmacSecret {
    HmacSecret::new(&[7; 32]).expect("32 bytes are enough")
}

/// `data` as the claims of a token of ours, if it is short enough to be one.
fn signed(secret: &HmacSecret, data: &[u8]) -> Option<String> {
    let token = fleetlm::api::auth::jwt::sign_bytes(secret, data);
    (!data.is_empty() && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

fn set(members: &[&str]) -> Vec<u8> {
    format!("{{\"keys\":[{}]}}", members.join(",")).into_bytes()
}

fn tokens() -> Vec<String> {
    let claims = Claims { sub: Some("alice".to_owned()), exp: NOW_S + 60, ..Claims::default() };
    let more = Claims { ns: Some("acme".to_owned()), nbf: Some(NOW_S), iat: Some(NOW_S), ..claims.clone() };
    [claims, more].map(|claims| sign(&secret(), &claims)).into()
}

pub(crate) fn jwt_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = tokens().into_iter().map(String::into_bytes).collect();
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"ES256"}"#, r#"{"alg":"EdDSA","kid":"a","typ":"JWT"}"#] {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        seeds.push(format!("{}.{}.{}", part(header), part("{\"exp\":1800000060}"), part(&"x".repeat(64))).into_bytes());
    }
    seeds.extend(
        [
            r#"{"exp":1800000060,"sub":"alice","scope":"agent:a","ns":"acme","session":"01K6GR2EV9Z7PSMEVVJ5M954CX"}"#,
            r#"{"exp":1800000060,"nbf":1799999999,"iat":1,"uid":7,"key":"x","iss":"me","namespace":"b","x":[1.5,null]}"#,
            r#"{"exp":1800000060,"aud":["a","b"]}"#,
        ]
        .map(|text| text.as_bytes().to_vec()),
    );
    seeds
}

pub(crate) fn jwks_seeds() -> Vec<Vec<u8>> {
    vec![set(&[ED25519]), set(&[P256, ED25519]), set(&[RSA, r#"{"kty":"oct","k":"AAAA"}"#, "null"])]
}
