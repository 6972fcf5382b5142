//! Space of deleted keys and of transient records: sealed segments that are mostly dead are rewritten without them.
//!
//! A record is dead when its key's stream has ended and the record is not the one that ended it: that one is kept for
//! ever, so that no older file can bring the key back. A transient record is dead, too, when it lies below the floor that
//! the log's owner has set in this life; no index entry and no back pointer names one, so no reader needs what is gone.
//! Addresses do not change: the packed file carries a table from old to present offsets, and a crash finds either file
//! under the segment's name.
//!
//! Every sealed segment is rewritten by one shard only, `number % shards`, which drops dead records of keys that it owns;
//! other shards read on through their map of the old file until [`Log::release_maps`], and then find the new one. How
//! much is dead is estimated as keys are forgotten and the floor rises; when the estimate has grown enough, a round
//! measures the shard's segments one by one. Damaged segments are left alone.

use crate::log::Log;
use crate::medium::{Medium, View};
use crate::read::Sealed;
use crate::record::{ENDS_KEY, Record};
use crate::segment::{FOOTER_BYTES, Layout, SEGMENT_HEADER_BYTES, SegmentHeader, Table, file_name};
use crate::work::Job;
use crate::{Key, Lsn, Slot, file, scan};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

/// A round begins when at least this share of the sealed bytes has died since the last one, so that the bytes measured
/// per byte that died stay bounded. Percent.
const ROUND_PERCENT: u64 = 10;
/// Keys looked up per call: about half a millisecond of the shard's time.
const JUDGED_PER_STEP: usize = 4096;
/// Bytes written at once.
const WRITE_BYTES: usize = 1 << 20;

/// A segment to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    header: SegmentHeader,
    layout: Layout,
    /// Transient records below are dead.
    floor: Lsn,
}

impl Source {
    /// Maps the whole segment. The layout comes from the file: an attempt that failed behind its rename has changed it.
    fn view<M: Medium>(&self, medium: &M) -> io::Result<(M::View, Layout)> {
        let view = medium.view(&file_name(self.header.number))?;
        view.warm(0..view.bytes().len())?;
        let layout = self.layout.in_file(view.bytes()).ok_or_else(damaged)?;
        Ok((view, layout))
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the segment does not verify")
}

/// Bytes of a key in a segment.
#[derive(Clone, Copy, Debug, Default)]
struct KeyBytes {
    /// Of records that die with the key only.
    lasting: u32,
    /// Of transient records below the floor.
    passed: u32,
    /// Of transient records that the floor has not passed.
    awaited: u32,
}

/// Bytes of each key in a segment.
#[derive(Debug)]
pub(crate) struct Measured {
    source: Source,
    file_bytes: u64,
    bytes: Vec<(Key, KeyBytes)>,
}

/// What may go from a segment.
#[derive(Debug, Default)]
struct Dead {
    /// Keys that have ended.
    keys: HashSet<Key>,
    /// Keys that live, whose transient records below the floor are dead.
    passed: HashSet<Key>,
    bytes: u64,
}

impl Dead {
    fn has(&self, record: &Record<'_>, floor: Lsn) -> bool {
        may_die(record)
            && (self.keys.contains(&record.key) || (is_passed(record, floor) && self.passed.contains(&record.key)))
    }
}

/// A segment to be written again without what is dead.
#[derive(Debug)]
pub(crate) struct Rewrite {
    source: Source,
    dead: Dead,
}

/// A segment that was written again.
#[derive(Debug)]
pub(crate) struct Rewritten {
    header: SegmentHeader,
    layout: Layout,
    file_bytes: u64,
}

/// What one log knows about its dead records.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// For the mean size of a record.
    records_seen: u64,
    bytes_seen: u64,
    /// See [`Log::set_transient_floor`].
    floor: Lsn,
    /// Bytes of transient records in the segments that this log rewrites, as far as they are not counted as dead yet.
    transient: BTreeMap<u32, u64>,
    /// What the last round found and left in place.
    bytes_left: u64,
    /// Segments that this round has still to measure.
    round: Vec<u32>,
    in_round: bool,
    /// What this round has found and left in place so far.
    bytes_left_in_round: u64,
    judging: Option<Judging>,
    /// Rewritten once the log is on disk beyond the address: the records that ended the keys are durable then.
    ready: Option<(Rewrite, Lsn)>,
}

