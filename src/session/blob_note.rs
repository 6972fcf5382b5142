//! Notes of files: that a session claims one, and that it gives one up. The bytes are elsewhere, under their hash.
//!
//! Invariant: a claim stands in the log behind the file it names, which was on the disk before.

use serde::{Deserialize, Serialize};

/// Payload of [`kind::BLOB_CLAIMED`](super::kind::BLOB_CLAIMED).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobClaimed {
    /// SHA-256 of the bytes, 64 hexadecimal digits.
    #[serde(with = "hex")]
    pub hash: [u8; 32],
    /// How many.
    pub bytes: u64,
    /// The name under which the session knows them.
    pub name: String,
    /// What they are, as the client said.
    pub mime: String,
}

/// Payload of [`kind::BLOB_RELEASED`](super::kind::BLOB_RELEASED).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobReleased {
    /// SHA-256 of the bytes.
    #[serde(with = "hex")]
    pub hash: [u8; 32],
    /// The name under which the session knew them.
    pub name: String,
}

impl BlobClaimed {
    /// The payload's bytes.
    pub fn render(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of plain fields always has a JSON form")
    }

    /// Reads a payload. `None`: it is not one.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

impl BlobReleased {
    /// The payload's bytes.
    pub fn render(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of plain fields always has a JSON form")
    }

    /// Reads a payload. `None`: it is not one.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

/// A hash as a text.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::fmt::Write;

    pub(super) fn serialize<S: Serializer>(hash: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(64);
        hash.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a String takes it"));
        to.serialize_str(&text)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        super::hash_of(&text).ok_or_else(|| D::Error::custom("not 64 hexadecimal digits in lower case"))
    }
}

/// The hash that 64 hexadecimal digits in lower case are.
pub fn hash_of(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_of_files_are_these_bytes_and_read_back() {
        let digits = "ab".repeat(32);
        let claimed = BlobClaimed { hash: [0xab; 32], bytes: 7, name: "d.png".into(), mime: "image/png".into() };
        let expected = format!(r#"{{"hash":"{digits}","bytes":7,"name":"d.png","mime":"image/png"}}"#);
        assert_eq!(String::from_utf8(claimed.render()).unwrap(), expected);
        assert_eq!(BlobClaimed::parse(expected.as_bytes()), Some(claimed));
        let released = BlobReleased { hash: [0xab; 32], name: "d.png".into() };
        let expected = format!(r#"{{"hash":"{digits}","name":"d.png"}}"#);
        assert_eq!(String::from_utf8(released.render()).unwrap(), expected);
        assert_eq!(BlobReleased::parse(expected.as_bytes()), Some(released));
    }

    #[test]
    fn a_hash_is_64_digits_in_lower_case() {
        for text in ["", &"AB".repeat(32), &"ab".repeat(31), &format!("{}a", "ab".repeat(32)), &"xy".repeat(32)] {
            assert_eq!(hash_of(text), None, "{text}");
        }
    }
}
