//! The power goes at any moment and takes any part of what was not synced: the folder opens, nothing synced is lost,
//! nothing invented appears, and what appears is a prefix of what was appended.

mod support;

use proptest::prelude::*;
use storage::{Durability, Fate, Medium, Memory, Options, Unsynced};
use support::{CHUNK, DELETED, NOTE, Rig, small};

/// Repeatable noise.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn fate(&mut self) -> Fate {
        [Fate::Kept, Fate::Lost, Fate::Zeroed, Fate::Scrambled][self.below(4) as usize]
    }
}

/// A step of ordinary life; the power may go inside its file operations.
fn live(rig: &mut Rig<Memory>, noise: &mut Noise) {
    // Keys are not used again once deleted, as session ids are not.
    let small = 1 + u128::from(noise.below(9));
    let key = (0..).map(|age| small + 100 * age).find(|key| !rig.deleted.contains(key)).expect("some key lives");
    let bytes = noise.below(900) as usize;
    match noise.below(26) {
        0..12 => {
            let _ = rig.try_append(support::MESSAGE, key, &support::payload(noise.next(), bytes));
        }
        12 => {
            let _ = rig.try_append(NOTE, key, b"note");
        }
        13 if noise.below(3) == 0 && rig.shards[rig.shard_of(key)].log.slot(storage::Key(key)).is_some() => {
            let _ = rig.try_append(DELETED, key, b"");
        }
        14..16 => {
            let shard = noise.below(rig.shards.len() as u64) as usize;
            let log = &mut rig.shards[shard].log;
            if let Some(sync) = log.begin_sync() {
                let result = sync.run();
                let _ = log.finish_sync(sync, result);
            }
        }
        16 => {
            let shard = noise.below(rig.shards.len() as u64) as usize;
            if noise.below(4) == 0 {
                rig.shards[shard].log.snapshot_now();
            }
            rig.snapshot_step(shard, 3);
        }
        20..25 => {
            let _ = rig.try_append(CHUNK, key, &support::payload(noise.next(), bytes));
        }
        25 => rig.set_floors(),
        _ => {
            rig.work();
        }
    }
}

fn lives_and_deaths(seed: u64, durability: Durability) {
    let mut noise = Noise(seed);
    let options = Options { shards: 1 + noise.below(3) as u16, durability, ..small() };
    let mut rig = Rig::start(Memory::new(), options);
    for _ in 0..6 {
        for _ in 0..noise.below(250) {
            live(&mut rig, &mut noise);
        }
        // The last operations on files before the crash fail one after the other: a sequence is cut in its middle.
        rig.medium.set_operations_left(Some(noise.below(12)));
        for _ in 0..40 {
            live(&mut rig, &mut noise);
        }
        let shards = 1 + noise.below(3) as u16;
        let crashed = noise.below(1 << 20);
        let mut fates = Noise(crashed);
        let page_wise = noise.below(2) == 0;
        let mut fate = |unsynced: Unsynced<'_>| match unsynced {
            // Half of the crashes lose whole pages, as a kernel does; the others single sectors.
            Unsynced::Sector(_, sector) if page_wise => Noise(crashed ^ (sector as u64 / 8)).fate(),
            _ => fates.fate(),
        };
        recovery_dies_too(&rig, &mut noise, &mut fate);
        rig.crash(&mut fate, shards);
    }
}