/// A measured segment whose keys are being looked up.
#[derive(Debug)]
struct Judging {
    measured: Measured,
    next: usize,
    dead: Dead,
    /// Of transient records that the floor has not passed.
    bytes_awaited: u64,
}

impl Reclaim {
    /// Bytes of transient records that are not counted as dead yet.
    pub(crate) fn transient_bytes(&self) -> u64 {
        self.transient.values().sum()
    }
}

/// Reads how many bytes each key has in a segment, apart from records that never die, and transient ones apart.
pub(crate) fn measure<M: Medium>(medium: &M, source: Source) -> io::Result<Measured> {
    let (view, layout) = source.view(medium)?;
    let mut bytes: HashMap<Key, KeyBytes> = HashMap::new();
    scan::walk(view.bytes(), &layout, &[], 0, &mut |record| {
        if may_die(&record) {
            let bytes = bytes.entry(record.key).or_default();
            let sort = match record.is_transient() {
                false => &mut bytes.lasting,
                true if is_passed(&record, source.floor) => &mut bytes.passed,
                true => &mut bytes.awaited,
            };
            *sort += record.stored_bytes();
        }
    });
    Ok(Measured { source, file_bytes: view.bytes().len() as u64, bytes: bytes.into_iter().collect() })
}

fn may_die(record: &Record<'_>) -> bool {
    record.kind.is_stream() && record.flags & ENDS_KEY == 0
}

fn is_passed(record: &Record<'_>, floor: Lsn) -> bool {
    record.is_transient() && record.lsn < floor
}

impl Rewrite {
    /// Writes the packed file and puts it in the place of the old one. An error leaves no file behind if it can.
    pub(crate) fn run<M: Medium>(&self, medium: &M) -> io::Result<Rewritten> {
        let name = file_name(self.source.header.number);
        let temporary = format!("{name}{}", file::TEMPORARY_SUFFIX);
        self.run_through(medium, &name, &temporary).inspect_err(|_| file::drop_temporary(medium, &temporary))
    }

    fn run_through<M: Medium>(&self, medium: &M, name: &str, temporary: &str) -> io::Result<Rewritten> {
        let (view, layout) = self.source.view(medium)?;
        let header = SegmentHeader { packed: true, ..self.source.header };
        file::clear_temporary(medium, temporary)?;
        let mut out = Writer { medium, name: temporary, offset: 0, buffer: header.encode() };
        let lines = self.pack(view.bytes(), &layout, &mut out)?;
        let start = out.end();
        let mut tail = Vec::with_capacity(lines.len() * 8 + FOOTER_BYTES);
        for (old, present) in &lines {
            tail.extend_from_slice(&old.to_le_bytes());
            tail.extend_from_slice(&present.to_le_bytes());
        }
        push_footer(&mut tail, lines.len() as u32, layout.end);
        out.push(&tail)?;
        let file_bytes = out.finish()?;
        // The footer is found from the end of the file.
        medium.set_len(temporary, file_bytes)?;
        medium.sync(temporary)?;
        medium.rename(temporary, name)?;
        medium.sync_dir()?;
        let table = Some(Table { start: start as usize, lines: lines.len() });
        Ok(Rewritten { header, layout: Layout { table, ..layout }, file_bytes })
    }

    /// Copies what lives. Anything that does not verify, dead or alive, ends the attempt: damage is never rewritten, and
    /// a broken length or key must not pass for a record that may go.
    fn pack<M: Medium>(&self, bytes: &[u8], layout: &Layout, out: &mut Writer<'_, M>) -> io::Result<Vec<(u32, u32)>> {
        let mut kept = Vec::new();
        let (mut visited, mut end, mut verified) = (0, SEGMENT_HEADER_BYTES, true);
        scan::walk(bytes, layout, &[], 0, &mut |record| {
            visited += 1;
            end = record.lsn.offset() + record.stored_bytes();
            verified &= layout.record(bytes, record.lsn.offset()).is_ok();
            if !self.dead.has(&record, self.source.floor) {
                kept.push((record.lsn.offset(), record.stored_bytes()));
            }
        });
        // A walk passes over what it cannot read.
        let is_whole = layout.table.map_or(end == layout.end, |table| visited == table.lines);
        if !verified || !is_whole {
            return Err(damaged());
        }
        let mut lines = Vec::with_capacity(kept.len());
        for (old, stored) in kept {
            let place = layout.place(bytes, old).ok_or_else(damaged)? as usize;
            lines.push((old, out.end() as u32));
            out.push(&bytes[place..place + stored as usize])?;
        }
        Ok(lines)
    }
}

