//! Ids of sessions, messages, runs and keys: ULIDs (26 characters, Crockford base 32), opaque to clients.

use std::fmt;
use ulid::Ulid;

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Ulid);

        impl $name {
            /// A fresh id: 48 bits of `unix_ms`, 80 bits of `random` (the low ones are used).
            pub fn from_parts(unix_ms: u64, random: u128) -> Self {
                Self(Ulid::from_parts(unix_ms, random))
            }

            /// Reads the canonical upper-case text of 26 characters and nothing else, so that one id has one spelling.
            pub fn parse(text: &str) -> Option<Self> {
                let ulid = Ulid::from_string(text).ok()?;
                let mut canonical = [0; ulid::ULID_LEN];
                (ulid.array_to_str(&mut canonical) == text).then_some(Self(ulid))
            }

            /// The id as a number, as it stands in records.
            pub fn to_u128(self) -> u128 {
                self.0.into()
            }
        }

        impl From<u128> for $name {
            fn from(bits: u128) -> Self {
                Self(Ulid::from(bits))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

ulid_id!(
    /// Names a session. Also its key in the log.
    SessionId
);
ulid_id!(
    /// Names a message.
    MessageId
);

ulid_id!(
    /// Names an API key. Not secret.
    KeyId
);

ulid_id!(
    /// Names a run: the work that a user's messages trigger. Ascending within a session.
    RunId
);

/// Below every run.
impl Default for RunId {
    fn default() -> Self {
        Self::from(0)
    }
}

impl RunId {
    /// The id just above this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self::from(self.to_u128().saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        let id = SessionId::from_parts(1_700_000_000_000, 42);
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        assert_eq!(SessionId::parse(&id.to_string().to_lowercase()), None);
        assert_eq!(SessionId::parse(""), None);
        assert_eq!(SessionId::parse("01K6GR2EV9Z7PSMEVVJ5M954C"), None);
        assert_eq!(SessionId::parse("ZZZZZZZZZZZZZZZZZZZZZZZZZZ"), None);
    }
}
