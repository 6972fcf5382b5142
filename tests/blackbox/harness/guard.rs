//! A server that asks for tokens, and the keys and tokens that open it. Tokens are signed here by code of their own (RFC 7515).

use super::{Answer, Folder, Options, Server, Value, json};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// The administrator's key.
pub const ADMIN: &str = "flk_01K6GR2EV9Z7PSMEVVJ5M954CH_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdA";
/// What signs tokens.
pub const SECRET: &str = "a secret of the operator's that is long enough for a hash";

/// A server with `--auth required`, an administrator and a secret for tokens.
pub struct Guarded {
    pub server: Server,
    pub folder: Folder,
}

impl Guarded {
    pub fn start(flags: &[&str]) -> Self {
        let folder = Folder::new();
        let server = Self::on(folder.path(), flags);
        Self { server, folder }
    }

    /// The same with one shard, for what is counted by shards.
    pub fn single(flags: &[&str]) -> Self {
        let folder = Folder::new();
        let server = Self::on_with(folder.path(), Options::shards(1).flags(flags));
        Self { server, folder }
    }

    /// The same on a folder that is there.
    pub fn on(folder: &Path, flags: &[&str]) -> Server {
        Self::on_with(folder, Options::default().flags(flags))
    }

    fn on_with(folder: &Path, options: Options) -> Server {
        let (admin, secret) = (folder.join("admin.key"), folder.join("jwt.secret"));
        fs::write(&admin, format!("{ADMIN}\n")).expect("a file");
        fs::write(&secret, SECRET).expect("a file");
        let path = |path: &Path| path.to_str().expect("a path of ours is text").to_owned();
        let options = options.flags(&["--auth", "required"]);
        let options = options.flags(&["--admin-key-file", &path(&admin)]).flags(&["--jwt-secret-file", &path(&secret)]);
        Server::on(&folder.join("data"), &options)
    }

    /// One request with this token.
    pub fn call(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        call_as(&self.server, token, method, path, body)
    }

    /// Makes a key and gives its id and its text.
    #[track_caller]
    pub fn key(&self, fields: &Value) -> (String, String) {
        let made = self.call(ADMIN, "POST", "/api/keys", Some(fields)).expect(201);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        (text(&made["key"]["id"]), text(&made["secret"]))
    }
}

pub fn call_as(server: &Server, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
    server.call(method, path, &[("authorization", &format!("Bearer {token}"))], body)
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("the clock stands after 1970").as_secs()
}

/// A token of this user in this namespace, good for so many seconds.
pub fn user_token(namespace: &str, user: &str, life_s: u64) -> String {
    signed(&json!({"alg": "HS256"}), &json!({"sub": user, "ns": namespace, "exp": now_s() + life_s}))
}

/// A token with this header and these claims.
pub fn signed(header: &Value, claims: &Value) -> String {
    signed_text(&header.to_string(), &claims.to_string(), SECRET)
}

/// The same from texts, signed with this secret.
pub fn signed_text(header: &str, claims: &str, secret: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length will do");
    mac.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}
