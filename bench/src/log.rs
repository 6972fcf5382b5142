//! The log on a disk: copying a record into the map, and committing a group of them.

use crate::harness::Group;
use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use storage::{AppendError, Durability, Fold, Key, Kind, Log, NewRecord, Options, Record, Slot};

/// Bytes of a message as clients read it.
const PAYLOAD_BYTES: usize = 400;
/// Keys that take turns.
const KEYS: u64 = 64;
/// Bytes of the reference's file; it starts again at its beginning.
const REFERENCE_BYTES: u64 = 16 << 20;

/// A fresh folder has nothing to fold.
struct Nothing;

impl Fold for Nothing {
    fn snapshot(&mut self, _: Option<(Key, Slot)>, _: &[u8]) {}
    fn record(&mut self, _: &Record<'_>, _: Option<Slot>) {}
}

/// A log with its writer: one message after the other, for the keys in turn.
struct Writer {
    log: Log<storage::File>,
    payload: Vec<u8>,
    appended: u64,
}

impl Writer {
    fn open(dir: &Path, durability: Durability, payload_bytes: usize) -> Result<Self> {
        let options = Options { durability, ..Options::default() };
        let medium = storage::File::open(dir)?;
        let recovered = storage::recover(&medium, &options)?;
        let log = Log::open(medium, &recovered, options, |_| true, &mut Nothing)?;
        Ok(Self { log, payload: vec![b'x'; payload_bytes], appended: 0 })
    }

    fn append(&mut self) {
        let Self { log, payload, appended } = self;
        let payload: [&[u8]; 1] = [payload];
        let record = NewRecord {
            kind: Kind(1),
            flags: 0,
            key: Key(u128::from(*appended % KEYS) + 1),
            seq: *appended / KEYS + 1,
            time_us: *appended,
            meta: &[],
            payload: &payload,
        };
        loop {
            match log.append(record) {
                Ok(done) => {
                    black_box(done);
                    *appended += 1;
                    return;
                }
                Err(AppendError::NotReady) => work(log),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn commit(&mut self) {
        if let Some(sync) = self.log.begin_sync() {
            let result = sync.run();
            self.log.finish_sync(sync, result).expect("the disk works");
        }
    }
}

/// Background work, for which a server has a thread.
fn work(log: &mut Log<storage::File>) {
    while let Some(work) = log.begin_work() {
        log.finish_work(work.run());
    }
}

/// Appending without a sync, beside copying the same bytes and their CRC.
pub fn append(dir: &Path, payload_bytes: usize) -> Result<Group<'static>> {
    let mut writer = Writer::open(dir, Durability::Memory, payload_bytes)?;
    let source = vec![b'x'; payload_bytes + storage::record::HEADER_BYTES];
    let mut copy = Vec::with_capacity(1 << 20);
    Ok(Group::new(format!("record append: {payload_bytes} bytes into the mapped segment, no sync"))
        .case("copy and crc32 of as many bytes (reference)", move || {
            if copy.len() + source.len() > copy.capacity() {
                copy.clear();
            }
            copy.extend_from_slice(black_box(&source));
            black_box(crc32fast::hash(&source));
        })
        .case("Log::append", move || {
            // Populating pages ahead is another thread's work in a server; here it is paid for once in a while.
            if writer.appended.is_multiple_of(1024) {
                work(&mut writer.log);
            }
            writer.append();
        }))
}

/// Appending `records` and making them durable, beside writing the same bytes to a file with all its blocks in place and syncing that. Per
/// record.
pub fn commit(dir: &Path, records: u64) -> Result<Group<'static>> {
    let mut writer = Writer::open(dir, Durability::Disk, PAYLOAD_BYTES)?;
    let bytes = vec![b'x'; (PAYLOAD_BYTES + storage::record::HEADER_BYTES) * records as usize];
    let file = reference_file(&dir.join("reference"))?;
    let mut at = 0;
    Ok(Group::new(format!("log commit: {records} records of {PAYLOAD_BYTES} bytes and one sync, per record"))
        .batch("write and fdatasync alone (reference)", records, move || {
            if at + bytes.len() as u64 > REFERENCE_BYTES {
                at = 0;
            }
            file.write_all_at(&bytes, at).expect("the disk works");
            fdatasync(&file).expect("the disk works");
            at += bytes.len() as u64;
        })
        .batch("append and commit", records, move || {
            (0..records).for_each(|_| writer.append());
            writer.commit();
            work(&mut writer.log);
        }))
}

/// A file whose blocks are allocated and written, so that a sync is about data alone.
fn reference_file(path: &Path) -> Result<File> {
    let file = File::options().create_new(true).write(true).open(path).context("the reference's file")?;
    fallocate(&file, FallocateFlags::empty(), 0, REFERENCE_BYTES)?;
    let zeros = vec![0; 1 << 20];
    for at in (0..REFERENCE_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, at)?;
    }
    fdatasync(&file)?;
    Ok(file)
}
