//! Files of a session as a HAPI hub takes and gives them, and the paths under which it names them.
//!
//! Invariant: a path that [`FilePath`] writes is the only one by which it is read, so a file has one name in a session.

use super::refused_response;
use crate::api::error::{ApiError, Kind};
use crate::api::flow::{Answers, Flow, Next, To};
use crate::api::params::Params;
use crate::api::{JSON, Target};
use crate::limits::{BLOB_BYTES_MAX, NAME_BYTES_MAX};
use crate::protocol::http::Response;
use crate::session::{BlobClaimed, BlobReleased, SessionId, hash_of};
use crate::shard::{BlobCommand, Command, Refusal, Reply};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;
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

/// What an upload's body holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Upload {
    /// The name under which the session is to know the file: one that stands in a path as it is.
    pub name: String,
    /// What it is, as the client says.
    pub mime: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    filename: Cow<'a, str>,
    #[serde(borrow)]
    content: Cow<'a, str>,
    #[serde(borrow, rename = "mimeType")]
    mime_type: Cow<'a, str>,
}

impl Upload {
    /// Reads a body: `{filename, content in base64, mimeType}`. It takes its time with a large one.
    ///
    /// # Errors
    /// [`Kind::BodyInvalid`]; [`Kind::FileTooLarge`].
    pub fn read(body: &[u8]) -> Result<Self, ApiError> {
        let Body { filename, content, mime_type } = serde_json::from_slice(body).map_err(|_| Kind::BodyInvalid)?;
        let is_sound = |text: &str| (1..=NAME_BYTES_MAX).contains(&text.len());
        if !is_sound(&filename) || !is_sound(&mime_type) || content.is_empty() {
            return Err(Kind::BodyInvalid.into());
        }
        if content.len() / 4 * 3 > BLOB_BYTES_MAX + 3 {
            return Err(Kind::FileTooLarge.into());
        }
        let bytes = STANDARD.decode(content.as_bytes()).map_err(|_| Kind::BodyInvalid)?;
        if bytes.len() > BLOB_BYTES_MAX {
            return Err(Kind::FileTooLarge.into());
        }
        Ok(Self { name: sound_name(&filename), mime: mime_type.into_owned(), bytes })
    }
}

/// A name of letters, digits, `.`, `_` and `-`, that does not begin with a dot.
fn sound_name(name: &str) -> String {
    let is_sound = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let name: String = name.chars().map(|letter| if is_sound(letter) { letter } else { '_' }).collect();
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => name,
    }
}

/// The answer to an upload that is claimed.
pub fn uploaded(path: &FilePath) -> Response {
    Response::new(200).with_body(JSON, json!({"success": true, "path": path.to_string()}).to_string())
}

/// The answer to one that is not. What is no fault of the request's form says so twice, as the hub does.
pub fn not_uploaded(error: &ApiError) -> Response {
    let response = refused_response(error);
    if response.status != 413 && response.status < 500 {
        return response;
    }
    let body = [b"{\"success\":false,", response.body.get(1..).unwrap_or_default()].concat();
    Response { body: body.into(), ..response }
}

/// The head of the answer to who fetches a file. Browsers are to keep it, not to show it: it is not ours.
pub fn fetched(claim: &BlobClaimed) -> Response {
    let is_sound = !claim.mime.is_empty() && claim.mime.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let mime = if is_sound { claim.mime.clone() } else { "application/octet-stream".to_owned() };
    Response::new(200)
        .with_header("content-type", mime)
        .with_header("content-disposition", format!("attachment; filename=\"{}\"", claim.name))
        .with_header("x-content-type-options", "nosniff")
}

/// The answer to who fetches a file and does not get it.
pub fn not_fetched(error: impl Into<ApiError>) -> Response {
    refused_response(&error.into())
}

/// Gives a file up. Whatever names none of the session's is no success.
#[derive(Debug)]
pub(super) struct Release {
    session: SessionId,
    path: Option<FilePath>,
}

impl Release {
    pub(super) fn of(session: SessionId, params: &Params<'_>) -> Self {
        let path = params.text("path").and_then(|path| FilePath::parse(&path));
        Self { session, path: path.filter(|path| path.session == session) }
    }
}

impl Flow for Release {
    fn step(&mut self, mut answers: Answers) -> Next {
        let session = self.session;
        let said = |success: bool| {
            Next::Respond(Response::new(200).with_body(JSON, json!({ "success": success }).to_string()))
        };
        match (answers.pop().and_then(|mut answer| answer.pop()), self.path.take()) {
            (None, Some(FilePath { hash, name, .. })) => {
                let command = Command::Blob { session, command: BlobCommand::Release(BlobReleased { hash, name }) };
                Next::Ask(vec![(To::One(Target::Owner(session)), command)])
            }
            (None, None) => Next::Ask(vec![(To::One(Target::Owner(session)), Command::ReadSession { id: session })]),
            (Some(Ok(Reply::Done)), _) => said(true),
            (Some(Ok(_) | Err(Refusal::BlobNotFound)), _) => said(false),
            (Some(Err(refusal)), _) => Next::Respond(refused_response(&refusal.into())),
        }
    }
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

    #[test]
    fn a_body_is_read_whole_or_refused() {
        let read = |body: &str| Upload::read(body.as_bytes());
        let body = r#"{"filename":"../a b\u00e4.png","content":"aGk=","mimeType":"image/png","more":1}"#;
        let upload = Upload { name: "_._a_b_.png".into(), mime: "image/png".into(), bytes: b"hi".to_vec() };
        assert_eq!(read(body), Ok(upload));
        for (part, instead) in [
            ("aGk=", ""),
            ("aGk=", "aGk"),
            ("aGk=", "a-k="),
            ("\"image/png\"", "7"),
            ("image/png", ""),
            ("content", "contents"),
            ("{", "["),
        ] {
            assert_eq!(read(&body.replace(part, instead)).unwrap_err().kind(), Kind::BodyInvalid, "{instead}");
        }
        let large = body.replace("aGk=", &"A".repeat(BLOB_BYTES_MAX / 3 * 4 + 16));
        assert_eq!(read(&large).unwrap_err().kind(), Kind::FileTooLarge);
    }

    #[test]
    fn what_is_too_large_or_ours_to_blame_is_no_success_in_so_many_words() {
        let said = |kind: Kind| String::from_utf8(not_uploaded(&kind.into()).body.into_vec()).unwrap();
        assert_eq!(said(Kind::BodyInvalid), r#"{"error":"Invalid body"}"#);
        assert_eq!(said(Kind::FileTooLarge), r#"{"success":false,"error":"File too large"}"#);
    }
}
