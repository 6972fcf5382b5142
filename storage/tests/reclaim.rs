//! Space of deleted keys comes back, and no address changes.

mod support;

use storage::{Medium, Memory, Options, ReadError};
use support::{DELETED, NOTE, Rig, small};

/// Runs turns until nothing is left to do.
fn turns(rig: &mut Rig<Memory>) {
    let mut quiet = 0;
    while quiet < 3 {
        rig.sync();
        quiet = if rig.work() == 0 { quiet + 1 } else { 0 };
    }
}

fn fill(rig: &mut Rig<Memory>, keys: std::ops::Range<u128>) {
    for round in 0..12 {
        for key in keys.clone() {
            rig.message(key, 100 + round * 10);
        }
        rig.sync();
        rig.work();
    }
}

fn file_bytes(rig: &Rig<Memory>) -> u64 {
    rig.medium.list().unwrap().iter().map(|entry| entry.bytes).sum()
}

fn delete_most(rig: &mut Rig<Memory>, keys: std::ops::Range<u128>) {
    for key in keys.filter(|key| key % 8 != 0) {
        rig.append(DELETED, key, b"");
    }
}

#[test]
fn space_of_deleted_keys_comes_back_and_every_other_record_stays_where_it_was() {
    let mut rig = Rig::start(Memory::new(), Options { shards: 2, ..small() });
    fill(&mut rig, 0..64);
    let before = file_bytes(&rig);
    delete_most(&mut rig, 0..64);
    turns(&mut rig);
    rig.check();
    let rewritten: u64 = rig.shards.iter().map(|shard| shard.log.status().segments_rewritten).sum();
    assert!(rewritten > 5, "{rewritten} segments were rewritten");
    assert!(file_bytes(&rig) < before / 2, "{} of {before} bytes are left", file_bytes(&rig));
    // Packed segments survive restarts, other numbers of shards, snapshots, and being packed again.
    rig.crash(&mut |_| storage::Fate::Lost, 2);
    rig.crash(&mut |_| storage::Fate::Kept, 3);
    rig.snapshot_all();
    rig.crash(&mut |_| storage::Fate::Lost, 3);
    rig.crash(&mut |_| storage::Fate::Lost, 1);
    fill(&mut rig, 200..240);
    for key in (0..64).filter(|key| key % 8 == 0).chain(200..230) {
        rig.append(DELETED, key, b"");
    }
    turns(&mut rig);
    rig.check();
    assert!(rig.shards[0].log.status().segments_rewritten > 0);
    rig.crash(&mut |_| storage::Fate::Lost, 2);
}

#[test]
fn a_deleted_key_does_not_come_back_when_its_older_records_are_still_on_disk() {
    let mut rig = Rig::start(Memory::new(), small());
    rig.append(NOTE, 1, b"created");
    fill(&mut rig, 1..3);
    rig.append(DELETED, 1, b"");
    turns(&mut rig);
    rig.crash(&mut |_| storage::Fate::Lost, 1);
    assert!(rig.shards[0].log.slot(storage::Key(1)).is_none());
}

#[test]
fn a_log_that_still_maps_the_old_file_reads_on_and_sees_the_new_one_after_release() {
    let mut rig = Rig::start(Memory::new(), Options { shards: 2, ..small() });
    fill(&mut rig, 0..64);
    rig.crash(&mut |_| storage::Fate::Kept, 2);
    rig.check();
    delete_most(&mut rig, 0..64);
    turns(&mut rig);
    rig.check();
    rig.shards.iter_mut().for_each(|shard| shard.log.release_maps());
    rig.check();
}

/// Reads every record that lives, through the shard that owns its key.
fn read_all(rig: &Rig<Memory>) {
    for record in rig.appended.iter().filter(|record| !rig.deleted.contains(&record.key)) {
        let log = &rig.shards[rig.shard_of(record.key)].log;
        assert_eq!(log.read(record.lsn).expect("a live record reads").payload, record.payload, "{}", record.lsn);
    }
}

fn rewritten(rig: &Rig<Memory>, shard: usize) -> u64 {
    rig.shards[shard].log.status().segments_rewritten
}

