//! What a start finds and makes of it: which records stand, what is cut, what is corrupt.
//!
//! Every start seals what earlier lives left and begins with fresh segments, so that a torn tail is never written again:
//! a record that survived behind a hole must not line up with new ones. What stops a run of valid records is judged by
//! [`decide`] from a few facts. A torn end was never acknowledged: nothing says that the disk had it. Bytes that some
//! later record, or a later sealed segment, says were on disk are corrupt: they are named, left as they are, and the
//! records behind them stay readable.
//!
//! Segments of one shard and life are changed from the last to the first, so that a crash in the middle of recovery
//! leaves a folder that the next recovery judges in the same way.

use crate::era;
use crate::medium::{Entry, Medium, View};
use crate::scan::{self, At, Scan};
use crate::segment::{
    self, Layout, SEAL_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, Table, file_name, footer, parse_file_name,
};
use crate::snapshot::SnapshotInfo;
use crate::{Corruption, Lsn, Options, file};
use std::collections::BTreeMap;
use std::io;

/// Why a folder cannot be recovered. Damage is not a reason; see [`Report::corrupt`].
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The folder cannot be listed or its names not made durable.
    #[error("the data folder cannot be used: {0}")]
    Folder(#[source] io::Error),
    /// A file cannot be read, cut, synced or removed.
    #[error("cannot recover {file}: {source}")]
    File {
        /// The file's name.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// All segment numbers are used up, after four billion segments.
    #[error("the data folder has used up its segment numbers")]
    NumbersUsedUp,
}

/// A torn end: written, never acknowledged, half on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file's name.
    pub file: String,
    /// Where it was cut.
    pub offset: u64,
    /// Bytes cut.
    pub bytes: u64,
}

/// What recovery found, for the log of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments that hold records.
    pub segments: usize,
    /// Records in segments that had to be read.
    pub records: u64,
    /// Messages among them.
    pub messages: u64,
    /// Bytes of segment files.
    pub bytes: u64,
    /// Segments whose records are all in snapshots and were not read.
    pub segments_skipped: usize,
    /// Bytes cut off torn ends.
    pub bytes_cut: u64,
    /// The torn ends.
    pub torn: Vec<Torn>,
    /// Files without a record, removed.
    pub removed: Vec<String>,
    /// Damage, by file and offset.
    pub corrupt: Vec<Corruption>,
}

/// A folder that is ready to be opened by logs. Plain data: each thread may take a clone.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// What was found.
    pub report: Report,
    /// All segments, ascending.
    pub(crate) segments: Vec<SegmentInfo>,
    /// The snapshots to start from.
    pub(crate) snapshots: Vec<SnapshotInfo>,
    /// The first segment number of this start, a multiple of its number of shards.
    pub(crate) life: u32,
    /// Whether the shards of this start continue an era of snapshots: see `era`.
    pub(crate) era_continues: bool,
    /// Shards of the start that wrote the snapshots; 0 without any.
    pub(crate) era_shards: u16,
}

impl Recovered {
    /// With how many shards the snapshots of this folder are continued. `None`: there are none to continue.
    pub fn shards_of_snapshots(&self) -> Option<u16> {
        Some(self.era_shards).filter(|shards| *shards > 0)
    }
}

/// A segment of an earlier life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    pub(crate) header: SegmentHeader,
    pub(crate) layout: Layout,
    /// Ranges of offsets that do not verify, as far as the segment was read.
    pub(crate) holes: Vec<(u32, u32)>,
    pub(crate) file_bytes: u64,
    /// Records below this offset are in the snapshots. The layout's end: all are.
    pub(crate) fold_from: u32,
}

/// What stops a run of valid records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    at: At,
    /// The file was cut to its used length, which happens only once all of it is durable.
    sealed: bool,
    /// A later record, or a later sealed segment, says that this place was durable.
    acknowledged: bool,
    /// More records verify behind it in the same file.
    valid_beyond: bool,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// The segment is whole.
    Whole,
    /// A torn end, or just the end: the segment is cut here and every later segment of the same log goes.
    Cut,
    /// Damage: the records behind it stand.
    Hole,
    /// Damage, and nothing stands behind it.
    EndMissing,
}

/// The table of runtime rules: sealed files lose nothing by a crash, unsealed ones lose only what nobody was promised.
fn decide(facts: Facts) -> Decision {
    match facts {
        Facts { at: At::Seal, .. } => Decision::Whole,
        Facts { sealed: false, acknowledged: false, .. } => Decision::Cut,
        Facts { valid_beyond: true, .. } => Decision::Hole,
        Facts { valid_beyond: false, .. } => Decision::EndMissing,
    }
}

