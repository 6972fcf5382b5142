//! The public keys that verify tokens, read from a JWK Set (RFC 7517), and what one of them verifies.
//!
//! Invariant: a key verifies signatures of one algorithm, which follows from the key and never from a token: RSA is RS256, P-256 is
//! ES256, Ed25519 is EdDSA. Symmetric keys are not taken from a set, so no public text is ever a secret.
//! Members that are not understood, not for signatures, or malformed are passed over (RFC 7517 section 5), for sets hold keys for
//! others too; a set without any usable key is refused, so that it cannot take the place of a good one.
//! Not here: where the set comes from and when it is read again.

use super::jwt::{self, Algorithm};
use crate::limits::{JWK_TRIES_MAX, JWKS_BYTES_MAX, JWKS_KEYS_MAX};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Bytes of an RSA modulus that ring verifies with: 2048 to 8192 bits.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Why a set is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// More than [`JWKS_BYTES_MAX`] bytes.
    #[error("the key set has more than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    /// More than [`JWKS_KEYS_MAX`] members.
    #[error("the key set has more than {JWKS_KEYS_MAX} keys")]
    TooMany,
    /// No object with a list `keys`.
    #[error("the key set is no JSON object with a list \"keys\"")]
    Malformed,
    /// No key of RS256, ES256 or EdDSA.
    #[error("the key set has no key for RS256, ES256 or EdDSA signatures")]
    NoUsableKey,
}

/// Public keys by their ids. The default one is empty and verifies nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Named>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    kid: Option<String>,
    key: PublicKey,
}

impl KeySet {
    /// Reads the JSON of a set.
    ///
    /// # Errors
    /// [`KeySetError`]
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        if json.len() > JWKS_BYTES_MAX {
            return Err(KeySetError::TooLarge);
        }
        let document: Document<'_> = jwt::object(json).ok_or(KeySetError::Malformed)?;
        if document.keys.len() > JWKS_KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let keys: Vec<Named> = document.keys.into_iter().filter_map(|member| Member::read(member)?.named()).collect();
        if keys.is_empty() { Err(KeySetError::NoUsableKey) } else { Ok(Self { keys }) }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys to try for a token, [`JWK_TRIES_MAX`] at the most: those of its algorithm with its `kid`, or, when no key has that id, those
    /// without one; for a token without `kid` all of its algorithm.
    pub fn candidates<'a>(&'a self, algorithm: Algorithm, kid: Option<&'a str>) -> impl Iterator<Item = &'a PublicKey> {
        let fitting = move |named: &&Named| named.key.algorithm() == algorithm;
        let is_known = kid.is_some() && self.keys.iter().filter(fitting).any(|named| named.kid.as_deref() == kid);
        let is_meant = move |named: &&Named| match kid {
            None => true,
            Some(_) if is_known => named.kid.as_deref() == kid,
            Some(_) => named.kid.is_none(),
        };
        self.keys.iter().filter(fitting).filter(is_meant).map(|named| &named.key).take(JWK_TRIES_MAX)
    }
}

/// A key that verifies signatures of its one algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// RS256 (RFC 7518 section 3.3).
    Rsa {
        /// Modulus, big-endian, without leading zeros.
        n: Vec<u8>,
        /// Exponent, likewise.
        e: Vec<u8>,
    },
    /// ES256 (RFC 7518 section 3.4): the point, uncompressed.
    P256([u8; 65]),
    /// EdDSA (RFC 8037).
    Ed25519([u8; 32]),
}

impl PublicKey {
    /// The algorithm of its signatures.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
            Self::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether `signature` is one of `message` under this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            Self::P256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Self::Ed25519(point) => UnparsedPublicKey::new(&signature::ED25519, point).verify(message, signature),
        };
        verified.is_ok()
    }
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// What is read of a member (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).
#[derive(Deserialize)]
struct Member {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Member {
    fn read(json: &RawValue) -> Option<Self> {
        json.get().starts_with('{').then(|| serde_json::from_str(json.get()).ok()).flatten()
    }

    fn named(self) -> Option<Named> {
        let is_for_signatures = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let may_verify = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let key = self.key()?;
        let is_of_its_algorithm =
            self.alg.as_deref().is_none_or(|name| Algorithm::parse(name) == Some(key.algorithm()));
        (is_for_signatures && may_verify && is_of_its_algorithm).then_some(Named { kid: self.kid, key })
    }

