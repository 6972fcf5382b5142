//! Subcommands that are clients of a running server: they speak REST and Phoenix Channels like any other client, and know nothing of the
//! server's inside.
//!
//! Results go to standard output, everything said about them to standard error. Exit codes: 0 it is done, 1 it is not.

mod agents;
pub mod keys;
mod print;
mod rest;
mod send;
mod sessions;
mod socket;
mod tail;

pub use print::plain;

use crate::config::{ClientTask, ServerAt};
use std::process::ExitCode;

/// Does what is asked of the server.
///
/// # Errors
/// When the server cannot be reached, or refuses: in its words.
pub fn run(task: ClientTask) -> anyhow::Result<ExitCode> {
    let result = match task {
        ClientTask::Send(task) => send::run(&task),
        ClientTask::Tail(task) => tail::run(&task),
        ClientTask::Health(at) => health(&at),
        ClientTask::Sessions { at, task } => sessions::run(&at, task),
        ClientTask::Agents { at, task } => agents::run(&at, task),
    };
    // Whoever reads has had enough (`| head`): that is no failure.
    if result.as_ref().is_err_and(print::is_closed) { Ok(ExitCode::SUCCESS) } else { result }
}

fn health(at: &ServerAt) -> anyhow::Result<ExitCode> {
    let answer = rest::Rest::new(at)?.get(&["health", "ready"], &[])?;
    print::line(&if at.json { answer.to_string() } else { "ready".to_owned() })?;
    Ok(ExitCode::SUCCESS)
}
