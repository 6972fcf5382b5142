//! What the threads share: the drain and each shard's health. Atomics, read by the health routes and the main thread.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::shard::{ShardId, ShardStatus};

/// The trouble of a shard that has not opened yet.
const STARTING: &str = "is starting";

/// See the top of the file.
pub struct SharedState {
    shards: usize,
    serving: AtomicBool,
    draining: AtomicBool,
    drained: AtomicUsize,
    connections: AtomicUsize,
    troubles: Mutex<Vec<Option<String>>>,
}

impl SharedState {
    /// The state of a server whose `shards` are starting.
    pub fn new(shards: u16) -> Self {
        let starting = (0..shards).map(|shard| Some(format!("shard {shard} {STARTING}"))).collect();
        Self {
            shards: usize::from(shards),
            serving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            drained: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            troubles: Mutex::new(starting),
        }
    }

    /// Every shard is open.
    pub fn serve(&self) {
        self.serving.store(true, Ordering::Release);
    }

    /// Whether every shard has been opened.
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    /// Starts the drain.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the server shuts down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// A shard has no connection left. Mail goes on until all say so.
    pub fn shard_drained(&self) {
        self.drained.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether no shard has a connection left.
    pub fn all_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire) == self.shards
    }

    /// Counts a connection in, unless there are `max` already.
    pub fn admit(&self, max: usize) -> bool {
        let admitted = self.connections.fetch_add(1, Ordering::Relaxed) < max;
        if !admitted {
            self.leave();
        }
        admitted
    }

    /// Counts a connection out.
    pub fn leave(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes over what a shard says of itself; whether nothing keeps it from being ready now.
    pub fn publish(&self, shard: ShardId, status: &ShardStatus) -> bool {
        let trouble = match status {
            _ if status.poisoned => Some(format!("shard {}: a sync failed, its log takes no appends", shard.0)),
            _ if status.disk_full => {
                Some(format!("shard {}: the disk is full, appends are refused until there is room", shard.0))
            }
            _ => None,
        };
        let mut troubles = self.troubles.lock().expect("no thread panics with this lock: panics abort");
        let known = &mut troubles[usize::from(shard.0)];
        match (&*known, &trouble) {
            (old, Some(new)) if old.as_ref() != Some(new) => tracing::error!("{new}"),
            (Some(old), None) if !old.ends_with(STARTING) => tracing::info!("no more: {old}"),
            _ => {}
        }
        let is_ready = trouble.is_none() && !self.is_draining();
        *known = trouble;
        is_ready
    }

    /// What keeps the server from being ready; empty when it is.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles: Vec<String> = self
            .troubles
            .lock()
            .expect("no thread panics with this lock: panics abort")
            .iter()
            .flatten()
            .cloned()
            .collect();
        if self.is_draining() {
            troubles.push("the server is shutting down".to_owned());
        }
        troubles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_every_shard_runs_and_no_log_is_poisoned() {
        let state = SharedState::new(2);
        assert_eq!(state.troubles().len(), 2);
        assert!(state.publish(ShardId(0), &ShardStatus::default()));
        assert!(!state.publish(ShardId(1), &ShardStatus { poisoned: true, ..ShardStatus::default() }));
        assert_eq!(state.troubles(), ["shard 1: a sync failed, its log takes no appends"]);
        state.drain();
        assert!(!state.publish(ShardId(0), &ShardStatus::default()));
        assert_eq!(state.troubles().len(), 2);
    }

    #[test]
    fn no_more_connections_are_admitted_than_allowed() {
        let state = SharedState::new(1);
        assert!(state.admit(1));
        assert!(!state.admit(1));
        state.leave();
        assert!(state.admit(1));
    }
}
