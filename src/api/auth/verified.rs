//! Tokens that were verified a moment ago: clients send the same one with every request, and a signature costs up to a tenth of a
//! millisecond.
//!
//! Invariants: only what was verified is remembered, by the hash of the whole token; its times, audience and issuer are looked at each
//! time, so nothing holds longer than it says; what it was verified with is the caller's to know, who [forgets](Verified::forget) all when
//! that changes. Keys that end are looked at each time as well, in `principal`.

use super::AuthError;
use super::jwt::{self, Claims, Trust};
use crate::limits::{TOKEN_BYTES_MAX, TOKENS_CACHED_MAX};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

type Digest = [u8; 32];

/// See the top of the file.
#[derive(Default)]
pub struct Verified {
    lately: RefCell<Lately>,
}

#[derive(Default)]
struct Lately {
    claims: BTreeMap<Digest, Claims>,
    /// The same, the oldest first.
    order: VecDeque<Digest>,
}

impl fmt::Debug for Verified {
    /// Without what the tokens say.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("tokens", &self.lately.borrow().order.len()).finish()
    }
}

impl Verified {
    /// What [`jwt::verify`] says of `token`.
    ///
    /// # Errors
    /// Those of [`jwt::verify`].
    pub fn claims(&self, token: &str, trust: &Trust<'_>, now_us: u64) -> Result<Claims, AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::Invalid);
        }
        let digest = digest_of(token);
        if let Some(claims) = self.lately.borrow().claims.get(&digest) {
            return claims.check(trust, now_us).map(|()| claims.clone());
        }
        let claims = jwt::verify(token, trust, now_us)?;
        self.lately.borrow_mut().remember(digest, claims.clone());
        Ok(claims)
    }

    /// All have to be verified again.
    pub fn forget(&self) {
        *self.lately.borrow_mut() = Lately::default();
    }
}

impl Lately {
    /// The oldest makes room: it is verified again if it comes again.
    fn remember(&mut self, digest: Digest, claims: Claims) {
        if self.order.len() >= TOKENS_CACHED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.claims.remove(&oldest);
        }
        self.claims.insert(digest, claims);
        self.order.push_back(digest);
    }
}

fn digest_of(token: &str) -> Digest {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::super::{HmacSecret, KeySet};
    use super::*;

    const NOW_S: u64 = 1_800_000_000;
    const US_PER_S: u64 = 1_000_000;

    fn secret(byte: u8) -> HmacSecret {
        HmacSecret::new(&[byte; 32]).unwrap()
    }

    fn claims(sub: &str) -> Claims {
        Claims { sub: Some(sub.to_owned()), exp: NOW_S + 60, ..Claims::default() }
    }

    fn with<'a>(secret: &'a HmacSecret, keys: &'a KeySet) -> Trust<'a> {
        Trust { secret, keys, audience: None, issuer: None }
    }

    fn remembered(verified: &Verified) -> usize {
        let lately = verified.lately.borrow();
        assert_eq!(lately.claims.len(), lately.order.len());
        lately.order.len()
    }

    #[test]
    fn a_token_is_verified_once_and_its_times_each_time() {
        let (ours, theirs, keys, verified) = (secret(7), secret(8), KeySet::default(), Verified::default());
        let token = jwt::sign(&ours, &claims("alice"));
        let at = |now_s: u64| verified.claims(&token, &with(&ours, &keys), now_s * US_PER_S);
        assert_eq!(at(NOW_S), Ok(claims("alice")));
        // With another secret its signature would not hold: it is not looked at until all is forgotten.
        assert_eq!(verified.claims(&token, &with(&theirs, &keys), NOW_S * US_PER_S), Ok(claims("alice")));
        assert_eq!(
            (at(NOW_S + 60 + crate::limits::TOKEN_LEEWAY_S), remembered(&verified)),
            (Err(AuthError::Expired), 1)
        );
        let for_us = Trust { audience: Some("us"), ..with(&ours, &keys) };
        assert_eq!(verified.claims(&token, &for_us, NOW_S * US_PER_S), Err(AuthError::Claims));
        verified.forget();
        assert_eq!(verified.claims(&token, &with(&theirs, &keys), NOW_S * US_PER_S), Err(AuthError::Invalid));
        assert_eq!(remembered(&verified), 0, "what is not genuine is not remembered");
    }

    #[test]
    fn one_letter_makes_another_token() {
        let (ours, keys, verified) = (secret(7), KeySet::default(), Verified::default());
        let token = jwt::sign(&ours, &claims("alice"));
        verified.claims(&token, &with(&ours, &keys), NOW_S * US_PER_S).unwrap();
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            if other != token {
                assert!(verified.claims(&other, &with(&ours, &keys), NOW_S * US_PER_S).is_err(), "{at}");
            }
        }
    }

    #[test]
    fn the_oldest_make_room() {
        let (ours, keys, verified) = (secret(7), KeySet::default(), Verified::default());
        for n in 0..TOKENS_CACHED_MAX + 10 {
            let token = jwt::sign(&ours, &claims(&n.to_string()));
            verified.claims(&token, &with(&ours, &keys), NOW_S * US_PER_S).unwrap();
        }
        assert_eq!(remembered(&verified), TOKENS_CACHED_MAX);
        assert_eq!(format!("{verified:?}"), format!("Verified {{ tokens: {TOKENS_CACHED_MAX} }}"));
    }
}
