//! The data folder as the file system sees it: how much room there is, when files were written, what snapshots and files of sessions weigh.
//!
//! Everything here blocks and is done on helper threads: the room is looked at once in `DISK_LOOK_S` for the metrics, the rest when
//! somebody asks. A look that fails says so and leaves out what it does not know; it is no reason to refuse anything.
//!
//! Not here: what is in a segment (the shards tell that from memory), who may ask of what.

use std::fs::{self, Metadata};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glommio::timer::sleep;
use storage::{Blobs, snapshot_shard};

use super::answer;
use super::uploads;
use super::world::World;
use crate::api::auth::Principal;
use crate::api::error::{ApiError, Kind};
use crate::api::storage::{self as api, BlobsWeight, Facts, FileTimes, Room, SnapshotFile, StorageRequest};
use crate::limits;
use crate::protocol::http::Response;

/// See the top of the file. One per process.
pub(super) struct Folder {
    dir: PathBuf,
    blobs: Blobs,
    /// What the files of sessions weighed, and when.
    weighed: Mutex<Option<(Instant, Option<BlobsWeight>)>>,
}

impl Folder {
    pub(super) fn new(dir: PathBuf, blobs: Blobs) -> Self {
        Self { dir, blobs, weighed: Mutex::default() }
    }

    /// The room of its file system. Blocks.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn room(&self) -> io::Result<Room> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        // What is kept for the superuser is not free for a server that is none.
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Room { free: bytes(stat.f_bavail), size: bytes(stat.f_blocks) })
    }

    /// Everything about the folder and these of its files. Blocks.
    fn look(&self, files: &[String]) -> Facts {
        let mut facts = Facts {
            room: told("the file system's room", self.room()),
            blobs: told("the files of sessions", self.weight()).flatten(),
            times: files.iter().map(|file| self.times(file)).collect(),
            ..Facts::default()
        };
        if let Some((snapshots, total)) = told("the data folder", self.snapshots()) {
            (facts.snapshots, facts.snapshots_total) = (Some(snapshots), total);
        }
        facts
    }

    /// A file that has gone meanwhile has no times.
    fn times(&self, file: &str) -> FileTimes {
        fs::metadata(self.dir.join(file)).map(|metadata| times_of(&metadata)).unwrap_or_default()
    }

    /// The snapshots, those of the latest start first, and how many there are.
    fn snapshots(&self) -> io::Result<(Vec<SnapshotFile>, u64)> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            if let Some((name, shard)) = name.to_str().and_then(|name| Some((name, snapshot_shard(name)?))) {
                names.push((name.to_owned(), shard));
            }
        }
        names.sort_unstable_by(|one, other| other.cmp(one));
        let total = names.len() as u64;
        names.truncate(limits::SNAPSHOTS_SHOWN_MAX);
        let shown = names.into_iter().filter_map(|(file, shard)| {
            let metadata = fs::metadata(self.dir.join(&file)).ok()?; // a newer one has taken its place meanwhile
            Some(SnapshotFile { file, shard, bytes: metadata.len(), times: times_of(&metadata) })
        });
        Ok((shown.collect(), total))
    }

    /// Weighed anew when it is old; `None` while somebody weighs, and for as long again after a look that failed: who asks holds a
    /// helper thread that uploads and downloads want too.
    fn weight(&self) -> io::Result<Option<BlobsWeight>> {
        let Ok(mut weighed) = self.weighed.try_lock() else { return Ok(None) };
        match &*weighed {
            Some((when, weight)) if when.elapsed() < Duration::from_secs(limits::BLOBS_WEIGHED_S) => Ok(*weight),
            _ => {
                let found = self.blobs.weigh(limits::BLOBS_WEIGHED_MAX);
                let weight = found.map(|storage::Weight { blobs: files, bytes, is_whole }| BlobsWeight {
                    files,
                    bytes,
                    is_whole,
                });
                *weighed = Some((Instant::now(), weight.as_ref().ok().copied()));
                weight.map(Some)
            }
        }
    }
}

