//! What every black-box test stands on: the real binary in a folder of its own, and clients that share no code with it.
//!
//! Owns processes and sockets of a test and ends them with it. Timeouts here are guards against a hang, never a way to
//! wait for something to have happened: every wait is for a byte, a line or the end of a process.

pub mod agent;
pub mod authority;
pub mod folder;
pub mod guard;
pub mod http;
pub mod phoenix;
pub mod rest;
pub mod server;
pub mod tls;
pub mod websocket;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use agent::{Absent, Agent, Call};
pub use authority::Authority;
pub use folder::Folder;
pub use http::{Answer, Connection};
pub use phoenix::{Frame, Socket};
pub use serde_json::{Value, json};
pub use server::{Options, Server};
pub use tls::{Secured, Stream};
pub use websocket::RawSocket;

/// After this long without a byte a test fails instead of hanging. Generous: two cores run everything at once.
pub const HANG: Duration = Duration::from_secs(60);

/// A name that no other test of this run uses, so that tests can share a server.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A small generator (xorshift) for tests that try many paths; the seed is printed by whoever makes one.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A seed from `FLEETLM_TEST_SEED`, or a new one; printed so that a failure can be tried again.
    pub fn seeded(test: &str) -> Self {
        let seed = std::env::var("FLEETLM_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let elapsed = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("the clock stands after 1970");
            elapsed.as_nanos() as u64
        });
        eprintln!("{test}: FLEETLM_TEST_SEED={seed}");
        Self::new(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
