//! Files on their way: from an upload to the disk and to a claim, from the disk to who fetches them, and off the disk when nobody claims
//! them.
//!
//! Everything that blocks or takes long (reading a body, hashing, writing, sweeping) runs on helper threads of the shard.
//!
//! Invariants: a file is on the disk before it is claimed, and nothing is answered before the claim is durable; a file is sent only
//! through a session that claims it; a sweep takes no file whose put is younger than `BLOB_GRACE_S` when the claims are gathered, and
//! none at all unless every shard has told its claims.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::Read;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_channel::oneshot;
use glommio::timer::sleep;
use storage::{BlobHash, Blobs};

use super::answer;
use super::authority;
use super::places::{Permit, Places};
use super::streaming::{Source, Speech, Streaming};
use super::world::World;
use crate::api::cors::Envelope;
use crate::api::error::{ApiError, Kind};
use crate::api::hapi::upload::{FilePath, Upload, fetched, not_fetched, not_uploaded, uploaded};
use crate::api::{self, Target};
use crate::limits;
use crate::protocol::http::{Request, Response};
use crate::session::{BlobClaimed, SessionId};
use crate::shard::{Access, BlobCommand, Command, Reply};

/// What a shard has of files.
pub(super) struct Uploads {
    blobs: Blobs,
    /// Uploads that are let in.
    places: Places,
    /// Files that are being fetched.
    fetches: Places,
    /// Works that may run at a time: so many helper threads are theirs, and a sync waits behind none of them.
    threads: Places,
    /// Works on helper threads.
    running: Cell<usize>,
}

impl Uploads {
    pub(super) fn new(blobs: Blobs) -> Self {
        Self {
            blobs,
            places: Places::of(limits::UPLOADS_MAX),
            fetches: Places::of(limits::DOWNLOADS_MAX),
            threads: Places::of(limits::UPLOADS_MAX),
            running: Cell::new(0),
        }
    }

    /// Whether no helper thread works for it.
    pub(super) fn is_idle(&self) -> bool {
        self.running.get() == 0
    }
}

/// Whether the body behind this head of an upload, which is over the bound of others, is to be read.
///
/// # Errors
/// The refusal to send instead.
pub(super) fn let_in(world: &Rc<World>, peer: Option<IpAddr>, head: Option<&Request>) -> Result<Permit, Response> {
    let signature = head.and_then(|head| world.auth.origins().signature(head));
    expected(world, peer, head).map_err(|refusal| match signature {
        Some(signature) => signature.sign(refusal),
        None => refusal,
    })
}

fn expected(world: &Rc<World>, peer: Option<IpAddr>, head: Option<&Request>) -> Result<Permit, Response> {
    if let Some(head) = head {
        let address = world.auth.client_of(peer, head);
        authority::admit(world, address, &mut head.clone())?;
        api::expects_file(head, &world.context())?;
    }
    world
        .uploads
        .places
        .try_take()
        .ok_or_else(|| Envelope::of_none(&world.context()).seal(not_uploaded(&Kind::Overloaded.into())))
}

/// Keeps the file that `body` holds and has `session` claim it.
pub(super) async fn take(
    world: &Rc<World>,
    access: Option<Box<Access>>,
    session: SessionId,
    body: Vec<u8>,
    permit: Option<Permit>,
) -> Response {
    let Some(permit) = permit.or_else(|| world.uploads.places.try_take()) else {
        return not_uploaded(&Kind::Overloaded.into());
    };
    let claimed = claim(world, access, session, body).await;
    drop(permit);
    match claimed {
        Ok(path) => uploaded(&path),
        Err(error) => not_uploaded(&error),
    }
}

/// What is wrong with the session is told before what is wrong with the body.
async fn claim(
    world: &Rc<World>,
    access: Option<Box<Access>>,
    session: SessionId,
    body: Vec<u8>,
) -> Result<FilePath, ApiError> {
    let to = Target::Owner(session);
    answer::call(world, access.clone(), to, Command::Blob { session, command: BlobCommand::Check }).await?;
    let blobs = world.uploads.blobs.clone();
    let claim = helped(world, move || keep(&blobs, &body)).await?;
    let path = FilePath { session, hash: claim.hash, name: claim.name.clone() };
    answer::call(world, access, to, Command::Blob { session, command: BlobCommand::Claim(Box::new(claim)) }).await?;
    Ok(path)
}

/// Blocks.
fn keep(blobs: &Blobs, body: &[u8]) -> Result<BlobClaimed, ApiError> {
    let Upload { name, mime, bytes } = Upload::read(body)?;
    let BlobHash(hash) = blobs.put(&bytes).map_err(|error| {
        tracing::error!(%error, "a file was not kept");
        let is_full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        if is_full { Kind::DiskFull } else { Kind::Internal }
    })?;
    Ok(BlobClaimed { hash, bytes: bytes.len() as u64, name, mime })
}