/// A segment as it was found.
pub(crate) struct Found {
    pub(crate) header: SegmentHeader,
    pub(crate) file_bytes: u64,
    pub(crate) sealed: bool,
    pub(crate) table: Option<Table>,
    pub(crate) scan: Option<Scan>,
    pub(crate) fold_from: u32,
    /// The end that a seal or a footer names, when it is believed without a scan.
    pub(crate) end: u32,
}

/// What becomes of a found segment.
pub(crate) struct Verdict {
    pub(crate) end: u32,
    pub(crate) holes: Vec<(u32, u32)>,
    pub(crate) records: u64,
    pub(crate) messages: u64,
    pub(crate) has_seal: bool,
}

/// Prepares a data folder for this start: verifies what no snapshot covers, cuts torn ends, seals all segments.
///
/// # Errors
/// Only when the disk refuses; damage is reported in the result, and the rest works on.
pub fn recover<M: Medium>(medium: &M, options: &Options) -> Result<Recovered, RecoverError> {
    options.assert_valid();
    let entries = remove_unfinished(medium)?;
    let mut report = Report::default();
    let mut found = find_segments(medium, &entries, &mut report)?;
    let base = era::choose(medium, &entries, found.iter().map(|found| found.header), &mut report)?;
    for found in &mut found {
        found.fold_from = base.fold_from(&found.header, found.end);
    }
    let last_number = found.iter().map(|found| found.header.number).max().unwrap_or(0).max(base.last_number);
    let life = first_number(last_number, options.shards).ok_or(RecoverError::NumbersUsedUp)?;
    scan_all(medium, &mut found, &mut report);
    let segments = settle(medium, found, &mut report)?;
    for name in &base.obsolete {
        medium.remove(name).map_err(|source| RecoverError::File { file: name.clone(), source })?;
    }
    report.segments = segments.len();
    report.bytes = segments.iter().map(|segment| segment.file_bytes).sum();
    let era_continues = base.shards == options.shards;
    Ok(Recovered { report, segments, snapshots: base.snapshots, life, era_continues, era_shards: base.shards })
}

/// The first multiple of `shards` above all numbers in use.
fn first_number(last: u32, shards: u16) -> Option<u32> {
    let shards = u32::from(shards);
    // The start hands out numbers from here on, so a little room above it is asked for as well.
    last.checked_add(1)?.checked_next_multiple_of(shards).filter(|first| *first < u32::MAX - (1 << 20))
}

/// Removes files that were not finished, and lists the others.
fn remove_unfinished<M: Medium>(medium: &M) -> Result<Vec<Entry>, RecoverError> {
    let (unfinished, entries): (Vec<_>, Vec<_>) = medium
        .list()
        .map_err(RecoverError::Folder)?
        .into_iter()
        .partition(|entry| entry.name.ends_with(file::TEMPORARY_SUFFIX));
    for entry in unfinished {
        medium.remove(&entry.name).map_err(|source| RecoverError::File { file: entry.name.clone(), source })?;
    }
    Ok(entries)
}

/// Reads all headers. A segment whose header does not verify is reported and left out.
fn find_segments<M: Medium>(medium: &M, entries: &[Entry], report: &mut Report) -> Result<Vec<Found>, RecoverError> {
    let mut all = Vec::new();
    for entry in entries {
        let Some(number) = parse_file_name(&entry.name) else { continue };
        let view =
            medium.view(&entry.name).map_err(|source| RecoverError::File { file: entry.name.clone(), source })?;
        match find_segment(number, view.bytes()) {
            Some(found) => all.push(found),
            None => report.corrupt.push(Corruption { file: entry.name.clone(), offset: 0 }),
        }
    }
    all.sort_by_key(|found| found.header.number);
    Ok(all)
}

/// Reads the header, and the footer of a packed one. `None`: they do not verify.
pub(crate) fn find_segment(number: u32, bytes: &[u8]) -> Option<Found> {
    let header = SegmentHeader::decode(bytes).filter(|header| header.number == number)?;
    if bytes.len() < SEGMENT_HEADER_BYTES as usize {
        return None;
    }
    let file_bytes = bytes.len() as u64;
    let (table, end) = match header.packed {
        true => footer(bytes).map(|(table, end)| (Some(table), end))?,
        false => (None, (bytes.len() as u32).saturating_sub(SEAL_BYTES)),
    };
    let sealed = header.packed || file_bytes < u64::from(header.allocated);
    Some(Found { header, file_bytes, sealed, table, scan: None, fold_from: 0, end })
}