#[test]
fn a_shard_reads_on_in_a_segment_that_another_shard_rewrote() {
    let mut rig = Rig::start(Memory::new(), Options { shards: 2, dead_percent_max: 10, ..small() });
    fill(&mut rig, 0..64);
    // From now on each of the old segments holds keys of all shards, and each shard drops its own only.
    rig.crash(&mut |_| storage::Fate::Kept, 3);
    for owner in 0..3 {
        for key in (0..64).filter(|key| key % 3 == owner && key % 8 != 0) {
            rig.append(DELETED, key, b"");
        }
        turns(&mut rig);
        assert!(rewritten(&rig, owner as usize) > 0, "shard {owner} rewrites segments");
        // Some maps are of the file before, some of the file after; then all are of the file after.
        read_all(&rig);
        rig.shards.iter_mut().for_each(|shard| shard.log.release_maps());
        read_all(&rig);
        rig.check();
        assert!(rig.shards.iter().all(|shard| shard.log.status().corrupt.is_empty()));
    }
    rig.crash(&mut |_| storage::Fate::Lost, 2);
}

#[test]
fn a_packed_file_whose_footer_does_not_verify_is_named_corrupt_and_nothing_wrong_is_read() {
    let mut rig = Rig::start(Memory::new(), Options { shards: 2, dead_percent_max: 10, ..small() });
    fill(&mut rig, 0..64);
    rig.crash(&mut |_| storage::Fate::Kept, 3);
    delete_most(&mut rig, 0..64);
    turns(&mut rig);
    let mut names: Vec<_> = rig.medium.list().unwrap().into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.ends_with(".segment") && rig.medium.read(name).unwrap()[32] == 1);
    assert!(!names.is_empty());
    for name in &names {
        rig.medium.flip(name, rig.medium.read(name).unwrap().len() - 12, 0x40);
    }
    rig.shards.iter_mut().for_each(|shard| shard.log.release_maps());
    let mut corrupt = 0;
    for record in rig.appended.iter().filter(|record| !rig.deleted.contains(&record.key)) {
        match rig.shards[rig.shard_of(record.key)].log.read(record.lsn) {
            Ok(found) => assert_eq!(found.payload, record.payload),
            Err(ReadError::Corrupt(at)) => {
                assert!(names.contains(&at.file) && at.offset == 0, "{at:?}");
                corrupt += 1;
            }
            Err(error) => panic!("{}: {error}", record.lsn),
        }
    }
    assert!(corrupt > 0);
}

#[test]
fn nothing_is_rewritten_before_the_deletion_is_durable() {
    let mut rig = Rig::start(Memory::new(), small());
    fill(&mut rig, 0..32);
    rig.sync();
    delete_most(&mut rig, 0..32);
    for _ in 0..20 {
        rig.work();
    }
    assert_eq!(rig.shards[0].log.status().segments_rewritten, 0);
    let deleted = std::mem::take(&mut rig.deleted);
    assert!(!deleted.is_empty());
    rig.deleted = deleted;
    rig.crash(&mut |_| storage::Fate::Lost, 1);
    assert!(rig.deleted.is_empty(), "the power cut took the deletions, and with them nothing else");
}

/// Every way a rewrite of a segment can end early.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// The disk has room for the beginning of the packed file.
    Full,
    /// It is written and cannot be made durable.
    Sync,
    /// Behind so many operations nothing works any more, not even tidying up.
    After(u64),
}

/// As [`turns`], and each job of a sort fails.
fn turns_failing(rig: &mut Rig<Memory>, sort: &str, failure: Failure) -> usize {
    let mut failed = 0;
    for _ in 0..10 {
        rig.sync();
        for shard in &mut rig.shards {
            while let Some(work) = shard.log.begin_work() {
                let fails = format!("{work:?}").starts_with(&format!("Work({sort}"));
                if fails {
                    failed += 1;
                    match failure {
                        Failure::Full => rig.medium.set_bytes_free(5000),
                        Failure::Sync => rig.medium.set_syncs_fail(true),
                        Failure::After(operations) => rig.medium.set_operations_left(Some(operations)),
                    }
                }
                let done = work.run();
                rig.medium.set_bytes_free(u64::MAX);
                rig.medium.set_syncs_fail(false);
                rig.medium.set_operations_left(None);
                shard.log.finish_work(done);
            }
        }
    }
    failed
}

