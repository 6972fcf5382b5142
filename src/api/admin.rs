//! The routes of administrators: API keys of every namespace (FleetLM's words, below `/api/keys`).
//!
//! Invariant: the text of a key is in the answer to its making and nowhere else; no hash is ever shown. Who may call is the table's affair,
//! and the server asks once more before it sends the command, which carries nobody's access.

use super::auth::keys::{self, KeyText};
use super::error::{ApiError, Kind};
use super::message::bounded_name;
use super::params::Params;
use super::table::routes;
use super::{Context, JSON};
use crate::protocol::http::Response;
use crate::session::{FieldErrors, KeyId, KeyPut, KeyScope, Namespace, rfc3339};
use crate::shard::{KeyCommand, Refusal, Reply};
use serde_json::{Value, json};

/// A method on keys. Ids are as they stand in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// `GET /keys`.
    List,
    /// `POST /keys`.
    Create,
    /// `DELETE /keys/:id`.
    Revoke(&'a str),
}

routes! {
    /// What `method` on a path below `/api` is, if it is about keys.
    pub fn endpoint<'a>(Fleetlm below "/api") -> Endpoint<'a>;

    GET "keys", Admin => Endpoint::List;
    POST "keys", Admin => Endpoint::Create;
    DELETE "keys"/id, Admin => Endpoint::Revoke(id);
}

/// What an administrator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRequest {
    /// All keys.
    List,
    /// A new one.
    Create(KeyDraft),
    /// The end of one.
    Revoke(KeyId),
}

/// A key as it is to be, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDraft {
    name: String,
    namespace: Namespace,
    user: String,
    scope: KeyScope,
}

impl Endpoint<'_> {
    /// The request with these parameters.
    ///
    /// # Errors
    /// The fields that are wrong, by their names.
    pub fn plan(self, params: &Params<'_>) -> Result<KeyRequest, ApiError> {
        match self {
            Self::List => Ok(KeyRequest::List),
            Self::Create => {
                let text = |name| params.text(name);
                KeyDraft::new(text("name"), text("scope"), text("namespace"), text("user")).map(KeyRequest::Create)
            }
            Self::Revoke(id) => KeyId::parse(id).map(KeyRequest::Revoke).ok_or_else(|| Kind::KeyNotFound.into()),
        }
    }
}

impl KeyDraft {
    /// A key of this name; `scope` is `all` and `user` is `default` when they are not given.
    ///
    /// # Errors
    /// The fields that are wrong, by their names.
    pub fn new(
        name: Option<String>,
        scope: Option<String>,
        namespace: Option<String>,
        user: Option<String>,
    ) -> Result<Self, ApiError> {
        let mut wrong = FieldErrors::new();
        let name = name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| {
            wrong.insert("name".to_owned(), vec!["can't be blank".to_owned()]);
            String::new()
        });
        let scope = KeyScope::parse(scope.as_deref().unwrap_or("all")).unwrap_or_else(|| {
            wrong.insert("scope".to_owned(), vec!["must be all, read, agent:<id> or team:<id>".to_owned()]);
            KeyScope::Read
        });
        let namespace = Namespace::parse(namespace.as_deref().unwrap_or("default")).unwrap_or_else(|| {
            wrong.insert("namespace".to_owned(), vec!["must be 1 to 63 letters, digits, '.', '_' or '-'".to_owned()]);
            Namespace::default()
        });
        if !wrong.is_empty() {
            return Err(Refusal::InvalidFields(wrong).into());
        }
        let user = user.filter(|user| !user.trim().is_empty()).unwrap_or_else(|| "default".to_owned());
        bounded_name("name", &name)?;
        bounded_name("user", &user)?;
        Ok(Self { name, namespace, user, scope })
    }

    /// The key with the secret `random`: what is kept of it, and its text.
    pub fn make(self, context: &Context, random: &[u8; 32], is_admin: bool) -> (KeyPut, KeyText) {
        let id = KeyId::from_parts(context.now.unix_us / 1000, context.random);
        let (text, hash) = keys::make(id, random);
        let Self { name, namespace, user, scope } = self;
        let key = KeyPut {
            id,
            hash,
            name,
            namespace: namespace.stored().to_owned(),
            user,
            scope,
            is_admin,
            created_at_us: context.now.unix_us,
            revoked_at_us: None,
        };
        (key, text)
    }
}