/// The footer's checksum covers the table and what the footer says.
fn push_footer(tail: &mut Vec<u8>, lines: u32, end: u32) {
    let mut rest = Vec::with_capacity(FOOTER_BYTES - 4);
    rest.extend_from_slice(&lines.to_le_bytes());
    rest.extend_from_slice(&end.to_le_bytes());
    rest.extend_from_slice(&[0; 4]);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(tail);
    hasher.update(&rest);
    tail.extend_from_slice(&hasher.finalize().to_le_bytes());
    tail.extend_from_slice(&rest);
}

/// Writes a file from its beginning, in large pieces.
struct Writer<'a, M: Medium> {
    medium: &'a M,
    name: &'a str,
    offset: u64,
    buffer: Vec<u8>,
}

impl<M: Medium> Writer<'_, M> {
    fn end(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.medium.write_at(self.name, self.offset, &self.buffer)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        Ok(self.offset)
    }
}

impl<M: Medium> Log<M> {
    /// Says that every transient record of this shard's keys that starts below `lsn` is dead: what made it worthless has
    /// been appended. Nothing goes before that is on disk, however `lsn` relates to [`Log::durable`]. A value below the
    /// former one changes nothing, one above [`Log::end`] counts as that. Costs nothing worth naming.
    ///
    /// The floor is not kept on disk: before the first call in a life no transient record is dropped.
    pub fn set_transient_floor(&mut self, lsn: Lsn) {
        self.reclaim.floor = self.reclaim.floor.max(lsn.min(self.end()));
    }

    /// Counts a record of an owned key: for the mean size, or as one that the floor will pass.
    pub(crate) fn count_record(&mut self, lsn: Lsn, is_transient: bool, bytes: u64) {
        if !is_transient {
            self.reclaim.records_seen += 1;
            self.reclaim.bytes_seen += bytes;
        } else if self.rewrites(lsn.segment()) {
            *self.reclaim.transient.entry(lsn.segment()).or_default() += bytes;
        }
    }

    /// Whether this shard is the one that rewrites a segment.
    pub(crate) fn rewrites(&self, number: u32) -> bool {
        number % u32::from(self.options.shards) == u32::from(self.options.shard)
    }

    /// Counts what the floor has passed as dead: whole segments, once they are sealed. Not during a round, which forgets
    /// at its end what was counted before it.
    fn bury_transient(&mut self) {
        while let Some(entry) = self.reclaim.transient.first_entry()
            && *entry.key() < self.reclaim.floor.segment()
            && self.sealed.contains_key(entry.key())
        {
            self.status.bytes_dead += entry.remove();
        }
    }

    /// Removes a key from the index and counts its records as dead.
    pub(crate) fn bury(&mut self, slot: Slot) {
        let mean = self.reclaim.bytes_seen / self.reclaim.records_seen.max(1);
        // Its messages and, most likely, the note that began it.
        self.status.bytes_dead += (self.index.last_seq(slot) + 1).saturating_mul(mean);
        self.index.remove(slot);
    }

    /// The next job of reclaiming, or a bounded step towards it.
    pub(crate) fn begin_reclaim(&mut self) -> Option<Job<M>> {
        if self.pending.reclaim || self.poisoned {
            return None;
        }
        self.judge_step();
        if self.reclaim.judging.is_some() {
            return None;
        }
        if let Some((rewrite, durable)) = self.reclaim.ready.take() {
            if self.synced < durable {
                self.reclaim.ready = Some((rewrite, durable));
                return None;
            }
            self.pending.reclaim = true;
            return Some(Job::Rewrite { medium: self.medium.clone(), rewrite });
        }
        let source = self.next_to_measure()?;
        self.pending.reclaim = true;
        Some(Job::Measure { medium: self.medium.clone(), source })
    }

