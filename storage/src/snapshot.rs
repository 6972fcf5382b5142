//! Snapshots: the index and the caller's state, so that a start reads them and only the records behind them.
//!
//! A snapshot is *fuzzy*: it is walked slot by slot while appends go on. It notes up to where the log was on disk when the
//! walk began (`from`; a caller that keeps only durable state has no more than that) and where it ended (`end`): everything
//! of its keys below `from` is in it, anything from there on may be, and a start folds from `from` again, which changes
//! nothing where the snapshot had it. It becomes valid, by its rename, only
//! once the log is on disk beyond `end`: it never knows of a record that a crash can take back.
//!
//! Which snapshots a start uses, and what they cover, stands in `era`.

use crate::index::Index;
use crate::log::Log;
use crate::medium::{Medium, View};
use crate::open::{Fold, OpenError};
use crate::recovery::Recovered;
use crate::work::Job;
use crate::{Key, Lsn, Options, Slot, file};
use std::io;

const MAGIC: [u8; 8] = *b"FLEETSNP";
const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 72;
pub(crate) const NAME_SUFFIX: &str = ".snapshot";
/// In place of a count of checkpoints: the frame is state that stands alone.
const STANDALONE: u32 = u32::MAX;
/// Bytes of an entry's fixed part: lengths, key, last seq, last address.
const ENTRY_BYTES: usize = 8 + 16 + 8 + 8;
/// Bytes gathered before they are written: the memory that a snapshot needs, and 1 ms of a disk.
const WRITE_BYTES: usize = 1 << 20;

/// What [`Log::snapshot_step`] wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotStep {
    /// No snapshot is due or under way.
    Idle,
    /// There is more to walk: call again soon.
    Working,
    /// It waits for work or for the disk to catch up: call again later, it costs nothing.
    Waiting,
}

/// What a snapshot's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotInfo {
    pub(crate) name: String,
    pub(crate) life: u32,
    pub(crate) shard: u16,
    pub(crate) shards: u16,
    pub(crate) sequence: u32,
    pub(crate) from: Lsn,
    pub(crate) end: Lsn,
    pub(crate) body_bytes: u64,
    pub(crate) body_crc: u32,
    /// Bytes of deleted keys, and of transient records, that are still in segments: an estimate.
    pub(crate) bytes_dead: u64,
    /// Messages between two checkpoints.
    pub(crate) index_every: u64,
}

