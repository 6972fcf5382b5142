//! The idempotency windows that are in memory: of sessions that met a keyed append since they were built.
//!
//! Bounded by keys over all sessions; beyond that the window that was built first goes, and is built from the log
//! again when it is needed. So idle sessions cost nothing and no bound costs correctness.

use crate::limits::{IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_WINDOW};
use crate::session::{Fingerprint, KeyHash, Window};
use hashbrown::HashMap;
use std::collections::VecDeque;
use storage::Slot;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Windows {
    by_slot: HashMap<Slot, Window>,
    /// In the order of building. May name slots whose window is gone.
    built: VecDeque<Slot>,
    keys: usize,
}

impl Windows {
    /// The window of the session at `slot`, if it is in memory.
    pub(super) fn of(&self, slot: Slot) -> Option<&Window> {
        self.by_slot.get(&slot)
    }

    /// Keeps a window that was just built.
    pub(super) fn put(&mut self, slot: Slot, window: Window) {
        self.forget(slot);
        self.keys += cost(&window);
        self.by_slot.insert(slot, window);
        self.built.push_back(slot);
        self.make_room(slot);
    }

    /// Remembers a keyed message of a session whose window is in memory.
    pub(super) fn insert(&mut self, slot: Slot, seq: u64, key: KeyHash, fingerprint: Fingerprint) {
        let window = self.by_slot.get_mut(&slot).expect("a keyed append has looked into the window");
        self.keys -= cost(window);
        window.insert(seq, key, fingerprint, IDEMPOTENCY_WINDOW);
        self.keys += cost(window);
        self.make_room(slot);
    }

    /// The session is gone.
    pub(super) fn forget(&mut self, slot: Slot) {
        if let Some(window) = self.by_slot.remove(&slot) {
            self.keys -= cost(&window);
            self.built.retain(|&other| other != slot);
        }
    }

    fn make_room(&mut self, kept: Slot) {
        while self.keys > IDEMPOTENCY_KEYS_MAX
            && let Some(oldest) = self.built.pop_front()
        {
            if oldest == kept {
                self.built.push_back(kept);
                if self.built.len() == 1 {
                    return;
                }
            } else if let Some(window) = self.by_slot.remove(&oldest) {
                self.keys -= cost(&window);
            }
        }
    }
}

/// An empty window is not free.
fn cost(window: &Window) -> usize {
    window.len() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_of_many_sessions_stay_bounded_and_the_one_in_use_stays() {
        let mut windows = Windows::default();
        let sessions = (IDEMPOTENCY_KEYS_MAX / 4096 + 8) as u32;
        for slot in 0..sessions {
            windows.put(Slot(slot), Window::default());
            for seq in 1..=4096 {
                let key = KeyHash(u128::from(slot) << 64 | u128::from(seq));
                windows.insert(Slot(slot), seq, key, Fingerprint(0));
            }
            assert_eq!(windows.of(Slot(slot)).unwrap().len(), 4096);
        }
        assert!(windows.keys <= IDEMPOTENCY_KEYS_MAX);
        assert!(windows.of(Slot(0)).is_none());
        let kept: usize = windows.by_slot.values().map(cost).sum();
        assert_eq!(kept, windows.keys);
    }

    #[test]
    fn a_forgotten_session_leaves_nothing() {
        let mut windows = Windows::default();
        windows.put(Slot(1), Window::default());
        windows.insert(Slot(1), 1, KeyHash(1), Fingerprint(1));
        windows.forget(Slot(1));
        assert_eq!((windows.keys, windows.built.len(), windows.by_slot.len()), (0, 0, 0));
    }
}
