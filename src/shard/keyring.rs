//! The API keys: every shard knows all of them, so that each can say at once who asks; the directory's shard also decides on new ones.
//!
//! Invariants: `known` holds durable notes only; `pending` those that were appended and are not yet durable, on the directory's shard.
//! A key changes once, when it is revoked, and is never forgotten: notes may be folded in any order and more than once.
//! Not here: what a key is compared with, and what it permits (`api::auth`).

use super::{KeyCommand, Refusal, Reply};
use crate::limits::{KEYS_MAX, KEYS_REVOKED_MAX, NAMESPACE_KEYS_MAX, NAMESPACE_KEYS_REVOKED_MAX};
use crate::session::{KeyId, KeyPut};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, VecDeque};

/// See the file's head.
#[derive(Debug, Default)]
pub struct Keyring {
    known: BTreeMap<KeyId, KeyPut>,
    pending: VecDeque<KeyPut>,
}

/// What a [`KeyCommand`] comes to.
#[derive(Debug, PartialEq)]
pub(super) enum KeyDecision {
    /// Answer this.
    Reply(Reply),
    /// Append this note, then [`Keyring::push`] it.
    Put(Box<KeyPut>),
    /// Refuse. If notes are pending, the refusal may rest on them.
    Refuse(Refusal),
}

impl Keyring {
    /// The key of this id, revoked or not.
    pub fn key(&self, id: KeyId) -> Option<&KeyPut> {
        self.known.get(&id)
    }