fn told<T>(what: &str, result: io::Result<T>) -> Option<T> {
    result.inspect_err(|error| tracing::warn!(%error, "{what} cannot be looked at")).ok()
}

fn times_of(metadata: &Metadata) -> FileTimes {
    let micros = |time: io::Result<SystemTime>| {
        let since = time.ok()?.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_micros()).ok()
    };
    FileTimes { created_us: micros(metadata.created()), written_us: micros(metadata.modified()) }
}

/// Answers a request about the storage.
pub(super) async fn serve(world: &Rc<World>, principal: &Principal, request: StorageRequest) -> Response {
    if !principal.may_see_the_server() {
        return ApiError::from(Kind::Forbidden).response();
    }
    match request.listing(answer::gather(world, None, request.command()).await) {
        Err(error) => error.response(),
        Ok(listing) => {
            let (folder, files) = (Arc::clone(&world.folder), listing.files());
            let facts = uploads::helped(world, move || folder.look(&files)).await;
            api::respond(&listing, &facts)
        }
    }
}

/// Keeps the metrics of the file system fresh, until the drain. For one shard.
pub(super) async fn look_again_and_again(world: Rc<World>) {
    let mut has_failed = false;
    while !world.state.is_draining() {
        let folder = Arc::clone(&world.folder);
        match uploads::helped(&world, move || folder.room()).await {
            Ok(room) => {
                world.metrics.set_room(room);
                has_failed = false;
            }
            // Said once; the metrics stay as they were.
            Err(error) if !has_failed => {
                tracing::warn!(%error, "the file system of the data folder does not say how much room it has");
                has_failed = true;
            }
            Err(_) => {}
        }
        sleep(Duration::from_secs(limits::DISK_LOOK_S)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path().join("blobs")).unwrap();
        let folder = Folder::new(dir.path().to_owned(), blobs);
        (dir, folder)
    }

    #[test]
    fn a_look_tells_room_snapshots_and_times_and_leaves_out_what_is_not_there() {
        let (dir, folder) = folder();
        for name in ["00000001-0001-00000001.snapshot", "00000003-0002-00000001.snapshot", "00000001.segment"] {
            fs::write(dir.path().join(name), b"12345").unwrap();
        }
        fs::write(dir.path().join("notes.snapshot"), b"of somebody else").unwrap();
        let facts = folder.look(&["00000001.segment".to_owned(), "00000002.segment".to_owned()]);
        let room = facts.room.unwrap();
        assert!(room.size > 0 && room.free <= room.size);
        let snapshots = facts.snapshots.unwrap();
        assert_eq!(snapshots.iter().map(|one| (one.shard, one.bytes)).collect::<Vec<_>>(), [(2, 5), (1, 5)]);
        assert_eq!(facts.snapshots_total, 2);
        assert!(facts.times[0].written_us.is_some());
        assert_eq!(facts.times[1], FileTimes::default());
    }

    #[test]
    fn a_folder_that_is_gone_is_told_by_what_is_missing() {
        let (dir, folder) = folder();
        drop(dir);
        let facts = folder.look(&["00000001.segment".to_owned()]);
        assert_eq!((facts.room, facts.blobs, facts.snapshots), (None, None, None));
        assert_eq!(facts.times, [FileTimes::default()]);
    }

    #[test]
    fn files_of_sessions_are_weighed_and_their_weight_is_remembered() {
        let (_dir, folder) = folder();
        folder.blobs.put(b"four").unwrap();
        let weight = BlobsWeight { files: 1, bytes: 4, is_whole: true };
        assert_eq!(folder.weight().unwrap(), Some(weight));
        folder.blobs.put(b"more of it").unwrap();
        assert_eq!(folder.weight().unwrap(), Some(weight));
        let somebody = folder.weighed.lock().unwrap();
        assert_eq!(folder.weight().unwrap(), None, "nobody waits for somebody who weighs");
        drop(somebody);
    }

    #[test]
    fn a_weighing_that_failed_is_not_tried_again_at_once() {
        let (dir, folder) = folder();
        drop(dir);
        assert!(folder.weight().is_err());
        assert_eq!(folder.weight().unwrap(), None);
    }
}
