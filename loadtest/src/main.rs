//! `loadtest`: puts a FleetLM server under load, measures what its users would feel, and verifies every answer while it does.
//!
//! Reading order: `options` (what can be asked), `run` (threads and the measured window), `scenarios` (what is measured), `verify` (what was
//! promised), `report` (what is said in the end). The wire is `wire`, `http`, `socket`, `frame` and `phoenix`: written independently of the
//! server's codecs, so that both cannot be wrong in the same way.

mod clock;
mod content;
mod frame;
mod http;
mod latency;
mod options;
mod phoenix;
mod provision;
mod report;
mod run;
mod scenarios;
mod server;
mod smoke;
mod socket;
mod target;
mod usage;
mod verify;
mod wire;

use anyhow::{Context, Result};
use clap::Parser;
use options::{Options, Scenario};
use report::{Report, Verdict};
use server::{Server, Start};
use std::fs;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use target::Target;

fn main() -> ExitCode {
    let options = Options::parse();
    match measure(&options) {
        Ok(verdict) => ExitCode::from(verdict.code()),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(Verdict::Failed.code())
        }
    }
}

/// Runs what was asked for and prints it; the worst verdict of all.
fn measure(options: &Options) -> Result<Verdict> {
    let server = options.common.spawn.then(|| Server::start(&start(options))).transpose()?;
    let target = match &server {
        Some(server) => server.target.clone(),
        None => Target::parse(&options.common.url)?,
    };
    let pid = server.as_ref().map(Server::pid).or(options.common.pid);
    let (list, common) = match &options.scenario {
        Scenario::Smoke => smoke::scenarios(&options.common),
        one => (vec![(name(one), one.clone())], options.common.clone()),
    };
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let mut reports = Vec::new();
    for (name, scenario) in &list {
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
        let outcome = run::run(scenario, &common, &target, pid).with_context(|| (*name).to_owned())?;
        let window_s = outcome.figures.get(scenarios::SECONDS_PASSED).copied().unwrap_or(common.duration);
        let report = Report::new(name, &command, unix_s, window_s, outcome);
        println!("{report}");
        reports.push(report);
    }
    if let Some(path) = &options.common.json {
        let json = match &reports[..] {
            [one] => serde_json::to_string_pretty(one)?,
            many => serde_json::to_string_pretty(many)?,
        };
        fs::write(path, json + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(reports.iter().map(Report::verdict).max().unwrap_or(Verdict::Failed))
}

fn start(options: &Options) -> Start {
    Start {
        binary: options.common.server_bin.clone(),
        cpus: options.common.server_cpus.clone().map(|cpus| cpus.0).unwrap_or_default(),
        arguments: options.common.server_arg.clone(),
    }
}

fn name(scenario: &Scenario) -> &'static str {
    match scenario {
        Scenario::HotPath(_) => "hot-path",
        Scenario::Rest(_) => "rest",
        Scenario::Replay(_) => "replay",
        Scenario::Fanout(_) => "fanout",
        Scenario::Sessions(_) => "sessions",
        Scenario::Smoke => "smoke",
    }
}
