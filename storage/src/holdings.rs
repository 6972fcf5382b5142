//! What a log holds, segment by segment, as it knows it: no file is looked at, so nothing here waits for the disk.
//!
//! Invariant: over the logs of all shards of a start every segment of the folder is told once. Those of this start are told by the
//! log that wrote them, those of earlier ones by the log that would rewrite them, whatever shard wrote them.
//! Not here: whether the records of a segment verify (`check`), when its file was made (the file system).

use crate::log::{Log, Open};
use crate::medium::Medium;
use crate::read::Sealed;
use crate::segment::SEGMENT_HEADER_BYTES;
use crate::{Lsn, segment};

/// What is done with a segment at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its file is there, and nothing is in it yet.
    Prepared,
    /// It takes the appends.
    Active,
    /// It is full, and is not cut to its length yet.
    Sealing,
    /// It is complete and cut to its length.
    Sealed,
    /// It was rewritten without its dead records.
    Packed,
}

/// A segment of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Its number, unique in the folder for ever.
    pub number: u32,
    /// See [`Stage`].
    pub stage: Stage,
    /// Where its first record starts, if it has one.
    pub first: Lsn,
    /// No record of it starts here or above.
    pub end: Lsn,
    /// Bytes of header and records, of a packed one the table too.
    pub bytes_used: u64,
    /// Bytes of its file.
    pub bytes_file: u64,
    /// Bytes that it was allocated with when it was made.
    pub bytes_capacity: u64,
    /// Parts of it do not verify.
    pub is_damaged: bool,
}

impl Holding {
    /// The name of its file in the data folder.
    pub fn file_name(&self) -> String {
        segment::file_name(self.number)
    }
}

impl<M: Medium> Log<M> {
    /// The segments of this log with a number below `before`, the highest first, `count_max` at the most.
    pub fn holdings(&self, before: u32, count_max: usize) -> Vec<Holding> {
        let prepared = self.prepared.iter().map(|open| unsealed(open, Stage::Prepared));
        let active = self.active.iter().map(|open| unsealed(open, Stage::Active));
        let closing = self.closing.iter().rev().map(|open| unsealed(open, Stage::Sealing));
        // A log numbers its segments upwards, so what is not sealed yet lies above all that is.
        prepared
            .chain(active)
            .chain(closing)
            .filter(|holding| holding.number < before)
            .chain(self.own_sealed(before).map(|(number, sealed)| sealed_holding(number, sealed)))
            .take(count_max)
            .collect()
    }

    /// How many segments this log tells of, and the bytes of their files.
    pub fn holdings_total(&self) -> (u64, u64) {
        let open = self.closing.iter().chain(&self.active).chain(&self.prepared);
        let unsealed = open.fold((0, 0), |(count, bytes), open| (count + 1, bytes + u64::from(open.header.allocated)));
        self.own_sealed(u32::MAX).fold(unsealed, |(count, bytes), (_, sealed)| (count + 1, bytes + sealed.file_bytes))
    }

    /// The sealed ones with a number below `before`, the highest first.
    pub(crate) fn own_sealed(&self, before: u32) -> impl Iterator<Item = (u32, &Sealed<M>)> {
        let is_own = |number: u32, sealed: &Sealed<M>| sealed.header.life == self.life || self.rewrites(number);
        let below = self.sealed.range(..before).rev();
        below.map(|(number, sealed)| (*number, sealed)).filter(move |(number, sealed)| is_own(*number, sealed))
    }
}

fn unsealed<M: Medium>(open: &Open<M>, stage: Stage) -> Holding {
    let bytes_capacity = u64::from(open.header.allocated);
    Holding {
        number: open.header.number,
        stage,
        first: Lsn::new(open.header.number, SEGMENT_HEADER_BYTES),
        end: open.end(),
        bytes_used: u64::from(open.cursor),
        bytes_file: bytes_capacity,
        bytes_capacity,
        is_damaged: false,
    }
}

