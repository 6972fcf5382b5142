//! The tenant and the access of a caller, in the shape in which `session` and `shard` take them.
//!
//! Owns only the words that [`principal`](super::principal) answers in; what they admit is decided where commands are run.

/// Bytes of a namespace's name.
const NAMESPACE_BYTES_MAX: usize = 63;
/// The name under which clients, tokens and keys speak of the default namespace.
const DEFAULT_NAMESPACE: &str = "default";

/// One tenant. The default one takes no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// Its name.
    pub fn name(&self) -> &str {
        if self.0.is_empty() { DEFAULT_NAMESPACE } else { &self.0 }
    }

    /// As it stands in notes: empty for the default one.
    pub fn stored(&self) -> &str {
        &self.0
    }

    /// Reads what [`Self::stored`] gave, from a note that has verified.
    pub fn from_stored(stored: &str) -> Self {
        Self(stored.into())
    }
}

/// What the caller of a command may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The tenant whose ids the command names.
    pub namespace: Namespace,
    /// Whose sessions.
    pub reach: Reach,
    /// This session only.
    pub session: Option<crate::session::SessionId>,
    /// Nothing that changes anything.
    pub reads_only: bool,
}

/// Which sessions of its namespace a caller reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All.
    #[default]
    All,
    /// Those whose user or agent it is; it acts as itself only.
    Party(Box<str>),
    /// Those with this agent or team.
    Agent(Box<str>),
}
