//! Retries that return the first result: the keys of a session's latest messages.
//!
//! A key is scoped to its author and lives as long as its message is among the session's last
//! [`IDEMPOTENCY_WINDOW`](crate::limits::IDEMPOTENCY_WINDOW). The log is the memory: each keyed message's record
//! carries the hash of its key and of its request, so a [`Window`] can be dropped at any time and built again by
//! walking back over the records.

use super::Json;
use hashbrown::HashMap;
use std::collections::VecDeque;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// An author's key, hashed to 128 bits: no two keys of a window meet by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash(pub u128);

impl KeyHash {
    /// The hash of `key` as `author_id` uses it.
    pub fn of(author_id: &str, key: &str) -> Self {
        let mut bytes = Vec::with_capacity(8 + author_id.len() + key.len());
        bytes.extend_from_slice(&(author_id.len() as u64).to_le_bytes()); // so that ("ab", "c") is not ("a", "bc")
        bytes.extend_from_slice(author_id.as_bytes());
        bytes.extend_from_slice(key.as_bytes());
        Self(xxh3_128(&bytes))
    }
}

/// What was asked for under a key: another request under the same key is a client's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The fingerprint of a request to append.
    pub fn of(kind: &str, content: &Json, metadata: &Json) -> Self {
        let mut hash = Xxh3::new();
        for part in [kind, content.as_str(), metadata.as_str()] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.digest())
    }
}

/// What the window says of a keyed append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Not seen: append it.
    Fresh,
    /// The same request was appended at this seq.
    Replay {
        /// Where.
        seq: u64,
    },
    /// The key stands for another request, which was appended at this seq.
    Mismatch {
        /// Where.
        seq: u64,
    },
}

/// The keys of one session's latest messages.
#[derive(Debug, Default)]
pub struct Window {
    by_key: HashMap<KeyHash, (u64, Fingerprint)>,
    /// Ascending by seq; the front is forgotten first.
    by_seq: VecDeque<(u64, KeyHash)>,
}

impl Window {
    /// Looks `key` up, given that the session's next seq is `next_seq`.
    pub fn look_up(&self, key: KeyHash, fingerprint: Fingerprint, next_seq: u64, window: u64) -> Lookup {
        match self.by_key.get(&key) {
            Some(&(seq, _)) if seq + window < next_seq => Lookup::Fresh,
            Some(&(seq, known)) if known == fingerprint => Lookup::Replay { seq },
            Some(&(seq, _)) => Lookup::Mismatch { seq },
            None => Lookup::Fresh,
        }
    }

    /// Remembers the key of the message at `seq`, which is above all remembered so far, and forgets what left the
    /// window.
    pub fn insert(&mut self, seq: u64, key: KeyHash, fingerprint: Fingerprint, window: u64) {
        self.by_key.insert(key, (seq, fingerprint));
        self.by_seq.push_back((seq, key));
        self.forget_before((seq + 1).saturating_sub(window));
    }

    /// Remembers a key found while walking back: `seq` is below all remembered so far.
    pub fn insert_older(&mut self, seq: u64, key: KeyHash, fingerprint: Fingerprint) {
        // A key that was used again after it had left the window stands for its latest message.
        if let hashbrown::hash_map::Entry::Vacant(vacant) = self.by_key.entry(key) {
            vacant.insert((seq, fingerprint));
            self.by_seq.push_front((seq, key));
        }
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.by_seq.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_seq.is_empty()
    }

    fn forget_before(&mut self, first_seq: u64) {
        while let Some(&(seq, key)) = self.by_seq.front()
            && seq < first_seq
        {
            self.by_seq.pop_front();
            if self.by_key.get(&key).is_some_and(|&(known, _)| known == seq) {
                self.by_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 4;

    fn key(text: &str) -> KeyHash {
        KeyHash::of("alice", text)
    }

    #[test]
    fn a_key_belongs_to_its_author() {
        assert_ne!(KeyHash::of("alice", "k"), KeyHash::of("bob", "k"));
        assert_ne!(KeyHash::of("ab", "c"), KeyHash::of("a", "bc"));
    }

    #[test]
    fn a_fingerprint_covers_kind_content_and_metadata() {
        let (a, b) = (Json::parse(r#"{"a":1}"#).unwrap(), Json::parse(r#"{"b":1}"#).unwrap());
        let one = Fingerprint::of("text", &a, &b);
        assert_eq!(one, Fingerprint::of("text", &a, &b));
        assert_ne!(one, Fingerprint::of("text", &b, &a));
        assert_ne!(one, Fingerprint::of("tool", &a, &b));
    }

    #[test]
    fn the_same_request_is_replayed_and_another_is_refused() {
        let mut window = Window::default();
        assert_eq!(window.look_up(key("k"), Fingerprint(1), 1, WINDOW), Lookup::Fresh);
        window.insert(1, key("k"), Fingerprint(1), WINDOW);
        assert_eq!(window.look_up(key("k"), Fingerprint(1), 2, WINDOW), Lookup::Replay { seq: 1 });
        assert_eq!(window.look_up(key("k"), Fingerprint(2), 2, WINDOW), Lookup::Mismatch { seq: 1 });
    }

    #[test]
    fn a_key_is_forgotten_when_its_message_leaves_the_window() {
        let mut window = Window::default();
        window.insert(1, key("k"), Fingerprint(1), WINDOW);
        // Messages 2 to 4 carried no key; the window of four still holds 1.
        assert_eq!(window.look_up(key("k"), Fingerprint(1), 5, WINDOW), Lookup::Replay { seq: 1 });
        assert_eq!(window.look_up(key("k"), Fingerprint(1), 6, WINDOW), Lookup::Fresh);
        window.insert(6, key("k"), Fingerprint(2), WINDOW);
        assert_eq!(window.len(), 1);
        assert_eq!(window.look_up(key("k"), Fingerprint(2), 7, WINDOW), Lookup::Replay { seq: 6 });
    }

    #[test]
    fn a_window_built_by_walking_back_equals_the_one_built_forward() {
        let (mut forward, mut back) = (Window::default(), Window::default());
        let appended = [(1, "a"), (2, "b"), (4, "c"), (6, "a"), (7, "d")];
        for (seq, name) in appended {
            forward.insert(seq, key(name), Fingerprint(seq), WINDOW);
        }
        for (seq, name) in appended.into_iter().rev().filter(|&(seq, _)| seq + WINDOW > 7) {
            back.insert_older(seq, key(name), Fingerprint(seq));
        }
        for name in ["a", "b", "c", "d"] {
            for fingerprint in 1..8 {
                let fingerprint = Fingerprint(fingerprint);
                let forward = forward.look_up(key(name), fingerprint, 8, WINDOW);
                assert_eq!(forward, back.look_up(key(name), fingerprint, 8, WINDOW));
            }
        }
        assert_eq!(forward.len(), back.len());
    }
}
