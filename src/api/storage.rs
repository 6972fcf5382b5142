//! What is on the disk: `GET /api/storage`, for whoever may see the server.
//!
//! The shards tell of their logs from memory, page by page; what only the file system knows (room, times of files, snapshots, files of
//! sessions) comes as [`Facts`], and where it cannot be had the answer says null in its place: an operator who asks because the disk is
//! ill must be answered.
//!
//! Invariant: a page has the segments of all shards in one order, the highest number first, so that `before` with the last number goes on.
//! Not here: who may ask (`server`), the look at the folder (`server::folder`).

use super::error::{ApiError, Kind};
use super::params::Params;
use super::table::routes;
use super::{Answer, JSON};
use crate::limits::{PAGE_SEGMENTS_DEFAULT, PAGE_SEGMENTS_MAX};
use crate::protocol::http::Response;
use crate::session::rfc3339;
use crate::shard::{Command, Holding, Reply, ShardHoldings, Stage};
use serde_json::{Value, json};

routes! {
    /// Whether `method` on a path below `/api` is about the storage.
    pub fn endpoint<'a>(Fleetlm below "/api") -> ();

    GET "storage", Read => ();
}

/// A question about the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageRequest {
    /// Segments with a number below this only.
    before: u32,
    /// So many at the most.
    limit: usize,
}

impl StorageRequest {
    /// `before` and `limit`, read leniently like those of every list.
    pub fn of(params: &Params<'_>) -> Self {
        let limit = params.positive("limit").map_or(PAGE_SEGMENTS_DEFAULT as u64, |limit| limit);
        let before = params.positive("before").unwrap_or(u64::MAX);
        Self {
            before: u32::try_from(before).unwrap_or(u32::MAX),
            limit: usize::try_from(limit).unwrap_or(usize::MAX).min(PAGE_SEGMENTS_MAX),
        }
    }

    /// What every shard is asked: one more than is shown, which tells whether there are more.
    pub fn command(self) -> Command {
        Command::ReadHoldings { before: self.before, limit: self.limit + 1 }
    }

    /// The answers of all shards, in their order, put together.
    ///
    /// # Errors
    /// The first refusal: a page without a shard would look as if its segments were gone.
    pub fn listing(self, replies: Answer) -> Result<Listing, ApiError> {
        let mut listing = Listing { shards: Vec::new(), segments: Vec::new(), has_more: false };
        for (reply, shard) in replies.into_iter().zip(0..) {
            let Reply::Holdings(mut holdings) = reply? else { return Err(Kind::Internal.into()) };
            listing.segments.extend(std::mem::take(&mut holdings.page).into_iter().map(|segment| (shard, segment)));
            listing.shards.push(*holdings);
        }
        listing.segments.sort_by_key(|(_, segment)| std::cmp::Reverse(segment.number));
        listing.has_more = listing.segments.len() > self.limit;
        listing.segments.truncate(self.limit);
        Ok(listing)
    }
}

/// What the shards tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// By their numbers, without their pages.
    shards: Vec<ShardHoldings>,
    /// Who tells of it, and the segment; the highest number first.
    segments: Vec<(u16, Holding)>,
    has_more: bool,
}

impl Listing {
    /// The names of the files of its segments, in their order.
    pub fn files(&self) -> Vec<String> {
        self.segments.iter().map(|(_, segment)| segment.file_name()).collect()
    }
}

/// Room of a file system, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What the server may still write.
    pub free: u64,
    /// In total.
    pub size: u64,
}

/// When a file was made and last written, microseconds since 1970. `None`: the file system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileTimes {
    /// Made.
    pub created_us: Option<u64>,
    /// Written.
    pub written_us: Option<u64>,
}

/// A snapshot's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its name in the data folder.
    pub file: String,
    /// Whose snapshot it is.
    pub shard: u16,
    /// Its length.
    pub bytes: u64,
    /// See [`FileTimes`].
    pub times: FileTimes,
}

/// Files of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobsWeight {
    /// How many.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// There are no others.
    pub is_whole: bool,
}

/// What the file system says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `None`: it could not be asked.
    pub room: Option<Room>,
    /// `None`: they could not be counted.
    pub blobs: Option<BlobsWeight>,
    /// The latest first. `None`: the folder cannot be read.
    pub snapshots: Option<Vec<SnapshotFile>>,
    /// All of them.
    pub snapshots_total: u64,
    /// Of each segment of the listing, in its order.
    pub times: Vec<FileTimes>,
}

/// The answer.
pub fn respond(listing: &Listing, facts: &Facts) -> Response {
    let times = facts.times.iter().copied().chain(std::iter::repeat(FileTimes::default()));
    let segments = listing.segments.iter().zip(times).map(|((shard, segment), times)| shown(*shard, segment, times));
    let body = json!({
        "disk": facts.room.map(|room| json!({ "bytes_free": room.free, "bytes_size": room.size })),
        "blobs": facts.blobs.map(|blobs| {
            json!({ "files": blobs.files, "bytes": blobs.bytes, "is_whole": blobs.is_whole })
        }),
        "snapshots": facts.snapshots.as_ref().map(|files| files.iter().map(snapshot).collect::<Vec<_>>()),
        "snapshots_total": facts.snapshots_total,
        "shards": listing.shards.iter().zip(0..).map(|(holdings, id)| shard(id, holdings)).collect::<Vec<_>>(),
        "segments": segments.collect::<Vec<_>>(),
        "has_more": listing.has_more,
    });
    Response::new(200).with_body(JSON, body.to_string())
}

