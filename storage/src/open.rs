//! Opening a log: snapshots first, then every later record, folded into the index and handed to the caller.

use crate::index::Index;
use crate::log::{Log, LogStatus, Open};
use crate::medium::{Medium, View};
use crate::read::Sealed;
use crate::reclaim::Reclaim;
use crate::record::{ENDS_KEY, Record};
use crate::recovery::{Recovered, SegmentInfo};
use crate::segment::file_name;
use crate::snapshot::Snapshots;
use crate::work::{Pending, is_full};
use crate::{Key, Lsn, Options, Slot, scan};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;

/// What a caller rebuilds while a log opens.
///
/// Snapshots are taken while appends go on, so a record may be given although a snapshot's state has it: folding must be
/// idempotent. Records of a key may begin in its middle when it ends later (dead records are dropped), and any transient
/// record that once lay below the floor may be missing.
pub trait Fold {
    /// The state that was given for a key, or (`None`) for everything that stands alone. With another number of shards
    /// than before, stand-alone states of all former shards are given.
    fn snapshot(&mut self, entry: Option<(Key, Slot)>, state: &[u8]);

    /// A record, in the order of its key's stream. Records of streams come with their slot; it is free again behind a
    /// record with [`ENDS_KEY`]. Stand-alone records are given to every shard.
    fn record(&mut self, record: &Record<'_>, slot: Option<Slot>);
}

/// Why a log does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file that recovery has read cannot be read now, or the first segment not be created.
    #[error("cannot open {file}: {source}")]
    File {
        /// The file's name.
        file: String,
        /// Why.
        source: io::Error,
    },
}

impl<M: Medium> Log<M> {
    /// Opens the log of one shard. Shards may be opened at the same time, each on its own thread. Blocks.
    ///
    /// A disk without room for the first segment is no error: the log reads, and refuses appends until there is room.
    pub fn open(
        medium: M,
        recovered: &Recovered,
        options: Options,
        owns: impl Fn(Key) -> bool + 'static,
        fold: &mut dyn Fold,
    ) -> Result<Self, OpenError> {
        options.assert_valid();
        assert!(recovered.life.is_multiple_of(u32::from(options.shards)), "recovered for another number of shards");
        let index = Index::new(options.index_every);
        let sealed = recovered.segments.iter().map(|info| (info.header.number, Sealed::new(info))).collect();
        let next_number = recovered.life + u32::from(options.shard);
        let mut log = Self {
            medium,
            owns: Box::new(owns),
            life: recovered.life,
            index,
            sealed,
            closing: VecDeque::new(),
            active: None,
            prepared: None,
            next_number,
            synced: Lsn::new(next_number, 0),
            bytes_synced: 0,
            bytes_sync_target: 0,
            sync_in_flight: false,
            synced_at_us: 0,
            now_us: 0,
            poisoned: false,
            pending: Pending::default(),
            reclaim: Reclaim::default(),
            snapshots: Snapshots::new(recovered, &options),
            corrupt_reads: RefCell::default(),
            status: LogStatus { corrupt: recovered.report.corrupt.clone(), ..LogStatus::default() },
            options,
        };
        log.fold_snapshots(recovered, fold)?;
        for info in &recovered.segments {
            log.fold_segment(info, fold)?;
        }
        log.create_first()?;
        Ok(log)
    }

    fn fold_segment(&mut self, info: &SegmentInfo, fold: &mut dyn Fold) -> Result<(), OpenError> {
        if info.fold_from >= info.layout.end {
            return Ok(());
        }
        let file = file_name(info.header.number);
        let view = self.medium.view(&file).map_err(|source| OpenError::File { file, source })?;
        scan::walk(view.bytes(), &info.layout, &info.holes, info.fold_from, &mut |record| {
            self.fold_record(&record, fold)
        });
        // The map goes with the view: what was only folded must not stay in the process's memory.
        view.release(0..view.bytes().len());
        Ok(())
    }

    fn fold_record(&mut self, record: &Record<'_>, fold: &mut dyn Fold) {
        if record.kind.is_standalone() {
            fold.record(record, None);
            return;
        }
        if !record.kind.is_stream() || !(self.owns)(record.key) {
            return;
        }
        let slot = self.index.insert(record.key);
        if record.is_message() {
            self.index.record_message(slot, record.seq, record.lsn);
        }
        self.count_record(record.lsn, record.is_transient(), u64::from(record.stored_bytes()));
        self.snapshots.note_folded(u64::from(record.stored_bytes()));
        fold.record(record, Some(slot));
        if record.flags & ENDS_KEY != 0 {
            self.bury(slot);
        }
    }

    fn create_first(&mut self) -> Result<(), OpenError> {
        let header = self.next_header();
        let file = file_name(header.number);
        match self.medium.create(&file, header.allocated, &header.encode()) {
            Err(source) if !is_full(&source) => Err(OpenError::File { file, source }),
            result => {
                self.finish_prepare(header, result);
                Ok(())
            }
        }
    }
}

/// A fold for callers that keep no state of their own.
impl Fold for () {
    fn snapshot(&mut self, _entry: Option<(Key, Slot)>, _state: &[u8]) {}
    fn record(&mut self, _record: &Record<'_>, _slot: Option<Slot>) {}
}

const _: fn() = || {
    fn assert_send<T: Send>() {}
    assert_send::<Recovered>();
    assert_send::<crate::Sync<crate::File>>();
    assert_send::<crate::Work<crate::File>>();
    assert_send::<crate::WorkDone<crate::File>>();
    assert_send::<BTreeMap<u32, Open<crate::File>>>();
};
