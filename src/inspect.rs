//! `fleetlm check` and `fleetlm export`: looking at a data folder without a server, or beside one. Nothing is changed.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::session::{SessionId, kind};

/// Verifies every record of a data folder and prints what it holds. Success: nothing is damaged.
///
/// # Errors
/// When the folder cannot be read at all.
pub fn check(dir: &Path) -> anyhow::Result<ExitCode> {
    let report = storage::check::check(dir)?;
    writeln!(io::stdout().lock(), "{report}").context("cannot print")?;
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints a session's messages as JSON lines, oldest first. Damage is named on stderr and in the exit code, what can be read is
/// printed.
///
/// # Errors
/// When the folder cannot be read, or holds no such session.
pub fn export(dir: &Path, session: &str) -> anyhow::Result<ExitCode> {
    let id = SessionId::parse(session)
        .with_context(|| format!("{session} is not a session id (26 characters, A-Z and 0-9)"))?;
    let mut messages = Vec::new();
    let mut exists = false;
    let mut damage = Vec::new();
    for record in storage::check::scan(dir)? {
        match record {
            Ok(record) if record.key.0 != id.to_u128() || !record.kind.is_stream() => {}
            Ok(record) if record.kind.0 == kind::SESSION_DELETED => bail!("session {id} was deleted"),
            Ok(record) => {
                exists = true;
                if record.seq > 0 {
                    messages.push(record.payload);
                }
            }
            Err(error) => damage.push(error.to_string()),
        }
    }
    if !exists && damage.is_empty() {
        bail!("there is no session {id} in {}", dir.display());
    }
    let mut out = BufWriter::new(io::stdout().lock());
    for message in messages {
        out.write_all(&message).and_then(|()| out.write_all(b"\n")).context("cannot print")?;
    }
    out.flush().context("cannot print")?;
    for problem in &damage {
        writeln!(io::stderr().lock(), "fleetlm: {problem}").context("cannot print")?;
    }
    Ok(if damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
