//! The shown sessions of one namespace in the order of their ids.
//!
//! Invariants: the slots ascend strictly by id; no block is empty and none holds more than [`BLOCK_SLOTS_MAX`], so that a session
//! enters and leaves in the time of a search and a short copy wherever its id falls: ids made of the time fall at the end, ids of main
//! sessions anywhere.
//!
//! Not here: what the ids are. `id_of` is the log's answer to "which session is at this slot".

use crate::session::SessionId;
use storage::Slot;

/// A copy of 2 KiB at the most; splitting halves it.
const BLOCK_SLOTS_MAX: usize = 512;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Order {
    blocks: Vec<Vec<Slot>>,
}

impl Order {
    /// From slots that ascend by id.
    pub(super) fn of_sorted(slots: &[Slot]) -> Self {
        Self { blocks: slots.chunks(BLOCK_SLOTS_MAX).map(<[Slot]>::to_vec).collect() }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Adds a session.
    pub(super) fn insert(&mut self, slot: Slot, id_of: impl Fn(Slot) -> SessionId) {
        let id = id_of(slot);
        // The block in whose range it falls: the last one that begins below it.
        let at = self.blocks.partition_point(|block| id_of(block[0]) < id).saturating_sub(1);
        let Some(block) = self.blocks.get_mut(at) else { return self.blocks.push(vec![slot]) };
        if block.len() < BLOCK_SLOTS_MAX {
            let place = block.partition_point(|&other| id_of(other) < id);
            return block.insert(place, slot);
        }
        if at + 1 == self.blocks.len() && id_of(self.blocks[at][BLOCK_SLOTS_MAX - 1]) < id {
            return self.blocks.push(vec![slot]); // growth at the end leaves full blocks behind
        }
        let upper = self.blocks[at].split_off(BLOCK_SLOTS_MAX / 2);
        self.blocks.insert(at + 1, upper);
        self.insert(slot, id_of);
    }

    /// Removes a session.
    ///
    /// # Panics
    /// If it is not there.
    pub(super) fn remove(&mut self, slot: Slot, id_of: impl Fn(Slot) -> SessionId) {
        let id = id_of(slot);
        let at = self.blocks.partition_point(|block| id_of(block[0]) <= id).checked_sub(1);
        let at = at.expect("a session that is removed was added");
        let block = &mut self.blocks[at];
        let place = block.partition_point(|&other| id_of(other) < id);
        assert_eq!(block.remove(place), slot, "the order is sorted by id");
        if block.is_empty() {
            self.blocks.remove(at);
        }
    }

    /// Those with ids below `before`, newest first.
    pub(super) fn newest_first(&self, before: Option<SessionId>, id_of: impl Fn(Slot) -> SessionId) -> NewestOf<'_> {
        let Some(before) = before else { return NewestOf { full: self.blocks.iter(), last: [].iter() } };
        let at = self.blocks.partition_point(|block| id_of(block[0]) < before);
        let Some(at) = at.checked_sub(1) else { return NewestOf { full: [].iter(), last: [].iter() } };
        let end = self.blocks[at].partition_point(|&slot| id_of(slot) < before);
        NewestOf { full: self.blocks[..at].iter(), last: self.blocks[at][..end].iter() }
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Vec<Slot>>()
            + self.blocks.iter().map(|block| block.capacity() * size_of::<Slot>()).sum::<usize>()
    }
}

/// See [`Order::newest_first`].
#[derive(Debug)]
pub(super) struct NewestOf<'a> {
    full: std::slice::Iter<'a, Vec<Slot>>,
    last: std::slice::Iter<'a, Slot>,
}

impl NewestOf<'_> {
    /// Of nothing.
    pub(super) fn none() -> Self {
        Self { full: [].iter(), last: [].iter() }
    }
}

impl Iterator for NewestOf<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        loop {
            if let Some(&slot) = self.last.next_back() {
                return Some(slot);
            }
            self.last = self.full.next_back()?.iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Spreads slots over ids, one to one.
    fn id_of(slot: Slot) -> SessionId {
        SessionId::from(u128::from(slot.0.wrapping_mul(2_654_435_761)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn it_lists_what_a_sorted_set_lists(steps in proptest::collection::vec(0..3_000u32, 0..6_000), before in 0..3_000u32) {
            let (mut order, mut model) = (Order::default(), BTreeSet::new());
            for slot in steps {
                if model.remove(&(id_of(Slot(slot)), slot)) {
                    order.remove(Slot(slot), id_of);
                } else {
                    model.insert((id_of(Slot(slot)), slot));
                    order.insert(Slot(slot), id_of);
                }
            }
            for before in [None, Some(id_of(Slot(before)))] {
                let listed: Vec<u32> = order.newest_first(before, id_of).map(|slot| slot.0).collect();
                let below = |(id, _): &&(SessionId, u32)| before.is_none_or(|before| *id < before);
                let expected: Vec<u32> = model.iter().rev().filter(below).map(|(_, slot)| *slot).collect();
                prop_assert_eq!(listed, expected);
            }
            prop_assert_eq!((order.len(), order.is_empty()), (model.len(), model.is_empty()));
            prop_assert!(order.blocks.iter().all(|block| (1..=BLOCK_SLOTS_MAX).contains(&block.len())));
        }
    }

    #[test]
    fn growth_at_the_end_fills_its_blocks() {
        let id_of = |slot: Slot| SessionId::from(u128::from(slot.0));
        let mut order = Order::default();
        (0..10_000).for_each(|n| order.insert(Slot(n), id_of));
        assert_eq!(order.blocks.len(), 10_000usize.div_ceil(BLOCK_SLOTS_MAX));
        let slots: Vec<Slot> = (0..10_000).map(Slot).collect();
        assert_eq!(Order::of_sorted(&slots).blocks, order.blocks);
    }
}