    /// The next segment of the round; a new round begins when enough has died.
    fn next_to_measure(&mut self) -> Option<Source> {
        if !self.reclaim.in_round {
            self.bury_transient();
            let sealed: u64 = self.sealed.values().map(|sealed| sealed.file_bytes).sum();
            let share = sealed / u64::from(self.options.shards) * ROUND_PERCENT / 100;
            let enough = share.max(u64::from(self.options.segment_bytes) / 2);
            if self.status.bytes_dead.saturating_sub(self.reclaim.bytes_left) < enough {
                return None;
            }
            self.reclaim.round = self.sealed.keys().copied().filter(|number| self.rewrites(*number)).rev().collect();
            self.reclaim.in_round = true;
            self.reclaim.bytes_left_in_round = 0;
        }
        while let Some(number) = self.reclaim.round.pop() {
            if let Some(sealed) = self.sealed.get(&number).filter(|sealed| !sealed.damaged) {
                return Some(Source { header: sealed.header, layout: sealed.layout, floor: self.reclaim.floor });
            }
        }
        self.reclaim.in_round = false;
        self.reclaim.bytes_left = self.reclaim.bytes_left_in_round;
        self.status.bytes_dead = self.reclaim.bytes_left;
        None
    }

    pub(crate) fn finish_measure(&mut self, result: io::Result<Measured>) {
        self.pending.reclaim = false;
        match result {
            Ok(measured) => {
                if let Some(sealed) = self.sealed.get_mut(&measured.source.header.number) {
                    sealed.file_bytes = measured.file_bytes;
                }
                self.reclaim.judging = Some(Judging { measured, next: 0, dead: Dead::default(), bytes_awaited: 0 });
            }
            Err(_) => self.status.work_failures += 1,
        }
    }

    /// Looks up some of the measured keys; behind the last, decides whether the segment is worth rewriting.
    fn judge_step(&mut self) {
        let Some(mut judging) = self.reclaim.judging.take() else { return };
        let rest = &judging.measured.bytes[judging.next..];
        for (key, bytes) in rest.iter().take(JUDGED_PER_STEP) {
            if !(self.owns)(*key) {
                continue;
            }
            let KeyBytes { lasting, passed, awaited } = *bytes;
            if self.index.slot(*key).is_none() {
                judging.dead.keys.insert(*key);
                judging.dead.bytes += u64::from(lasting) + u64::from(passed) + u64::from(awaited);
                continue;
            }
            judging.bytes_awaited += u64::from(awaited);
            if passed > 0 {
                judging.dead.passed.insert(*key);
                judging.dead.bytes += u64::from(passed);
            }
        }
        judging.next += rest.len().min(JUDGED_PER_STEP);
        if judging.next < judging.measured.bytes.len() {
            self.reclaim.judging = Some(judging);
            return;
        }
        self.judged(judging);
    }

    fn judged(&mut self, judging: Judging) {
        let Judging { measured: Measured { source, file_bytes, .. }, dead, bytes_awaited, .. } = judging;
        // From here on the dead ones are gone, or counted as left; the others wait for the floor.
        match bytes_awaited {
            0 => self.reclaim.transient.remove(&source.header.number),
            _ => self.reclaim.transient.insert(source.header.number, bytes_awaited),
        };
        if dead.bytes * 100 > file_bytes * u64::from(self.options.dead_percent_max) {
            self.reclaim.ready = Some((Rewrite { source, dead }, self.end()));
        } else {
            self.reclaim.bytes_left_in_round += dead.bytes;
        }
    }

