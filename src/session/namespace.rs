//! Namespaces: tenants that share a server and nothing else.
//!
//! An id that a client gives (of a user, an agent, a sender) means something within its namespace only. Where ids of several
//! namespaces stand in one table they stand *scoped*: the namespace is part of the text, so that whatever compares scoped texts keeps
//! tenants apart without knowing of them. An id of the default namespace is its own scoped text, so that a server with one tenant
//! keeps, compares and writes what it always did.
//!
//! Invariants: [`Namespace::scoped`] is one-to-one over (namespace, id), and [`split`] is its inverse.

use crate::limits::NAMESPACE_BYTES_MAX;
use std::borrow::Cow;
use std::fmt;

/// Begins a scoped text that is not simply an id, and ends its namespace. A control character: no namespace holds it.
const MARK: char = '\u{1f}';

/// The name under which clients, tokens and keys speak of the default namespace.
pub const DEFAULT_NAMESPACE: &str = "default";

/// One tenant. The default one takes no memory.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Box<str>);

impl Namespace {
    /// Reads a name: 1 to 63 letters, digits, `.`, `_` and `-` of ASCII, of which `default` is the default namespace.
    pub fn parse(name: &str) -> Option<Self> {
        let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > NAMESPACE_BYTES_MAX || !name.bytes().all(is_sound) {
            return None;
        }
        Some(if name == DEFAULT_NAMESPACE { Self::default() } else { Self(name.into()) })
    }

    /// Whether it is the default one.
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        if self.is_default() { DEFAULT_NAMESPACE } else { &self.0 }
    }

    /// As it stands in notes and in front of scoped ids: empty for the default one.
    pub fn stored(&self) -> &str {
        &self.0
    }

    /// Reads what [`Self::stored`] gave, from a note that has verified.
    pub fn from_stored(stored: &str) -> Self {
        Self(stored.into())
    }

    /// `id` of this namespace where ids of all namespaces stand.
    pub fn scoped<'a>(&self, id: &'a str) -> Cow<'a, str> {
        scoped(&self.0, id)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// See [`Namespace::scoped`]; by what [`Namespace::stored`] gives.
pub fn scoped<'a>(stored: &str, id: &'a str) -> Cow<'a, str> {
    if stored.is_empty() && !id.starts_with(MARK) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(format!("{MARK}{stored}{MARK}{id}"))
}

/// Namespace (as [`Namespace::stored`] gives it) and id of a scoped text.
pub fn split(text: &str) -> (&str, &str) {
    text.strip_prefix(MARK).and_then(|rest| rest.split_once(MARK)).unwrap_or(("", text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_short_and_plain_and_default_is_the_default_one() {
        for name in ["acme", "A.b_c-1", &"x".repeat(63)] {
            assert_eq!(Namespace::parse(name).unwrap().name(), name);
        }
        for name in ["", "a b", "ä", "a/b", "a\u{1f}b", "a:b", &"x".repeat(64)] {
            assert_eq!(Namespace::parse(name), None, "{name:?}");
        }
        assert_eq!(Namespace::parse("default"), Some(Namespace::default()));
        assert_eq!(Namespace::default().name(), "default");
    }

    #[test]
    fn an_id_of_the_default_namespace_is_its_own_scoped_text() {
        let (default, acme) = (Namespace::default(), Namespace::parse("acme").unwrap());
        assert!(matches!(default.scoped("alice"), Cow::Borrowed("alice")));
        assert_eq!(acme.scoped("alice"), "\u{1f}acme\u{1f}alice");
    }

    #[test]
    fn an_id_that_looks_scoped_is_not_another_tenants() {
        let (default, acme) = (Namespace::default(), Namespace::parse("acme").unwrap());
        let forged = acme.scoped("alice").into_owned();
        assert_ne!(default.scoped(&forged), acme.scoped("alice"));
        assert_eq!(split(&default.scoped(&forged)), ("", forged.as_str()));
    }

    proptest! {
        #[test]
        fn splitting_is_the_inverse_of_scoping(ns in "(|[a-zA-Z0-9._-]{1,63})", id in "[\u{1f}a-c\u{0}ü]{0,9}") {
            let text = scoped(&ns, &id);
            prop_assert_eq!(split(&text), (ns.as_str(), id.as_str()));
        }
    }
}