/// Sends a file that the session of its path claims.
///
/// # Errors
/// The refusal to send instead.
pub(super) async fn fetch(
    world: &Rc<World>,
    access: Option<Box<Access>>,
    path: FilePath,
) -> Result<Streaming, Response> {
    let FilePath { session, hash, name } = path;
    let found = answer::call(
        world,
        access,
        Target::Owner(session),
        Command::Blob { session, command: BlobCommand::Find { hash, name } },
    )
    .await;
    let claim = match found.map_err(not_fetched)? {
        Reply::Blob(claim) => claim,
        _ => return Err(not_fetched(Kind::Internal)),
    };
    let permit = world.uploads.fetches.try_take().ok_or_else(|| not_fetched(Kind::Overloaded))?;
    let blobs = world.uploads.blobs.clone();
    let mut file = helped(world, move || blobs.open_blob(BlobHash(hash))).await.map_err(|error| {
        tracing::error!(%error, session = %session, "a file that is claimed cannot be read");
        not_fetched(Kind::Internal)
    })?;
    let (world, missing) = (Rc::clone(world), Rc::new(Cell::new(claim.bytes)));
    let left = Rc::clone(&missing);
    let speech = Speech::new(true, |pieces| async move {
        while left.get() > 0 {
            let bytes_max = left.get().min(limits::BLOB_PIECE_BYTES as u64);
            let piece_of = move || (read_piece(&mut file, bytes_max), file);
            let piece;
            (piece, file) = helped(&world, piece_of).await;
            match piece {
                Ok(piece) if !piece.is_empty() => {
                    left.set(left.get() - piece.len() as u64);
                    pieces.borrow_mut().push_back(piece);
                }
                Ok(_) => return tracing::error!("a file is shorter than its claim says"),
                Err(error) => return tracing::error!(%error, "a file was not read to its end"),
            }
        }
    });
    let source = Box::new(File { speech, missing, _permit: permit });
    Ok(Streaming { head: fetched(&claim), length: Some(claim.bytes), source })
}

/// A file on its way to who fetches it.
struct File {
    speech: Speech,
    /// Bytes that are not read yet.
    missing: Rc<Cell<u64>>,
    _permit: Permit,
}

impl Source for File {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        self.speech.poll_piece(cx)
    }

    fn outlives_drain(&self) -> bool {
        self.speech.outlives_drain()
    }

    fn bears_comments(&self) -> bool {
        false
    }

    /// A client that was promised more bytes learns it by the connection's end; there is no other way by now.
    fn is_cut_short(&self) -> bool {
        self.missing.get() > 0
    }
}

/// Blocks. Nothing at the file's end.
fn read_piece(file: &mut std::fs::File, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut piece = Vec::new();
    file.take(bytes_max).read_to_end(&mut piece)?;
    Ok(piece)
}

/// Does `work` on a helper thread, as soon as there is one. Begun, it is done to its end also when nobody waits for it any more.
pub(super) async fn helped<T: Send + 'static>(world: &Rc<World>, work: impl FnOnce() -> T + Send + 'static) -> T {
    let place = world.uploads.threads.take().await;
    let (done, answer) = oneshot::channel();
    let world = Rc::clone(world);
    let running = world.uploads.running.get();
    world.uploads.running.set(running + 1);
    glommio::spawn_local(async move {
        let result = glommio::executor().spawn_blocking(work).await;
        drop(place);
        world.uploads.running.set(world.uploads.running.get() - 1);
        world.read_clock();
        drop(done.send(result)); // who waited may have left
    })
    .detach();
    answer.await.expect("the work is done to its end: panics abort")
}

/// Removes what nobody claims: at the start, then every `BLOB_SWEEP_S`. For one shard.
pub(super) async fn sweep_again_and_again(world: Rc<World>) {
    while !world.state.is_serving() {
        sleep(Duration::from_millis(limits::HEARTBEAT_MS)).await;
    }
    while !world.state.is_draining() {
        sweep(&world).await;
        sleep(Duration::from_secs(limits::BLOB_SWEEP_S)).await;
    }
}

async fn sweep(world: &Rc<World>) {
    let older_than_us = world.now().unix_us.saturating_sub(limits::BLOB_GRACE_S * 1_000_000);
    let mut claimed = HashSet::new();
    for reply in answer::gather(world, None, Command::ListClaims).await {
        match reply {
            Ok(Reply::Claims(hashes)) => claimed.extend(hashes.into_iter().map(BlobHash)),
            _ => return tracing::warn!("files that nobody claims are left alone: a shard does not say what it claims"),
        }
    }
    let blobs = world.uploads.blobs.clone();
    match helped(world, move || blobs.sweep(&claimed, older_than_us)).await {
        Ok(swept) if swept.removed == 0 => {}
        Ok(swept) => {
            tracing::info!(files = swept.removed, bytes = swept.removed_bytes, "files that nobody claims are removed");
        }
        Err(error) => tracing::error!(%error, "files that nobody claims are left alone"),
    }
}
