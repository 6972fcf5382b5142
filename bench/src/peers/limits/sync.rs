//! Write and sync, one after the other: what a single durable append costs on this disk without any server.

use super::Appended;
use crate::closed::latencies;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// What it came to; printed as JSON.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Synced {
    /// Records written and synced.
    pub operations: u64,
    /// In so many seconds.
    pub seconds: f64,
    /// Median of one, in microseconds.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// CPU seconds of the process.
    pub cpu_s: f64,
}

/// Runs for so long and prints what it came to.
pub fn run(mut file: Appended, record_bytes: usize, seconds: f64) -> Result<()> {
    let record = vec![b'r'; record_bytes];
    let mut latency_ns = latencies();
    let cpu_start = crate::proc::cpu_s(std::process::id())?;
    let (start, window) = (Instant::now(), Duration::from_secs_f64(seconds));
    while start.elapsed() < window {
        let before = Instant::now();
        file.append(&record)?;
        latency_ns.saturating_record(before.elapsed().as_nanos() as u64);
    }
    let synced = Synced {
        operations: latency_ns.len(),
        seconds: start.elapsed().as_secs_f64(),
        p50_us: latency_ns.value_at_quantile(0.5) as f64 / 1e3,
        p99_us: latency_ns.value_at_quantile(0.99) as f64 / 1e3,
        cpu_s: crate::proc::cpu_s(std::process::id())? - cpu_start,
    };
    println!("{}", serde_json::to_string(&synced)?);
    Ok(())
}
