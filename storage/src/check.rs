//! Looking at a data folder without changing it: every record verified, or every record handed out in order.
//!
//! Files are read into memory one at a time and never mapped, so a folder that a server is writing can be looked at:
//! what was not synced when it was read counts as a torn end. The same judgement as recovery's decides what is damage.

use crate::record;
use crate::recovery::{self, Found, Verdict};
use crate::scan::walk;
use crate::segment::{Layout, file_name, parse_file_name, sealed_records};
use crate::snapshot::{self, SnapshotInfo};
use crate::{Corruption, Key, Kind, Lsn, file};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A folder in use is read again this often before a hole in an unsealed segment counts as damage: the file may have
/// grown between its beginning and its end.
const ATTEMPTS: usize = 3;

/// Why a folder cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub struct CheckError {
    /// The folder or file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The state of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Being written, or left so by a crash.
    Unsealed,
    /// Complete and cut to its length.
    Sealed,
    /// Rewritten without its dead records.
    Packed,
}

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file's name.
    pub file: String,
    /// The segment's number.
    pub number: u32,
    /// The shard that wrote it.
    pub shard: u16,
    /// The start that wrote it.
    pub life: u32,
    /// See [`SegmentState`].
    pub state: SegmentState,
    /// Records that verify.
    pub records: u64,
    /// Messages among them.
    pub messages: u64,
    /// Notes among them.
    pub notes: u64,
    /// Records among them that stand alone.
    pub standalone: u64,
    /// Streams that have records in it.
    pub keys: u64,
    /// Bytes of header and records.
    pub bytes_used: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes behind the last record that recovery would cut: written and never acknowledged.
    pub bytes_torn: u64,
}

/// What a snapshot covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// The file's name.
    pub file: String,
    /// Its shard.
    pub shard: u16,
    /// A start folds its shard's records from here on.
    pub from: Lsn,
    /// Bytes of the file.
    pub bytes: u64,
    /// Keys in it.
    pub keys: u64,
}

/// What a folder holds. [`fmt::Display`] prints it for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// In the order of their numbers.
    pub segments: Vec<SegmentReport>,
    /// In the order of their names.
    pub snapshots: Vec<SnapshotReport>,
    /// Streams in the whole folder.
    pub keys: u64,
    /// Damage, by file and offset.
    pub problems: Vec<Corruption>,
    /// A server has the folder.
    pub in_use: bool,
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.in_use {
            writeln!(f, "a server is using this folder: what it has not synced yet may count as torn")?;
        }
        for segment in &self.segments {
            let state = match segment.state {
                SegmentState::Unsealed => "unsealed",
                SegmentState::Sealed => "sealed",
                SegmentState::Packed => "packed",
            };
            write!(
                f,
                "{} shard {} {state}: {} records, {} messages, {} notes, {} keys, {} of {} bytes",
                segment.file,
                segment.shard,
                segment.records,
                segment.messages,
                segment.notes,
                segment.keys,
                segment.bytes_used,
                segment.bytes
            )?;
            match segment.bytes_torn {
                0 => writeln!(f)?,
                torn => writeln!(f, ", {torn} bytes torn")?,
            }
        }
        for snapshot in &self.snapshots {
            let SnapshotReport { file, shard, keys, from, bytes } = snapshot;
            writeln!(f, "{file} shard {shard}: {keys} keys, records from {from} on are not in it, {bytes} bytes")?;
        }
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        let sum = |of: fn(&SegmentReport) -> u64| self.segments.iter().map(of).sum::<u64>();
        write!(
            f,
            "{} segments, {} records, {} messages, {} notes, {} keys, {} bytes, {} problems",
            self.segments.len(),
            sum(|segment| segment.records),
            sum(|segment| segment.messages),
            sum(|segment| segment.notes),
            self.keys,
            sum(|segment| segment.bytes),
            self.problems.len()
        )
    }
}

/// Verifies a folder record by record. Changes nothing; a folder in use may be checked.
pub fn check(dir: &Path) -> Result<CheckReport, CheckError> {
    let in_use = is_in_use(dir);
    let mut attempt = 1;
    loop {
        let examined = examine(dir)?;
        let is_doubtful =
            |one: &Examined| !one.found.sealed && one.verdict.as_ref().is_some_and(|v| !v.holes.is_empty());
        if in_use && attempt < ATTEMPTS && examined.segments.iter().any(is_doubtful) {
            attempt += 1;
            continue;
        }
        return Ok(report(examined, in_use));
    }
}

