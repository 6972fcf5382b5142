//! A backup is the folder as it was at the moment that it names, whatever is written, sealed and rewritten around that moment.

mod support;

use std::path::Path;
use storage::backup::{BackupError, BackupReport, backup};
use storage::check::check;
use storage::{Blobs, File, Lsn, Options};
use support::{DELETED, Rig, small};

/// Later than all that is written.
const FAR_US: u64 = u64::MAX;

fn rig(dir: &Path, shards: u16) -> Rig<File> {
    Rig::start(File::open(dir).unwrap(), Options { shards, ..small() })
}

fn fill(rig: &mut Rig<File>, keys: std::ops::Range<u128>) {
    for round in 0..12 {
        for key in keys.clone() {
            rig.message(key, 100 + round * 10);
        }
        rig.sync();
        rig.work();
    }
}

fn turns(rig: &mut Rig<File>) {
    let mut quiet = 0;
    while quiet < 3 {
        rig.sync();
        quiet = if rig.work() == 0 { quiet + 1 } else { 0 };
    }
}

/// Every record of a folder.
fn records(dir: &Path) -> Vec<(Lsn, u64, Vec<u8>)> {
    let record = |record: Result<storage::ScannedRecord, storage::ScanError>| record.expect("a sound folder");
    storage::scan(dir).unwrap().map(record).map(|record| (record.lsn, record.time_us, record.payload)).collect()
}

/// Backs up, with `meanwhile` called at each look at the clock, which it also reads.
fn copy_of(dir: &Path, to: &Path, meanwhile: &mut dyn FnMut() -> u64) -> BackupReport {
    let report = backup(dir, to, meanwhile).expect("a backup");
    let found = check(to).unwrap();
    assert_eq!(found.problems, [], "{found}");
    report
}

/// The copy opens with any number of shards, all of `held` can be read, and it takes more.
fn opens(copy: &Path, held: &[(Lsn, u64, Vec<u8>)]) {
    for shards in [2, 1, 3] {
        let mut rig = rig(copy, shards);
        assert!(rig.recovered.report.corrupt.is_empty(), "{:?}", rig.recovered.report);
        for (lsn, _, payload) in held {
            let mut readers = rig.shards.iter().filter_map(|shard| shard.log.read(*lsn).ok());
            assert_eq!(readers.next().map(|record| record.payload), Some(payload.as_slice()), "{lsn}");
        }
        rig.message(u128::from(900 + shards), 100);
        rig.sync();
    }
}

#[test]
fn what_is_written_and_sealed_after_the_moment_is_not_in_the_copy() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut rig = rig(dir.path(), 2);
    for round in 0..8 {
        // With every state of the segments in use: empty, half full, full, sealed in the middle of it.
        fill(&mut rig, 0..round + 1);
        rig.time_us = 100 * (round as u64 + 1);
        let moment_us = rig.time_us;
        let mut held = None;
        let to = copies.path().join(format!("{round}"));
        let report = copy_of(dir.path(), &to, &mut || {
            if held.is_none() {
                turns(&mut rig);
                held = Some(records(dir.path()));
                rig.time_us += 1;
                fill(&mut rig, 0..40); // rolls and seals some segments
                rig.message(1, 500); // is not even synced
                return moment_us;
            }
            FAR_US
        });
        assert_eq!((report.moment_us, report.shards_ahead), (moment_us, 0));
        let held = held.expect("the clock was looked at");
        assert_eq!(records(&to), held, "round {round}");
        opens(&to, &held);
    }
}

#[test]
fn a_moment_around_which_segments_are_rewritten_is_not_the_one_that_is_copied() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut rig = rig(dir.path(), 2);
    fill(&mut rig, 0..64);
    turns(&mut rig);
    let mut looks = 0;
    let mut held = None;
    let to = copies.path().join("copy");
    let report = copy_of(dir.path(), &to, &mut || {
        looks += 1;
        match looks {
            1 => {
                (0..64).filter(|key| key % 8 != 0).for_each(|key| _ = rig.append(DELETED, key, b""));
                turns(&mut rig);
                let rewritten: u64 = rig.shards.iter().map(|shard| shard.log.status().segments_rewritten).sum();
                assert!(rewritten > 5, "{rewritten} segments were rewritten");
            }
            2 => held = Some(records(dir.path())),
            _ => return FAR_US,
        }
        1000 + looks
    });
    assert_eq!(report.moment_us, 1002);
    assert_eq!(Some(records(&to)), held);
    opens(&to, &[]);
}

