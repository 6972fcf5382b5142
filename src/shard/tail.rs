//! Who is told of what: the shards that have channels on a session, and those that have one on a user's inbox.
//!
//! Invariants: a shard stands at most once in a list; a list that is empty is gone. Which connection of a shard
//! listens is that shard's own business ([`super::Hub`]).

use super::ShardId;
use hashbrown::HashMap;
use std::hash::Hash;

/// Shards by what they listen to. As many lists as there are topics with a live channel, each at most as long as the
/// server has shards.
#[derive(Debug)]
pub struct Listeners<K> {
    lists: HashMap<K, Vec<ShardId>>,
    total: u64,
}

impl<K> Default for Listeners<K> {
    fn default() -> Self {
        Self { lists: HashMap::new(), total: 0 }
    }
}

impl<K: Eq + Hash> Listeners<K> {
    /// Adds `shard` to the list of `key`. Repeatable.
    pub fn add(&mut self, key: K, shard: ShardId) {
        let list = self.lists.entry(key).or_default();
        if !list.contains(&shard) {
            list.push(shard);
            self.total += 1;
        }
    }

    /// Takes `shard` from the list of `key`. Repeatable.
    pub fn remove<Q>(&mut self, key: &Q, shard: ShardId)
    where
        Q: Eq + Hash + hashbrown::Equivalent<K> + ?Sized,
    {
        let Some(list) = self.lists.get_mut(key) else { return };
        let before = list.len();
        list.retain(|&other| other != shard);
        self.total -= (before - list.len()) as u64;
        if list.is_empty() {
            self.lists.remove(key);
        }
    }

    /// Takes the whole list of `key`.
    pub fn take<Q>(&mut self, key: &Q) -> Vec<ShardId>
    where
        Q: Eq + Hash + hashbrown::Equivalent<K> + ?Sized,
    {
        let list = self.lists.remove(key).unwrap_or_default();
        self.total -= list.len() as u64;
        list
    }

    /// The list of `key`, in the order of joining.
    pub fn of<Q>(&self, key: &Q) -> &[ShardId]
    where
        Q: Eq + Hash + hashbrown::Equivalent<K> + ?Sized,
    {
        if self.lists.is_empty() {
            return &[]; // no hash on a shard that nobody listens to
        }
        self.lists.get(key).map_or(&[], Vec::as_slice)
    }

    /// Entries of all lists.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_listens_once_however_often_it_joins() {
        let mut listeners = Listeners::<String>::default();
        listeners.add("a".into(), ShardId(1));
        listeners.add("a".into(), ShardId(1));
        listeners.add("a".into(), ShardId(0));
        assert_eq!(listeners.of("a"), [ShardId(1), ShardId(0)]);
        assert_eq!(listeners.total(), 2);
    }

    #[test]
    fn the_last_one_to_leave_leaves_nothing_behind() {
        let mut listeners = Listeners::<String>::default();
        listeners.add("a".into(), ShardId(1));
        listeners.remove("b", ShardId(1));
        listeners.remove("a", ShardId(1));
        listeners.remove("a", ShardId(1));
        assert!(listeners.of("a").is_empty());
        assert!(listeners.lists.is_empty());
        listeners.add("a".into(), ShardId(1));
        assert_eq!(listeners.take("a"), [ShardId(1)]);
        assert_eq!(listeners.total(), 0);
    }
}