/// Verifies every segment that some fold needs, on as many threads as there are cores.
fn scan_all<M: Medium>(medium: &M, found: &mut [Found], report: &mut Report) {
    let needed = |found: &Found| !found.sealed || found.fold_from < found.end || !has_seal(medium, found);
    let jobs: Vec<usize> = (0..found.len()).filter(|index| needed(&found[*index])).collect();
    report.segments_skipped = found.len() - jobs.len();
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get()).min(jobs.len().max(1));
    let shared = &*found;
    let scans: Vec<(usize, Scan)> = std::thread::scope(|scope| {
        let work = |first: usize| {
            jobs.iter().skip(first).step_by(threads).map(|index| (*index, scan_one(medium, &shared[*index])))
        };
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(move || work(first).collect::<Vec<_>>())).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a scan does not panic")).collect()
    });
    for (index, scan) in scans {
        found[index].scan = Some(scan);
    }
}

/// Whether a sealed segment that no fold needs still ends in its seal.
fn has_seal<M: Medium>(medium: &M, found: &Found) -> bool {
    found.table.is_some()
        || medium.view(&file_name(found.header.number)).is_ok_and(|view| {
            let lsn = Lsn::new(found.header.number, found.end);
            let tail = view.bytes().get(found.end as usize..).unwrap_or_default();
            crate::record::decode_verified(tail, lsn, found.header.salt)
                .is_ok_and(|(record, _)| record.kind == crate::Kind::SEAL)
        })
}

/// A file that cannot be read scans as one that holds nothing.
fn scan_one<M: Medium>(medium: &M, found: &Found) -> Scan {
    let nothing = scan::Run {
        from: SEGMENT_HEADER_BYTES,
        to: SEGMENT_HEADER_BYTES,
        records: 0,
        messages: 0,
        durable: Lsn::NONE,
        stop: At::Bad,
    };
    let unreadable = Scan { runs: vec![nothing], used: found.header.allocated };
    let name = file_name(found.header.number);
    let (Ok(view), Ok(data)) = (medium.view(&name), medium.data_bytes(&name)) else { return unreadable };
    // The end of an unsealed file is allocated and blank; reading it would fill the page cache with zeros.
    // The padding of the last record counts as blank and belongs to the record, so whole pages are taken.
    let data = (data as usize).next_multiple_of(SEGMENT_HEADER_BYTES as usize).min(view.bytes().len());
    let bytes = if found.sealed { view.bytes() } else { &view.bytes()[..data] };
    // Asking first turns an unreadable disk into an error; touching the map would end the process.
    if view.warm(0..bytes.len()).is_err() {
        return unreadable;
    }
    scan_found(found, bytes)
}

/// Verifies a segment of either form.
pub(crate) fn scan_found(found: &Found, bytes: &[u8]) -> Scan {
    match found.table {
        Some(table) => {
            let header = &found.header;
            let layout = Layout { number: header.number, salt: header.salt, end: found.end, table: Some(table) };
            scan_packed(bytes, &layout, table)
        }
        None => scan::scan(bytes, found.header.number, found.header.salt),
    }
}

/// As [`scan::scan`] for a packed segment: a run for every stretch of lines whose records verify.
fn scan_packed(bytes: &[u8], layout: &Layout, table: Table) -> Scan {
    let fresh = |from| scan::Run { from, to: from, records: 0, messages: 0, durable: Lsn::NONE, stop: At::Bad };
    let mut runs = Vec::new();
    let mut run = fresh(SEGMENT_HEADER_BYTES);
    for (old, _) in (0..table.lines).map(|line| table.line(bytes, line)) {
        match layout.record(bytes, old) {
            Ok(record) => {
                run.records += 1;
                run.messages += u64::from(record.is_message());
                run.to = old + record.stored_bytes();
            }
            Err(_) => {
                run.to = old;
                runs.push(std::mem::replace(&mut run, fresh(old + crate::record::ALIGN as u32)));
            }
        }
    }
    run.to = layout.end;
    run.stop = At::Seal;
    runs.push(run);
    Scan { runs, used: layout.end }
}

