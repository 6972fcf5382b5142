//! JSON Web Tokens (RFC 7515, 7519): verified with HS256, RS256, ES256 and EdDSA, signed with HS256.
//!
//! Invariants: the algorithm is bound to the key, so a token only chooses among keys that were given to verify its algorithm; nothing
//! of a token's claims is looked at before its signature is verified; a claim that is there has its type, `null` included, or the token is
//! refused, and none of them may be there twice. Times are whole seconds since 1970.
//! What a token says but is not asked for is passed over, except an audience: one that names others is not for us (RFC 7519 section
//! 4.1.3). Why this is not a crate's: `docs/decisions/0016-own-jwt-verifier.md`.
//! Not here: what the claims permit (`principal`).

use super::{AuthError, KeySet};
use crate::limits::{JWT_SECRET_BYTES_MIN, TOKEN_BYTES_MAX, TOKEN_LEEWAY_S};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

const US_PER_S: u64 = 1_000_000;
/// What every token of ours begins with: `{"alg":"HS256","typ":"JWT"}`.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Reads a name as it stands in headers. `None`: none of ours, `none` among them.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// The key of HS256, which signs and verifies.
pub struct HmacSecret(hmac::Key);

/// A secret of too few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret has fewer than {JWT_SECRET_BYTES_MIN} bytes")]
pub struct SecretTooShort;

impl HmacSecret {
    /// The secret that these bytes are.
    ///
    /// # Errors
    /// [`SecretTooShort`]: a key is at least as long as its hash (RFC 7518 section 3.2). Shorter ones are guessed offline.
    pub fn new(bytes: &[u8]) -> Result<Self, SecretTooShort> {
        let is_long = bytes.len() >= JWT_SECRET_BYTES_MIN;
        is_long.then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))).ok_or(SecretTooShort)
    }

    /// Whether `signature` is the one of `message`, in constant time.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.0, message, signature).is_ok()
    }
}

impl fmt::Debug for HmacSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacSecret(..)")
    }
}

/// What tokens are verified with and must say.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// Verifies HS256, and nothing else.
    pub secret: &'a HmacSecret,
    /// Verify the others.
    pub keys: &'a KeySet,
    /// Must be among a token's `aud`. Without: tokens that have one are refused.
    pub audience: Option<&'a str>,
    /// Must be a token's `iss`. Without: it does not matter.
    pub issuer: Option<&'a str>,
}

/// What a token says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// A number for clients that know users by numbers; nothing follows from it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub uid: Option<u64>,
    /// The namespace; without, the default one.
    #[serde(default, alias = "namespace", deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub ns: Option<String>,
    /// The user.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// What for, spelled like a key's scope; without, what the user `sub` may do.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The one session that it is for.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The API key that it was given for, with which it ends.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Who signed it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Whom it is for.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub aud: Option<Audience>,
    /// When it was signed, seconds since 1970.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// From when on it holds, seconds since 1970.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// From when on it no longer holds, seconds since 1970. A token without an end is refused.
    pub exp: u64,
}

impl Claims {
    /// The end of the token without leeway, microseconds since 1970.
    pub fn expires_us(&self) -> u64 {
        self.exp.saturating_mul(US_PER_S)
    }

    /// Whether a token that says this holds at `now_us` and is meant for us.
    pub(super) fn check(&self, trust: &Trust<'_>, now_us: u64) -> Result<(), AuthError> {
        let leeway_us = TOKEN_LEEWAY_S * US_PER_S;
        if now_us >= self.expires_us().saturating_add(leeway_us) {
            return Err(AuthError::Expired);
        }
        if self.nbf.is_some_and(|from| from.saturating_mul(US_PER_S) > now_us.saturating_add(leeway_us)) {
            return Err(AuthError::NotYet);
        }
        let is_for_us = match (trust.audience, &self.aud) {
            (Some(us), Some(audience)) => audience.names(us),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let is_from_whom_we_trust = trust.issuer.is_none_or(|issuer| self.iss.as_deref() == Some(issuer));
        if is_for_us && is_from_whom_we_trust { Ok(()) } else { Err(AuthError::Claims) }
    }
}

/// One name or several (RFC 7519 section 4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Many(many) => many.iter().any(|one| one == name),
        }
    }
}

/// What is read of a header. `crit` names extensions that must be understood; there are none that are (RFC 7515 section 4.1.11).
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    /// Only its type matters: kinds of tokens are told apart by their claims here.
    #[serde(default, deserialize_with = "present", rename = "typ")]
    _typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<serde::de::IgnoredAny>,
}

/// A member that is there is a `T`: `null` is none. Serde's own `Option` takes `null` for nothing, and a token whose end is `null`
/// must not be one without an end.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What `token` says, if its signature is good, it holds at `now_us` and is meant for us.
///
/// # Errors
/// [`AuthError::Invalid`], [`AuthError::UnknownKey`]: it is not genuine, as far as anybody can tell. [`AuthError::Expired`],
/// [`AuthError::NotYet`], [`AuthError::Claims`]: it is genuine.
pub fn verify(token: &str, trust: &Trust<'_>, now_us: u64) -> Result<Claims, AuthError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(AuthError::Invalid);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(AuthError::Invalid)?;
    let (header, claims) = signed.split_once('.').ok_or(AuthError::Invalid)?;
    // A further dot is no letter of base64url, so three parts are all there can be.
    let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
    let header: Header = object(&header).ok_or(AuthError::Invalid)?;
    let algorithm = Algorithm::parse(&header.alg).filter(|_| header.crit.is_none()).ok_or(AuthError::Invalid)?;
    verify_signature(signed.as_bytes(), &signature, algorithm, header.kid.as_deref(), trust)?;
    let claims: Claims = object(&claims).ok_or(AuthError::Claims)?;
    claims.check(trust, now_us)?;
    Ok(claims)
}

fn verify_signature(
    message: &[u8],
    signature: &[u8],
    algorithm: Algorithm,
    kid: Option<&str>,
    trust: &Trust<'_>,
) -> Result<(), AuthError> {
    if algorithm == Algorithm::Hs256 {
        return if trust.secret.verifies(message, signature) { Ok(()) } else { Err(AuthError::Invalid) };
    }
    let mut candidates = trust.keys.candidates(algorithm, kid).peekable();
    if candidates.peek().is_none() {
        return Err(AuthError::UnknownKey);
    }
    if candidates.any(|key| key.verifies(message, signature)) { Ok(()) } else { Err(AuthError::Invalid) }
}

/// A token that says `claims`, signed with HS256.
pub fn sign(secret: &HmacSecret, claims: &Claims) -> String {
    sign_bytes(secret, &serde_json::to_vec(claims).expect("a struct of plain fields always has a JSON form"))
}

/// A token whose claims are these bytes, whatever they are: for whoever tries what [`verify`] takes.
pub fn sign_bytes(secret: &HmacSecret, claims: &[u8]) -> String {
    let mut token = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&secret.0, token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(tag, &mut token);
    token
}

/// Base64url without padding, of at least one byte, in its one spelling.
fn decode(part: &str) -> Result<Vec<u8>, AuthError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| AuthError::Invalid)?;
    if bytes.is_empty() { Err(AuthError::Invalid) } else { Ok(bytes) }
}

/// A struct from a JSON object in UTF-8. Serde would take an array of its fields as well, and any bytes in strings that it passes over.
pub(super) fn object<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Option<T> {
    let text = std::str::from_utf8(json).ok()?;
    text.trim_ascii_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests;
