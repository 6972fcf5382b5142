//! Who a request comes from and what it may do: API keys, JSON Web Tokens, and what follows from either.
//!
//! Everything here is pure: settings, keys and the time are arguments, and every answer is a value. Reading order: [`principal`]
//! (from a request to who it is, and the questions that routes ask of it), [`keys`] (the text of API keys), [`jwt`] and [`jwks`]
//! (tokens and the keys that verify them), [`verified`] (which need not be verified again), [`exchange`] (the two routes that give
//! tokens for keys), [`rate`] (how often), [`forwarded`] (where from).
//!
//! Invariants: what a secret is compared with is compared in constant time; no secret, token or hash is in any `Debug` output; an
//! error tells the holder of a valid signature or secret only why it does not help him, everybody else just that it does not.
//! Not here: statuses and bodies of refusals, sockets that end with their token, fetching of keys.

pub mod exchange;
pub mod forwarded;
pub mod jwks;
pub mod jwt;
pub mod keys;
pub mod principal;
pub mod rate;
#[cfg(test)]
mod vectors;
pub mod verified;

pub use jwks::KeySet;
pub use jwt::HmacSecret;
pub use principal::{Authority, Keyring, Mode, Principal, Scope, Settings, TokenPlace};
pub use verified::Verified;

use super::table::Class;
use crate::session::Namespace;
use crate::shard::{Access, Reach};

/// Why somebody is not let in, or not let do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no token where one belongs.
    #[error("missing token")]
    Missing,
    /// It is no token, or not one of ours.
    #[error("invalid token")]
    Invalid,
    /// It is not verified by any key that is known; it names one that is not. Fetching the keys anew may help.
    #[error("token of an unknown key")]
    UnknownKey,
    /// It is genuine, and what it says is not enough or not for this server.
    #[error("invalid claims")]
    Claims,
    /// It was good once.
    #[error("token expired")]
    Expired,
    /// It will be good later.
    #[error("token not yet valid")]
    NotYet,
    /// Its key was revoked.
    #[error("key revoked")]
    Revoked,
    /// It is good, but not for this.
    #[error("forbidden")]
    Forbidden,
}

impl AuthError {
    /// Whether the answer is 401 (come again with another token) and not 403.
    pub fn is_unauthenticated(self) -> bool {
        self != Self::Forbidden
    }
}

/// The first bits of a SHA-256 over `parts`, each with its length: no two lists of parts look alike.
fn digest_of(parts: &[&str]) -> u64 {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part.as_bytes());
    }
    let digest = context.finish();
    u64::from_be_bytes(*digest.as_ref().first_chunk().expect("a SHA-256 has 32 bytes"))
}
