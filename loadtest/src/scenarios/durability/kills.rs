//! What the threads of a durability run share: which life of the server it is, who is under load, and sums for the report.

use crate::clock::now_ns;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Shared by all workers; one of them kills.
#[derive(Default)]
pub struct Kills {
    /// Lives of the server that are over and followed by another one.
    life: AtomicU64,
    /// When the last kill began.
    killed_ns: AtomicU64,
    /// When the last start began; zero once somebody has had an acknowledgement since.
    started_ns: AtomicU64,
    /// Clients that have had an acknowledgement in this life.
    loaded: AtomicUsize,
    ended: AtomicBool,
    given_up: AtomicBool,
    kills: AtomicU64,
    acknowledged: AtomicU64,
    in_flight: AtomicU64,
    stored: AtomicU64,
    retried: AtomicU64,
    read_back: AtomicU64,
}

impl Kills {
    /// The server is about to be killed.
    pub fn begin_kill(&self) {
        self.killed_ns.store(now_ns(), Ordering::SeqCst);
        self.kills.fetch_add(1, Ordering::SeqCst);
        self.loaded.store(0, Ordering::SeqCst);
    }

    /// It is about to be started.
    pub fn begin_start(&self) {
        self.started_ns.store(now_ns(), Ordering::SeqCst);
    }

    /// It is ready again: the next life begins.
    pub fn is_back(&self) {
        self.life.fetch_add(1, Ordering::SeqCst);
    }

    /// Which life it is, from 0.
    pub fn life(&self) -> u64 {
        self.life.load(Ordering::SeqCst)
    }

    /// When the last kill began; zero before the first.
    pub fn killed_ns(&self) -> u64 {
        self.killed_ns.load(Ordering::SeqCst)
    }

    /// A client has its first acknowledgement in this life. When it is the first of all, since when the server was started.
    pub fn load(&self) -> Option<u64> {
        self.loaded.fetch_add(1, Ordering::SeqCst);
        Some(self.started_ns.swap(0, Ordering::SeqCst)).filter(|started_ns| *started_ns > 0)
    }

    /// Clients under load in this life.
    pub fn loaded(&self) -> usize {
        self.loaded.load(Ordering::SeqCst)
    }

    /// No more kills: clients finish.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Whether clients finish.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// A client cannot go on, and nobody need wait for it.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// Whether one could not go on.
    pub fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    /// Counts acknowledged messages.
    pub fn acknowledge(&self, count: u64) {
        self.acknowledged.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts what became of one client's messages in flight at a kill.
    pub fn resolve(&self, in_flight: u64, stored: u64, retried: u64) {
        self.in_flight.fetch_add(in_flight, Ordering::Relaxed);
        self.stored.fetch_add(stored, Ordering::Relaxed);
        self.retried.fetch_add(retried, Ordering::Relaxed);
    }

    /// Counts messages that were read back.
    pub fn read_back(&self, count: u64) {
        self.read_back.fetch_add(count, Ordering::Relaxed);
    }

    /// For the report.
    pub fn figures(&self) -> [(&'static str, f64); 6] {
        let figure = |counter: &AtomicU64| counter.load(Ordering::SeqCst) as f64;
        [
            ("kills", figure(&self.kills)),
            ("acknowledged", figure(&self.acknowledged)),
            ("in flight at a kill", figure(&self.in_flight)),
            ("of them stored", figure(&self.stored)),
            ("of them retried", figure(&self.retried)),
            ("read back", figure(&self.read_back)),
        ]
    }
}
