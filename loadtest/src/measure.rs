//! From the command line to reports: the server that is asked for, one run after the other, and what is printed and written.

use crate::clock::now_ns;
use crate::content::mix;
use crate::descriptors;
use crate::drift;
use crate::html;
use crate::machine::{self, Machine};
use crate::options::{By, Common, Durability, Replay, Scenario};
use crate::report::{self, Origin, Report, Verdict};
use crate::run::{self, Plan};
use crate::server::{Own, Start, Subject};
use crate::smoke;
use crate::target::Target;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

/// Runs what was asked for and prints it; the worst verdict of all.
///
/// # Errors
/// When a run could not be made.
pub fn measure(scenario: &Scenario, common: &Common) -> Result<Verdict> {
    if scenario.needs_own_server() && !common.spawn {
        bail!("{} stops the server and starts it again, so it must be its own: add --spawn", scenario.name());
    }
    descriptors::allow(scenario.connections())?;
    let interrupted = run::interruptible()?;
    let subject = subject(common)?;
    let done = measure_all(&plans(scenario, common), common, &subject, &interrupted);
    // Threads of the runs may still hold on to it.
    if let Some(own) = &subject.own {
        own.finish();
    }
    done
}

fn subject(common: &Common) -> Result<Subject> {
    if !common.spawn {
        return Ok(Subject { target: Target::parse(&common.url)?, own: None, other_pid: common.pid });
    }
    let (target, own) = Own::start(Start {
        binary: common.server_bin.clone(),
        cpus: common.server_cpus.clone().map(|cpus| cpus.0).unwrap_or_default(),
        arguments: common.server_arg.clone(),
    })?;
    Ok(Subject { target, own: Some(own), other_pid: None })
}

/// One run for most scenarios.
fn plans(scenario: &Scenario, common: &Common) -> Vec<Plan> {
    let plan = |name, scenario: Scenario| Plan {
        name,
        duration_s: common.duration.unwrap_or(scenario.duration_default()),
        warmup_s: common.warmup,
        scenario,
    };
    let by = |replay: &Replay, by| Scenario::Replay(Replay { by, ..replay.clone() });
    match scenario {
        Scenario::Smoke => smoke::plans(common.spawn),
        Scenario::Replay(replay @ Replay { by: By::Both, .. }) => {
            vec![plan("replay by GET", by(replay, By::Get)), plan("replay by join", by(replay, By::Join))]
        }
        Scenario::Durability(durability) => {
            let seed = durability.seed.unwrap_or_else(|| mix(u64::from(std::process::id()) ^ now_ns()) >> 32);
            say(&format!("durability: the times of the kills come from --seed {seed}"));
            vec![plan("durability", Scenario::Durability(Durability { seed: Some(seed), ..durability.clone() }))]
        }
        one => vec![plan(one.name(), one.clone())],
    }
}

fn measure_all(plans: &[Plan], common: &Common, subject: &Subject, interrupted: &AtomicBool) -> Result<Verdict> {
    let origin = Origin {
        command: std::env::args().map(|argument| quoted(&argument)).collect::<Vec<_>>().join(" "),
        unix_s: 0,
        generator_version: generator_version(),
        server_version: subject.version(),
        machine: Machine::here(),
        data_filesystem: subject.own.as_ref().and_then(|own| machine::filesystem(&own.folder)),
    };
    let mut reports = Vec::new();
    for plan in plans {
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
        let outcome = run::run(plan, common, subject, interrupted).with_context(|| plan.name.to_owned())?;
        let origin = Origin { unix_s, ..origin.clone() };
        let mut report = Report::new(plan.name, plan.options()?, origin, plan.duration_s, outcome);
        if let Scenario::Soak(soak) = &plan.scenario {
            drift::judge(&mut report, soak);
        }
        say(&report);
        reports.push(report);
    }
    publish(&reports, common)
}

/// Writes reports to the files that were asked for; the worst verdict of all.
///
/// # Errors
/// When a file cannot be written.
pub fn publish(reports: &[Report], common: &Common) -> Result<Verdict> {
    if let Some(path) = &common.json {
        report::write(path, reports)?;
    }
    if let Some(path) = &common.html {
        fs::write(path, html::page(reports)).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(reports.iter().map(Report::verdict).max().unwrap_or(Verdict::Failed))
}

/// Prints a paragraph. A reader who has gone, as `head` does, misses nothing that is in the files.
pub fn say(text: &impl std::fmt::Display) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

fn generator_version() -> String {
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!("{} ({build})", env!("CARGO_PKG_VERSION"))
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        assert_eq!(["--rate=5", "a b", "it's", ""].map(quoted), ["--rate=5", "'a b'", r"'it'\''s'", "''"]);
    }
}
