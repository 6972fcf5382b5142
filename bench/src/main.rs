//! `bench`: micro-benchmarks of the steps a message takes, each beside a reference in the same run.
//!
//! `cargo run --release -p bench -- [FILTER]` runs the groups whose name holds FILTER. The whole server beside others
//! is `peers`'s business, what a user would feel `loadtest`'s.

mod channels;
mod harness;
mod log;
mod steps;
mod wire;

use anyhow::{Context, Result};
use clap::Parser;
use harness::{Effort, Group};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Micro-benchmarks, each beside a reference in the same run. Trust the ratios, not the nanoseconds.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Options {
    /// Only groups whose name holds this text.
    #[arg(default_value = "")]
    filter: String,
    /// Turns of every case.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Milliseconds of one turn.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    turn_ms: u64,
    /// Where the log's files are put for the time of the run: the disk that is measured.
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// Write the figures to this file as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Makes a group; only the chosen ones are made.
type Make = fn(&Path) -> Result<Group<'static>>;

/// All groups by name.
const GROUPS: &[(&str, Make)] = &[
    ("record append", |dir| log::append(dir, 256)),
    ("log commit 1", |dir| log::commit(dir, 1)),
    ("log commit 16", |dir| log::commit(dir, 16)),
    ("log commit 256", |dir| log::commit(dir, 256)),
    ("http request", |_| Ok(wire::http_request())),
    ("rest append", |_| Ok(wire::rest_append())),
    ("ws decode 256", |_| Ok(wire::ws_decode(256))),
    ("ws decode 4096", |_| Ok(wire::ws_decode(4096))),
    ("ws encode 256", |_| Ok(wire::ws_encode(256))),
    ("channel decode 256", |_| Ok(channels::decode(256))),
    ("channel encode 256", |_| Ok(channels::encode(256))),
    ("assemble 20", |_| Ok(steps::assemble(20))),
    ("assemble 200", |_| Ok(steps::assemble(200))),
    ("fan-out step 1000", |_| Ok(steps::fan_out(1_000))),
    ("shard append 256", |dir| steps::shard_append(dir, 256)),
];

fn main() -> Result<()> {
    let options = Options::parse();
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&options.dir);
    let folder = folder.with_context(|| format!("a temporary folder in {}", options.dir.display()))?;
    let effort = Effort { rounds: usize::from(options.rounds), turn: Duration::from_millis(options.turn_ms) };
    let mut measured = Vec::new();
    for (name, make) in GROUPS.iter().filter(|(name, _)| name.contains(&options.filter)) {
        let dir = folder.path().join(name.replace(' ', "-"));
        std::fs::create_dir(&dir)?;
        let group = make(&dir).with_context(|| (*name).to_owned())?.measure(effort);
        println!("{group}");
        measured.push(group);
        std::fs::remove_dir_all(&dir)?;
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&measured)? + "\n")
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
