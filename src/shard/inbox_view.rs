//! One user's inbox as the connections' side sees it: the entries of all shards, and when to tell of their changes.
//!
//! Invariants: of two accounts of an entry the one from later in its owner's log wins, in whatever order they arrive
//! ([`InboxEntry::as_of`]). A change is told at once after a quiet interval, else at the end of the interval or when
//! many entries changed; no change is ever left untold.

use super::InboxEntry;
use crate::limits::{INBOX_DIRTY_MAX, INBOX_ENTRIES_MAX, INBOX_INTERVAL_US};
use crate::session::SessionId;
use hashbrown::{HashMap, HashSet};
use std::cmp::Reverse;

/// The entries and their cadence.
#[derive(Debug, Default)]
pub(super) struct InboxView {
    entries: HashMap<SessionId, InboxEntry>,
    /// Changed since the last delta.
    dirty: HashSet<SessionId>,
    /// A delta is owed although nothing changed since the last one.
    owed: bool,
    /// Monotonic time of the last delta.
    flushed_us: Option<u64>,
}

impl InboxView {
    /// Takes in an entry from the reply to a join: its reader knows it already.
    pub(super) fn load(&mut self, entry: InboxEntry) {
        self.put(entry);
    }

    /// Takes in a change.
    pub(super) fn change(&mut self, entry: InboxEntry) {
        let session = entry.session;
        if self.put(entry) {
            self.dirty.insert(session);
        }
    }

    /// Some reader may have missed what was told: tell it all again.
    pub(super) fn tell_again(&mut self) {
        self.owed = true;
    }

    /// Whether nothing waits to be told.
    pub(super) fn clean(&self) -> bool {
        self.dirty.is_empty() && !self.owed
    }

    /// Whether a delta is to be sent at `mono_us`.
    pub(super) fn due(&self, mono_us: u64) -> bool {
        let interval_over = self.flushed_us.is_none_or(|last| mono_us.saturating_sub(last) >= INBOX_INTERVAL_US);
        !self.clean() && (interval_over || self.dirty.len() >= INBOX_DIRTY_MAX)
    }

    /// The inbox as it is, most recently active first, never active ones last. `settled`: no reply to a join is on
    /// its way that may still tell of an entry that is gone.
    pub(super) fn flush(&mut self, mono_us: u64, settled: bool) -> Vec<InboxEntry> {
        self.flushed_us = Some(mono_us);
        self.dirty.clear();
        self.owed = false;
        if settled {
            self.entries.retain(|_, entry| !entry.gone);
        }
        let mut entries: Vec<&InboxEntry> = self.entries.values().filter(|entry| !entry.gone).collect();
        entries.sort_unstable_by_key(|entry| Reverse((entry.last_activity_us, entry.session)));
        entries.truncate(INBOX_ENTRIES_MAX);
        entries.into_iter().cloned().collect()
    }

    fn put(&mut self, entry: InboxEntry) -> bool {
        match self.entries.get(&entry.session) {
            Some(known) if known.as_of >= entry.as_of => false,
            _ => {
                self.entries.insert(entry.session, entry);
                true
            }
        }
    }
}