/// Whether somebody holds the folder's lock. A folder without one, or one that may not be opened, is not in use.
fn is_in_use(dir: &Path) -> bool {
    OpenOptions::new().read(true).open(dir.join(file::LOCK_NAME)).is_ok_and(|lock| {
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared)
            == Err(rustix::io::Errno::WOULDBLOCK)
    })
}

struct Examined {
    name: String,
    found: Found,
    verdict: Option<Verdict>,
    counts: Counts,
}

struct Folder {
    segments: Vec<Examined>,
    snapshots: Vec<SnapshotReport>,
    problems: Vec<Corruption>,
    keys: HashSet<Key>,
}

#[derive(Default)]
struct Counts {
    notes: u64,
    standalone: u64,
    keys: HashSet<Key>,
}

fn read(path: &Path) -> Result<Vec<u8>, CheckError> {
    fs::read(path).map_err(|source| CheckError { path: path.to_owned(), source })
}

/// Reads and judges every file. A file that goes away meanwhile (a snapshot, a prepared segment) is left out.
fn examine(dir: &Path) -> Result<Folder, CheckError> {
    let mut entries = file::list(dir).map_err(|source| CheckError { path: dir.to_owned(), source })?;
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let mut folder = Folder { segments: Vec::new(), snapshots: Vec::new(), problems: Vec::new(), keys: HashSet::new() };
    let mut logs: BTreeMap<(u32, u16), Vec<Found>> = BTreeMap::new();
    for entry in entries {
        let is_snapshot = entry.name.ends_with(snapshot::NAME_SUFFIX);
        let number = parse_file_name(&entry.name);
        if !is_snapshot && number.is_none() {
            continue;
        }
        let bytes = match read(&dir.join(&entry.name)) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => continue,
            bytes => bytes?,
        };
        let understood = match number {
            Some(number) => recovery::find_segment(number, &bytes).map(|mut found| {
                found.scan = Some(recovery::scan_found(&found, &bytes));
                logs.entry((found.header.life, found.header.shard)).or_default().push(found);
            }),
            None => snapshot_report(&entry.name, &bytes).map(|report| folder.snapshots.push(report)),
        };
        if understood.is_none() {
            folder.problems.push(Corruption { file: entry.name, offset: 0 });
        }
    }
    for log in logs.into_values() {
        let verdicts = recovery::judge(&log);
        for (found, verdict) in log.into_iter().zip(verdicts) {
            folder.add(dir, found, verdict)?;
        }
    }
    folder.segments.sort_by_key(|one| one.found.header.number);
    Ok(folder)
}

impl Folder {
    /// Counts what stands in a judged segment.
    fn add(&mut self, dir: &Path, found: Found, verdict: Option<Verdict>) -> Result<(), CheckError> {
        let name = file_name(found.header.number);
        let mut counts = Counts::default();
        if let Some(verdict) = &verdict {
            let bytes = read(&dir.join(&name))?;
            walk(&bytes, &layout(&found, verdict), &verdict.holes, 0, &mut |record| {
                if record.kind.is_standalone() {
                    counts.standalone += 1;
                } else {
                    counts.notes += u64::from(!record.is_message());
                    counts.keys.insert(record.key);
                }
            });
            if !has_all(&found, verdict, &bytes) {
                self.problems.push(Corruption { file: name.clone(), offset: u64::from(verdict.end) });
            }
            let holes = verdict.holes.iter().map(|(offset, _)| u64::from(*offset));
            self.problems.extend(holes.map(|offset| Corruption { file: name.clone(), offset }));
        }
        self.keys.extend(&counts.keys);
        self.segments.push(Examined { name, found, verdict, counts });
        Ok(())
    }
}

/// Whether a sealed segment holds as many records as its seal counts. Any other has no count to compare with.
fn has_all(found: &Found, verdict: &Verdict, bytes: &[u8]) -> bool {
    if found.table.is_some() || !verdict.has_seal || !verdict.holes.is_empty() {
        return true;
    }
    let seal = bytes.get(verdict.end as usize..).unwrap_or_default();
    record::decode(seal, Lsn::new(found.header.number, verdict.end))
        .is_ok_and(|(seal, _)| sealed_records(&seal) == verdict.records)
}