/// Decides about all segments and makes it so on the disk.
fn settle<M: Medium>(medium: &M, found: Vec<Found>, report: &mut Report) -> Result<Vec<SegmentInfo>, RecoverError> {
    let mut logs: BTreeMap<(u32, u16), Vec<Found>> = BTreeMap::new();
    for found in found {
        logs.entry((found.header.life, found.header.shard)).or_default().push(found);
    }
    let mut segments = Vec::new();
    for (_, log) in logs {
        let verdicts = judge(&log);
        segments.extend(settle_log(medium, log, verdicts, report)?);
    }
    segments.sort_by_key(|segment| segment.header.number);
    report.torn.sort_by(|one, other| one.file.cmp(&other.file));
    report.corrupt.sort_by(|one, other| (&one.file, one.offset).cmp(&(&other.file, other.offset)));
    Ok(segments)
}

/// The verdict for each segment of one log of one life, given in ascending order. `None`: the segment goes.
pub(crate) fn judge(log: &[Found]) -> Vec<Option<Verdict>> {
    let mut acknowledged = Lsn::NONE;
    let mut verdicts = Vec::with_capacity(log.len());
    for found in log.iter().rev() {
        let (verdict, is_cut) = judge_segment(found, acknowledged);
        if is_cut {
            verdicts.iter_mut().for_each(|later| *later = None);
        }
        if found.sealed {
            acknowledged = acknowledged.max(Lsn::new(found.header.number, 0));
        }
        if let Some(scan) = &found.scan {
            acknowledged = scan.runs.iter().map(|run| run.durable).fold(acknowledged, Lsn::max);
        }
        let is_empty = verdict.records == 0 && verdict.holes.is_empty() && found.scan.is_some();
        verdicts.push((!is_empty).then_some(verdict));
    }
    verdicts.reverse();
    verdicts
}

/// The verdict for a segment, when later segments say that all below `acknowledged` was durable, and whether it was cut.
fn judge_segment(found: &Found, acknowledged: Lsn) -> (Verdict, bool) {
    let mut verdict = Verdict { end: found.end, holes: Vec::new(), records: 0, messages: 0, has_seal: true };
    let Some(scan) = &found.scan else { return (verdict, false) };
    for (index, run) in scan.runs.iter().enumerate() {
        verdict.records += run.records;
        verdict.messages += run.messages;
        verdict.end = run.to;
        let later = &scan.runs[index + 1..];
        let durable = later.iter().map(|run| run.durable).fold(acknowledged, Lsn::max);
        let facts = Facts {
            at: run.stop,
            sealed: found.sealed,
            acknowledged: durable > Lsn::new(found.header.number, run.to),
            valid_beyond: !later.is_empty(),
        };
        verdict.has_seal = run.stop == At::Seal;
        match decide(facts) {
            Decision::Whole => return (verdict, false),
            Decision::Cut => return (verdict, true),
            Decision::Hole => verdict.holes.push((run.to, later[0].from)),
            Decision::EndMissing => {
                verdict.holes.push((run.to, found.header.allocated));
                // Addresses in the missing end are corrupt, not unknown.
                verdict.end = found.header.allocated;
            }
        }
    }
    (verdict, false)
}

/// Carries out the verdicts, from the last segment to the first.
fn settle_log<M: Medium>(
    medium: &M,
    log: Vec<Found>,
    verdicts: Vec<Option<Verdict>>,
    report: &mut Report,
) -> Result<Vec<SegmentInfo>, RecoverError> {
    let mut kept = Vec::new();
    for (found, verdict) in log.into_iter().zip(verdicts).rev() {
        let name = file_name(found.header.number);
        let failed = |source| RecoverError::File { file: name.clone(), source };
        match verdict {
            Some(verdict) => {
                report_verdict(&found, &verdict, &name, report);
                let file_bytes = seal(medium, &found, &verdict, &name).map_err(failed)?;
                kept.push(info(found, verdict, file_bytes));
            }
            None => {
                report_removal(&found, &name, report);
                medium.remove(&name).map_err(failed)?;
                // Its records must be gone for good before an earlier segment is sealed and looks whole.
                medium.sync_dir().map_err(RecoverError::Folder)?;
            }
        }
    }
    Ok(kept)
}

fn info(found: Found, verdict: Verdict, file_bytes: u64) -> SegmentInfo {
    let layout = Layout { number: found.header.number, salt: found.header.salt, end: verdict.end, table: found.table };
    SegmentInfo { header: found.header, layout, holes: verdict.holes, file_bytes, fold_from: found.fold_from }
}