fn shard(id: u16, holdings: &ShardHoldings) -> Value {
    json!({
        "shard": id,
        "durable_position": holdings.durable.to_string(),
        "end_position": holdings.end.to_string(),
        "segments": holdings.segments,
        "bytes_file": holdings.bytes_file,
        "bytes_unsynced": holdings.bytes_unsynced,
        "bytes_dead": holdings.bytes_dead,
        "is_poisoned": holdings.is_poisoned,
        "is_disk_full": holdings.is_disk_full,
    })
}

fn shown(shard: u16, segment: &Holding, times: FileTimes) -> Value {
    json!({
        "number": segment.number,
        "file": segment.file_name(),
        "shard": shard,
        "state": match segment.stage {
            Stage::Prepared => "prepared",
            Stage::Active => "active",
            Stage::Sealing => "sealing",
            Stage::Sealed => "sealed",
            Stage::Packed => "packed",
        },
        "first_position": segment.first.to_string(),
        "end_position": segment.end.to_string(),
        "bytes_used": segment.bytes_used,
        "bytes_file": segment.bytes_file,
        "bytes_capacity": segment.bytes_capacity,
        "is_damaged": segment.is_damaged,
        "created_at": times.created_us.map(rfc3339),
        "written_at": times.written_us.map(rfc3339),
    })
}

fn snapshot(snapshot: &SnapshotFile) -> Value {
    json!({
        "file": snapshot.file,
        "shard": snapshot.shard,
        "bytes": snapshot.bytes,
        "written_at": snapshot.times.written_us.map(rfc3339),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::{Method, Request};
    use crate::shard::{Lsn, Refusal};

    fn asked(query: &str) -> StorageRequest {
        StorageRequest::of(&Params::of(&Request::new(Method::Get, &format!("/api/storage{query}"))).unwrap())
    }

    fn segment(number: u32, stage: Stage) -> Holding {
        Holding {
            number,
            stage,
            first: Lsn::new(number, 4096),
            end: Lsn::new(number, 5000),
            bytes_used: 5000,
            bytes_file: 8192,
            bytes_capacity: 8192,
            is_damaged: false,
        }
    }

    fn holdings(page: Vec<Holding>) -> Result<Reply, Refusal> {
        Ok(Reply::Holdings(Box::new(ShardHoldings {
            durable: Lsn::new(9, 4200),
            end: Lsn::new(9, 5000),
            segments: page.len() as u64,
            bytes_file: 8192,
            bytes_unsynced: 800,
            bytes_dead: 0,
            is_poisoned: false,
            is_disk_full: false,
            page,
        })))
    }

    #[test]
    fn a_request_is_read_like_that_of_every_list() {
        for (query, before, limit) in [
            ("", u32::MAX, PAGE_SEGMENTS_DEFAULT),
            ("?limit=5&before=12", 12, 5),
            ("?limit=99999999&before=99999999999", u32::MAX, PAGE_SEGMENTS_MAX),
            ("?limit=0&before=-1", u32::MAX, PAGE_SEGMENTS_DEFAULT),
        ] {
            assert_eq!(asked(query), StorageRequest { before, limit }, "{query}");
        }
        assert_eq!(asked("?limit=5&before=12").command(), Command::ReadHoldings { before: 12, limit: 6 });
    }

    #[test]
    fn a_page_has_the_highest_numbers_of_all_shards_and_says_when_there_are_more() {
        let replies = || {
            let first = vec![segment(7, Stage::Prepared), segment(5, Stage::Active), segment(1, Stage::Sealed)];
            vec![holdings(first), holdings(vec![segment(8, Stage::Active), segment(2, Stage::Packed)])]
        };
        let numbers = |listing: &Listing| listing.segments.iter().map(|(shard, one)| (*shard, one.number)).collect();
        let listing = asked("?limit=3").listing(replies()).unwrap();
        let found: Vec<(u16, u32)> = numbers(&listing);
        assert_eq!((found, listing.has_more), (vec![(1, 8), (0, 7), (0, 5)], true));
        assert_eq!(listing.files(), ["00000008.segment", "00000007.segment", "00000005.segment"]);
        assert!(!asked("?limit=5").listing(replies()).unwrap().has_more);
    }

    #[test]
    fn a_shard_that_refuses_is_not_passed_over() {
        let replies = vec![holdings(Vec::new()), Err(Refusal::Overloaded)];
        assert_eq!(asked("").listing(replies).unwrap_err().response().status, 503);
    }

    #[test]
    fn an_answer_says_what_is_known_and_null_for_the_rest() {
        let listing = asked("").listing(vec![holdings(vec![segment(9, Stage::Active)])]).unwrap();
        let body = |facts: &Facts| serde_json::from_slice::<Value>(&respond(&listing, facts).body).unwrap();
        let blind = body(&Facts::default());
        assert_eq!((&blind["disk"], &blind["blobs"], &blind["snapshots"]), (&Value::Null, &Value::Null, &Value::Null));
        assert_eq!(blind["segments"][0]["created_at"], Value::Null);
        assert_eq!(blind["segments"][0]["first_position"], "9:4096");
        assert_eq!(blind["shards"][0]["durable_position"], "9:4200");
        let seen = body(&Facts {
            room: Some(Room { free: 1, size: 2 }),
            times: vec![FileTimes { created_us: Some(0), written_us: Some(1_000_000) }],
            ..Facts::default()
        });
        assert_eq!(seen["disk"], json!({ "bytes_free": 1, "bytes_size": 2 }));
        assert_eq!(seen["segments"][0]["written_at"], "1970-01-01T00:00:01.000000Z");
    }
}