    fn key(&self) -> Option<PublicKey> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (number(self.n.as_deref()?)?, number(self.e.as_deref()?)?);
                (RSA_MODULUS_BYTES.contains(&n.len()) && !e.is_empty()).then_some(PublicKey::Rsa { n, e })
            }
            ("EC", Some("P-256")) => {
                let mut point = [4; 65]; // SEC 1 section 2.3.3: 4 announces an uncompressed point
                point[1..33].copy_from_slice(&coordinate(self.x.as_deref()?)?);
                point[33..].copy_from_slice(&coordinate(self.y.as_deref()?)?);
                Some(PublicKey::P256(point))
            }
            ("OKP", Some("Ed25519")) => coordinate(self.x.as_deref()?).map(PublicKey::Ed25519),
            _ => None,
        }
    }
}

fn number(text: &str) -> Option<Vec<u8>> {
    let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    // Some issuers write the sign's zero, which the standard forbids and which means nothing.
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    Some(bytes)
}

fn coordinate(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::super::vectors::{EC, ED, RSA, set};
    use super::*;

    fn with(member: &str, field: &str) -> String {
        format!("{},{field}}}", &member[..member.len() - 1])
    }

    fn usable(members: &[&str]) -> usize {
        KeySet::parse(&set(members)).map_or(0, |keys| keys.len())
    }

    #[test]
    fn the_three_kinds_of_keys_are_read_and_bound_to_their_algorithm() {
        let keys = KeySet::parse(&set(&[RSA, EC, ED])).unwrap();
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
            let found: Vec<_> = keys.candidates(algorithm, None).collect();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].algorithm(), algorithm);
        }
        assert_eq!(keys.candidates(Algorithm::Hs256, None).count(), 0);
    }

    #[test]
    fn members_for_others_and_malformed_ones_are_passed_over() {
        for bad in [
            with(RSA, r#""use":"enc""#),
            with(RSA, r#""key_ops":["encrypt"]"#),
            with(RSA, r#""alg":"RS512""#),
            with(RSA, r#""alg":"HS256""#),
            with(RSA, r#""kid":7"#),
            with(RSA, r#""kty":"RSA""#),
            RSA.replace("\"n\":\"o", "\"n\":\"+"),
            RSA.replace("AQAB", ""),
            r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(),
            EC.replace("P-256", "P-384"),
            EC.replace("\"y\":\"x_", "\"y\":\""),
            EC.replace("\"y\"", "\"z\""),
            ED.replace("Ed25519", "X25519"),
            r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}"#.to_owned(),
            "[\"RSA\"]".to_owned(),
            "null".to_owned(),
        ] {
            assert_eq!(usable(&[&bad]), 0, "{bad}");
            assert_eq!(usable(&[&bad, ED]), 1, "{bad}");
        }
        for good in [r#""use":"sig""#, r#""key_ops":["sign","verify"]"#, r#""alg":"RS256""#, r#""x5t":"x","d":1"#] {
            assert_eq!(usable(&[&with(RSA, good)]), 1, "{good}");
        }
        assert_eq!(usable(&[&RSA.replace("\"n\":\"", "\"n\":\"AAAA")]), 1, "zeros in front of a number mean nothing");
    }

    #[test]
    fn what_is_no_set_takes_the_place_of_none() {
        for bad in ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]", "[[]]", "null", "{\"keys\":[],\"keys\":[]}"] {
            assert_eq!(KeySet::parse(bad.as_bytes()), Err(KeySetError::Malformed), "{bad}");
        }
        assert_eq!(KeySet::parse(b"{\"keys\":[]}"), Err(KeySetError::NoUsableKey));
        assert_eq!(KeySet::parse(&vec![b' '; JWKS_BYTES_MAX + 1]), Err(KeySetError::TooLarge));
        assert_eq!(KeySet::parse(&set(&vec!["1"; JWKS_KEYS_MAX + 1])), Err(KeySetError::TooMany));
    }

    #[test]
    fn a_kid_chooses_and_keys_without_one_stand_for_any_that_is_not_there() {
        let (a, b) = (with(ED, r#""kid":"a""#), with(EC, r#""kid":"b""#));
        let keys = KeySet::parse(&set(&[&a, ED, &b])).unwrap();
        let count = |algorithm, kid| keys.candidates(algorithm, kid).count();
        assert_eq!(count(Algorithm::EdDsa, Some("a")), 1);
        assert_eq!(count(Algorithm::EdDsa, Some("x")), 1, "the one without");
        assert_eq!(count(Algorithm::EdDsa, None), 2);
        assert_eq!(count(Algorithm::EdDsa, Some("b")), 1, "a key of another algorithm has no say");
        assert_eq!(count(Algorithm::Es256, Some("a")), 0);
        let many = KeySet::parse(&set(&[ED; JWK_TRIES_MAX + 1])).unwrap();
        assert_eq!(many.candidates(Algorithm::EdDsa, None).count(), JWK_TRIES_MAX);
    }
}
