//! Where each key's messages are: the last one, and one of every few so that any is found in bounded hops.
//!
//! A million idle keys must be cheap, so an entry is 40 bytes in a chunked slab and the hash table holds 4-byte slots
//! instead of keys, in 256 parts so that growing one never stalls an append. The index is a fold over the log and holds
//! nothing that cannot be folded again; folding a record twice changes nothing.

use crate::{Key, Lsn, Slot};
use hashbrown::{HashTable, hash_table};

/// Entries of one chunk of the slab: growing allocates a chunk and never copies.
const CHUNK_ENTRIES: usize = 4096;
/// Parts of the hash table. The largest rehash of a million keys moves 4,000 of them.
const PARTS: usize = 256;
/// The bit of `last_seq` that says that the key's stream has ended.
const ENDED: u64 = 1 << 63;
/// `last_seq` of an entry that no key has.
const VACANT: u64 = u64::MAX;

/// What is known of a key. The key is two halves because a `u128` would align the entry to 48 bytes.
#[derive(Debug)]
struct Entry {
    key: [u64; 2],
    last_seq: u64,
    last_lsn: Lsn,
    /// Positions of messages `every`, 2 × `every`, ... as far as they were seen without a gap.
    #[allow(clippy::box_collection)] // Idle keys pay 8 bytes for it instead of 24.
    checkpoints: Option<Box<Vec<Lsn>>>,
}

impl Entry {
    fn key(&self) -> Key {
        Key(u128::from(self.key[0]) << 64 | u128::from(self.key[1]))
    }
}

/// All keys of one log.
#[derive(Debug)]
pub(crate) struct Index {
    every: u64,
    parts: Vec<HashTable<u32>>,
    chunks: Vec<Vec<Entry>>,
    /// The first of the vacant entries, each naming the next in `last_lsn`; `u32::MAX` ends the list.
    vacant: u32,
    len: usize,
}

/// Spreads a key over 64 bits. Keys are the server's own ids, nobody can choose them to collide.
fn hash(key: Key) -> u64 {
    let mixed = ((key.0 >> 64) as u64).rotate_left(29) ^ key.0 as u64;
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (mixed >> 32)
}

fn entry(chunks: &[Vec<Entry>], slot: u32) -> &Entry {
    &chunks[slot as usize / CHUNK_ENTRIES][slot as usize % CHUNK_ENTRIES]
}

impl Index {
    pub(crate) fn new(every: u64) -> Self {
        let parts = (0..PARTS).map(|_| HashTable::new()).collect();
        Self { every, parts, chunks: Vec::new(), vacant: u32::MAX, len: 0 }
    }

    /// Keys that it holds.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Slots below this have been used.
    pub(crate) fn slots(&self) -> u32 {
        let full = self.chunks.len().saturating_sub(1) * CHUNK_ENTRIES;
        (full + self.chunks.last().map_or(0, Vec::len)) as u32
    }

    fn part(key: Key) -> usize {
        (hash(key) >> 40) as usize % PARTS
    }

    fn at(&self, slot: Slot) -> &Entry {
        let entry = entry(&self.chunks, slot.0);
        assert!(entry.last_seq != VACANT, "slot {} has no key", slot.0);
        entry
    }

    fn at_mut(&mut self, slot: Slot) -> &mut Entry {
        let entry = &mut self.chunks[slot.0 as usize / CHUNK_ENTRIES][slot.0 as usize % CHUNK_ENTRIES];
        assert!(entry.last_seq != VACANT, "slot {} has no key", slot.0);
        entry
    }

    pub(crate) fn slot(&self, key: Key) -> Option<Slot> {
        let is_key = |slot: &u32| entry(&self.chunks, *slot).key() == key;
        self.parts[Self::part(key)].find(hash(key), is_key).map(|slot| Slot(*slot))
    }

    /// The key of a slot, unless no key has it.
    pub(crate) fn occupant(&self, slot: Slot) -> Option<Key> {
        let entry = entry(&self.chunks, slot.0);
        (entry.last_seq != VACANT).then(|| entry.key())
    }

    pub(crate) fn key(&self, slot: Slot) -> Key {
        self.at(slot).key()
    }

    pub(crate) fn last_seq(&self, slot: Slot) -> u64 {
        self.at(slot).last_seq & !ENDED
    }

    pub(crate) fn last_lsn(&self, slot: Slot) -> Lsn {
        self.at(slot).last_lsn
    }

    /// Positions of every `every`-th message.
    pub(crate) fn checkpoints(&self, slot: Slot) -> &[Lsn] {
        self.at(slot).checkpoints.as_ref().map_or(&[], |checkpoints| checkpoints)
    }

    /// The slot of a key, made when it has none.
    pub(crate) fn insert(&mut self, key: Key) -> Slot {
        let slot = if self.vacant == u32::MAX { self.slots() } else { self.vacant };
        let chunks = &self.chunks;
        let is_key = |slot: &u32| entry(chunks, *slot).key() == key;
        let rehash = |slot: &u32| hash(entry(chunks, *slot).key());
        match self.parts[Self::part(key)].entry(hash(key), is_key, rehash) {
            hash_table::Entry::Occupied(known) => return Slot(*known.get()),
            hash_table::Entry::Vacant(place) => drop(place.insert(slot)),
        }
        self.place(
            slot,
            Entry { key: [(key.0 >> 64) as u64, key.0 as u64], last_seq: 0, last_lsn: Lsn::NONE, checkpoints: None },
        );
        self.len += 1;
        Slot(slot)
    }