impl KeyRequest {
    /// What the directory is asked, and the text of the key that comes of it, if one does.
    pub fn into_command(self, context: &Context, random: &[u8; 32]) -> (KeyCommand, Option<KeyText>) {
        match self {
            Self::List => (KeyCommand::List, None),
            Self::Create(draft) => {
                let (key, text) = draft.make(context, random, false);
                (KeyCommand::Create(Box::new(key)), Some(text))
            }
            Self::Revoke(id) => (KeyCommand::Revoke { id }, None),
        }
    }
}

/// The response to a command of keys; `text` is the new key's.
pub fn respond(reply: Result<Reply, Refusal>, text: Option<&KeyText>) -> Response {
    let (status, body) = match reply {
        Ok(Reply::Keys(keys)) => (200, json!({ "keys": keys.iter().map(shown).collect::<Vec<_>>() })),
        Ok(Reply::Key(key)) => match text {
            Some(text) => (201, json!({ "key": shown(&key), "secret": text.reveal() })),
            None => (200, json!({ "key": shown(&key) })),
        },
        Ok(_) => return ApiError::from(Kind::Internal).response(),
        Err(refusal) => return ApiError::from(refusal).response(),
    };
    Response::new(status).with_body(JSON, body.to_string())
}

/// A key as administrators read it.
pub fn shown(key: &KeyPut) -> Value {
    json!({
        "id": key.id.to_string(),
        "name": key.name,
        "namespace": Namespace::from_stored(&key.namespace).name(),
        "user": key.user,
        "scope": key.scope.text(),
        "is_admin": key.is_admin,
        "created_at": rfc3339(key.created_at_us),
        "revoked_at": key.revoked_at_us.map(rfc3339),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Now;

    const CONTEXT: Context = Context { now: Now { unix_us: 1_761_216_480_123_456, mono_us: 5 }, random: 42, shards: 4 };

    fn draft(name: &str, scope: Option<&str>, namespace: Option<&str>) -> Result<KeyDraft, ApiError> {
        KeyDraft::new(Some(name.to_owned()), scope.map(str::to_owned), namespace.map(str::to_owned), None)
    }

    #[test]
    fn a_key_shows_its_text_once_and_its_hash_never() {
        let request = KeyRequest::Create(draft("shop", Some("agent:bot"), Some("acme")).unwrap());
        let (command, text) = request.into_command(&CONTEXT, &[7; 32]);
        let KeyCommand::Create(key) = command else { panic!() };
        let body = |response: Response| String::from_utf8(response.body.into_vec()).unwrap();
        let made = respond(Ok(Reply::Key(key.clone())), text.as_ref());
        assert_eq!(made.status, 201);
        assert!(body(made).contains(text.as_ref().unwrap().reveal()));
        let listed = body(respond(Ok(Reply::Keys(vec![*key.clone()])), None));
        assert_eq!(keys::check(&keys::parse(text.unwrap().reveal()).unwrap(), Some(&key)), Ok(&*key));
        assert!(listed.contains(r#""namespace":"acme""#) && listed.contains(r#""scope":"agent:bot""#), "{listed}");
        assert!(!listed.contains("flk_") && !listed.contains("hash"), "{listed}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, scope, namespace, field) in
            [(" ", None, None, "name"), ("a", Some("admin"), None, "scope"), ("a", None, Some("a/b"), "namespace")]
        {
            let response = draft(name, scope, namespace).unwrap_err().response();
            let body = String::from_utf8(response.body.into_vec()).unwrap();
            assert_eq!(response.status, 422);
            assert!(body.contains(&format!("\"{field}\"")), "{body}");
        }
        assert_eq!(draft("a", None, None).unwrap().scope, KeyScope::All);
    }
}
