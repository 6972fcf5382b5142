//! Space of deleted keys and of transient records comes back, and no address changes.

mod support;

use storage::{Fate, Lsn, Medium, Memory, Options, ReadError};
use support::{CHUNK, DELETED, MESSAGE, NOTE, Rig, small};

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

/// An answer: many transient records, then its message.
fn answer(rig: &mut Rig<Memory>, key: u128) {
    for at in 0..24 {
        rig.chunk(key, 100 + at);
    }
    rig.message(key, 200);
    rig.sync();
    rig.work();
}

/// Every message reads as it was written, every transient record does or is unknown; how many are unknown.
fn read_messages(rig: &Rig<Memory>) -> usize {
    let mut unknown = 0;
    for record in rig.appended.iter().filter(|record| !rig.deleted.contains(&record.key)) {
        match rig.shards[rig.shard_of(record.key)].log.read(record.lsn) {
            Ok(found) => assert_eq!(found.payload, record.payload, "{}", record.lsn),
            Err(ReadError::Unknown) if rig.passed.contains(&record.lsn.0) => unknown += 1,
            Err(error) => panic!("{}: {error}", record.lsn),
        }
    }
    unknown
}

/// Bytes of all records of a kind as they are stored, without a model of what has gone.
fn stored_bytes(rig: &Rig<Memory>, kind: storage::Kind) -> u64 {
    let of_kind = rig.appended.iter().filter(|record| record.kind == kind);
    of_kind.map(|record| (64 + record.payload.len() as u64 + 4).next_multiple_of(8)).sum()
}

/// What the folder may hold when all that is dead has gone: messages, the frames of packed segments, and per shard the
/// segments in use and what is not worth a round yet.
fn bytes_worth_keeping(rig: &Rig<Memory>) -> u64 {
    let segment_bytes = u64::from(rig.options.segment_bytes);
    let messages = stored_bytes(rig, MESSAGE);
    let files = rig.medium.list().unwrap().len() as u64;
    messages + messages / 10 + files * 5000 + u64::from(rig.options.shards) * 3 * segment_bytes
}

fn medium_sized() -> Options {
    Options { segment_bytes: 64 << 10, ..small() }
}

#[test]
fn transient_records_below_the_floor_go_and_the_folder_shrinks_to_its_messages() {
    let mut rig = Rig::start(Memory::new(), Options { shards: 2, ..medium_sized() });
    for round in 0..30 {
        (0..8).for_each(|key| answer(&mut rig, key + round % 2 * 4));
    }
    turns(&mut rig);
    assert_eq!(rewritten(&rig, 0) + rewritten(&rig, 1), 0, "without a floor nothing goes");
    assert_eq!(read_messages(&rig), 0);
    let before = file_bytes(&rig);
    rig.set_floors();
    turns(&mut rig);
    rig.check();
    let after = file_bytes(&rig);
    assert!(after < bytes_worth_keeping(&rig) && after < before / 2, "{after} of {before} bytes are left");
    let unknown = read_messages(&rig);
    assert!(unknown * 10 > 240 * 24 * 8, "{unknown} transient records are gone");
    for shards in [2, 1, 3] {
        rig.crash(&mut |_| storage::Fate::Lost, shards);
        read_messages(&rig);
        assert!(rig.recovered.report.torn.is_empty(), "{:?}", rig.recovered.report.torn);
    }
    rig.snapshot_all();
    rig.crash(&mut |_| storage::Fate::Lost, 3);
    check_folder(&rig);
}

/// What looks at a folder finds no fault in packed segments, and exactly the records that are there.
fn check_folder(rig: &Rig<Memory>) {
    let dir = tempfile::tempdir().unwrap();
    for entry in rig.medium.list().unwrap() {
        std::fs::write(dir.path().join(&entry.name), rig.medium.read(&entry.name).unwrap()).unwrap();
    }
    let report = storage::check::check(dir.path()).unwrap();
    assert!(report.problems.is_empty(), "{report}");
    let scanned: Vec<_> = storage::scan(dir.path()).unwrap().map(|record| record.unwrap().lsn).collect();
    let mut there: Vec<_> = rig.appended.iter().map(|record| record.lsn).collect();
    there.sort();
    assert_eq!(scanned, there);
}

