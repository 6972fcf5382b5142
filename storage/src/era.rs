//! Which snapshots a start uses, and what they cover.
//!
//! A *life* is one start of the server; an *era* is a run of lives with the same number of shards, in which a key stays
//! with its shard. A shard's snapshot holds all of its keys, whatever era their records are from, so:
//!
//! - the newest era that has a valid snapshot of every shard is the base, with each shard's newest snapshot;
//! - segments of earlier eras are covered;
//! - a segment of the base's era is covered as far as it lies below `from` of its own shard's snapshot;
//! - segments of later eras are not covered: they are folded whole, each record by the shard that owns its key now.
//!
//! A shard that begins an era is therefore due for its first snapshot at once. Older files are removed only by whoever
//! made a newer one valid, and by recovery when it has a base. How a snapshot is written stands in `snapshot`.

use crate::Corruption;
use crate::medium::{Entry, Medium, View};
use crate::recovery::{RecoverError, Report};
use crate::segment::SegmentHeader;
use crate::snapshot::{NAME_SUFFIX, SnapshotInfo};
use std::collections::BTreeMap;

/// The snapshots that a start begins with, and what they cover.
pub(crate) struct Base {
    pub(crate) snapshots: Vec<SnapshotInfo>,
    /// Shards of the era that new snapshots of this start would continue; 0: there is no complete newest era.
    pub(crate) shards: u16,
    /// No segment of a new life may have this number or a lower one.
    pub(crate) last_number: u32,
    /// Files that nothing needs any more.
    pub(crate) obsolete: Vec<String>,
    /// First and last life of the base's era.
    lives: Option<(u32, u32)>,
}

impl Base {
    /// The offset from which a segment must be folded; `end` when it is covered.
    pub(crate) fn fold_from(&self, header: &SegmentHeader, end: u32) -> u32 {
        let Some((first, last)) = self.lives else { return 0 };
        if header.life < first {
            return end;
        }
        let own = self.snapshots.iter().find(|snapshot| snapshot.shard == header.shard);
        match own.filter(|_| header.life <= last) {
            Some(snapshot) if header.number < snapshot.from.segment() => end,
            Some(snapshot) if header.number == snapshot.from.segment() => snapshot.from.offset(),
            Some(_) | None => 0,
        }
    }
}

/// Reads all snapshots of a folder and chooses the base. One that does not verify is reported and goes.
pub(crate) fn choose<M: Medium>(
    medium: &M,
    entries: &[Entry],
    segments: impl Iterator<Item = SegmentHeader>,
    report: &mut Report,
) -> Result<Base, RecoverError> {
    let mut valid = Vec::new();
    let mut obsolete = Vec::new();
    for entry in entries.iter().filter(|entry| entry.name.ends_with(NAME_SUFFIX)) {
        let view =
            medium.view(&entry.name).map_err(|source| RecoverError::File { file: entry.name.clone(), source })?;
        let readable = view.warm(0..view.bytes().len()).is_ok();
        match readable.then(|| SnapshotInfo::decode(&entry.name, view.bytes())).flatten() {
            Some(info) => valid.push(info),
            None => {
                report.corrupt.push(Corruption { file: entry.name.clone(), offset: 0 });
                obsolete.push(entry.name.clone());
            }
        }
    }
    Ok(base(valid, segments, obsolete))
}

