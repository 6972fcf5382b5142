//! The text of API keys: `flk_<id>_<secret>`, where the id is 26 characters that anybody may see and the secret is 32 random bytes as
//! 43 characters of base64url.
//!
//! Invariants: a key has one spelling, everything else is none; only the SHA-256 of the secret part is kept; whether a key exists
//! cannot be told from how long a refusal takes, because one that does not is compared too.
//! Not here: who holds the keys (a [`Keyring`](super::Keyring)), what they permit.

use super::AuthError;
use crate::session::{KeyId, KeyPut, KeyScope, SecretHash};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use subtle::ConstantTimeEq;

/// Begins every key, so that scanners for leaked secrets can find them.
pub const PREFIX: &str = "flk_";
/// Characters of 32 bytes in base64url.
const SECRET_CHARS: usize = 43;

/// A key that was presented or just made. Of the secret only the hash is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Whose it says it is.
    pub id: KeyId,
    /// Of the secret it came with.
    pub hash: SecretHash,
}

/// The whole text of a key: shown once, to who asked for it.
pub struct KeyText(String);

impl KeyText {
    /// What its owner is given.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(..)")
    }
}

/// A key of `id` with the secret `random`: its text, and what is kept of it.
pub fn make(id: KeyId, random: &[u8; 32]) -> (KeyText, SecretHash) {
    let secret = URL_SAFE_NO_PAD.encode(random);
    let hash = hash_of(&secret);
    (KeyText(format!("{PREFIX}{id}_{secret}")), hash)
}

/// Reads a key's text. `None`: it is none.
pub fn parse(text: &str) -> Option<Presented> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let id = KeyId::parse(id)?;
    // Decoded only to see that it has one spelling: unused bits of the last character must be zero.
    let is_secret = secret.len() == SECRET_CHARS && URL_SAFE_NO_PAD.decode(secret).is_ok();
    is_secret.then(|| Presented { id, hash: hash_of(secret) })
}

/// The key of an operator's file, which is an administrator and stands in no log. Blanks and line ends around it do not count.
/// `None`: the text is no key.
pub fn admin(text: &str) -> Option<KeyPut> {
    let Presented { id, hash } = parse(text.trim())?;
    Some(KeyPut {
        id,
        hash,
        name: "admin key file".to_owned(),
        namespace: String::new(),
        user: "admin".to_owned(),
        scope: KeyScope::All,
        is_admin: true,
        created_at_us: 0,
        revoked_at_us: None,
    })
}

/// Whether what was presented is the key that `known` is, and may still be used.
///
/// # Errors
/// [`AuthError::Invalid`] for an unknown key and for a wrong secret alike; [`AuthError::Revoked`] only to who has the secret.
pub fn check<'a>(presented: &Presented, known: Option<&'a KeyPut>) -> Result<&'a KeyPut, AuthError> {
    // A hash that no secret is known to have: there is the same work to do.
    let hash = known.map_or(SecretHash([0; 32]), |key| key.hash);
    let is_same = bool::from(presented.hash.0.ct_eq(&hash.0));
    let key = known.filter(|key| is_same && key.id == presented.id).ok_or(AuthError::Invalid)?;
    if key.revoked_at_us.is_some() { Err(AuthError::Revoked) } else { Ok(key) }
}

fn hash_of(secret: &str) -> SecretHash {
    let digest = ring::digest::digest(&ring::digest::SHA256, secret.as_bytes());
    SecretHash(digest.as_ref().try_into().expect("a SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> KeyId {
        KeyId::from_parts(1_761_216_480_123, 7)
    }

    fn known(random: &[u8; 32]) -> (String, KeyPut) {
        let (text, _) = make(id(), random);
        let put = KeyPut { is_admin: false, ..admin(text.reveal()).unwrap() };
        (text.reveal().to_owned(), put)
    }

    #[test]
    fn a_key_is_its_id_and_43_characters_and_hashes_to_the_sha_256_of_those() {
        let (text, hash) = make(id(), &[0xff; 32]);
        assert_eq!(text.reveal(), format!("flk_{}_{}8", id(), "_".repeat(42)));
        // printf %s "$secret" | sha256sum
        let hex: String = hash.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, SHA_256_OF_ALL_ONES);
        assert_eq!(parse(text.reveal()), Some(Presented { id: id(), hash }));
    }

    const SHA_256_OF_ALL_ONES: &str = "225f7e75329dd45aa354975d73987319309393af3a4c6733bc13601a4f1b8796";

    #[test]
    fn what_is_not_spelled_like_a_key_is_none() {
        let (text, _) = known(&[7; 32]);
        let id = id().to_string();
        for bad in [
            String::new(),
            "flk_".to_owned(),
            format!("{text} "),
            format!(" {text}"),
            format!("{text}="),
            format!("{text}A"),
            text[..text.len() - 1].to_owned(),
            text.replace("flk_", "FLK_"),
            text.replace("flk_", ""),
            text.replace(&id, &id.to_lowercase()),
            text.replace(&id, &id[1..]),
            text.replace(&format!("{id}_"), &id),
            format!("{}+", &text[..text.len() - 1]),
            format!("{}d", &text[..text.len() - 1]), // bits behind the last byte
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn only_the_right_secret_of_a_known_key_that_lives_is_let_in() {
        let (text, put) = known(&[7; 32]);
        let (other_text, other) = known(&[8; 32]);
        let presented = parse(&text).unwrap();
        assert_eq!(check(&presented, Some(&put)), Ok(&put));
        assert_eq!(check(&presented, Some(&other)), Err(AuthError::Invalid));
        assert_eq!(check(&presented, None), Err(AuthError::Invalid));
        let revoked = put.revoked(1);
        assert_eq!(check(&presented, Some(&revoked)), Err(AuthError::Revoked));
        assert_eq!(check(&parse(&other_text).unwrap(), Some(&revoked)), Err(AuthError::Invalid), "tells nothing");
        let elsewhere = KeyPut { id: KeyId::from(1), ..put };
        assert_eq!(check(&presented, Some(&elsewhere)), Err(AuthError::Invalid));
    }

    #[test]
    fn the_compared_with_hash_of_an_unknown_key_opens_nothing() {
        let presented = Presented { id: id(), hash: SecretHash([0; 32]) };
        assert_eq!(check(&presented, None), Err(AuthError::Invalid));
    }

    #[test]
    fn an_administrators_file_may_end_in_a_line_feed() {
        let (text, _) = known(&[7; 32]);
        assert!(
            admin(&format!("{text}\r\n")).is_some_and(|key| key.is_admin && key.hash == parse(&text).unwrap().hash)
        );
        assert_eq!(admin("hunter2"), None);
    }

    #[test]
    fn a_text_is_not_shown() {
        let (text, _) = make(id(), &[7; 32]);
        assert_eq!(format!("{text:?}"), "KeyText(..)");
    }

    proptest! {
        #[test]
        fn every_key_that_is_made_reads_back(bits: u128, random: [u8; 32]) {
            let (text, hash) = make(KeyId::from(bits), &random);
            prop_assert_eq!(parse(text.reveal()), Some(Presented { id: KeyId::from(bits), hash }));
        }

        #[test]
        fn another_character_is_another_key_or_none(random: [u8; 32], at in 0usize..73, with in "[A-Za-z0-9_-]") {
            let (text, put) = known(&random);
            let mut changed = text.clone();
            changed.replace_range(at..=at, &with);
            if changed != text && let Some(presented) = parse(&changed) {
                prop_assert!(check(&presented, Some(&put)).is_err());
            }
        }
    }
}
