//! Interned names: every user, agent and sender id of a shard stands in memory once, scoped by its namespace.
//!
//! Invariants: a [`NameId`] names the same text for the life of the shard; equal texts have equal ids. A name takes 6
//! bytes beside its text, padded to 4, and about 8 in the hash table. Names are not freed: a restart interns what is
//! still used.

use crate::session::split;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A name: its address in the arena, in units of 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(u32);

impl NameId {
    /// No name.
    pub const NONE: Self = Self(u32::MAX);

    /// `None` for [`Self::NONE`].
    pub fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

/// A slot of the catalog that is none.
pub const NO_SLOT: u32 = u32::MAX;

const UNIT: usize = 4;
const CHUNK_BYTES: usize = 64 * 1024;
const UNITS_PER_CHUNK: u32 = (CHUNK_BYTES / UNIT) as u32;
/// Head of the user's chain (u32) and length (u16).
const HEADER_BYTES: usize = 6;
/// The longest name: an entry must fit in a chunk. The shard refuses names far below (`limits::NAME_BYTES_MAX`).
const NAME_BYTES_MAX: usize = CHUNK_BYTES - HEADER_BYTES;

/// The arena. Grows by chunks, so that no growth copies what stands.
pub struct Names {
    chunks: Vec<Box<[u8]>>,
    used_in_last: usize,
    table: HashTable<NameId>,
    seed: u64,
}

impl Names {
    /// An empty arena. `seed` is random, so that callers cannot choose names that collide.
    pub fn new(seed: u64) -> Self {
        Self { chunks: Vec::new(), used_in_last: CHUNK_BYTES, table: HashTable::new(), seed }
    }

    /// The id of `name` if it was interned.
    pub fn find(&self, name: &str) -> Option<NameId> {
        let hash = xxh3_64_with_seed(name.as_bytes(), self.seed);
        self.table.find(hash, |&id| self.bytes(id) == name.as_bytes()).copied()
    }

    /// The id of `name`, which is stored if it is new.
    ///
    /// # Panics
    /// If it has more bytes than a chunk, or the arena more than 16 GiB.
    pub fn intern(&mut self, name: &str) -> NameId {
        if let Some(id) = self.find(name) {
            return id;
        }
        let id = self.store(name);
        let Self { chunks, table, seed, .. } = self;
        let hash = xxh3_64_with_seed(name.as_bytes(), *seed);
        table.insert_unique(hash, id, |&id| xxh3_64_with_seed(bytes_in(chunks, id), *seed));
        id
    }

    /// The id that clients know it by: its text without its namespace.
    pub fn id(&self, name: NameId) -> &str {
        split(self.text(name)).1
    }

    /// Its namespace, as [`crate::session::Namespace::stored`] gives it.
    pub fn namespace(&self, name: NameId) -> &str {
        split(self.text(name)).0
    }

    /// The text of a name, which is scoped.
    pub fn text(&self, id: NameId) -> &str {
        std::str::from_utf8(self.bytes(id)).expect("only whole texts are stored")
    }

    /// Head of the chain of sessions whose user this is, [`NO_SLOT`] when empty.
    pub fn head(&self, id: NameId) -> u32 {
        let (chunk, offset) = place(id);
        u32::from_le_bytes(self.chunks[chunk][offset..offset + 4].try_into().expect("four bytes"))
    }

    /// Sets what [`Self::head`] reads.
    pub fn set_head(&mut self, id: NameId, slot: u32) {
        let (chunk, offset) = place(id);
        self.chunks[chunk][offset..offset + 4].copy_from_slice(&slot.to_le_bytes());
    }

    /// Bytes of memory that the names take.
    pub fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK_BYTES + self.table.allocation_size()
    }

    fn store(&mut self, name: &str) -> NameId {
        assert!(name.len() <= NAME_BYTES_MAX, "a name of {} bytes was let through", name.len());
        let bytes = (HEADER_BYTES + name.len()).next_multiple_of(UNIT);
        if self.used_in_last + bytes > CHUNK_BYTES {
            self.chunks.push(vec![0; CHUNK_BYTES].into_boxed_slice());
            self.used_in_last = 0;
        }
        let chunk = self.chunks.len() - 1;
        let start = self.used_in_last;
        self.used_in_last += bytes;
        let entry = &mut self.chunks[chunk][start..start + bytes];
        entry[..4].copy_from_slice(&NO_SLOT.to_le_bytes());
        entry[4..6].copy_from_slice(&(name.len() as u16).to_le_bytes());
        entry[HEADER_BYTES..HEADER_BYTES + name.len()].copy_from_slice(name.as_bytes());
        let first_unit = u32::try_from(chunk).ok().and_then(|chunk| chunk.checked_mul(UNITS_PER_CHUNK));
        NameId(first_unit.expect("fewer than 16 GiB of names") + (start / UNIT) as u32)
    }

    fn bytes(&self, id: NameId) -> &[u8] {
        bytes_in(&self.chunks, id)
    }
}

fn place(id: NameId) -> (usize, usize) {
    ((id.0 / UNITS_PER_CHUNK) as usize, (id.0 % UNITS_PER_CHUNK) as usize * UNIT)
}

fn bytes_in(chunks: &[Box<[u8]>], id: NameId) -> &[u8] {
    let (chunk, offset) = place(id);
    let entry = &chunks[chunk][offset..];
    let length = u16::from_le_bytes([entry[4], entry[5]]);
    &entry[HEADER_BYTES..HEADER_BYTES + usize::from(length)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_stored_once_and_keeps_its_id_over_growth() {
        let mut names = Names::new(7);
        let ids: Vec<_> = (0..20_000).map(|n| names.intern(&format!("user-{n}-ü"))).collect();
        for (n, &id) in ids.iter().enumerate() {
            assert_eq!(names.text(id), format!("user-{n}-ü"));
            assert_eq!(names.intern(&format!("user-{n}-ü")), id);
        }
        assert_eq!(names.find("nobody"), None);
        assert!(names.chunks.len() > 1);
    }

    #[test]
    fn a_chain_head_belongs_to_its_name() {
        let mut names = Names::new(7);
        let (a, b) = (names.intern(""), names.intern("b"));
        assert_eq!((names.head(a), names.head(b)), (NO_SLOT, NO_SLOT));
        names.set_head(a, 3);
        assert_eq!((names.head(a), names.head(b)), (3, NO_SLOT));
        assert_eq!((names.text(a), names.text(b)), ("", "b"));
    }

    #[test]
    fn the_longest_name_fits() {
        let mut names = Names::new(7);
        let long = "x".repeat(NAME_BYTES_MAX);
        names.intern("y");
        let id = names.intern(&long);
        assert_eq!(names.text(id), long);
    }
}