/// The choice, as the head of this file states it. Pure.
fn base(valid: Vec<SnapshotInfo>, segments: impl Iterator<Item = SegmentHeader>, mut obsolete: Vec<String>) -> Base {
    let last_number = valid.iter().map(|info| info.life.max(info.end.segment())).max().unwrap_or(0);
    let mut lives: BTreeMap<u32, u16> = segments.map(|header| (header.life, header.shards)).collect();
    lives.extend(valid.iter().map(|info| (info.life, info.shards)));
    let mut eras: Vec<(u32, u32, u16)> = Vec::new();
    for (life, shards) in lives {
        match eras.last_mut() {
            Some(era) if era.2 == shards => era.1 = life,
            _ => eras.push((life, life, shards)),
        }
    }
    for (age, (first, last, shards)) in eras.iter().rev().enumerate() {
        let mut newest: BTreeMap<u16, &SnapshotInfo> = BTreeMap::new();
        for info in valid.iter().filter(|info| (*first..=*last).contains(&info.life)) {
            let kept = newest.entry(info.shard).or_insert(info);
            if (info.life, info.sequence) > (kept.life, kept.sequence) {
                *kept = info;
            }
        }
        if newest.len() == *shards as usize {
            let snapshots: Vec<SnapshotInfo> = newest.into_values().cloned().collect();
            let is_obsolete = |info: &&SnapshotInfo| info.life <= *last && !snapshots.contains(info);
            obsolete.extend(valid.iter().filter(is_obsolete).map(|info| info.name.clone()));
            let shards = if age == 0 { *shards } else { 0 };
            return Base { snapshots, shards, last_number, obsolete, lives: Some((*first, *last)) };
        }
    }
    Base { snapshots: Vec::new(), shards: 0, last_number, obsolete, lives: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lsn;

    fn header(number: u32, life: u32, shard: u16, shards: u16) -> SegmentHeader {
        SegmentHeader { number, life, shard, shards, allocated: 1 << 20, packed: false, salt: 0 }
    }

    fn snapshot(life: u32, shard: u16, shards: u16, sequence: u32, from: Lsn) -> SnapshotInfo {
        let name = format!("{life}-{shard}-{sequence}");
        SnapshotInfo {
            name,
            life,
            shard,
            shards,
            sequence,
            from,
            end: from,
            body_bytes: 0,
            body_crc: 0,
            bytes_dead: 0,
            index_every: 64,
        }
    }

    #[test]
    fn without_snapshots_everything_is_folded() {
        let base = base(Vec::new(), [header(1, 1, 0, 1)].into_iter(), Vec::new());
        assert_eq!(base.fold_from(&header(1, 1, 0, 1), 9000), 0);
        assert_eq!((base.shards, base.last_number), (0, 0));
    }

    #[test]
    fn each_shard_starts_from_its_newest_snapshot_of_the_era() {
        // Two shards in lives 2 and 6; shard 1 has no snapshot in life 6.
        let all = vec![
            snapshot(2, 0, 2, 1, Lsn::new(2, 5000)),
            snapshot(2, 1, 2, 1, Lsn::new(3, 6000)),
            snapshot(6, 0, 2, 1, Lsn::new(6, 7000)),
        ];
        let base = base(all, [header(6, 6, 0, 2), header(7, 6, 1, 2)].into_iter(), Vec::new());
        assert_eq!(base.fold_from(&header(2, 2, 0, 2), 9000), 9000, "covered by the snapshot of life 6");
        assert_eq!(base.fold_from(&header(3, 2, 1, 2), 9000), 6000, "covered in part");
        assert_eq!(base.fold_from(&header(5, 2, 1, 2), 9000), 0, "behind the snapshot");
        assert_eq!(base.fold_from(&header(6, 6, 0, 2), 9000), 7000);
        assert_eq!(base.fold_from(&header(7, 6, 1, 2), 9000), 0);
        assert_eq!((base.shards, base.obsolete.as_slice()), (2, &["2-0-1".to_owned()][..]));
    }

    #[test]
    fn an_era_that_lacks_a_shard_is_folded_onto_the_one_before() {
        let all = vec![snapshot(2, 0, 1, 1, Lsn::new(2, 5000)), snapshot(4, 1, 2, 1, Lsn::new(5, 5000))];
        let base = base(all, [header(2, 2, 0, 1), header(4, 4, 0, 2)].into_iter(), Vec::new());
        assert_eq!(base.fold_from(&header(1, 1, 0, 3), 9000), 9000, "an earlier era is covered");
        assert_eq!(base.fold_from(&header(2, 2, 0, 1), 9000), 5000);
        assert_eq!(base.fold_from(&header(5, 4, 1, 2), 9000), 0, "a later era is folded whole, its snapshot unused");
        assert_eq!(base.shards, 0, "the first snapshots of the new era are due");
        assert!(base.obsolete.is_empty());
        assert_eq!(base.last_number, 5);
    }

    #[test]
    fn a_complete_newer_era_makes_the_older_obsolete() {
        let all = vec![
            snapshot(2, 0, 1, 1, Lsn::new(2, 5000)),
            snapshot(4, 0, 2, 1, Lsn::new(4, 5000)),
            snapshot(4, 1, 2, 1, Lsn::new(5, 5000)),
        ];
        let base = base(all, std::iter::empty(), Vec::new());
        assert_eq!(base.obsolete, ["2-0-1"]);
        assert_eq!((base.shards, base.snapshots.len()), (2, 2));
        assert_eq!(base.fold_from(&header(3, 2, 0, 1), 9000), 9000);
    }
}
