//! Idle: what a joined WebSocket and a session cost our server in memory while nothing happens.
//!
//! The goals are of resident memory. Pages of the mapped log are resident too while the kernel has no other use for them; so both are told,
//! all resident pages and those that are the process's own.

use super::Plan;
use crate::proc::{Memory, memory};
use crate::report::{Column, Row, Sample, Table};
use crate::servers::{Door, Server};
use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::{Duration, Instant};

const COLUMNS: [Column; 5] = [
    Column::new("count", "count", 0),
    Column::ranged("anonymous_bytes_each", "own bytes each", 0),
    Column::ranged("resident_bytes_each", "resident bytes each", 0),
    Column::new("anonymous_mib", "own MiB more", 2),
    Column::new("empty_anonymous_mib", "own MiB before", 2),
];

/// Memory has settled when it has not changed for so long.
const SETTLED: Duration = Duration::from_millis(1_500);
/// Longer than this is not waited.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// Descriptors beside the sockets.
const DESCRIPTORS: u64 = 512;

/// The table `idle`.
pub fn idle(plan: &Plan) -> Result<Table> {
    let row = |name: &str, setting: &str| Row {
        name: name.to_owned(),
        setting: setting.to_owned(),
        rounds: Vec::new(),
        trouble: None,
        failed: false,
    };
    let mut sockets = row("idle WebSocket", "joined to a session of its own, which was there before the sockets");
    let mut sessions = row("idle session", "created by POST, never written to");
    for _ in 0..plan.rounds {
        sockets.rounds.push(Some(of_sockets(plan)?));
        sessions.rounds.push(Some(of_sessions(plan)?));
    }
    Ok(Table {
        work: "idle".to_owned(),
        title: "Memory of the server, beyond what it had before, once it has settled.".to_owned(),
        columns: COLUMNS.to_vec(),
        ratios: Vec::new(),
        rows: vec![sockets, sessions],
    })
}

fn of_sockets(plan: &Plan) -> Result<Sample> {
    let count = plan.sizes.idle_sockets;
    raise_descriptors(count as u64 + DESCRIPTORS)?;
    let server = plan.ours(Door::Socket).run(&plan.place)?;
    let sessions = server.make_sessions(count)?;
    let before = settled(server.child().pid())?;
    let sockets = sessions.iter().map(|session| server.joined(session)).collect::<Result<Vec<_>>>()?;
    let after = settled(server.child().pid())?;
    drop(sockets);
    Ok(sample(count, before, after))
}

fn of_sessions(plan: &Plan) -> Result<Sample> {
    let count = plan.sizes.idle_sessions;
    let server = plan.ours(Door::Rest).run(&plan.place)?;
    // The connection that makes them grows its own buffers with the first few.
    server.make_sessions(1_000.min(count))?;
    let before = settled(server.child().pid())?;
    server.make_sessions(count)?;
    let after = settled(server.child().pid())?;
    Ok(sample(count, before, after))
}

fn sample(count: usize, before: Memory, after: Memory) -> Sample {
    let (anonymous, resident) =
        (after.anonymous as f64 - before.anonymous as f64, after.resident as f64 - before.resident as f64);
    let mib = f64::from(1 << 20);
    eprintln!("idle {count}: {:.0} own bytes each, {:.0} resident", anonymous / count as f64, resident / count as f64);
    Sample::from([
        ("count", count as f64),
        ("anonymous_bytes_each", anonymous / count as f64),
        ("resident_bytes_each", resident / count as f64),
        ("anonymous_mib", anonymous / mib),
        ("resident_mib", resident / mib),
        ("empty_anonymous_mib", before.anonymous as f64 / mib),
        ("empty_resident_mib", before.resident as f64 / mib),
    ])
}

fn settled(pid: u32) -> Result<Memory> {
    let start = Instant::now();
    let (mut last, mut since) = (memory(pid)?, Instant::now());
    while since.elapsed() < SETTLED && start.elapsed() < SETTLE_MAX {
        std::thread::sleep(Duration::from_millis(50));
        let now = memory(pid)?;
        if now.anonymous != last.anonymous {
            (last, since) = (now, Instant::now());
        }
    }
    memory(pid)
}

/// This program holds the other end of every socket; its servers inherit the limit.
fn raise_descriptors(needed: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < needed) {
        ensure!(maximum.is_none_or(|maximum| maximum >= needed), "{needed} descriptors are needed: ulimit -n {needed}");
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("raising the descriptors' limit")?;
    }
    Ok(())
}
