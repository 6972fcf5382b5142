//! Who is told of what: the shards that have channels on a session, and those that have one on a user's inbox.
//!
//! Invariants: a shard stands at most once in a list; a list that is empty is gone. Which connection of a shard
//! listens is that shard's own business ([`super::Hub`]).

use super::ShardId;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::hash::Hash;

/// Shards by what they listen to. As many lists as there are topics with a live channel, each at most as long as the
/// server has shards.
#[derive(Debug)]
pub struct Listeners<K> {
    lists: HashMap<K, List>,
    total: u64,
}

/// In the order of joining. Nearly every topic has listeners on one shard only: that one stands in the table itself.
#[derive(Debug)]
enum List {
    One(ShardId),
    /// Boxed, since every place of the table is as large as the largest list in it.
    #[allow(clippy::box_collection)] // a `Vec` by itself would make the places of all of them larger by a third
    Many(Box<Vec<ShardId>>),
}

impl List {
    fn shards(&self) -> &[ShardId] {
        match self {
            Self::One(shard) => std::slice::from_ref(shard),
            Self::Many(shards) => shards,
        }
    }
}

impl<K> Default for Listeners<K> {
    fn default() -> Self {
        Self { lists: HashMap::new(), total: 0 }
    }
}

impl<K: Eq + Hash> Listeners<K> {
    /// Adds `shard` to the list of `key`. Repeatable.
    pub fn add(&mut self, key: K, shard: ShardId) {
        let list = match self.lists.entry(key) {
            Entry::Vacant(place) => {
                place.insert(List::One(shard));
                self.total += 1;
                return;
            }
            Entry::Occupied(place) => place.into_mut(),
        };
        if list.shards().contains(&shard) {
            return;
        }
        self.total += 1;
        match list {
            List::One(first) => *list = List::Many(Box::new(vec![*first, shard])),
            List::Many(shards) => shards.push(shard),
        }
    }

    /// Takes `shard` from the list of `key`. Repeatable.
    pub fn remove<Q>(&mut self, key: &Q, shard: ShardId)
    where
        Q: Eq + Hash + hashbrown::Equivalent<K> + ?Sized,
    {
        let Some(list) = self.lists.get_mut(key) else { return };
        let before = list.shards().len();
        let after = match list {
            List::One(only) => usize::from(*only != shard),
            List::Many(shards) => {
                shards.retain(|&other| other != shard);
                shards.len()
            }
        };
        self.total -= (before - after) as u64;
        if after == 0 {
            self.lists.remove(key);
        }
    }

    /// Takes the whole list of `key`.
    pub fn take<Q>(&mut self, key: &Q) -> Vec<ShardId>
    where
        Q: Eq + Hash + hashbrown::Equivalent<K> + ?Sized,
    {
        let list = self.lists.remove(key).map(|list| list.shards().to_vec()).unwrap_or_default();
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
        self.lists.get(key).map_or(&[], List::shards)
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

    #[test]
    fn the_order_of_joining_stays_when_the_first_one_leaves() {
        let mut listeners = Listeners::<String>::default();
        for shard in 1..4 {
            listeners.add("a".into(), ShardId(shard));
        }
        listeners.remove("a", ShardId(1));
        assert_eq!(listeners.of("a"), [ShardId(2), ShardId(3)]);
        listeners.remove("a", ShardId(2));
        listeners.add("a".into(), ShardId(3));
        assert_eq!((listeners.of("a"), listeners.total()), (&[ShardId(3)][..], 1));
        assert_eq!(listeners.take("a"), [ShardId(3)]);
        assert_eq!(listeners.total(), 0);
    }

    #[test]
    fn a_topic_with_listeners_on_one_shard_takes_24_bytes_in_the_table() {
        assert!(size_of::<(u32, List)>() <= 24, "{}", size_of::<(u32, List)>());
    }
}