fn temporaries(rig: &Rig<Memory>) -> usize {
    rig.medium.list().unwrap().iter().filter(|entry| entry.name.ends_with(".tmp")).count()
}

#[test]
fn a_rewrite_that_fails_anywhere_leaves_no_trace_in_the_next_one() {
    let failures = [Failure::Full, Failure::Sync].into_iter().chain((0..8).map(Failure::After));
    for failure in failures {
        let mut rig = Rig::start(Memory::new(), Options { dead_percent_max: 20, ..small() });
        fill(&mut rig, 0..64);
        for key in (0..64).filter(|key| key % 8 > 2) {
            rig.append(DELETED, key, b"");
        }
        let failed = turns_failing(&mut rig, "Rewrite", failure);
        assert!(failed > 3, "{failure:?}: {failed} rewrites");
        if !matches!(failure, Failure::After(_)) {
            assert_eq!(temporaries(&rig), 0, "{failure:?}: a failed attempt gives its room back");
        }
        read_all(&rig);
        rig.shards[0].log.release_maps();
        read_all(&rig);
        // The next attempt has fewer bytes to write.
        for key in (0..64).filter(|key| [1, 2].contains(&(key % 8))) {
            rig.append(DELETED, key, b"");
        }
        turns(&mut rig);
        assert!(rewritten(&rig, 0) > 3, "{failure:?}");
        assert_eq!(temporaries(&rig), 0, "{failure:?}");
        rig.check();
        rig.crash(&mut |_| storage::Fate::Lost, 2);
        assert!(rig.recovered.report.corrupt.is_empty(), "{failure:?}: {:?}", rig.recovered.report.corrupt);
        read_all(&rig);
    }
}

#[test]
fn a_snapshot_that_fails_gives_its_room_back_and_the_next_one_is_whole() {
    for (sort, failure) in [
        ("SnapshotWrite", Failure::Full),
        ("SnapshotFinish", Failure::Sync),
        ("SnapshotFinish", Failure::After(2)),
        ("SnapshotFinish", Failure::After(4)),
    ] {
        let mut rig = Rig::start(Memory::new(), small());
        fill(&mut rig, 0..200);
        rig.shards[0].log.snapshot_now();
        rig.snapshot_step(0, 1000);
        assert_eq!(turns_failing(&mut rig, sort, failure), 1, "{sort} {failure:?}");
        if !matches!(failure, Failure::After(_)) {
            assert_eq!(temporaries(&rig), 0, "{sort} {failure:?}");
        }
        rig.snapshot_all();
        rig.crash(&mut |_| storage::Fate::Lost, 1);
        assert!(rig.recovered.report.segments_skipped > 3, "{sort} {failure:?}: the start used the snapshot");
        assert_eq!(temporaries(&rig), 0, "{sort} {failure:?}");
    }
}

#[test]
fn a_segment_with_damage_that_no_start_has_seen_is_not_rewritten() {
    let mut rig = Rig::start(Memory::new(), Options { dead_percent_max: 20, ..small() });
    fill(&mut rig, 0..64);
    delete_most(&mut rig, 0..64);
    rig.sync();
    // The length of a record in the last third of some segments: most of the dead stand before it, and behind it a walk
    // finds nothing any more.
    let segments: Vec<u32> = (1..6).collect();
    let mut before = Vec::new();
    for number in segments {
        let inside = rig.appended.iter().map(|record| record.lsn);
        let inside = inside.filter(|lsn| lsn.segment() == number && lsn.offset() < 12_000);
        let name = format!("{number:08x}.segment");
        rig.medium.flip(&name, inside.max().expect("a record").offset() as usize + 5, 0x80);
        before.push((name.clone(), rig.medium.read(&name).unwrap()));
    }
    turns(&mut rig);
    assert!(rewritten(&rig, 0) > 3, "the others are");
    for (name, before) in before {
        assert!(rig.medium.read(&name).unwrap() == before, "{name} is left as it is");
    }
}
