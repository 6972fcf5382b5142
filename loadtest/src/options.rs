//! The command line.

mod scenarios;
mod values;

use clap::{Args, Parser, Subcommand};
pub use scenarios::{By, Durability, Fanout, HotPath, Mix, Replay, Rest, Scenario, Sessions, Soak};
use std::path::PathBuf;
pub use values::CpuList;
use values::{cpu_list, percent, seconds, window_seconds};

/// Measures a FleetLM server and verifies every answer while it does.
///
/// Exit codes: 0 all went well, 1 a promise was broken (messages lost, duplicated, reordered, altered or invented), 2
/// requests failed or the run could not be made, 3 a comparison found something worse than allowed.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "loadtest",
    version,
    after_help = "docs/loadtest.md explains the scenarios and how to read their numbers."
)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub task: Task,
    /// How.
    #[command(flatten)]
    pub common: Common,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Task {
    /// Measure.
    #[command(flatten)]
    Measure(Scenario),
    /// Adds up the reports of several generators that ran at the same time. With one report and --html: draws it again.
    Merge(Merge),
    /// Compares two reports, figure by figure: what is better, what is worse, what is noise.
    Compare(Compare),
}

/// Options of `merge`.
#[derive(Args, Clone, Debug)]
pub struct Merge {
    /// Reports that --json wrote.
    #[arg(required = true, value_name = "REPORT.json")]
    pub reports: Vec<PathBuf>,
}

/// Options of `compare`.
#[derive(Args, Clone, Debug)]
pub struct Compare {
    /// The report to compare with.
    #[arg(value_name = "A.json")]
    pub before: PathBuf,
    /// The report that is better or worse.
    #[arg(value_name = "B.json")]
    pub after: PathBuf,
    /// Differences below so many percent are called noise.
    #[arg(long, default_value_t = 5.0, value_name = "PERCENT", value_parser = percent)]
    pub threshold: f64,
    /// End with exit code 3 when a figure is worse by more.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub fail_on_regression: Option<f64>,
}

/// Options of all scenarios.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// The server to measure.
    #[arg(
        long,
        global = true,
        default_value = "http://127.0.0.1:4000",
        conflicts_with = "spawn",
        help_heading = "Server"
    )]
    pub url: String,
    /// Start a server on a free port with a temporary data folder (below TMPDIR), and stop it at the end.
    #[arg(long, global = true, help_heading = "Server")]
    pub spawn: bool,
    /// The binary to start; `fleetlm` beside this program when not given.
    #[arg(long, global = true, value_name = "PATH", requires = "spawn", help_heading = "Server")]
    pub server_bin: Option<PathBuf>,
    /// CPUs of the started server, one shard each (`0`, `0-3,6`).
    #[arg(long, global = true, value_name = "LIST", requires = "spawn", value_parser = cpu_list, help_heading = "Server")]
    pub server_cpus: Option<CpuList>,
    /// A further argument for the started server; may be repeated.
    #[arg(
        long,
        global = true,
        value_name = "ARG",
        requires = "spawn",
        allow_hyphen_values = true,
        help_heading = "Server"
    )]
    pub server_arg: Vec<String>,
    /// Process id of the server, when it runs on this machine: its CPU and memory are reported.
    #[arg(long, global = true, conflicts_with = "spawn", help_heading = "Server")]
    pub pid: Option<u32>,
    /// CPUs of the generator, one thread each.
    #[arg(long, global = true, value_name = "LIST", value_parser = cpu_list, help_heading = "Generator")]
    pub client_cpus: Option<CpuList>,
    /// Threads of the generator when no CPUs are named.
    #[arg(long, global = true, default_value_t = 1, conflicts_with = "client_cpus", value_parser = clap::value_parser!(u16).range(1..=256),
          help_heading = "Generator")]
    pub threads: u16,
    /// Seconds that are measured; 10 when not given, 600 for soak.
    #[arg(long, global = true, value_name = "SECONDS", value_parser = window_seconds, help_heading = "Generator")]
    pub duration: Option<f64>,
    /// Seconds under load before them.
    #[arg(long, global = true, default_value_t = 1.0, value_name = "SECONDS", value_parser = seconds, help_heading = "Generator")]
    pub warmup: f64,
    /// Write the report to this file as JSON, with whole histograms: for merge, compare and programs.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Report")]
    pub json: Option<PathBuf>,
    /// Write the report to this file as a page for a browser, which needs nothing else.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Report")]
    pub html: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_refuses_nonsense() {
        use clap::CommandFactory;
        Options::command().debug_assert();
        let parse = |line: &str| Options::try_parse_from(line.split(' '));
        for good in [
            "loadtest hot-path --connections 3 --spawn --server-cpus 0 --client-cpus 1",
            "loadtest --spawn replay --cold --by both",
            "loadtest fanout --url http://127.0.0.1:4000 --rate 50",
            "loadtest merge a.json b.json --json c.json --html c.html",
            "loadtest compare a.json b.json --threshold 2 --fail-on-regression 10",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "loadtest hot-path --connections 0",
            "loadtest rest --rate 0",
            "loadtest hot-path --size 1",
            "loadtest rest --pid 1 --spawn",
            "loadtest merge",
            "loadtest compare a.json",
            "loadtest soak --rss-growth-max -1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