#[test]
fn a_log_that_only_streams_reclaims_steadily() {
    let mut rig = Rig::start(Memory::new(), medium_sized());
    for round in 0..60 {
        (0..8).for_each(|key| answer(&mut rig, key));
        rig.set_floors();
        for _ in 0..3 {
            rig.sync();
            rig.work();
        }
        let (bytes, enough) = (file_bytes(&rig), bytes_worth_keeping(&rig));
        assert!(bytes < enough, "round {round}: {bytes} bytes, {enough} would do");
    }
    assert!(stored_bytes(&rig, CHUNK) > 2 * file_bytes(&rig), "it was worth it");
    rig.check();
}

#[test]
fn a_floor_in_the_middle_of_a_segment_keeps_what_lies_above_it() {
    let mut rig = Rig::start(Memory::new(), Options { dead_percent_max: 10, ..medium_sized() });
    for _ in 0..12 {
        (0..8).for_each(|key| answer(&mut rig, key));
    }
    let last = rig.appended.last().unwrap().lsn.segment();
    let of_segment = rig.appended.iter().filter(|record| record.kind == CHUNK && record.lsn.segment() == last / 2);
    let floor = of_segment.map(|record| record.lsn).nth(200).expect("a segment holds more");
    rig.set_floor(0, floor);
    // A lower one changes nothing.
    rig.shards[0].log.set_transient_floor(Lsn::new(1, 5000));
    turns(&mut rig);
    rig.check();
    for record in rig.appended.iter().filter(|record| record.kind == CHUNK) {
        let is_there = rig.shards[0].log.read(record.lsn).is_ok();
        assert_eq!(is_there, record.lsn >= floor, "{} with the floor at {floor}", record.lsn);
    }
    // A segment that was packed in part is packed again when the floor is beyond it.
    rig.set_floors();
    turns(&mut rig);
    rig.check();
    let sealed = rig.appended.iter().filter(|record| record.kind == CHUNK && record.lsn.segment() + 2 < last);
    assert!(sealed.clone().count() > 500);
    for record in sealed {
        assert_eq!(rig.shards[0].log.read(record.lsn), Err(ReadError::Unknown), "{}", record.lsn);
    }
    rig.crash(&mut |_| storage::Fate::Lost, 2);
}

#[test]
fn transient_records_that_a_snapshot_covers_go_after_a_restart() {
    let mut rig = Rig::start(Memory::new(), Options { shards: 2, ..medium_sized() });
    for _ in 0..20 {
        (0..8).for_each(|key| answer(&mut rig, key));
    }
    rig.sync();
    rig.snapshot_all();
    let before = file_bytes(&rig);
    rig.crash(&mut |_| storage::Fate::Lost, 2);
    assert!(rig.recovered.report.segments_skipped > 5, "{:?}", rig.recovered.report);
    // A round before the floor is known finds nothing, and does not forget what it has seen.
    turns(&mut rig);
    assert_eq!(read_messages(&rig), 0);
    rig.set_floors();
    turns(&mut rig);
    let after = file_bytes(&rig);
    assert!(after < bytes_worth_keeping(&rig) && after < before / 2, "{after} of {before} bytes are left");
    read_messages(&rig);
    rig.check();
}

#[test]
fn no_transient_record_goes_before_what_replaces_it_is_durable() {
    let mut rig = Rig::start(Memory::new(), medium_sized());
    for _ in 0..4 {
        (0..8).for_each(|key| answer(&mut rig, key));
    }
    rig.message(1, 300);
    rig.set_floors();
    for _ in 0..20 {
        rig.work();
    }
    assert_eq!(rewritten(&rig, 0), 0);
    let passed = std::mem::take(&mut rig.passed);
    assert!(passed.len() > 500);
    // The power takes the message, and every transient record is still there.
    rig.crash(&mut |_| storage::Fate::Lost, 1);
    assert_eq!(read_messages(&rig), 0);
}

