//! Files written by earlier versions open for ever.
//!
//! `tests/golden/v1` was written once by the example `golden` and is never written again; a version that changes the
//! format adds a folder beside it. The example still writes the same bytes, so the format cannot change unnoticed.

mod support;

use std::path::{Path, PathBuf};
use storage::check::{SegmentState, check};
use storage::{File, Key, Log, Lsn, Options, recover, scan};
use support::{Folded, State};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

/// A copy that may be opened for writing.
fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

#[test]
fn a_folder_of_version_1_opens_with_any_number_of_shards() {
    for shards in 1..4 {
        let dir = copy();
        let medium = File::open(dir.path()).unwrap();
        let options = Options { shards, segment_bytes: 16 << 10, index_every: 4, ..Options::default() };
        let recovered = recover(&medium, &options).unwrap();
        assert!(recovered.report.corrupt.is_empty(), "{:?}", recovered.report);
        assert_eq!(recovered.report.torn.len(), 1, "{:?}", recovered.report);
        let mut keys = std::collections::BTreeMap::new();
        for shard in 0..shards {
            let mut folded = Folded::default();
            let options = Options { shard, ..options.clone() };
            let owns = move |key: Key| key.0 % u128::from(shards) == u128::from(shard);
            let log = Log::open(medium.clone(), &recovered, options, owns, &mut folded).unwrap();
            for (key, state) in &folded.keys {
                let slot = log.slot(Key(*key)).unwrap();
                assert_eq!(log.last_seq(slot), state.last_seq);
                let page = log.messages(slot, 0, log.end(), 1000, u64::MAX).unwrap();
                assert_eq!(page.lsns.len() as u64, state.last_seq);
                for (at, lsn) in page.lsns.iter().enumerate() {
                    let record = log.read(*lsn).unwrap();
                    assert_eq!((record.key.0, record.seq, record.meta), (*key, at as u64 + 1, &b"meta"[..]));
                    assert_eq!(record.payload, support::payload(record.seq, 100 + *key as usize));
                }
            }
            assert_eq!(folded.agents.len(), 1);
            keys.extend(folded.keys);
        }
        let sizes: Vec<(u128, u64, usize)> =
            keys.iter().map(|(key, State { last_seq, notes, .. })| (*key, *last_seq, notes.len())).collect();
        assert_eq!(sizes, [(1, 30, 1), (2, 30, 1), (3, 30, 1), (4, 30, 1), (5, 2, 0)], "{shards} shards");
    }
}

#[test]
fn a_folder_of_version_1_is_checked_and_scanned() {
    let report = check(&golden()).unwrap();
    assert!(report.problems.is_empty(), "{report}");
    for state in [SegmentState::Unsealed, SegmentState::Sealed, SegmentState::Packed] {
        assert!(report.segments.iter().any(|segment| segment.state == state), "{state:?}: {report}");
    }
    assert_eq!(report.snapshots.len(), 2);
    let lsns: Vec<Lsn> = scan(&golden()).unwrap().map(|record| record.unwrap().lsn).collect();
    assert!(lsns.windows(2).all(|two| two[0] < two[1]) && lsns.len() > 120, "{}", lsns.len());
}

#[test]
fn this_version_still_writes_version_1() {
    let medium = support::golden_v1();
    for entry in storage::Medium::list(&medium).unwrap() {
        let stored = std::fs::read(golden().join(&entry.name)).unwrap_or_default();
        assert!(stored == medium.read(&entry.name).unwrap(), "{} differs from tests/golden/v1", entry.name);
    }
}
