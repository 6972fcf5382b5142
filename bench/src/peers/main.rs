//! `peers`: our server beside what a user would pick instead, and beside the limit, at the same work in one run.
//!
//! `cargo run --release -p bench --bin peers -- [WORK..]` starts each contender in its safest common setting on one CPU, drives it from another by
//! the same epoll loop, verifies what it answers, and lets all alternate round by round. The method and its findings are in
//! `docs/performance.md`.

mod child;
mod closed;
mod fan;
mod goals;
mod limits;
mod link;
mod machine;
mod proc;
mod quiet;
mod report;
mod servers;
mod setup;
mod wire;
mod works;

use anyhow::{Context, Result, ensure};
use child::{Place, pin};
use clap::{Args, Parser, Subcommand, ValueEnum};
use report::Table;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use works::{Plan, Sizes, Work};

/// Our server beside what a user would pick instead, and beside the limit, at the same work in one run.
///
/// Trust the ratios of a run, not its absolute figures: those are this machine's.
#[derive(Debug, Parser)]
#[command(name = "peers", version, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    hidden: Option<Hidden>,
    #[command(flatten)]
    comparison: Comparison,
}

#[derive(Debug, Subcommand)]
enum Hidden {
    /// Runs a limit, as a process that the comparison starts.
    #[command(hide = true)]
    Limit {
        #[command(subcommand)]
        limit: limits::Limit,
    },
}

#[derive(Debug, Args)]
struct Comparison {
    /// What to compare; everything without one.
    #[arg(value_name = "WORK")]
    works: Vec<Work>,
    /// Turns of every contender.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    rounds: u16,
    /// Length of a measured window; a quarter of it comes before as warm-up.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only contenders whose name holds one of these texts.
    #[arg(long, value_name = "TEXT", num_args = 1..)]
    only: Vec<String>,
    /// CPU of the servers, one at a time.
    #[arg(long, default_value_t = 0, value_name = "CPU")]
    server_cpu: usize,
    /// CPU of this client; without one the last that there is.
    #[arg(long, value_name = "CPU")]
    client_cpu: Option<usize>,
    /// Our server's binary; without one `fleetlm` beside this program.
    #[arg(long, value_name = "FILE")]
    server_bin: Option<PathBuf>,
    /// Where the servers' files are put for the time of the run: the disk that is measured.
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// Write all rounds to this file as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How long a turn waits for other work on the machine to end; a turn that was disturbed is repeated twice at the most. 0 takes what comes.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    patience: f64,
    /// Small works, for correctness.
    #[arg(long)]
    small: bool,
    /// Install the contenders that are missing (Debian's and cargo's packages, as root), and end.
    #[arg(long)]
    setup: bool,
}

/// Everything that a run came to.
#[derive(Serialize)]
struct Run {
    /// What was typed.
    command: Vec<String>,
    machine: machine::Machine,
    rounds: u16,
    seconds: f64,
    server_cpu: usize,
    client_cpu: usize,
    tables: Vec<Table>,
    goals: Vec<goals::Goal>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    match options.hidden {
        Some(Hidden::Limit { limit }) => limits::run(limit),
        None if options.comparison.setup => setup::install(),
        None => compare(options.comparison),
    }
}

fn compare(options: Comparison) -> Result<()> {
    ensure!(options.seconds > 0.0 && options.seconds <= 600.0, "--seconds is above 0 and at most 600");
    let cpus = std::thread::available_parallelism()?.get();
    let client_cpu = options.client_cpu.unwrap_or(cpus - 1);
    pin(client_cpu)?;
    let beside = std::env::current_exe()?.with_file_name("fleetlm");
    let binary = options.server_bin.clone().unwrap_or(beside);
    ensure!(binary.is_file(), "there is no {}: cargo build --release, or name one with --server-bin", binary.display());
    let dir = options.dir.canonicalize().with_context(|| options.dir.display().to_string())?;
    let window = Duration::from_secs_f64(options.seconds);
    let plan = Plan {
        rounds: usize::from(options.rounds),
        window,
        warm: window / 4,
        patience: Duration::try_from_secs_f64(options.patience).context("--patience")?,
        only: options.only.clone(),
        place: Place { cpu: options.server_cpu, dir: dir.clone() },
        binary: binary.clone(),
        sizes: if options.small { Sizes::small() } else { Sizes::full() },
    };
    let works = if options.works.is_empty() { Work::value_variants() } else { &options.works };
    let mut run = Run {
        command: std::iter::once("peers".to_owned()).chain(std::env::args().skip(1)).collect(),
        machine: machine::Machine::look(&dir, &binary),
        rounds: options.rounds,
        seconds: options.seconds,
        server_cpu: options.server_cpu,
        client_cpu,
        tables: Vec::new(),
        goals: Vec::new(),
    };
    for work in works {
        for table in plan.perform(*work)? {
            println!("{table}");
            run.tables.push(table);
        }
        // What is there so far is kept: a run of everything takes long.
        run.goals = goals::of(&run.tables);
        if let Some(path) = &options.json {
            write(path, &run)?;
        }
    }
    goals::print(&run.goals);
    let failed = run.tables.iter().flat_map(|table| &table.rows).filter(|row| row.failed);
    let failed: Vec<&str> = failed.map(|row| row.name.as_str()).collect();
    ensure!(failed.is_empty(), "their rows say what went wrong: {}", failed.join(", "));
    Ok(())
}

fn write(path: &Path, run: &Run) -> Result<()> {
    let text = serde_json::to_string_pretty(run)? + "\n";
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