    /// Every key, oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &KeyPut> {
        self.known.values()
    }

    pub(super) fn decide(&self, command: &KeyCommand, now_us: u64) -> KeyDecision {
        match command {
            KeyCommand::List => KeyDecision::Reply(Reply::Keys(self.all().cloned().collect())),
            KeyCommand::Create(key) if self.latest(key.id).is_some() => KeyDecision::Refuse(Refusal::SessionExists),
            KeyCommand::Create(key) => match self.full_for(&key.namespace) {
                Some((what, max)) => KeyDecision::Refuse(Refusal::Full { what, max }),
                None => KeyDecision::Put(key.clone()),
            },
            KeyCommand::Revoke { id } => match self.latest(*id) {
                Some(key) => KeyDecision::Put(Box::new(key.revoked(now_us))),
                None => KeyDecision::Refuse(Refusal::KeyNotFound),
            },
        }
    }

    /// What has no room for another key of this namespace, and its bound. The default namespace is the operator's own.
    fn full_for(&self, namespace: &str) -> Option<(&'static str, usize)> {
        let counts = |is_counted: &dyn Fn(&KeyPut) -> bool| {
            let keys = self.known.values().chain(&self.pending).filter(|key| is_counted(key));
            keys.fold((0, 0), |(open, revoked), key| match key.revoked_at_us {
                None => (open + 1, revoked),
                Some(_) => (open, revoked + 1),
            })
        };
        let (open, revoked) = counts(&|_| true);
        let (open_here, revoked_here) = counts(&|key| !namespace.is_empty() && key.namespace == namespace);
        [
            ("the list of keys", open, KEYS_MAX),
            ("the list of revoked keys", revoked, KEYS_REVOKED_MAX),
            ("the namespace's list of keys", open_here, NAMESPACE_KEYS_MAX),
            ("the namespace's list of revoked keys", revoked_here, NAMESPACE_KEYS_REVOKED_MAX),
        ]
        .into_iter()
        .find(|(_, count, max)| count >= max)
        .map(|(what, _, max)| (what, max))
    }

    /// Remembers a note that was appended.
    pub(super) fn push(&mut self, note: KeyPut) {
        self.pending.push_back(note);
    }

    /// The oldest pending note became durable.
    ///
    /// # Panics
    /// If no note is pending: commits come in the order of appends.
    pub(super) fn commit(&mut self) -> KeyPut {
        let note = self.pending.pop_front().expect("a commit follows its append");
        self.fold(note.clone());
        note
    }

    /// The log was poisoned: what is pending will never be durable.
    pub(super) fn forget_pending(&mut self) {
        self.pending.clear();
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes in a durable note.
    pub(super) fn fold(&mut self, note: KeyPut) {
        let known = self.known.entry(note.id).or_insert_with(|| note.clone());
        if let Some(revoked_at_us) = note.revoked_at_us {
            known.revoked_at_us = Some(known.revoked_at_us.map_or(revoked_at_us, |known| known.min(revoked_at_us)));
        }
    }

    /// Adds itself to the JSON object in `out`, or begins one; nothing when there is no key. Pending notes included: a snapshot counts
    /// only once they are durable.
    pub(super) fn to_snapshot(&self, out: &mut Vec<u8>) {
        if self.known.is_empty() && self.pending.is_empty() {
            return;
        }
        let mut whole = Self { known: self.known.clone(), pending: VecDeque::new() };
        self.pending.iter().for_each(|note| whole.fold(note.clone()));
        let begun = out.pop().is_some(); // the object's end
        out.extend_from_slice(if begun { b",\"keys\":[" } else { b"{\"keys\":[" });
        for (n, key) in whole.all().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&key.render());
        }
        out.extend_from_slice(b"]}");
    }

    /// Takes in what [`Self::to_snapshot`] wrote. `None`: the bytes are not that.
    pub(super) fn fold_snapshot(&mut self, state: &[u8]) -> Option<()> {
        #[derive(Deserialize)]
        struct Part<'a> {
            #[serde(borrow, default)]
            keys: Vec<&'a RawValue>,
        }
        for note in serde_json::from_slice::<Part<'_>>(state).ok()?.keys {
            self.fold(KeyPut::parse(note.get().as_bytes())?);
        }
        Some(())
    }

    /// The key as it will be when everything pending is durable.
    fn latest(&self, id: KeyId) -> Option<&KeyPut> {
        self.pending.iter().rev().find(|note| note.id == id).or_else(|| self.known.get(&id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{KeyScope, SecretHash};

    fn key(number: u128) -> KeyPut {
        KeyPut {
            id: KeyId::from(number),
            hash: SecretHash([7; 32]),
            name: "shop".into(),
            namespace: "acme".into(),
            user: "robot".into(),
            scope: KeyScope::All,
            is_admin: false,
            created_at_us: 5,
            revoked_at_us: None,
        }
    }

    fn put(ring: &mut Keyring, command: KeyCommand) -> bool {
        match ring.decide(&command, 9) {
            KeyDecision::Put(note) => {
                ring.push(*note);
                true
            }
            _ => false,
        }
    }

    fn create(number: u128) -> KeyCommand {
        KeyCommand::Create(Box::new(key(number)))
    }

    fn revoke(number: u128) -> KeyCommand {
        KeyCommand::Revoke { id: KeyId::from(number) }
    }

    #[test]
    fn a_key_opens_nothing_before_its_note_is_durable_and_is_closed_from_its_revocation_on() {
        let mut ring = Keyring::default();
        assert!(put(&mut ring, create(1)) && ring.key(KeyId::from(1)).is_none());
        assert!(!put(&mut ring, create(1)), "an id is taken from its append on");
        assert!(put(&mut ring, revoke(1)) && !put(&mut ring, revoke(2)));
        ring.commit();
        assert_eq!(ring.key(KeyId::from(1)).unwrap().revoked_at_us, None);
        assert_eq!(ring.commit().revoked_at_us, Some(9));
        assert_eq!(ring.key(KeyId::from(1)).unwrap().revoked_at_us, Some(9));
    }

    #[test]
    fn a_tenant_has_its_share_of_keys_and_revoked_ones_make_room() {
        let mut ring = Keyring::default();
        let full = |ring: &Keyring, namespace: &str| {
            let key = KeyPut { namespace: namespace.into(), ..key(u128::MAX) };
            match ring.decide(&KeyCommand::Create(Box::new(key)), 9) {
                KeyDecision::Refuse(Refusal::Full { what, max }) => Some((what, max)),
                _ => None,
            }
        };
        (0..NAMESPACE_KEYS_MAX as u128).for_each(|number| ring.fold(key(number)));
        assert_eq!(full(&ring, "acme"), Some(("the namespace's list of keys", NAMESPACE_KEYS_MAX)));
        assert_eq!((full(&ring, "initech"), full(&ring, "")), (None, None));
        ring.fold(key(0).revoked(9));
        assert_eq!(full(&ring, "acme"), None);
        (0..NAMESPACE_KEYS_REVOKED_MAX as u128).for_each(|number| ring.fold(key(number).revoked(9)));
        let what = "the namespace's list of revoked keys";
        assert_eq!(full(&ring, "acme"), Some((what, NAMESPACE_KEYS_REVOKED_MAX)));
        assert_eq!((full(&ring, "initech"), full(&ring, "")), (None, None));
        (0..KEYS_MAX as u128)
            .for_each(|number| ring.fold(KeyPut { namespace: String::new(), ..key((number + 1) << 64) }));
        assert_eq!(full(&ring, ""), Some(("the list of keys", KEYS_MAX)));
    }

    #[test]
    fn what_a_poisoned_log_lost_is_not_there() {
        let mut ring = Keyring::default();
        put(&mut ring, create(1));
        assert!(ring.has_pending());
        ring.forget_pending();
        assert!(!put(&mut ring, revoke(1)));
    }

    #[test]
    fn notes_fold_to_the_same_in_any_order_and_with_any_snapshot_between() {
        let mut ring = Keyring::default();
        for command in [create(1), create(2)] {
            put(&mut ring, command);
            ring.commit();
        }
        let mut early = Vec::new();
        ring.to_snapshot(&mut early);
        put(&mut ring, revoke(2));
        let mut late = br#"{"as_of_us":5,"agents":[]}"#.to_vec();
        ring.to_snapshot(&mut late);
        assert!(late.starts_with(br#"{"as_of_us":5,"agents":[],"keys":[{"#));
        for order in [[&early, &late], [&late, &early]] {
            let mut folded = Keyring::default();
            order.iter().for_each(|state| folded.fold_snapshot(state).unwrap());
            folded.fold(key(2));
            assert_eq!(folded.key(KeyId::from(2)).unwrap().revoked_at_us, Some(9));
            assert_eq!(folded.key(KeyId::from(1)), Some(&key(1)));
        }
        assert_eq!(Keyring::default().fold_snapshot(b"x"), None);
        assert_eq!(Keyring::default().fold_snapshot(b"{}"), Some(()));
    }
}
