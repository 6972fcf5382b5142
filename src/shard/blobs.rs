//! Files that sessions claim: which, under which names, and what they are.
//!
//! Invariants: a claim is one (hash, name) of a session, the newest note of it counts, and deleting the session ends it with the rest. In memory
//! stand committed claims only, so that whoever is told of one finds it after a crash too.
//!
//! Not here: the bytes. Whoever claims has put them on the disk before, and whoever sweeps leaves what is claimed.

use super::catalog::Entry;
use super::commit::Effect;
use super::fold::Reader;
use super::{Caller, Now, Outcome, Refusal, Reply, Requires, Shard, Stop};
use crate::limits::BLOBS_MAX;
use crate::session::{BlobClaimed, BlobReleased, SessionId, SessionStatus, kind};
use storage::{Lsn, Medium, Slot};

/// What a session does with its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobCommand {
    /// Whether it would take one, or a message of a client that needs an active session: refused as those are. Answered by [`Reply::Done`].
    Check,
    /// It claims one whose bytes are on the disk. Refused unless it is active.
    Claim(Box<BlobClaimed>),
    /// It gives one up.
    Release(BlobReleased),
    /// What it knows of one that it claims. Answered by [`Reply::Blob`].
    Find {
        /// SHA-256 of the bytes.
        hash: [u8; 32],
        /// Its name.
        name: String,
    },
}

impl BlobCommand {
    /// Whether it may append to the log.
    pub(super) fn appends(&self) -> bool {
        matches!(self, Self::Claim(_) | Self::Release(_))
    }
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// SHA-256 of the bytes.
    pub(super) hash: [u8; 32],
    pub(super) name: Box<str>,
    /// The note that says the rest.
    pub(super) note: Lsn,
}

/// All claims of a session.
#[derive(Debug, Default)]
pub struct Claims(Vec<BlobRef>);

impl Claims {
    /// Takes a claim over, in the place of an older one of the same hash and name.
    pub(super) fn claim(&mut self, claim: BlobRef) {
        self.release(&claim.hash, &claim.name);
        self.0.push(claim);
    }

    /// Forgets a claim.
    pub(super) fn release(&mut self, hash: &[u8; 32], name: &str) {
        self.0.retain(|known| (&known.hash, &*known.name) != (hash, name));
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes for a snapshot.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.0.len() as u16).to_le_bytes());
        for BlobRef { hash, name, note } in &self.0 {
            out.extend_from_slice(hash);
            super::fold::encode_name(name, out);
            out.extend_from_slice(&note.0.to_le_bytes());
        }
    }

    /// Reads [`Self::encode`]'s bytes. `None`: they are not that.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let mut claims = Vec::new();
        for _ in 0..reader.u16()? {
            claims.push(BlobRef { hash: reader.take()?, name: reader.name()?.into(), note: Lsn(reader.u64()?) });
        }
        Some(Self(claims))
    }
}

/// The claims of a session.
pub(super) fn claims_of(entry: &Entry) -> &[BlobRef] {
    entry.extra.as_ref().and_then(|extra| extra.blobs.as_ref()).map_or(&[], |claims| &claims.0)
}

impl<M: Medium> Shard<M> {
    pub(super) fn blob(
        &mut self,
        now: Now,
        from: Caller,
        id: SessionId,
        command: &BlobCommand,
    ) -> Result<Outcome, Stop> {
        match command {
            BlobCommand::Check => self.active(id).map(|_| Outcome::Reply(Reply::Done)),
            BlobCommand::Claim(claim) => self.claim_blob(now, from, id, claim),
            BlobCommand::Release(released) => self.release_blob(now, from, id, released),
            BlobCommand::Find { hash, name } => self.find_blob(id, *hash, name),
        }
    }

    fn claim_blob(&mut self, now: Now, from: Caller, id: SessionId, claim: &BlobClaimed) -> Result<Outcome, Stop> {
        let slot = self.active(id)?;
        let entry = self.catalog.entry(slot).expect("a writable session has an entry");
        if claims_of(entry).len() + self.commits.of(slot).notes as usize >= BLOBS_MAX {
            return Err(Refusal::Full { what: "the session's table of files", max: BLOBS_MAX }.into());
        }
        let (note, _) = self.append_note(now, id, kind::BLOB_CLAIMED, 0, &claim.render())?;
        let claim = BlobRef { hash: claim.hash, name: claim.name.as_str().into(), note };
        self.commits.push(note, from, Effect::BlobClaimed { slot, claim });
        Ok(Outcome::Later)
    }

    fn active(&mut self, id: SessionId) -> Result<Slot, Stop> {
        let slot = self.writable(id)?;
        let entry = self.catalog.entry(slot).expect("a writable session has an entry");
        if entry.status() != SessionStatus::Active {
            return Err(Refusal::SessionInactive.into());
        }
        self.check_agent(Some(entry.agent), Requires::ActiveSession)?;
        Ok(slot)
    }

    fn release_blob(
        &mut self,
        now: Now,
        from: Caller,
        id: SessionId,
        released: &BlobReleased,
    ) -> Result<Outcome, Stop> {
        let slot = self.writable(id)?;
        let entry = self.catalog.entry(slot).expect("a writable session has an entry");
        if !claims_of(entry).iter().any(|claim| claim.hash == released.hash && *claim.name == *released.name) {
            return Err(Refusal::BlobNotFound.into());
        }
        let (lsn, _) = self.append_note(now, id, kind::BLOB_RELEASED, 0, &released.render())?;
        self.commits.push(lsn, from, Effect::BlobReleased { slot, released: released.clone() });
        Ok(Outcome::Later)
    }

    pub(super) fn commit_claim(&mut self, slot: Slot, claim: BlobRef) -> Reply {
        self.claims_mut(slot).claim(claim);
        Reply::Done
    }

    pub(super) fn commit_release(&mut self, slot: Slot, released: &BlobReleased) -> Reply {
        self.claims_mut(slot).release(&released.hash, &released.name);
        Reply::Done
    }

    fn claims_mut(&mut self, slot: Slot) -> &mut Claims {
        self.catalog.entry_mut(slot).expect("a session with a pending note has an entry").claims_mut()
    }

    fn find_blob(&mut self, id: SessionId, hash: [u8; 32], name: &str) -> Result<Outcome, Stop> {
        let slot = self.readable(id)?;
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        let claim = claims_of(entry).iter().find(|claim| claim.hash == hash && *claim.name == *name);
        let note = claim.ok_or(Refusal::BlobNotFound)?.note;
        let record = self.log.read(note)?;
        let claim = BlobClaimed::parse(record.payload).expect("a verified note of a claim is what was written");
        Ok(Outcome::Reply(Reply::Blob(Box::new(claim))))
    }

    /// Refused where not all claims are known: a sweep must not take a file for one that nobody claims.
    pub(super) fn list_claims(&self) -> Result<Outcome, Stop> {
        if self.poisoned || !self.log.status().corrupt.is_empty() {
            return Err(Refusal::LogPoisoned.into());
        }
        let claims = self.catalog.extras().flat_map(claims_of).map(|claim| claim.hash);
        Ok(Outcome::Reply(Reply::Claims(claims.collect())))
    }

    /// Whether the session claims all of these contents.
    pub(super) fn check_claims(&self, entry: &Entry, wanted: &[[u8; 32]]) -> Result<(), Refusal> {
        let claims = claims_of(entry);
        let has = |hash: &[u8; 32]| claims.iter().any(|claim| claim.hash == *hash);
        if wanted.iter().all(has) { Ok(()) } else { Err(Refusal::BlobNotFound) }
    }
}
