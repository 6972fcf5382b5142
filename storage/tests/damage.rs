//! Disks that fail, fill up or rot: what is promised stays true, what is lost is named, the rest goes on.

mod support;

use std::path::Path;
use storage::check::{SegmentState, check};
use storage::{
    AppendError, Corruption, Durability, Fate, File, Key, Log, Lsn, Medium, Memory, Options, Poisoned, ReadError,
    ScanError, Unsynced, scan, segment,
};
use support::{AGENT, CHUNK, DELETED, MESSAGE, NOTE, Rig, small};

/// Writes a disk image into a folder, for what looks at folders.
fn write_out(medium: &Memory, dir: &Path) {
    for entry in medium.list().unwrap() {
        std::fs::write(dir.join(&entry.name), medium.read(&entry.name).unwrap()).unwrap();
    }
}

fn file_of(lsn: Lsn) -> String {
    segment::file_name(lsn.segment())
}

#[test]
fn a_failed_sync_poisons_the_log_and_reads_go_on() {
    let mut rig = Rig::start(Memory::new(), small());
    let kept = rig.message(1, 100);
    rig.sync();
    let durable = rig.durable_of(0);
    let doubtful = rig.message(1, 100);
    rig.medium.set_syncs_fail(true);
    let log = &mut rig.shards[0].log;
    let sync = log.begin_sync().unwrap();
    assert!(log.begin_sync().is_none(), "one sync is in flight at a time");
    let result = sync.run();
    assert_eq!(log.finish_sync(sync, result), Err(Poisoned));
    rig.medium.set_syncs_fail(false);
    let log = &mut rig.shards[0].log;
    assert!(log.begin_sync().is_none(), "it is never tried again");
    assert!(!log.wants_sync() && log.keep_promise().is_err());
    assert_eq!(log.durable(), durable);
    assert!(log.status().poisoned);
    assert!(log.read(kept).is_ok() && log.read(doubtful).is_ok());
    assert_eq!(rig.try_append(MESSAGE, 1, b"more"), Err(AppendError::Poisoned));
    rig.crash(&mut |_| Fate::Lost, 1);
    assert_eq!(rig.appended.len(), 1);
    rig.message(1, 100);
}