#[test]
fn a_folder_that_never_rests_is_given_up_and_leaves_nothing() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut rig = rig(dir.path(), 1);
    let mut keys = 0;
    let error = backup(dir.path(), &copies.path().join("copy"), &mut || {
        fill(&mut rig, keys..keys + 32);
        turns(&mut rig);
        (keys..keys + 31).for_each(|key| _ = rig.append(DELETED, key, b""));
        turns(&mut rig);
        keys += 32;
        7
    });
    assert!(matches!(error, Err(BackupError::Restless)), "{error:?}");
    assert_eq!(std::fs::read_dir(copies.path()).unwrap().count(), 0);
}

#[test]
fn a_shard_whose_stamps_are_ahead_of_the_clock_is_copied_as_it_is_found() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut rig = rig(dir.path(), 2);
    fill(&mut rig, 0..7);
    rig.time_us = 5000;
    rig.append(support::MESSAGE, 1, b"of the future"); // by the shard of odd keys
    turns(&mut rig);
    let held = records(dir.path());
    let report = copy_of(dir.path(), &copies.path().join("copy"), &mut || 100);
    assert_eq!((report.moment_us, report.shards_ahead), (100, 1));
    assert_eq!(records(&copies.path().join("copy")), held);
}

#[test]
fn a_clock_that_was_set_back_takes_nothing_from_the_copy() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut rig = rig(dir.path(), 1);
    let said = |rig: &mut Rig<File>, time_us, bytes| {
        rig.time_us = time_us;
        rig.message(1, bytes);
    };
    // Set back by 500, with rolls before and behind: still ahead at the moment, and then caught up with by the time that it is read.
    for (n, read_at_us) in [(1, 2100), (2, 2900)] {
        for time_us in (2400..2500).step_by(2).chain((1900..2000).step_by(2)) {
            said(&mut rig, time_us, 300);
            rig.sync();
            rig.work();
        }
        let mut held = None;
        let to = copies.path().join(format!("{n}"));
        copy_of(dir.path(), &to, &mut || {
            if held.is_none() {
                held = Some(records(dir.path()));
                return 2000;
            }
            read_at_us
        });
        assert_eq!(Some(records(&to)), held);
    }
}

#[test]
fn blobs_of_before_and_around_the_moment_are_in_the_copy_and_damaged_ones_are_named() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut rig = rig(dir.path(), 1);
    rig.message(1, 10);
    turns(&mut rig);
    let blobs = Blobs::open(dir.path().join(storage::backup::BLOBS_FOLDER)).unwrap();
    let before = blobs.put(b"before").unwrap();
    let mut around = None;
    let to = copies.path().join("copy");
    let report = copy_of(dir.path(), &to, &mut || {
        around = Some(blobs.put(b"around").unwrap());
        100
    });
    assert_eq!((report.blobs, report.blob_bytes), (2, 12));
    let copied = Blobs::open(to.join(storage::backup::BLOBS_FOLDER)).unwrap();
    for hash in [Some(before), around].into_iter().flatten() {
        assert!(copied.open_blob(hash).is_ok());
    }
    let name = before.to_string();
    let path = dir.path().join(storage::backup::BLOBS_FOLDER).join(&name[..2]).join(&name);
    std::fs::write(&path, b"befoer").unwrap();
    let error = backup(dir.path(), &copies.path().join("other"), &mut || 100);
    assert!(matches!(&error, Err(BackupError::DamagedBlob { path: named }) if *named == path), "{error:?}");
    assert!(!copies.path().join("other").exists());
}

#[test]
fn damage_is_copied_and_named_by_whoever_checks_the_copy() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut rig = rig(dir.path(), 1);
    let hit = rig.append(support::MESSAGE, 1, &[7; 300]);
    fill(&mut rig, 0..7);
    turns(&mut rig);
    let path = dir.path().join(storage::segment::file_name(hit.segment()));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[hit.offset() as usize + 100] ^= 0xff;
    std::fs::write(&path, bytes).unwrap();
    let problems = check(dir.path()).unwrap().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let to = copies.path().join("copy");
    backup(dir.path(), &to, &mut || FAR_US).unwrap();
    assert_eq!(check(&to).unwrap().problems, problems);
}