fn report_verdict(found: &Found, verdict: &Verdict, name: &str, report: &mut Report) {
    report.records += verdict.records;
    report.messages += verdict.messages;
    for (offset, _) in &verdict.holes {
        report.corrupt.push(Corruption { file: name.to_owned(), offset: u64::from(*offset) });
    }
    let used = found.scan.as_ref().map_or(0, |scan| scan.used);
    if !found.sealed && !verdict.has_seal && verdict.holes.is_empty() && used > verdict.end {
        push_torn(name, verdict.end, used, report);
    }
}

fn report_removal(found: &Found, name: &str, report: &mut Report) {
    let used = found.scan.as_ref().map_or(0, |scan| scan.used);
    // A sealed file without records was packed when all of them were dead.
    if !found.sealed && used > SEGMENT_HEADER_BYTES {
        push_torn(name, SEGMENT_HEADER_BYTES, used, report);
    }
    report.removed.push(name.to_owned());
}

fn push_torn(name: &str, from: u32, to: u32, report: &mut Report) {
    let bytes = u64::from(to - from);
    report.bytes_cut += bytes;
    report.torn.push(Torn { file: name.to_owned(), offset: u64::from(from), bytes });
}

/// Makes a segment durable and seals it, unless it is damaged: that is left as it is. Returns the file's length.
fn seal<M: Medium>(medium: &M, found: &Found, verdict: &Verdict, name: &str) -> io::Result<u64> {
    if found.sealed {
        return Ok(found.file_bytes);
    }
    if !verdict.holes.is_empty() {
        medium.sync(name)?;
        return Ok(found.file_bytes);
    }
    if !verdict.has_seal {
        let end = Lsn::new(found.header.number, verdict.end);
        let seal = segment::seal_record(verdict.records, end, Lsn::NONE, found.header.salt);
        medium.write_at(name, u64::from(verdict.end), &seal)?;
    }
    cut_to_seal(medium, name, verdict.end)
}

/// Makes a segment that ends in a seal at `end` durable and cuts its file there. Returns the file's length.
pub(crate) fn cut_to_seal<M: Medium>(medium: &M, name: &str, end: u32) -> io::Result<u64> {
    let bytes = u64::from(end + SEAL_BYTES);
    medium.sync(name)?;
    medium.set_len(name, bytes)?;
    medium.sync(name)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of facts, with the decision written out. A crash may only ever cut what is unsealed and was
    /// not acknowledged.
    #[test]
    fn the_decision_table_is_complete() {
        for at in [At::Seal, At::FileEnd, At::Blank, At::Bad] {
            for bits in 0..8 {
                let facts =
                    Facts { at, sealed: bits & 1 != 0, acknowledged: bits & 2 != 0, valid_beyond: bits & 4 != 0 };
                let expected = match (at, facts.sealed, facts.acknowledged, facts.valid_beyond) {
                    (At::Seal, _, _, _) => Decision::Whole,
                    (At::FileEnd | At::Blank | At::Bad, false, false, false) => Decision::Cut,
                    (At::FileEnd | At::Blank | At::Bad, false, false, true) => Decision::Cut,
                    (At::FileEnd | At::Blank | At::Bad, false, true, false) => Decision::EndMissing,
                    (At::FileEnd | At::Blank | At::Bad, false, true, true) => Decision::Hole,
                    (At::FileEnd | At::Blank | At::Bad, true, false, false) => Decision::EndMissing,
                    (At::FileEnd | At::Blank | At::Bad, true, false, true) => Decision::Hole,
                    (At::FileEnd | At::Blank | At::Bad, true, true, false) => Decision::EndMissing,
                    (At::FileEnd | At::Blank | At::Bad, true, true, true) => Decision::Hole,
                };
                assert_eq!(decide(facts), expected, "{facts:?}");
            }
        }
    }

    #[test]
    fn a_life_begins_at_a_multiple_of_its_shards_above_all_numbers() {
        assert_eq!(first_number(0, 1), Some(1));
        assert_eq!(first_number(0, 4), Some(4));
        assert_eq!(first_number(7, 4), Some(8));
        assert_eq!(first_number(8, 4), Some(12));
        assert_eq!(first_number(u32::MAX - 1, 4), None);
        assert_eq!(first_number(u32::MAX, 1), None);
    }
}
