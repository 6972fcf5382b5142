//! API keys as the log keeps them: who may come in with a key, and what for.
//!
//! Invariant: nothing here can be used to come in. A note holds the SHA-256 of a key's secret, never the secret; of 256 random bits
//! a slow hash would protect nothing that a fast one does not. A revoked key is the same note again with the time of its end, so
//! folding notes in the log's order, or one twice, ends in the same state.
//! Not here: the text of keys and how they are compared (`api::auth::keys`).

use super::KeyId;
use crate::limits::NAME_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// What a key may be used for, within its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyScope {
    /// Everything that clients do, as any user.
    All,
    /// Reading everything.
    Read,
    /// The sessions of one agent.
    Agent(String),
    /// The sessions of one team.
    Team(String),
}

impl KeyScope {
    /// Reads `all`, `read`, `agent:<id>` or `team:<id>`, as keys, tokens and notes spell it. `None`: it is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        let id = |id: &str| (1..=NAME_BYTES_MAX).contains(&id.len()).then(|| id.to_owned());
        match text.split_once(':') {
            None if text == "all" => Some(Self::All),
            None if text == "read" => Some(Self::Read),
            Some(("agent", agent)) => id(agent).map(Self::Agent),
            Some(("team", team)) => id(team).map(Self::Team),
            _ => None,
        }
    }

    /// What [`Self::parse`] reads.
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            Self::All => "all".into(),
            Self::Read => "read".into(),
            Self::Agent(agent) => format!("agent:{agent}").into(),
            Self::Team(team) => format!("team:{team}").into(),
        }
    }
}

/// SHA-256 of a key's secret. `==` is for notes; whoever lets somebody in compares in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    fn to_hex(self) -> String {
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).expect("four bits are one hexadecimal digit");
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// Reads 64 lower-case digits, which is what [`Self::to_hex`] writes.
    fn from_hex(text: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        });
        pairs.collect::<Option<Vec<u8>>>()?.try_into().ok().map(Self)
    }
}

/// Shows nothing: logs need no hashes.
impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// Content of [`KEY_PUT`](super::kind::KEY_PUT): a key as it is from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPut {
    /// Its name in requests and lists.
    pub id: KeyId,
    /// Of the secret that its owner has.
    pub hash: SecretHash,
    /// What people call it.
    pub name: String,
    /// The namespace it belongs to, as stored: empty for the default one.
    pub namespace: String,
    /// The user it acts as when a request names none.
    pub user: String,
    /// What it may be used for.
    pub scope: KeyScope,
    /// Whether it may make and revoke keys, and act in every namespace.
    pub is_admin: bool,
    /// Microseconds since 1970.
    pub created_at_us: u64,
    /// Microseconds since 1970; from then on it opens nothing.
    pub revoked_at_us: Option<u64>,
}

/// The note's JSON, in the order in which it is written.
#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    hash: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_admin: bool,
    created_at_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at_us: Option<u64>,
}

impl KeyPut {
    /// The payload's bytes.
    pub fn render(&self) -> Vec<u8> {
        let plain = Plain {
            id: self.id.to_string().into(),
            hash: self.hash.to_hex().into(),
            name: self.name.as_str().into(),
            namespace: self.namespace.as_str().into(),
            user: self.user.as_str().into(),
            scope: self.scope.text(),
            is_admin: self.is_admin,
            created_at_us: self.created_at_us,
            revoked_at_us: self.revoked_at_us,
        };
        serde_json::to_vec(&plain).expect("a struct of plain fields always has a JSON form")
    }