#[test]
fn transient_records_of_a_shard_go_with_its_own_floor_only() {
    let mut rig = Rig::start(Memory::new(), Options { dead_percent_max: 5, ..medium_sized() });
    for _ in 0..12 {
        (0..9).for_each(|key| answer(&mut rig, key));
    }
    // From now on the old segments hold keys of three shards; each is rewritten by one of them.
    rig.crash(&mut |_| storage::Fate::Kept, 3);
    for shard in 0..3 {
        rig.set_floor(shard, Lsn(u64::MAX));
        turns(&mut rig);
        rig.shards.iter_mut().for_each(|shard| shard.log.release_maps());
        assert!(rewritten(&rig, shard) > 0, "shard {shard} rewrites segments");
        assert!(read_messages(&rig) > 0);
        rig.check();
    }
    rig.crash(&mut |_| storage::Fate::Lost, 2);
    read_messages(&rig);
}

#[test]
fn the_power_may_go_anywhere_in_a_rewrite_that_drops_transient_records() {
    for (operations, fate) in (0..8).flat_map(|operations| [(operations, Fate::Lost), (operations, Fate::Kept)]) {
        let mut rig = Rig::start(Memory::new(), medium_sized());
        for _ in 0..8 {
            (0..8).for_each(|key| answer(&mut rig, key));
        }
        rig.set_floors();
        assert!(turns_failing(&mut rig, "Rewrite", Failure::After(operations)) > 2);
        rig.crash(&mut |_| fate, 1 + operations as u16 % 3);
        read_messages(&rig);
        rig.set_floors();
        turns(&mut rig);
        rig.check();
        rig.crash(&mut |_| fate, 1);
        read_messages(&rig);
        assert!(rig.recovered.report.torn.is_empty(), "{:?}", rig.recovered.report.torn);
    }
}

#[test]
fn a_segment_of_nothing_but_transient_records_goes_and_is_not_called_torn() {
    let mut rig = Rig::start(Memory::new(), small());
    rig.message(1, 10);
    for _ in 0..400 {
        rig.chunk(1, 300);
    }
    rig.sync();
    rig.work();
    rig.set_floors();
    turns(&mut rig);
    rig.crash(&mut |_| storage::Fate::Lost, 1);
    assert!(rig.recovered.report.removed.len() > 5, "{:?}", rig.recovered.report);
    assert!(rig.recovered.report.torn.is_empty() && rig.recovered.report.bytes_cut == 0);
}

#[test]
fn a_deleted_key_takes_its_transient_records_along_whatever_the_floor() {
    let mut rig = Rig::start(Memory::new(), medium_sized());
    for at in 0..480 {
        rig.chunk(at % 8, 100);
        rig.message(at % 8, 300);
    }
    rig.sync();
    rig.work();
    delete_most(&mut rig, 0..8);
    turns(&mut rig);
    rig.check();
    let gone = rig.appended.iter().filter(|record| rig.shards[0].log.read(record.lsn) == Err(ReadError::Unknown));
    assert!(gone.filter(|record| record.kind == CHUNK).count() > 250);
    assert_eq!(read_messages(&rig), 0, "those of the key that lives are all there");
}

fn append_flagged(kind: storage::Kind, seq: u64, flags: u8) {
    let mut rig = Rig::start(Memory::new(), small());
    let record = storage::NewRecord { kind, flags, key: storage::Key(1), seq, time_us: 0, meta: &[], payload: &[b"x"] };
    let _ = rig.shards[0].log.append(record);
}

#[test]
#[should_panic(expected = "only a plain note of a stream can be transient")]
fn a_message_cannot_be_transient() {
    append_flagged(MESSAGE, 1, storage::TRANSIENT);
}

#[test]
#[should_panic(expected = "only a plain note of a stream can be transient")]
fn a_record_that_stands_alone_cannot_be_transient() {
    append_flagged(support::AGENT, 0, storage::TRANSIENT);
}

#[test]
#[should_panic(expected = "only a plain note of a stream can be transient")]
fn a_record_that_ends_its_key_cannot_be_transient() {
    append_flagged(DELETED, 0, storage::TRANSIENT | storage::ENDS_KEY);
}
