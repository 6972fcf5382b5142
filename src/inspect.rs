//! `fleetlm check`, `export` and `backup`: a data folder without a server, or beside one. Nothing of it is changed.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use rustix::process::{Resource, getrlimit, setrlimit};
use storage::backup::BLOBS_FOLDER;
use storage::{BlobHash, Key};

use crate::session::{BlobClaimed, BlobReleased, SessionId, kind, rfc3339};

/// Verifies every record of a data folder, and every file that its sessions claim, and prints what it holds. Success: nothing is damaged
/// and nothing is missing.
///
/// # Errors
/// When the folder cannot be read at all.
pub fn check(dir: &Path) -> anyhow::Result<ExitCode> {
    let report = storage::check::check(dir)?;
    let files = claimed_files(dir)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{report}").context("cannot print")?;
    if !files.is_empty() {
        let bad: Vec<String> = files.iter().filter_map(|(hash, bytes)| damage_of(dir, *hash, *bytes)).collect();
        bad.iter().try_for_each(|problem| writeln!(out, "{problem}")).context("cannot print")?;
        writeln!(out, "{} files, {} missing or damaged", files.len(), bad.len()).context("cannot print")?;
        if !bad.is_empty() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The files that sessions of a folder claim, with their bytes.
fn claimed_files(dir: &Path) -> anyhow::Result<HashMap<BlobHash, u64>> {
    let mut claims: HashMap<Key, HashMap<(String, [u8; 32]), u64>> = HashMap::new();
    // What is damaged is named by the check of the records.
    for record in storage::scan(dir)?.flatten() {
        match record.kind.0 {
            kind::SESSION_DELETED => drop(claims.remove(&record.key)),
            kind::BLOB_CLAIMED => {
                if let Some(BlobClaimed { hash, bytes, name, .. }) = BlobClaimed::parse(&record.payload) {
                    claims.entry(record.key).or_default().insert((name, hash), bytes);
                }
            }
            kind::BLOB_RELEASED => {
                if let (Some(BlobReleased { hash, name }), Some(of)) =
                    (BlobReleased::parse(&record.payload), claims.get_mut(&record.key))
                {
                    of.remove(&(name, hash));
                }
            }
            _ => {}
        }
    }
    Ok(claims.into_values().flatten().map(|((_, hash), bytes)| (BlobHash(hash), bytes)).collect())
}

/// What is wrong with a file that is claimed.
fn damage_of(dir: &Path, hash: BlobHash, bytes: u64) -> Option<String> {
    let name = hash.to_string();
    let path = dir.join(BLOBS_FOLDER).join(&name[..2]).join(&name);
    match std::fs::read(&path) {
        Err(error) => Some(format!("{}: {error}", path.display())),
        Ok(found) if found.len() as u64 != bytes || BlobHash::of(&found) != hash => {
            Some(format!("{}: not the bytes that were uploaded", path.display()))
        }
        Ok(_) => None,
    }
}

/// Copies a data folder, of a running server or of none, as it is at one moment, and verifies the copy. `now_us` is the wall clock.
///
/// # Errors
/// When there is no copy. One that was made and holds damage of the original stays, and the exit code is that of [`check`].
pub fn backup(dir: &Path, to: &Path, now_us: &mut dyn FnMut() -> u64) -> anyhow::Result<ExitCode> {
    raise_open_files();
    let report = storage::backup::backup(dir, to, now_us)?;
    let verdict = check(to)?;
    let mut out = io::stdout().lock();
    let moment = rfc3339(report.moment_us);
    write!(out, "{} holds {} as of {moment}: ", to.display(), dir.display()).context("cannot print")?;
    let (segment_mib, blob_mib) = (report.segment_bytes >> 20, report.blob_bytes >> 20);
    writeln!(out, "{} segments, {segment_mib} MiB, {} files, {blob_mib} MiB", report.segments, report.blobs)
        .context("cannot print")?;
    if report.shards_ahead > 0 {
        let ahead = report.shards_ahead;
        writeln!(out, "the stamps of {ahead} shards are ahead of the clock: they were copied as they were found")
            .context("cannot print")?;
    }
    Ok(verdict)
}

/// A backup holds every segment open at once.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit); // where it may not, the first file too many is named
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