    pub(crate) fn finish_rewrite(&mut self, rewrite: &Rewrite, result: io::Result<Rewritten>) {
        self.pending.reclaim = false;
        match result {
            Ok(new) => {
                self.status.segments_rewritten += 1;
                self.sealed.insert(new.header.number, Sealed::unread(new.header, new.layout, new.file_bytes));
            }
            Err(_) => {
                self.status.work_failures += 1;
                self.reclaim.bytes_left_in_round += rewrite.dead.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{NewRecord, TRANSIENT};
    use crate::segment::footer;
    use crate::{AppendError, Kind, Memory, Options, recover};

    fn open(options: &Options) -> Log<Memory> {
        let medium = Memory::new();
        let recovered = recover(&medium, options).unwrap();
        Log::open(medium, &recovered, options.clone(), |_| true, &mut ()).unwrap()
    }

    fn small() -> Options {
        Options { segment_bytes: 16 << 10, dead_percent_max: 10, ..Options::default() }
    }

    /// Appends a record of 1 KiB; transient unless it has a seq.
    fn append(log: &mut Log<Memory>, key: u128, seq: u64) -> Lsn {
        let flags = if seq == 0 { TRANSIENT } else { 0 };
        loop {
            let payload: &[&[u8]] = &[&[7; 1024 - 64]];
            let record = NewRecord { kind: Kind(1), flags, key: Key(key), seq, time_us: 0, meta: &[], payload };
            match log.append(record) {
                Ok(appended) => return appended.lsn,
                Err(AppendError::NotReady) => work(log),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn sync(log: &mut Log<Memory>) {
        let sync = log.begin_sync().unwrap();
        let result = sync.run();
        log.finish_sync(sync, result).unwrap();
    }

    fn work(log: &mut Log<Memory>) {
        while let Some(work) = log.begin_work() {
            log.finish_work(work.run());
        }
    }

    #[test]
    fn the_floor_never_falls_and_never_passes_the_end() {
        let mut log = open(&small());
        assert_eq!(log.reclaim.floor, Lsn::NONE);
        let first = append(&mut log, 1, 0);
        log.set_transient_floor(first);
        log.set_transient_floor(Lsn::NONE);
        assert_eq!(log.reclaim.floor, first);
        log.set_transient_floor(Lsn(u64::MAX));
        assert_eq!(log.reclaim.floor, log.end());
        assert!(append(&mut log, 1, 0) >= log.reclaim.floor, "what is appended later is above");
    }

    #[test]
    fn transient_bytes_count_as_dead_when_their_segment_is_sealed_and_the_floor_is_beyond_it() {
        let mut log = open(&small());
        while log.end().segment() < 4 {
            append(&mut log, 1, 0);
        }
        let whole: u64 = log.reclaim.transient_bytes() - 1024;
        log.set_transient_floor(log.end());
        log.bury_transient();
        assert_eq!((log.status.bytes_dead, log.sealed.len()), (0, 0), "nothing is sealed");
        sync(&mut log);
        log.reclaim.in_round = true;
        work(&mut log);
        log.reclaim.in_round = false;
        log.bury_transient();
        assert_eq!((log.status.bytes_dead, log.reclaim.transient_bytes()), (whole, 1024));
        // None of them counts for the size of a message.
        assert_eq!((log.reclaim.records_seen, log.reclaim.bytes_seen), (0, 0));
        append(&mut log, 1, 1);
        assert_eq!((log.reclaim.records_seen, log.reclaim.bytes_seen), (1, 1024));
    }

    #[test]
    fn a_segment_is_measured_by_what_lasts_what_the_floor_has_passed_and_what_waits() {
        let mut log = open(&small());
        let mut lsns = Vec::new();
        for at in 0..11 {
            let seq = if at % 4 == 0 { at / 4 + 1 } else { 0 };
            lsns.push(append(&mut log, 1, seq));
        }
        append(&mut log, 2, 1);
        sync(&mut log);
        work(&mut log);
        let sealed = &log.sealed[&1];
        let measured_at = |floor| {
            let source = Source { header: sealed.header, layout: sealed.layout, floor };
            let measured = measure(&log.medium, source).unwrap();
            let of_key = measured.bytes.iter().find(|(key, _)| key.0 == 1).unwrap().1;
            (of_key.lasting / 1024, of_key.passed / 1024, of_key.awaited / 1024)
        };
        assert_eq!(measured_at(Lsn::NONE), (3, 0, 8));
        assert_eq!(measured_at(lsns[5]), (3, 3, 5), "one that starts at the floor is not below it");
        assert_eq!(measured_at(log.end()), (3, 8, 0));
        // The floor was in the middle: what it had not passed is remembered for the next round.
        let source = Source { header: sealed.header, layout: sealed.layout, floor: lsns[5] };
        let measured = measure(&log.medium, source).unwrap();
        log.finish_measure(Ok(measured));
        log.judge_step();
        let (rewrite, _) = log.reclaim.ready.as_ref().expect("more than a tenth is dead");
        assert_eq!((rewrite.dead.bytes, rewrite.dead.keys.len()), (3 * 1024, 0));
        assert_eq!(log.reclaim.transient[&1], 5 * 1024);
    }

    #[test]
    fn a_footer_is_read_back_and_no_flipped_bit_of_it_or_the_table_is() {
        let mut file = vec![7; SEGMENT_HEADER_BYTES as usize];
        let start = file.len();
        let mut tail = [1u32, 2, 3, 4].iter().flat_map(|number| number.to_le_bytes()).collect();
        push_footer(&mut tail, 2, 77);
        file.extend_from_slice(&tail);
        assert_eq!(footer(&file), Some((Table { start, lines: 2 }, 77)));
        assert_eq!(Table { start, lines: 2 }.line(&file, 1), (3, 4));
        for bit in 0..tail.len() * 8 {
            let mut damaged = file.clone();
            damaged[start + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(footer(&damaged), None, "bit {bit}");
        }
    }
}