impl SnapshotInfo {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.life.to_le_bytes());
        bytes[20..22].copy_from_slice(&self.shard.to_le_bytes());
        bytes[22..24].copy_from_slice(&self.shards.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.from.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.end.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.bytes_dead.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.index_every.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads and verifies a whole file.
    pub(crate) fn decode(name: &str, bytes: &[u8]) -> Option<Self> {
        let mut head: [u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let crc = number(12);
        head[12..16].fill(0);
        let body = &bytes[HEADER_BYTES..];
        let is_valid = head[..8] == MAGIC
            && number(8) == FORMAT_VERSION
            && crc32fast::hash(&head) == crc
            && long(48) == body.len() as u64
            && crc32fast::hash(body) == number(28);
        is_valid.then(|| Self {
            name: name.to_owned(),
            life: number(16),
            shard: number(20) as u16,
            shards: (number(20) >> 16) as u16,
            sequence: number(24),
            from: Lsn(long(32)),
            end: Lsn(long(40)),
            body_bytes: long(48),
            body_crc: number(28),
            bytes_dead: long(56),
            index_every: long(64),
        })
    }
}

fn file_name(life: u32, shard: u16, sequence: u32) -> String {
    format!("{life:08x}-{shard:04x}-{sequence:08x}{NAME_SUFFIX}")
}

/// The shard in the file name of a snapshot. `None`: the name is no snapshot's.
pub fn snapshot_shard(name: &str) -> Option<u16> {
    let mut parts = name.strip_suffix(NAME_SUFFIX)?.split('-');
    let (life, shard, sequence) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |part| u32::from_str_radix(part, 16).ok();
    let shard = u16::try_from(number(shard)?).ok()?;
    (file_name(number(life)?, shard, number(sequence)?) == name).then_some(shard)
}

/// The snapshots of one log: the one under way, and when the next is due.
#[derive(Debug)]
pub(crate) struct Snapshots {
    writing: Option<Writing>,
    sequence: u32,
    /// The newest valid one of this shard, to be removed when there is a newer one.
    newest: Option<String>,
    newest_bytes: u64,
    /// This shard has none in its era.
    first_is_due: bool,
    /// Bytes of records that a start would have to fold, apart from what was appended since the last one began.
    bytes_folded: u64,
    /// [`crate::LogStatus::bytes_appended`] when the newest began.
    bytes_appended_before: u64,
}

/// A snapshot that is not valid yet.
#[derive(Debug)]
struct Writing {
    info: SnapshotInfo,
    next_slot: u32,
    walked: bool,
    buffer: Vec<u8>,
    hasher: crc32fast::Hasher,
    bytes_appended: u64,
}

/// A part of a snapshot on its way to its file.
#[derive(Debug)]
pub(crate) struct Write {
    name: String,
    offset: u64,
    bytes: Vec<u8>,
}

impl Write {
    pub(crate) fn run<M: Medium>(&self, medium: &M) -> io::Result<()> {
        self.run_through(medium).inspect_err(|_| file::drop_temporary(medium, &self.name))
    }

    fn run_through<M: Medium>(&self, medium: &M) -> io::Result<()> {
        if self.offset == HEADER_BYTES as u64 {
            file::clear_temporary(medium, &self.name)?;
        }
        medium.write_at(&self.name, self.offset, &self.bytes)
    }
}

/// The step that makes a snapshot valid.
#[derive(Debug)]
pub(crate) struct Finish {
    info: SnapshotInfo,
    former: Option<String>,
}

impl Finish {
    pub(crate) fn run<M: Medium>(&self, medium: &M) -> io::Result<()> {
        let temporary = temporary_name(&self.info.name);
        self.run_through(medium, &temporary).inspect_err(|_| file::drop_temporary(medium, &temporary))
    }

    fn run_through<M: Medium>(&self, medium: &M, temporary: &str) -> io::Result<()> {
        medium.write_at(temporary, 0, &self.info.encode())?;
        medium.set_len(temporary, HEADER_BYTES as u64 + self.info.body_bytes)?;
        medium.sync(temporary)?;
        medium.rename(temporary, &self.info.name)?;
        medium.sync_dir()?;
        match &self.former {
            Some(former) => medium.remove(former),
            None => Ok(()),
        }
    }
}

fn temporary_name(name: &str) -> String {
    format!("{name}{}", file::TEMPORARY_SUFFIX)
}

impl Snapshots {
    pub(crate) fn new(recovered: &Recovered, options: &Options) -> Self {
        let own = |info: &&SnapshotInfo| recovered.era_continues && info.shard == options.shard;
        let newest = recovered.snapshots.iter().find(own);
        Self {
            writing: None,
            sequence: 0,
            newest: newest.map(|info| info.name.clone()),
            newest_bytes: newest.map_or(0, |info| info.body_bytes),
            first_is_due: !recovered.era_continues,
            bytes_folded: 0,
            bytes_appended_before: 0,
        }
    }

    /// Counts bytes that the next start would have to fold again.
    pub(crate) fn note_folded(&mut self, bytes: u64) {
        self.bytes_folded += bytes;
    }
}

/// The lengths in front of a frame: of the state, and of the checkpoints or [`STANDALONE`].
fn push_lengths(out: &mut Vec<u8>, state_bytes: usize, checkpoints: u32) {
    out.extend_from_slice(&(state_bytes as u32).to_le_bytes());
    out.extend_from_slice(&checkpoints.to_le_bytes());
}

fn push_entry(out: &mut Vec<u8>, index: &Index, slot: Slot, state: &[u8]) {
    let checkpoints = index.checkpoints(slot);
    push_lengths(out, state.len(), checkpoints.len() as u32);
    out.extend_from_slice(&index.key(slot).0.to_le_bytes());
    out.extend_from_slice(&index.last_seq(slot).to_le_bytes());
    out.extend_from_slice(&index.last_lsn(slot).0.to_le_bytes());
    checkpoints.iter().for_each(|lsn| out.extend_from_slice(&lsn.0.to_le_bytes()));
    out.extend_from_slice(state);
}

/// The frames of a snapshot's file.
pub(crate) fn body(bytes: &[u8]) -> &[u8] {
    bytes.get(HEADER_BYTES..).unwrap_or_default()
}

/// A frame of a snapshot's body.
pub(crate) enum Frame<'a> {
    Standalone(&'a [u8]),
    Entry { key: Key, last_seq: u64, last_lsn: Lsn, checkpoints: Vec<Lsn>, state: &'a [u8] },
}

/// The first frame of `body` and what follows it. `None` at the end, and for bytes that no frame has.
pub(crate) fn next_frame(body: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let number = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
    let (state_bytes, checkpoints) = (number(0)? as usize, number(4)?);
    if checkpoints == STANDALONE {
        let (state, rest) = body[8..].split_at_checked(state_bytes)?;
        return Some((Frame::Standalone(state), rest));
    }
    let key = Key(u128::from(long(8)?) | u128::from(long(16)?) << 64);
    let (last_seq, last_lsn) = (long(24)?, Lsn(long(32)?));
    let positions = body.get(ENTRY_BYTES..)?.get(..checkpoints as usize * 8)?;
    let (positions, _) = positions.as_chunks::<8>();
    let checkpoints: Vec<Lsn> = positions.iter().map(|bytes| Lsn(u64::from_le_bytes(*bytes))).collect();
    let (state, rest) = body[ENTRY_BYTES + checkpoints.len() * 8..].split_at_checked(state_bytes)?;
    Some((Frame::Entry { key, last_seq, last_lsn, checkpoints, state }, rest))
}

impl<M: Medium> Log<M> {
    /// Whether a snapshot should be begun or continued with [`Log::snapshot_step`]: a start would have to fold more than
    /// a segment, and more than the last snapshot holds.
    pub fn snapshot_due(&self) -> bool {
        let snapshots = &self.snapshots;
        let appended = self.status.bytes_appended - snapshots.bytes_appended_before;
        let enough = u64::from(self.options.segment_bytes).max(snapshots.newest_bytes);
        !self.poisoned
            && (snapshots.writing.is_some() || snapshots.first_is_due || snapshots.bytes_folded + appended >= enough)
    }

    /// Begins or continues a snapshot if one is due, walking at most `budget` slots. `state` appends what the caller
    /// wants back in [`Fold::snapshot`]: per slot, and once (`None`) for everything that stands alone.
    pub fn snapshot_step(&mut self, budget: usize, state: &mut dyn FnMut(Option<Slot>, &mut Vec<u8>)) -> SnapshotStep {
        if !self.snapshot_due() {
            return SnapshotStep::Idle;
        }
        let mut writing = self.snapshots.writing.take().unwrap_or_else(|| self.begin_writing());
        if !writing.walked && writing.buffer.len() < WRITE_BYTES {
            self.walk(&mut writing, budget, state);
        }
        let step = if writing.walked || writing.buffer.len() >= WRITE_BYTES {
            SnapshotStep::Waiting
        } else {
            SnapshotStep::Working
        };
        self.snapshots.writing = Some(writing);
        step
    }

    /// Begins a snapshot now although none is due: before a planned end, so that the next start has little to fold.
    pub fn snapshot_now(&mut self) {
        self.snapshots.first_is_due = true;
    }

    fn begin_writing(&mut self) -> Writing {
        self.snapshots.sequence += 1;
        let (life, shard, sequence) = (self.life, self.options.shard, self.snapshots.sequence);
        let info = SnapshotInfo {
            name: file_name(life, shard, sequence),
            life,
            shard,
            shards: self.options.shards,
            sequence,
            from: self.synced,
            end: self.end(),
            body_bytes: 0,
            body_crc: 0,
            bytes_dead: 0,
            index_every: self.options.index_every,
        };
        let bytes_appended = self.status.bytes_appended;
        Writing {
            info,
            next_slot: 0,
            walked: false,
            buffer: Vec::new(),
            hasher: crc32fast::Hasher::new(),
            bytes_appended,
        }
    }

    fn walk(&self, writing: &mut Writing, budget: usize, state: &mut dyn FnMut(Option<Slot>, &mut Vec<u8>)) {
        let mut blob = Vec::new();
        for _ in 0..budget {
            if writing.next_slot >= self.index.slots() {
                blob.clear();
                state(None, &mut blob);
                push_lengths(&mut writing.buffer, blob.len(), STANDALONE);
                writing.buffer.extend_from_slice(&blob);
                writing.walked = true;
                writing.info.end = self.end();
                // A start that does not fold them would not know of transient records that wait for the floor.
                writing.info.bytes_dead = self.status.bytes_dead + self.reclaim.transient_bytes();
                return;
            }
            let slot = Slot(writing.next_slot);
            writing.next_slot += 1;
            // A key that has ended is as good as gone: its last record lies at or above `from`, or it was forgotten.
            if self.index.occupant(slot).is_some() && !self.index.has_ended(slot) {
                blob.clear();
                state(Some(slot), &mut blob);
                push_entry(&mut writing.buffer, &self.index, slot, &blob);
            }
            if writing.buffer.len() >= WRITE_BYTES {
                return;
            }
        }
    }

    pub(crate) fn begin_snapshot(&mut self) -> Option<Job<M>> {
        if self.pending.snapshot || self.poisoned {
            return None;
        }
        let writing = self.snapshots.writing.as_mut()?;
        if !writing.buffer.is_empty() && (writing.walked || writing.buffer.len() >= WRITE_BYTES) {
            let bytes = std::mem::take(&mut writing.buffer);
            writing.hasher.update(&bytes);
            let offset = HEADER_BYTES as u64 + writing.info.body_bytes;
            writing.info.body_bytes += bytes.len() as u64;
            let write = Write { name: temporary_name(&writing.info.name), offset, bytes };
            self.pending.snapshot = true;
            return Some(Job::SnapshotWrite { medium: self.medium.clone(), write });
        }
        if writing.walked && self.synced >= writing.info.end {
            writing.info.body_crc = writing.hasher.clone().finalize();
            let finish = Finish { info: writing.info.clone(), former: self.snapshots.newest.clone() };
            self.pending.snapshot = true;
            return Some(Job::SnapshotFinish { medium: self.medium.clone(), finish });
        }
        None
    }

    pub(crate) fn finish_snapshot_write(&mut self, result: io::Result<()>) {
        self.pending.snapshot = false;
        if result.is_err() {
            self.abandon_snapshot();
        }
    }

    pub(crate) fn finish_snapshot(&mut self, finish: &Finish, result: io::Result<()>) {
        self.pending.snapshot = false;
        let Some(writing) = self.snapshots.writing.take().filter(|_| result.is_ok()) else {
            return self.abandon_snapshot();
        };
        self.snapshots.newest = Some(finish.info.name.clone());
        self.snapshots.newest_bytes = finish.info.body_bytes;
        self.snapshots.first_is_due = false;
        self.snapshots.bytes_folded = 0;
        self.snapshots.bytes_appended_before = writing.bytes_appended;
    }

    /// A snapshot that failed is not repeated before as much was appended as makes the next one due; a start folds more
    /// meanwhile, that is all.
    fn abandon_snapshot(&mut self) {
        self.status.work_failures += 1;
        self.snapshots.writing = None;
        self.snapshots.first_is_due = false;
        self.snapshots.bytes_folded = 0;
        self.snapshots.bytes_appended_before = self.status.bytes_appended;
    }

    /// Folds the base: entries of owned keys, and every state that stands alone.
    pub(crate) fn fold_snapshots(&mut self, recovered: &Recovered, fold: &mut dyn Fold) -> Result<(), OpenError> {
        for info in &recovered.snapshots {
            let view =
                self.medium.view(&info.name).map_err(|source| OpenError::File { file: info.name.clone(), source })?;
            let mut body = body(view.bytes());
            while let Some((frame, rest)) = next_frame(body) {
                self.fold_frame(frame, info.index_every, fold);
                body = rest;
            }
            if recovered.era_continues && info.shard == self.options.shard {
                self.status.bytes_dead = info.bytes_dead;
            }
            view.release(0..view.bytes().len());
        }
        Ok(())
    }

    fn fold_frame(&mut self, frame: Frame<'_>, index_every: u64, fold: &mut dyn Fold) {
        match frame {
            Frame::Standalone(state) => fold.snapshot(None, state),
            Frame::Entry { key, last_seq, last_lsn, checkpoints, state } if (self.owns)(key) => {
                let slot = self.index.insert(key);
                // Positions of another spacing would be taken for others: without them a search walks further.
                let is_same = index_every == self.options.index_every;
                let checkpoints = if is_same { checkpoints } else { Vec::new() };
                self.index.restore(slot, last_seq, last_lsn, checkpoints);
                fold.snapshot(Some((key, slot)), state);
            }
            Frame::Entry { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshots_name_tells_its_shard() {
        assert_eq!(snapshot_shard(&file_name(7, 300, 12)), Some(300));
        for name in
            ["", "00000007.segment", "00000007-012c.snapshot", "7-12c-c.snapshot", "00000007-012c-0000000c-1.snapshot"]
        {
            assert_eq!(snapshot_shard(name), None, "{name}");
        }
    }
}