fn sealed_holding<M: Medium>(number: u32, sealed: &Sealed<M>) -> Holding {
    let is_packed = sealed.header.packed;
    let end = sealed.layout.end;
    Holding {
        number,
        stage: if is_packed { Stage::Packed } else { Stage::Sealed },
        first: Lsn::new(number, SEGMENT_HEADER_BYTES),
        end: Lsn::new(number, end),
        // The addresses of a packed one go further than its file.
        bytes_used: if is_packed { sealed.file_bytes } else { u64::from(end) },
        bytes_file: sealed.file_bytes,
        bytes_capacity: u64::from(sealed.header.allocated),
        is_damaged: sealed.damaged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AppendError, Key, Kind, Memory, NewRecord, Options, recover};
    use std::collections::BTreeMap;

    const SHARDS: u16 = 3;

    fn open_all(medium: &Memory) -> Vec<Log<Memory>> {
        let options = Options { shards: SHARDS, segment_bytes: 16 << 10, ..Options::default() };
        let recovered = recover(medium, &options).unwrap();
        let open = |shard| {
            let options = Options { shard, ..options.clone() };
            Log::open(medium.clone(), &recovered, options, |_| true, &mut ()).unwrap()
        };
        (0..SHARDS).map(open).collect()
    }

    fn work(log: &mut Log<Memory>) {
        while let Some(work) = log.begin_work() {
            log.finish_work(work.run());
        }
    }

    fn append(log: &mut Log<Memory>, records: u64) {
        for _ in 0..records {
            loop {
                let payload: &[&[u8]] = &[&[7; 1024 - 64]];
                let record =
                    NewRecord { kind: Kind(64), flags: 0, key: Key(1), seq: 0, time_us: 0, meta: &[], payload };
                match log.append(record) {
                    Ok(_) => break,
                    Err(AppendError::NotReady) => work(log),
                    Err(error) => panic!("{error}"),
                }
            }
        }
        let sync = log.begin_sync().unwrap();
        let result = sync.run();
        log.finish_sync(sync, result).unwrap();
        work(log);
    }

    /// All segments that all logs tell of, by number: bytes of the file.
    fn told(logs: &[Log<Memory>]) -> BTreeMap<u32, u64> {
        let mut told = BTreeMap::new();
        for log in logs {
            let holdings = log.holdings(u32::MAX, usize::MAX);
            assert!(holdings.is_sorted_by(|one, other| one.number > other.number), "{holdings:?}");
            let sum = holdings.iter().map(|holding| holding.bytes_file).sum();
            assert_eq!(log.holdings_total(), (holdings.len() as u64, sum));
            for Holding { number, bytes_file, .. } in holdings {
                assert_eq!(told.insert(number, bytes_file), None, "{number} is told twice");
            }
        }
        told
    }

    fn files(medium: &Memory) -> BTreeMap<u32, u64> {
        let entries = medium.list().unwrap();
        entries.iter().filter_map(|entry| Some((segment::parse_file_name(&entry.name)?, entry.bytes))).collect()
    }

    #[test]
    fn every_segment_of_the_folder_is_told_once_over_several_starts() {
        let medium = Memory::new();
        for records in [40, 0, 25] {
            let mut logs = open_all(&medium);
            for (log, more) in logs.iter_mut().zip(0..) {
                append(log, records + more * 20 + 1);
            }
            assert_eq!(told(&logs), files(&medium));
        }
        let logs = open_all(&medium);
        let counted: u64 = logs.iter().map(|log| log.status().segments).sum();
        assert!(counted > 10 && counted == files(&medium).len() as u64, "{counted}");
    }

    #[test]
    fn a_segment_is_prepared_then_active_then_sealed_and_pages_go_on_below_the_last() {
        let mut log = open_all(&Memory::new()).swap_remove(1);
        append(&mut log, 50);
        let all = log.holdings(u32::MAX, usize::MAX);
        assert_eq!(
            all[..3].iter().map(|one| one.stage).collect::<Vec<_>>(),
            [Stage::Prepared, Stage::Active, Stage::Sealed]
        );
        assert_eq!((all[1].end, all[1].bytes_file), (log.end(), 16 << 10));
        assert!(all[2..].iter().all(|one| one.stage == Stage::Sealed && one.bytes_used < one.bytes_file));
        let mut paged = Vec::new();
        while let page = log.holdings(paged.last().map_or(u32::MAX, |one: &Holding| one.number), 2)
            && !page.is_empty()
        {
            paged.extend(page);
        }
        assert_eq!(paged, all);
    }
}
