//! Files of a session as a HAPI hub takes and gives them, and the paths under which it names them.
//!
//! Invariant: a path that [`FilePath`] writes is the only one by which it is read, so a file has one name in a session.

use crate::session::SessionId;
use std::fmt;

/// Where a file is fetched, relative to the server: `api/sessions/<id>/files/<SHA-256>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath {
    /// The session that claims it.
    pub session: SessionId,
    /// SHA-256 of its bytes.
    pub hash: [u8; 32],
    /// Its name, as it stands in the path.
    pub name: String,
}

impl FilePath {
    /// Reads a path, with or without a slash before it. `None`: it is no file of this server.
    pub fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (session, rest) = path.strip_prefix("api/sessions/")?.split_once("/files/")?;
        let (hash, name) = rest.split_once('/')?;
        if name.is_empty() || name.contains('/') {
            return None;
        }
        Some(Self { session: SessionId::parse(session)?, hash: hash_of(hash)?, name: name.to_owned() })
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "api/sessions/{}/files/", self.session)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "/{}", self.name)
    }
}

/// The hash that 64 hexadecimal digits in lower case are.
pub(super) fn hash_of(text: &str) -> Option<[u8; 32]> {
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
    fn a_files_path_reads_back_and_nothing_else_is_one() {
        let path = FilePath { session: SessionId::from_parts(1, 2), hash: [0xab; 32], name: "a%20b.png".into() };
        let text = path.to_string();
        assert_eq!(FilePath::parse(&text).as_ref(), Some(&path));
        assert_eq!(FilePath::parse(&format!("/{text}")), Some(path));
        for other in [
            "/tmp/hapi-upload-abc123-design.png",
            "",
            &text[1..],
            &format!("{text}/x"),
            &text.replace("ab", "AB"),
            &text.replace("a%20b.png", ""),
            &text.replace("/files/", "/upload/"),
        ] {
            assert_eq!(FilePath::parse(other), None, "{other}");
        }
    }
}
