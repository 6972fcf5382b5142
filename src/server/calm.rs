//! Whether a shard may wait for its disk itself, instead of handing the sync to its thread.
//!
//! A sync on a thread of its own lets the shard go on meanwhile and costs two hand-overs between threads, a seventh of what one
//! durable append takes on a disk that syncs in 250 us. A shard with nothing to go on with saves them (docs/decisions/0012).
//!
//! It may when all three hold:
//! - Everything that came since the last sync began waits for this one. So nobody came lately who could have been served sooner; who
//!   comes during the sync waits for the rest of it.
//! - That is little: with more, the work of the next turn is worth doing beside the disk.
//! - The disk has been quick for a while. A disk that stalls holds up nobody but those who need it, from the second stall on.
//!
//! It counts what it is told and knows neither time nor disk.

/// Things that come between two syncs of a calm shard. Eight appends are some 100 us of work: what could be done beside the disk is
/// then no more than what two hand-overs cost.
const NEWS_MAX: u64 = 8;
/// A sync that took longer was slow: what comes during it should not wait for it.
const QUICK_US_MAX: u64 = 1_000;
/// Quick syncs in a row after which the disk counts as quick.
const QUICK_SYNCS_MIN: u32 = 16;

/// See the top of the file.
#[derive(Debug, Default)]
pub(super) struct Calm {
    /// What had come when the last sync began.
    heard: u64,
    /// Quick syncs since the last slow one.
    quick_syncs: u32,
}

impl Calm {
    /// Whether the shard may perform the sync that begins now. `heard` is how much has come since the start: changes of sockets, batches
    /// of mail, pieces of webhooks' answers; `awaited` is how many appends wait for this sync.
    pub(super) fn bears_a_sync(&mut self, heard: u64, awaited: usize) -> bool {
        let news = heard - self.heard;
        self.heard = heard;
        news <= NEWS_MAX && news <= awaited as u64 && self.quick_syncs >= QUICK_SYNCS_MIN
    }

    /// Takes note of how long a sync took, wherever it ran.
    pub(super) fn synced(&mut self, took_us: u64) {
        self.quick_syncs = if took_us <= QUICK_US_MAX { self.quick_syncs.saturating_add(1) } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a disk that is known to be quick.
    fn calm() -> Calm {
        let mut calm = Calm::default();
        (0..QUICK_SYNCS_MIN).for_each(|_| calm.synced(QUICK_US_MAX));
        calm
    }

    #[test]
    fn a_shard_whose_callers_all_wait_for_the_disk_waits_with_them() {
        let mut calm = calm();
        assert!(calm.bears_a_sync(1, 1));
        assert!(calm.bears_a_sync(1 + NEWS_MAX, 8));
        assert!(calm.bears_a_sync(2 + NEWS_MAX, 5), "one socket may bring several appends");
    }

    #[test]
    fn a_caller_who_does_not_wait_for_the_disk_keeps_the_shard_free() {
        let mut calm = calm();
        assert!(!calm.bears_a_sync(2, 1), "an append and a read");
        assert!(calm.bears_a_sync(3, 1), "the read was before the last sync");
    }

    #[test]
    fn a_busy_shard_works_beside_the_disk() {
        assert!(!calm().bears_a_sync(NEWS_MAX + 1, 100));
    }

    #[test]
    fn a_disk_must_have_been_quick_for_a_while() {
        let mut calm = calm();
        calm.synced(QUICK_US_MAX + 1);
        for sync in 0..QUICK_SYNCS_MIN {
            assert!(!calm.bears_a_sync(u64::from(sync), 1));
            calm.synced(QUICK_US_MAX);
        }
        assert!(calm.bears_a_sync(u64::from(QUICK_SYNCS_MIN), 1));
        assert!(!Calm::default().bears_a_sync(1, 1), "nor is it known at the start");
    }
}