/// Recovery of the same image may be cut short any number of times and is then recovered in the same way.
fn recovery_dies_too(rig: &Rig<Memory>, noise: &mut Noise, fate: &mut dyn FnMut(Unsynced<'_>) -> Fate) {
    let mut image = rig.medium.crash(fate);
    let untouched = image.kill();
    for _ in 0..3 {
        image.set_operations_left(Some(noise.below(6)));
        let _ = storage::recover(&image, &rig.options);
        image = image.crash(&mut |_| noise.fate());
    }
    let twice = storage::recover(&image, &rig.options).expect("it recovers");
    let once = storage::recover(&untouched, &rig.options).expect("it recovers");
    assert_eq!(twice.report.segments, once.report.segments);
    assert!(twice.report.corrupt.is_empty() && once.report.corrupt.is_empty(), "{twice:?} {once:?}");
    let records = |medium: &Memory| {
        let mut found = Records::default();
        let options = Options { shard: 0, shards: 1, ..rig.options.clone() };
        let recovered = storage::recover(medium, &options).expect("it recovers");
        storage::Log::open(medium.clone(), &recovered, options, |_| true, &mut found).expect("it opens");
        found
    };
    assert_eq!(records(&image), records(&untouched));
}

/// Everything that a start is given.
#[derive(Default, PartialEq, Debug)]
struct Records(Vec<(u64, Vec<u8>)>);

impl storage::Fold for Records {
    fn snapshot(&mut self, entry: Option<(storage::Key, storage::Slot)>, state: &[u8]) {
        self.0.push((entry.map_or(0, |(key, _)| key.0 as u64), state.to_vec()));
    }

    fn record(&mut self, record: &storage::Record<'_>, _slot: Option<storage::Slot>) {
        self.0.push((record.lsn.0, record.payload.to_vec()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_crash_loses_what_was_synced_or_invents_anything(seed in any::<u64>()) {
        lives_and_deaths(seed, Durability::Disk);
    }

    #[test]
    fn with_memory_durability_a_crash_still_leaves_a_prefix(seed in any::<u64>()) {
        lives_and_deaths(seed, Durability::Memory);
    }
}

fn file_of(rig: &Rig<Memory>, at: usize) -> (String, usize) {
    let lsn = rig.appended[at].lsn;
    (storage::segment::file_name(lsn.segment()), lsn.offset() as usize)
}

#[test]
fn a_ghost_behind_a_hole_never_lines_up_with_new_records() {
    let mut rig = Rig::start(Memory::new(), small());
    for _ in 0..4 {
        rig.message(1, 448);
    }
    rig.sync();
    for _ in 0..8 {
        rig.message(1, 448);
    }
    let hole_at = file_of(&rig, 4).1 / 512;
    // Everything behind the first unsynced record survives, that one does not.
    rig.crash(
        &mut |unsynced| match unsynced {
            Unsynced::Sector(_, sector) if sector == hole_at || sector == hole_at + 1 => Fate::Lost,
            _ => Fate::Kept,
        },
        1,
    );
    assert_eq!(rig.appended.len(), 4);
    assert_eq!(rig.recovered.report.torn.len(), 1);
    assert!(rig.recovered.report.bytes_cut > 3000);
    // Records of the same sizes in the next life, and another crash: the ghosts of the first stay away.
    for _ in 0..3 {
        rig.message(1, 448);
    }
    rig.crash(&mut |_| Fate::Kept, 1);
    assert_eq!(rig.appended.len(), 7);
}

#[test]
fn a_crash_during_a_roll_keeps_every_synced_record_and_no_record_of_the_next_segment_without_them() {
    for lost in [true, false] {
        let mut rig = Rig::start(Memory::new(), small());
        rig.message(1, 100);
        rig.sync();
        rig.work();
        while rig.appended.last().unwrap().lsn.segment() == rig.appended[0].lsn.segment() {
            rig.message(1, 700);
        }
        let first = storage::segment::file_name(rig.appended[0].lsn.segment());
        let all = rig.appended.len();
        rig.crash(
            &mut |unsynced| match unsynced {
                Unsynced::Sector(name, sector) if name == first && lost && sector > 20 => Fate::Lost,
                _ => Fate::Kept,
            },
            1,
        );
        if lost {
            assert!(rig.appended.len() < all && !rig.appended.is_empty());
            assert!(rig.recovered.report.removed.len() == 1, "{:?}", rig.recovered.report);
        } else {
            assert_eq!(rig.appended.len(), all);
        }
    }
}

#[test]
fn restarts_do_not_pile_up_files() {
    let mut rig = Rig::start(Memory::new(), Options { shards: 3, ..small() });
    for _ in 0..20 {
        rig.work();
        rig.crash(&mut |_| Fate::Kept, 3);
    }
    let names: Vec<_> = rig.medium.list().unwrap().into_iter().map(|entry| entry.name).collect();
    assert!(names.len() <= 3, "{names:?}");
    rig.message(1, 10);
    rig.sync();
    for _ in 0..20 {
        rig.work();
        rig.snapshot_all();
        rig.crash(&mut |_| Fate::Lost, 3);
    }
    let bytes: u64 = rig.medium.list().unwrap().iter().map(|entry| entry.bytes).sum();
    assert!(bytes < 4 * 16384, "{bytes} bytes: one small segment, fresh ones, snapshots");
}