#[test]
fn a_full_disk_refuses_appends_by_name_until_there_is_room() {
    let mut rig = Rig::start(Memory::new(), small());
    rig.medium.set_bytes_free(20 << 10);
    let mut refused = None;
    for _ in 0..200 {
        match rig.try_append(MESSAGE, 1, &[7; 500]) {
            Ok(_) => {}
            Err(AppendError::NotReady) => {
                rig.work();
            }
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    assert_eq!(refused, Some(AppendError::DiskFull));
    assert!(rig.shards[0].log.status().disk_full);
    rig.sync();
    rig.check();
    // It is tried again, not at every turn, and works once there is room.
    rig.shards[0].log.tick(1_000);
    rig.medium.set_bytes_free(1 << 20);
    rig.shards[0].log.tick(10_000_000);
    rig.work();
    assert!(!rig.shards[0].log.status().disk_full);
    rig.message(1, 500);
    rig.sync();
    rig.check();
}

#[test]
fn a_full_disk_is_tried_again_with_growing_pauses() {
    let mut rig = Rig::start(Memory::new(), small());
    rig.medium.set_bytes_free(0);
    let mut attempts = Vec::new();
    for now_us in (1..40_000_000).step_by(10_000) {
        rig.shards[0].log.tick(now_us);
        if rig.work() > 0 {
            attempts.push(now_us);
        }
    }
    let pauses: Vec<u64> = attempts.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses.len() > 6 && pauses.windows(2).all(|two| two[0] <= two[1]), "{pauses:?}");
    assert!(*pauses.last().unwrap() >= 5_000_000 && *pauses.last().unwrap() < 5_100_000, "{pauses:?}");
}

#[test]
fn a_start_on_a_full_disk_serves_reads() {
    let mut rig = Rig::start(Memory::new(), small());
    rig.message(1, 100);
    rig.sync();
    let image = rig.kill();
    image.set_bytes_free(8 << 10);
    rig.restart(image, 1);
    rig.settle(&[Lsn::NONE]);
    rig.check();
    assert_eq!(rig.try_append(MESSAGE, 1, b""), Err(AppendError::DiskFull));
    rig.medium.set_bytes_free(1 << 20);
    rig.shards[0].log.tick(10_000_000);
    rig.work();
    rig.message(1, 100);
    rig.sync();
    rig.check();
}

#[test]
fn pages_that_cannot_be_made_writable_are_never_touched() {
    let options = Options { segment_bytes: 16 << 20, ..small() };
    let mut rig = Rig::start(Memory::new(), options);
    let first = rig.message(1, 100);
    rig.medium.set_prepares_fail(true);
    rig.work();
    for _ in 0..100 {
        rig.message(1, 100_000);
        rig.work();
    }
    let in_first = rig.appended.iter().filter(|record| record.lsn.segment() == first.segment());
    let end = in_first.map(|record| record.lsn.offset()).max().unwrap();
    assert!(end < 5 << 20, "{end} lies in the part that was populated");
    rig.sync();
    rig.check();
    assert!(rig.shards[0].log.status().work_failures > 0);
}

#[test]
fn nobody_writes_and_no_segment_is_left_where_blocks_are_being_prepared() {
    let options = Options { segment_bytes: 16 << 20, ..small() };
    let mut rig = Rig::start(Memory::new(), options);
    rig.work();
    rig.message(1, 600_000);
    let mut held = Vec::new();
    while let Some(work) = rig.shards[0].log.begin_work() {
        held.push(work);
    }
    assert!(!held.is_empty(), "a step's room is used up, so the next step is due");
    let refused = loop {
        if let Err(error) = rig.try_append(MESSAGE, 1, &[7; 100_000]) {
            break error;
        }
    };
    assert_eq!(refused, AppendError::NotReady);
    let last = rig.appended.last().unwrap().lsn.offset();
    assert!((3 << 20..5 << 20).contains(&last), "{last} is where the step begins, far from the segment's end");
    for work in held {
        let done = work.run();
        rig.shards[0].log.finish_work(done);
    }
    rig.message(1, 100_000);
    rig.sync();
    rig.check();
}

#[test]
fn damage_in_a_sealed_segment_is_named_and_everything_else_is_served() {
    // In the payload, in the seq, in the back pointer, in the length.
    for byte in [70, 44, 50, 6] {
        damage_is_named(byte);
    }
}

fn damage_is_named(byte: usize) {
    let mut rig = Rig::start(Memory::new(), small());
    for at in 0..120 {
        rig.message(1 + at % 3, 300);
    }
    rig.sync();
    rig.work();
    let damaged = rig.appended[20].clone();
    let file = file_of(damaged.lsn);
    let image = rig.kill();
    image.flip(&file, damaged.lsn.offset() as usize + byte, 4);
    rig.restart(image, 1);
    let expected = Corruption { file, offset: u64::from(damaged.lsn.offset()) };
    assert_eq!(rig.recovered.report.corrupt, std::slice::from_ref(&expected));
    let log = &rig.shards[0].log;
    assert_eq!(log.status().corrupt, std::slice::from_ref(&expected));
    for record in &rig.appended {
        match log.read(record.lsn) {
            Ok(found) => assert_eq!(found.payload, record.payload),
            Err(error) => {
                assert_eq!((record.lsn, error), (damaged.lsn, ReadError::Corrupt(expected.clone())));
            }
        }
    }
    let slot = log.slot(Key(damaged.key)).unwrap();
    assert_eq!(log.last_seq(slot), 40, "later messages are known");
    let page = |after, limit| log.messages(slot, after, log.end(), limit, u64::MAX);
    // A page over the range names the damage itself, or lists the address whose read names it.
    match page(0, 100) {
        Err(error) => assert_eq!(error, ReadError::Corrupt(expected.clone())),
        Ok(page) => assert!(byte == 70 && page.lsns.contains(&damaged.lsn)),
    }
    assert_eq!(page(damaged.seq, 100).unwrap().lsns.len() as u64, 40 - damaged.seq);
    let other = log.slot(Key(1 + damaged.key % 3)).unwrap();
    assert_eq!(log.messages(other, 0, log.end(), 100, u64::MAX).unwrap().lsns.len(), 40, "other streams are whole");
    // The file is left as it is, and the log goes on.
    rig.message(damaged.key, 10);
    rig.sync();
    let dir = tempfile::tempdir().unwrap();
    write_out(&rig.medium, dir.path());
    assert_eq!(check(dir.path()).unwrap().problems, [expected]);
    let (found, lost): (Vec<_>, Vec<_>) = scan(dir.path()).unwrap().partition(Result::is_ok);
    assert_eq!(found.len(), rig.appended.len() - 1);
    assert!(matches!(lost[..], [Err(ScanError::Corrupt(_))]));
}

#[test]
fn acknowledged_records_that_are_gone_are_damage_and_not_a_torn_end() {
    let mut rig = Rig::start(Memory::new(), small());
    for _ in 0..6 {
        rig.message(1, 400);
        rig.sync();
    }
    // The disk lied: a record that was synced is zeros, later ones say that it was durable.
    let lost = rig.appended[2].lsn;
    let image = rig.kill();
    let file = file_of(lost);
    let bytes = image.read(&file).unwrap();
    let range = lost.offset() as usize..rig.appended[3].lsn.offset() as usize;
    range.for_each(|at| image.flip(&file, at, bytes[at]));
    for restart in 0..3 {
        let former = if restart == 0 { image.clone() } else { rig.kill() };
        rig.restart(former, 1);
        assert_eq!(rig.recovered.report.corrupt, [Corruption { file: file.clone(), offset: lost.offset().into() }]);
        assert_eq!(rig.recovered.report.bytes_cut, 0);
        let log = &rig.shards[0].log;
        for (at, record) in rig.appended.iter().enumerate() {
            assert_eq!(log.read(record.lsn).is_ok(), at != 2, "record {at}");
        }
        assert_eq!(log.last_seq(log.slot(Key(1)).unwrap()), 6 + restart);
        rig.append(MESSAGE, 1, b"next");
        rig.appended.pop();
        rig.sync();
    }
}

#[test]
fn a_sealed_segment_that_lost_its_end_is_damaged() {
    let mut rig = Rig::start(Memory::new(), small());
    for _ in 0..60 {
        rig.message(1, 400);
    }
    rig.sync();
    rig.work();
    let image = rig.kill();
    let file = file_of(rig.appended[0].lsn);
    let cut = image.read(&file).unwrap().len() as u64 - 1000;
    image.set_len(&file, cut).unwrap();
    rig.restart(image, 1);
    assert_eq!(rig.recovered.report.corrupt.len(), 1);
    assert_eq!(rig.recovered.report.corrupt[0].file, file);
    let log = &rig.shards[0].log;
    let lost = rig.appended.iter().filter(|record| matches!(log.read(record.lsn), Err(ReadError::Corrupt(_)))).count();
    assert!((1..=3).contains(&lost), "{lost} records are lost, and named");
    assert_eq!(log.last_seq(log.slot(Key(1)).unwrap()), 60);
}

#[test]
fn a_segment_without_a_header_is_named_and_its_addresses_are_corrupt() {
    let mut rig = Rig::start(Memory::new(), small());
    for _ in 0..60 {
        rig.message(1, 400);
    }
    rig.snapshot_all();
    let image = rig.kill();
    let file = file_of(rig.appended[0].lsn);
    image.flip(&file, 20, 1);
    rig.restart(image, 1);
    let expected = Corruption { file, offset: 0 };
    assert_eq!(rig.recovered.report.corrupt, std::slice::from_ref(&expected));
    let log = &rig.shards[0].log;
    assert_eq!(log.read(rig.appended[0].lsn), Err(ReadError::Corrupt(expected)));
    assert!(log.read(rig.appended[59].lsn).is_ok());
}

#[test]
fn a_damaged_snapshot_is_named_and_the_records_are_folded_instead() {
    let mut rig = Rig::start(Memory::new(), small());
    for at in 0..60 {
        rig.message(at % 5, 200);
        rig.append(NOTE, at % 5, b"");
    }
    rig.append(AGENT, 9, b"agent");
    rig.append(DELETED, 4, b"");
    rig.snapshot_all();
    let snapshot = rig.medium.list().unwrap().into_iter().find(|entry| entry.name.ends_with(".snapshot")).unwrap();
    let image = rig.kill();
    image.flip(&snapshot.name, snapshot.bytes as usize / 2, 1);
    rig.restart(image, 1);
    assert_eq!(rig.recovered.report.corrupt, [Corruption { file: snapshot.name, offset: 0 }]);
    assert_eq!(rig.recovered.report.segments_skipped, 0);
    rig.settle(&[Lsn::new(u32::MAX, 0)]);
    rig.check();
}

#[test]
fn snapshots_save_the_reading_of_what_they_cover() {
    let mut rig = Rig::start(Memory::new(), Options { shards: 2, ..small() });
    for at in 0..200 {
        rig.message(at % 5, 300);
    }
    // A snapshot covers what was on disk when it began.
    rig.sync();
    rig.snapshot_all();
    rig.message(1, 10);
    rig.sync();
    rig.crash(&mut |_| Fate::Lost, 2);
    assert!(rig.recovered.report.segments_skipped > 2, "{:?}", rig.recovered.report);
    assert!(rig.recovered.report.records < 100, "{:?}", rig.recovered.report);
}

#[test]
fn memory_durability_promises_at_once_and_syncs_in_the_background() {
    let mut rig = Rig::start(Memory::new(), Options { durability: Durability::Memory, ..small() });
    rig.shards[0].log.tick(5_000_000);
    rig.sync();
    let lsn = rig.message(1, 100);
    let log = &mut rig.shards[0].log;
    assert!(log.durable() > lsn && log.durable() == log.end());
    log.tick(5_000_001);
    log.begin_sync().map(|sync| log.finish_sync(sync, Ok(()))).unwrap().unwrap();
    rig.message(1, 100);
    let log = &mut rig.shards[0].log;
    assert!(!log.wants_sync(), "not yet");
    log.tick(6_000_002);
    assert!(log.wants_sync(), "after a second");
    // A power cut takes what the background had not synced, and that is no damage.
    rig.sync();
    rig.message(1, 100);
    rig.crash(&mut |unsynced| if matches!(unsynced, Unsynced::Sector(..)) { Fate::Lost } else { Fate::Kept }, 1);
    assert_eq!(rig.appended.len(), 2);
}

#[test]
fn what_is_not_in_memory_is_answered_with_the_work_that_warms_it() {
    let mut rig = Rig::start(Memory::new(), small());
    for at in 0..60 {
        rig.message(at % 4, 300);
    }
    rig.sync();
    rig.work();
    let image = rig.kill();
    image.set_cold(true);
    rig.restart(image, 1);
    let lsn = rig.appended[0].lsn;
    let mut warmed = 0;
    loop {
        let log = &mut rig.shards[0].log;
        match log.read(lsn) {
            Ok(record) => break assert_eq!(record.payload, rig.appended[0].payload),
            Err(ReadError::Cold(cold)) => {
                let done = log.begin_warm(cold).unwrap().run();
                log.finish_work(done);
                warmed += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(warmed, 1);
    let slot = rig.shards[0].log.slot(Key(3)).unwrap();
    let mut rounds = 0;
    let page = loop {
        let log = &mut rig.shards[0].log;
        match log.messages(slot, 0, log.end(), 100, u64::MAX) {
            Ok(page) => break page,
            Err(ReadError::Cold(cold)) => {
                let done = log.begin_warm(cold).unwrap().run();
                log.finish_work(done);
                rounds += 1;
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(page.lsns.len(), 15);
    assert!((1..10).contains(&rounds), "one round for each segment: {rounds}");
}

/// Appends notes of `bytes` that each name the one before, over many segments, and says where they are.
fn append_chain<M: Medium>(rig: &mut Rig<M>, bytes: usize) -> Vec<Lsn> {
    let mut chain = Vec::new();
    for _ in 0..300 {
        let before = chain.last().copied().unwrap_or(Lsn::NONE);
        chain.push(rig.append(CHUNK, 1, &[&before.0.to_le_bytes()[..], &vec![7; bytes]].concat()));
    }
    rig.sync();
    rig.work();
    chain
}

/// Walks a chain from its last note back to its first, as a start does.
fn walk_chain<M: Medium>(log: &Log<M>, last: Lsn) -> Vec<Lsn> {
    let mut chain = Vec::new();
    let mut lsn = last;
    while !lsn.is_none() {
        let record = log.read_blocking(lsn).expect("every note of the chain reads");
        assert!(record.lsn == lsn && record.payload[8..].iter().all(|byte| *byte == 7));
        chain.push(lsn);
        lsn = Lsn(u64::from_le_bytes(record.payload[..8].try_into().unwrap()));
    }
    chain.reverse();
    chain
}

fn is_cold<M: Medium>(log: &Log<M>, lsn: Lsn) -> bool {
    matches!(log.read(lsn), Err(ReadError::Cold(_)))
}

#[test]
fn a_start_walks_a_chain_of_cold_records_without_waiting_for_work() {
    let mut rig = Rig::start(Memory::new(), small());
    let chain = append_chain(&mut rig, 200);
    let image = rig.kill();
    image.set_cold(true);
    rig.restart(image, 1);
    let log = &rig.shards[0].log;
    assert!(chain.iter().all(|lsn| is_cold(log, *lsn)));
    assert_eq!(walk_chain(log, chain[299]), chain);
    assert!(!chain.iter().any(|lsn| is_cold(log, *lsn)), "what was waited for is in memory");
    assert_eq!(log.read_blocking(Lsn::new(77, 4096)), Err(ReadError::Unknown));
    assert_eq!(log.read_blocking(log.end()), Err(ReadError::Unknown));
}

#[test]
fn a_start_walks_a_chain_of_records_that_the_page_cache_has_lost() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 1 << 20, ..small() };
    let mut rig = Rig::start(File::open(dir.path()).unwrap(), options);
    let chain = append_chain(&mut rig, 20_000);
    rig.snapshot_all();
    // The folder has one server, so this one goes before the next one comes.
    let Rig { shards, medium, options, .. } = rig;
    drop((shards, medium));
    let rig = Rig::start(File::open(dir.path()).unwrap(), options);
    assert!(rig.recovered.report.segments_skipped > 3, "a snapshot covers them: the start has not read them");
    // A disk with much readahead brings whole segments in with their headers; here they go again. In a file system in
    // memory they stay: then nothing is cold, and the walk is the same.
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let file = std::fs::File::open(entry.unwrap().path()).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
    let log = &rig.shards[0].log;
    eprintln!("cold before: {} of {}", chain.iter().filter(|lsn| is_cold(log, **lsn)).count(), chain.len());
    assert_eq!(walk_chain(log, chain[299]), chain);
}

#[test]
fn impossible_sizes_are_refused_before_anything_changes() {
    let mut rig = Rig::start(Memory::new(), small());
    assert!(matches!(rig.try_append(MESSAGE, 1, &[0; 13_000]), Err(AppendError::TooLarge { .. })));
    assert!(rig.shards[0].log.slot(Key(1)).is_none());
    rig.append(MESSAGE, 1, &[1; 12_000]);
    rig.sync();
    rig.check();
}

#[test]
fn check_counts_what_a_folder_holds_and_changes_nothing() {
    let mut rig = Rig::start(Memory::new(), Options { shards: 2, ..small() });
    for at in 0..100 {
        rig.message(at % 5, 300);
    }
    rig.append(NOTE, 1, b"");
    rig.append(AGENT, 9, b"");
    rig.snapshot_all();
    rig.message(2, 50);
    rig.kill();
    let dir = tempfile::tempdir().unwrap();
    write_out(&rig.medium, dir.path());
    let report = check(dir.path()).unwrap();
    let sum = |of: fn(&storage::check::SegmentReport) -> u64| report.segments.iter().map(of).sum::<u64>();
    assert_eq!(sum(|one| one.records), 103);
    assert_eq!(sum(|one| one.messages), 101);
    assert_eq!(sum(|one| one.notes), 1);
    assert_eq!(sum(|one| one.standalone), 1);
    assert_eq!((report.keys, report.problems.len(), report.snapshots.len()), (5, 0, 2));
    assert!(!report.in_use);
    assert!(report.segments.iter().any(|one| one.state == SegmentState::Sealed));
    assert!(report.segments.iter().any(|one| one.state == SegmentState::Unsealed));
    let text = report.to_string();
    assert!(
        text.ends_with("103 records, 101 messages, 1 notes, 5 keys, ".to_owned().as_str())
            || text.contains("103 records")
    );
    for entry in rig.medium.list().unwrap() {
        assert_eq!(std::fs::read(dir.path().join(&entry.name)).unwrap(), rig.medium.read(&entry.name).unwrap());
    }
    let scanned: Vec<_> = scan(dir.path()).unwrap().map(Result::unwrap).collect();
    let mut expected: Vec<_> = rig.appended.iter().map(|record| (record.lsn, record.payload.clone())).collect();
    expected.sort();
    assert_eq!(scanned.into_iter().map(|record| (record.lsn, record.payload)).collect::<Vec<_>>(), expected);
}

#[test]
fn another_spacing_of_positions_only_makes_a_search_longer() {
    let mut rig = Rig::start(Memory::new(), small());
    for _ in 0..50 {
        rig.message(1, 100);
    }
    rig.snapshot_all();
    rig.options.index_every = 7;
    rig.crash(&mut |_| Fate::Kept, 1);
    rig.message(1, 100);
    rig.check();
}
