//! What a shard does from time to time for its log: snapshots, maps given back, dead chunks named.

use super::{Now, Shard, fold};
use storage::Medium;

/// Bytes of state that one tick adds to a snapshot.
const SNAPSHOT_STEP: usize = 512;

impl<M: Medium> Shard<M> {
    /// Tells the log which chunks nobody needs any more. Once a second: it looks at every run.
    pub(super) fn raise_floor(&mut self, now: Now) {
        const INTERVAL_US: u64 = 1_000_000;
        if now.mono_us >= self.floor_raised_us + INTERVAL_US {
            self.floor_raised_us = now.mono_us;
            self.log.set_transient_floor(self.runs.oldest_chunk().unwrap_or(self.log.end()));
        }
    }

    /// Maps of sealed segments come back when they are read again.
    pub(super) fn release_maps(&mut self, now: Now) {
        const INTERVAL_US: u64 = 60_000_000;
        if now.mono_us >= self.maps_released_us + INTERVAL_US {
            self.maps_released_us = now.mono_us;
            self.log.release_maps();
        }
    }

    pub(super) fn snapshot(&mut self) {
        if !self.log.snapshot_due() {
            return;
        }
        let Self { log, catalog, directory, keyring, mains, runs, .. } = self;
        log.snapshot_step(SNAPSHOT_STEP, &mut |slot, out| match slot {
            Some(slot) => fold::encode_session(catalog, runs.folded(slot), slot, out),
            None => {
                if let Some(directory) = directory {
                    directory.to_snapshot(out);
                    keyring.to_snapshot(out);
                }
                mains.to_snapshot(out);
            }
        });
    }
}