fn layout(found: &Found, verdict: &Verdict) -> Layout {
    Layout { number: found.header.number, salt: found.header.salt, end: verdict.end, table: found.table }
}

fn snapshot_report(name: &str, bytes: &[u8]) -> Option<SnapshotReport> {
    let info = SnapshotInfo::decode(name, bytes)?;
    let mut keys = 0;
    let mut body = snapshot::body(bytes);
    while let Some((frame, rest)) = snapshot::next_frame(body) {
        keys += u64::from(matches!(frame, snapshot::Frame::Entry { .. }));
        body = rest;
    }
    Some(SnapshotReport { file: info.name, shard: info.shard, from: info.from, bytes: bytes.len() as u64, keys })
}

fn report(folder: Folder, in_use: bool) -> CheckReport {
    let segments = folder.segments.iter().map(segment_report).collect();
    CheckReport {
        segments,
        snapshots: folder.snapshots,
        keys: folder.keys.len() as u64,
        problems: folder.problems,
        in_use,
    }
}

fn segment_report(one: &Examined) -> SegmentReport {
    let header = &one.found.header;
    let end = one.verdict.as_ref().map_or(crate::segment::SEGMENT_HEADER_BYTES, |verdict| verdict.end);
    let used = one.found.scan.as_ref().map_or(0, |scan| scan.used);
    let is_torn = !one.found.sealed && one.verdict.as_ref().is_none_or(|verdict| !verdict.has_seal);
    SegmentReport {
        file: one.name.clone(),
        number: header.number,
        shard: header.shard,
        life: header.life,
        state: match (header.packed, one.found.sealed) {
            (true, _) => SegmentState::Packed,
            (false, true) => SegmentState::Sealed,
            (false, false) => SegmentState::Unsealed,
        },
        records: one.verdict.as_ref().map_or(0, |verdict| verdict.records),
        messages: one.verdict.as_ref().map_or(0, |verdict| verdict.messages),
        notes: one.counts.notes,
        standalone: one.counts.standalone,
        keys: one.counts.keys.len() as u64,
        bytes_used: u64::from(end),
        bytes: one.found.file_bytes,
        bytes_torn: if is_torn { u64::from(used.saturating_sub(end)) } else { 0 },
    }
}

/// A record with its own bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedRecord {
    /// Where it stands.
    pub lsn: Lsn,
    /// What it is.
    pub kind: Kind,
    /// See [`crate::Record::flags`].
    pub flags: u8,
    /// Its stream.
    pub key: Key,
    /// Position in its stream, 0 for a note.
    pub seq: u64,
    /// Microseconds since 1970.
    pub time_us: u64,
    /// The writer's small facts.
    pub meta: Vec<u8>,
    /// The writer's bytes.
    pub payload: Vec<u8>,
}

/// Why an iterator of [`scan`] has no record to give next. It goes on behind it.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Damage: records are missing here.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// A file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] CheckError),
}

/// All records of a folder, in the order of their addresses, which is each stream's order. Changes nothing. Records that
/// a recovery would cut are not among them.
pub fn scan(dir: &Path) -> Result<impl Iterator<Item = Result<ScannedRecord, ScanError>>, CheckError> {
    let folder = examine(dir)?;
    let dir = dir.to_owned();
    let unnamed = folder.problems.into_iter().filter(|problem| problem.offset == 0).map(|problem| Err(problem.into()));
    Ok(folder.segments.into_iter().flat_map(move |one| records(&dir, &one)).chain(unnamed))
}

fn records(dir: &Path, one: &Examined) -> Vec<Result<ScannedRecord, ScanError>> {
    let Some(verdict) = &one.verdict else { return Vec::new() };
    let bytes = match read(&dir.join(&one.name)) {
        Ok(bytes) => bytes,
        Err(error) => return vec![Err(error.into())],
    };
    let holes =
        verdict.holes.iter().map(|(offset, _)| Corruption { file: one.name.clone(), offset: u64::from(*offset) });
    let mut all: Vec<_> = holes.map(|hole| Err(hole.into())).collect();
    walk(&bytes, &layout(&one.found, verdict), &verdict.holes, 0, &mut |record| {
        all.push(Ok(ScannedRecord {
            lsn: record.lsn,
            kind: record.kind,
            flags: record.flags,
            key: record.key,
            seq: record.seq,
            time_us: record.time_us,
            meta: record.meta.to_vec(),
            payload: record.payload.to_vec(),
        }));
    });
    all
}