    /// Puts an entry into a vacant slot, or the one behind the last.
    fn place(&mut self, slot: u32, fresh: Entry) {
        assert!(slot != u32::MAX, "more keys than slots");
        if self.vacant == slot {
            let entry = &mut self.chunks[slot as usize / CHUNK_ENTRIES][slot as usize % CHUNK_ENTRIES];
            self.vacant = entry.last_lsn.0 as u32;
            *entry = fresh;
            return;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_ENTRIES) {
            self.chunks.push(Vec::with_capacity(CHUNK_ENTRIES));
        }
        self.chunks.last_mut().expect("pushed above").push(fresh);
    }

    /// Notes a message. One that is known already changes nothing.
    pub(crate) fn record_message(&mut self, slot: Slot, seq: u64, lsn: Lsn) {
        let every = self.every;
        let entry = self.at_mut(slot);
        if seq <= entry.last_seq & !ENDED {
            return;
        }
        entry.last_seq = seq | (entry.last_seq & ENDED);
        entry.last_lsn = lsn;
        // Behind a gap (dropped records of a key that ends later, a corrupt range) positions would shift: then there are
        // no more of them and a search walks further.
        if seq.is_multiple_of(every) && entry.checkpoints.as_ref().map_or(0, |all| all.len() as u64) == seq / every - 1
        {
            entry.checkpoints.get_or_insert_default().push(lsn);
        }
    }

    /// Sets what a snapshot says of a key.
    pub(crate) fn restore(&mut self, slot: Slot, last_seq: u64, last_lsn: Lsn, checkpoints: Vec<Lsn>) {
        let entry = self.at_mut(slot);
        if last_seq >= entry.last_seq & !ENDED {
            entry.last_seq = last_seq;
            entry.last_lsn = last_lsn;
            entry.checkpoints = (!checkpoints.is_empty()).then(|| Box::new(checkpoints));
        }
    }

    /// Marks that a record has ended the key's stream.
    pub(crate) fn end(&mut self, slot: Slot) {
        self.at_mut(slot).last_seq |= ENDED;
    }

    pub(crate) fn has_ended(&self, slot: Slot) -> bool {
        self.at(slot).last_seq & ENDED != 0
    }

    /// Removes a key; its slot is free.
    pub(crate) fn remove(&mut self, slot: Slot) {
        let key = self.key(slot);
        let chunks = &self.chunks;
        let found = self.parts[Self::part(key)].find_entry(hash(key), |other| entry(chunks, *other).key() == key);
        found.expect("every entry is in the table").remove();
        let next = self.vacant;
        let entry = self.at_mut(slot);
        entry.checkpoints = None;
        entry.last_seq = VACANT;
        entry.last_lsn = Lsn(u64::from(next));
        self.vacant = slot.0;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn an_entry_is_forty_bytes() {
        assert_eq!(size_of::<Entry>(), 40);
    }

    proptest! {
        #[test]
        fn the_index_equals_a_map(steps in prop::collection::vec((0u128..40, 0u8..4), 0..400)) {
            let mut index = Index::new(4);
            let mut model: HashMap<u128, Vec<Lsn>> = HashMap::new();
            for (at, (key, action)) in steps.into_iter().enumerate() {
                let lsn = Lsn(at as u64 + 1);
                if action == 0 {
                    if let Some(slot) = index.slot(Key(key)) {
                        index.remove(slot);
                    }
                    model.remove(&key);
                } else {
                    let slot = index.insert(Key(key));
                    let messages = model.entry(key).or_default();
                    messages.push(lsn);
                    index.record_message(slot, messages.len() as u64, lsn);
                    index.record_message(slot, messages.len() as u64, Lsn(999_999));
                }
            }
            prop_assert_eq!(index.len(), model.len());
            prop_assert!(index.slots() <= 40);
            for key in 0..40 {
                let slot = index.slot(Key(key));
                prop_assert_eq!(slot.is_some(), model.contains_key(&key));
                let (Some(slot), Some(messages)) = (slot, model.get(&key)) else { continue };
                prop_assert_eq!(index.key(slot), Key(key));
                prop_assert_eq!(index.last_seq(slot), messages.len() as u64);
                prop_assert_eq!(Some(&index.last_lsn(slot)), messages.last());
                let expected: Vec<Lsn> = messages.chunks_exact(4).map(|four| four[3]).collect();
                prop_assert_eq!(index.checkpoints(slot), &expected[..]);
            }
        }
    }

    #[test]
    fn a_gap_ends_the_checkpoints_and_nothing_else() {
        let mut index = Index::new(2);
        let slot = index.insert(Key(1));
        index.record_message(slot, 1, Lsn(10));
        index.record_message(slot, 2, Lsn(20));
        index.record_message(slot, 6, Lsn(60));
        assert_eq!(index.checkpoints(slot), [Lsn(20)]);
        assert_eq!((index.last_seq(slot), index.last_lsn(slot)), (6, Lsn(60)));
    }
}
