//! `loadtest`: puts a FleetLM server under load, measures what its users would feel, and verifies every answer while it does.
//!
//! Reading order: `options` (what can be asked), `measure` (from the command line to reports), `run` and `worker`
//! (threads and the measured window), `scenarios` (what is measured), `verify` (what was promised), `report` (what is
//! known in the end), `table` and `html` (how it looks). The wire is `wire`, `http`, `socket`, `frame` and `phoenix`:
//! written independently of the server's codecs, so that both cannot be wrong in the same way.

mod clock;
mod compare;
mod content;
mod descriptors;
mod drift;
mod figures;
mod frame;
mod html;
mod http;
mod latency;
mod machine;
mod measure;
mod options;
mod outcome;
mod phoenix;
mod progress;
mod provision;
mod recording;
mod report;
mod run;
mod sampling;
mod scenarios;
mod series;
mod server;
mod smoke;
mod socket;
mod table;
mod target;
mod usage;
mod verify;
mod wire;
mod worker;

use anyhow::{Context, Result};
use clap::Parser;
use options::{Common, Merge, Options, Task};
use report::{Report, Verdict};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.task {
        Task::Measure(scenario) => measure::measure(scenario, &options.common),
        Task::Merge(merge) => self::merge(merge, &options.common),
        Task::Compare(compare) => compare::compare(compare, &options.common),
    };
    match done {
        Ok(verdict) => ExitCode::from(verdict.code()),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(Verdict::Failed.code())
        }
    }
}

/// Prints and writes the sum of several reports; their worst verdict.
fn merge(merge: &Merge, common: &Common) -> Result<Verdict> {
    let mut sum: Vec<Report> = Vec::new();
    for path in &merge.reports {
        let reports = report::read(path)?;
        if sum.is_empty() {
            sum = reports;
            continue;
        }
        report::add(&mut sum, reports).with_context(|| format!("adding {}", path.display()))?;
    }
    sum.iter().for_each(measure::say);
    measure::publish(&sum, common)
}