    /// Reads a payload. `None`: it is not one.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let plain: Plain<'_> = serde_json::from_slice(payload).ok()?;
        Some(Self {
            id: KeyId::parse(&plain.id)?,
            hash: SecretHash::from_hex(&plain.hash)?,
            name: plain.name.into_owned(),
            namespace: plain.namespace.into_owned(),
            user: plain.user.into_owned(),
            scope: KeyScope::parse(&plain.scope)?,
            is_admin: plain.is_admin,
            created_at_us: plain.created_at_us,
            revoked_at_us: plain.revoked_at_us,
        })
    }

    /// The same key, which opens nothing from `now_us` on. One that was revoked before stays as it was.
    #[must_use]
    pub fn revoked(&self, now_us: u64) -> Self {
        Self { revoked_at_us: self.revoked_at_us.or(Some(now_us)), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    fn key() -> KeyPut {
        KeyPut {
            id: KeyId::from_parts(1_761_216_480_123, 7),
            hash: SecretHash([0xab; 32]),
            name: "shop \"1\"".into(),
            namespace: String::new(),
            user: "default".into(),
            scope: KeyScope::All,
            is_admin: false,
            created_at_us: 1_761_216_480_123_456,
            revoked_at_us: None,
        }
    }

    #[test]
    fn a_key_of_the_default_namespace_is_written_without_what_it_has_not() {
        let expected = format!(
            r#"{{"id":"{}","hash":"{}","name":"shop \"1\"","user":"default","scope":"all","created_at_us":1761216480123456}}"#,
            key().id,
            "ab".repeat(32)
        );
        assert_eq!(String::from_utf8(key().render()).unwrap(), expected);
        assert_eq!(KeyPut::parse(expected.as_bytes()), Some(key()));
    }

    #[test]
    fn a_revoked_key_of_a_tenant_is_written_with_everything() {
        let key = KeyPut {
            hash: SecretHash([0; 32]),
            namespace: "acme".into(),
            user: "root".into(),
            scope: KeyScope::Agent("a:b".into()),
            is_admin: true,
            ..key()
        }
        .revoked(1_761_216_480_999_999);
        let expected = format!(
            r#"{{"id":"{}","hash":"{ZEROS}","name":"shop \"1\"","namespace":"acme","user":"root","scope":"agent:a:b","is_admin":true,"created_at_us":1761216480123456,"revoked_at_us":1761216480999999}}"#,
            key.id
        );
        assert_eq!(String::from_utf8(key.render()).unwrap(), expected);
        assert_eq!(KeyPut::parse(expected.as_bytes()), Some(key));
    }

    #[test]
    fn a_key_ends_once() {
        let ended = key().revoked(5);
        assert_eq!(ended.revoked(9), ended);
        assert_eq!(ended.revoked_at_us, Some(5));
    }

    #[test]
    fn what_is_no_such_note_is_none() {
        let text = String::from_utf8(key().render()).unwrap();
        let hash = "ab".repeat(32);
        for bad in [
            "{}".to_owned(),
            text.replace(&hash, &hash[1..]),
            text.replace(&hash, &hash[2..]),
            text.replace(&hash, &hash.to_uppercase()),
            text.replace("\"all\"", "\"everything\""),
            text.replace(&key().id.to_string(), "x"),
        ] {
            assert_eq!(KeyPut::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_scope_has_one_spelling() {
        for text in ["all", "read", "agent:a", "agent:a:b", "team:t", "agent: "] {
            assert_eq!(KeyScope::parse(text).unwrap().text(), text);
        }
        for text in [
            "",
            "All",
            "all ",
            "agent",
            "agent:",
            "team:",
            "user:x",
            "all:x",
            "read:",
            &format!("team:{}", "x".repeat(256)),
        ] {
            assert_eq!(KeyScope::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_hash_is_not_shown() {
        let shown = format!("{:?}", key());
        assert!(!shown.contains("171") && !shown.contains("abab"), "{shown}");
    }

    proptest! {
        #[test]
        fn every_key_reads_back(hash: [u8; 32], name in "\\PC{0,9}", user in "\\PC{1,9}", end: Option<u64>, is_admin: bool) {
            let key = KeyPut { hash: SecretHash(hash), name, user, is_admin, revoked_at_us: end, ..key() };
            prop_assert_eq!(KeyPut::parse(&key.render()), Some(key));
        }
    }
}
