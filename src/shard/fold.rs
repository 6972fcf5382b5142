//! Recovery and snapshots: a shard's state as a fold over its log.
//!
//! Invariants: folding is idempotent, because snapshots are fuzzy: a record may be folded although a snapshot holds
//! it already. So everything in a record is absolute, and after the last record the state is what it was, whatever
//! came twice. A snapshot's bytes start with a version; bytes of an unknown version are refused by name.

use super::blobs::{BlobRef, Claims};
use super::catalog::{Catalog, Compacted, Entry, Rare, Rating};
use super::directory::Directory;
use super::folded::FoldedRun;
use super::keyring::Keyring;
use super::mains::Mains;
use super::names::NameId;
use crate::session::{
    AgentPut, BlobClaimed, BlobReleased, ChunkMeta, CursorMoved, Feedback, KeyPut, MessageMeta, RunId, RunNote,
    RunPart, Sender, SessionCompacted, SessionCreated, SessionId, kind, scoped,
};
use hashbrown::HashMap;
use std::borrow::Cow;
use storage::{Fold, Key, Lsn, Record, Slot};

/// What recovery builds.
pub(super) struct Folding {
    pub(super) catalog: Catalog,
    /// On the directory's shard.
    pub(super) directory: Option<Directory>,
    /// Sessions that owe an answer, were in the middle of one, or had one in the records that were folded.
    pub(super) runs: HashMap<Slot, FoldedRun>,
    /// Main sessions that were deleted.
    pub(super) mains: Mains,
    /// On the directory's shard: the others are told.
    pub(super) keyring: Keyring,
    /// The greatest run.
    pub(super) last_run: RunId,
    /// The time of the latest message.
    pub(super) last_stamp_us: u64,
    /// The first thing that could not be understood.
    pub(super) unreadable: Option<Unreadable>,
}

/// A record or snapshot that verifies and still cannot be understood: written by a newer version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be read by this version of the server")]
pub struct Unreadable {
    /// What it is and where.
    pub what: String,
}

impl Folding {
    pub(super) fn new(seed: u64, is_directory: bool) -> Self {
        let directory = is_directory.then(Directory::default);
        let runs = HashMap::new();
        Self {
            catalog: Catalog::new(seed),
            directory,
            runs,
            mains: Mains::default(),
            keyring: Keyring::default(),
            last_run: RunId::default(),
            last_stamp_us: 0,
            unreadable: None,
        }
    }

    fn note_unreadable(&mut self, what: impl FnOnce() -> String) {
        self.unreadable.get_or_insert_with(|| Unreadable { what: what() });
    }

    fn session_record(&mut self, record: &Record<'_>, slot: Slot) -> Option<()> {
        match record.kind.0 {
            kind::MESSAGE => {
                let meta = MessageMeta::decode(record.flags, record.meta)?;
                self.message(record, &meta, slot);
                self.message_of_run(meta.run, record.seq, slot);
            }
            kind::SESSION_CREATED => {
                let note = SessionCreated::parse(record.payload)?;
                let [user, agent] = [&note.user_id, &note.agent_id].map(|id| scoped(&note.namespace, id));
                self.catalog.insert(slot, &user, &agent, record.lsn);
            }
            kind::SESSION_ARCHIVED => {
                if let Some(entry) = self.catalog.entry_mut(slot) {
                    entry.archive(record.time_us);
                }
            }
            kind::SESSION_DELETED => {
                self.runs.remove(&slot);
                self.mains.deleted(SessionId::from(record.key.0));
                if self.catalog.entry(slot).is_some() {
                    self.catalog.remove(slot, |_| unreachable!("nothing is shown while folding"));
                }
            }
            kind::CURSOR_MOVED => {
                let note = CursorMoved::parse(record.payload)?;
                if let Some(reader) = self.catalog.intern_beside(slot, &note.user_id)
                    && let Some(entry) = self.catalog.entry_mut(slot)
                {
                    entry.move_cursor(reader, u32::try_from(note.last_seq).ok()?, note.own_at.unwrap_or(0));
                }
            }
            kind::RUN_OPENED | kind::RUN_CHUNK | kind::RUN_CLOSED => return self.run_note(record, slot),
            kind::SESSION_COMPACTED => {
                let upto_seq = SessionCompacted::parse(record.payload)?.upto_seq;
                if let Some(entry) = self.catalog.entry_mut(slot) {
                    entry.extra_mut().compacted = Some(Compacted { upto_seq, note: record.lsn });
                }
            }
            kind::SESSION_RENAMED => {
                if let Some(entry) = self.catalog.entry_mut(slot) {
                    entry.rename(record.lsn, record.time_us);
                }
            }
            kind::FEEDBACK => return self.feedback(record, slot),
            kind::BLOB_CLAIMED => {
                let BlobClaimed { hash, name, .. } = BlobClaimed::parse(record.payload)?;
                if let Some(entry) = self.catalog.entry_mut(slot) {
                    entry.claims_mut().claim(BlobRef { hash, name: name.into(), note: record.lsn });
                }
            }
            kind::BLOB_RELEASED => {
                let BlobReleased { hash, name } = BlobReleased::parse(record.payload)?;
                if let Some(entry) = self.catalog.entry_mut(slot) {
                    entry.claims_mut().release(&hash, &name);
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn feedback(&mut self, record: &Record<'_>, slot: Slot) -> Option<()> {
        let note = Feedback::parse(record.payload)?;
        let seq = u32::try_from(note.seq).ok()?;
        if let Some(rater) = self.catalog.intern_beside(slot, &note.rater)
            && let Some(entry) = self.catalog.entry_mut(slot)
        {
            entry.rate(Rating { seq, rater, rating: note.rating, note: record.lsn });
        }
        Some(())
    }

    fn run_note(&mut self, record: &Record<'_>, slot: Slot) -> Option<()> {
        let folded = self.runs.entry(slot).or_default();
        if record.kind.0 == kind::RUN_CHUNK {
            folded.chunk(&ChunkMeta::decode(record.meta)?, record.lsn);
            return Some(());
        }
        let note = RunNote::parse(record.payload)?;
        if record.kind.0 == kind::RUN_OPENED {
            folded.opened(note.run()?, note.upto_seq);
            self.last_run = self.last_run.max(note.run()?);
        } else {
            folded.closed(note.upto_seq);
        }
        self.drop_idle(slot);
        Some(())
    }

    /// Most sessions owe nothing: recovery must not hold a million of them. What is open without anything owed stays,
    /// for chunks may follow.
    fn drop_idle(&mut self, slot: Slot) {
        if self.runs.get(&slot).is_some_and(|folded| folded.is_idle() && folded.open.is_none()) {
            self.runs.remove(&slot);
        }
    }

    fn message_of_run(&mut self, run: RunPart, seq: u64, slot: Slot) {
        match run {
            RunPart::None | RunPart::Part(_) => {}
            RunPart::Owes => self.runs.entry(slot).or_default().owes(seq),
            RunPart::Answers(span) => {
                if let Some(folded) = self.runs.get_mut(&slot) {
                    folded.answered(u64::from(span.upto_seq));
                    self.drop_idle(slot);
                }
            }
        }
    }

    fn message(&mut self, record: &Record<'_>, meta: &MessageMeta<'_>, slot: Slot) {
        let other = match meta.sender {
            Sender::Other(id) => self.catalog.intern_beside(slot, id),
            Sender::User | Sender::Agent => None,
        };
        let Some(entry) = self.catalog.entry_mut(slot) else { return }; // deleted, and its created note is gone
        entry.last_sender = match meta.sender {
            Sender::User => entry.user,
            Sender::Agent => entry.agent,
            Sender::Other(_) => other.unwrap_or(NameId::NONE),
        };
        entry.last_activity_us = record.time_us;
        self.last_stamp_us = self.last_stamp_us.max(record.time_us);
        entry.own_total = meta.own_total;
        if meta.keyed.is_some() {
            entry.set_keyed();
        }
    }
}

impl Folding {
    fn snapshot_of_session(&mut self, slot: Slot, state: &[u8]) -> Option<Option<FoldedRun>> {
        let run = decode_session(&mut self.catalog, slot, state)?;
        let last_activity_us = self.catalog.entry(slot).map_or(0, |entry| entry.last_activity_us);
        self.last_stamp_us = self.last_stamp_us.max(last_activity_us);
        Some(run)
    }
}

impl Fold for Folding {
    fn snapshot(&mut self, entry: Option<(Key, Slot)>, state: &[u8]) {
        let understood = match entry {
            Some((_, slot)) => match self.snapshot_of_session(slot, state) {
                Some(Some(folded)) => {
                    self.last_run =
                        self.last_run.max(folded.open.as_ref().map_or_else(RunId::default, |open| open.run));
                    self.runs.insert(slot, folded);
                    Some(())
                }
                Some(None) => Some(()),
                None => None,
            },
            None if state.is_empty() => Some(()),
            None => self.mains.fold_snapshot(state).and_then(|()| match &mut self.directory {
                Some(directory) => directory.fold_snapshot(state).and(self.keyring.fold_snapshot(state)),
                None => Some(()),
            }),
        };
        if understood.is_none() {
            self.note_unreadable(|| match entry {
                Some((key, _)) => format!("the snapshot of session {:032x}", key.0),
                None => "the snapshot of what belongs to no session".to_owned(),
            });
        }
    }

    fn record(&mut self, record: &Record<'_>, slot: Option<Slot>) {
        let understood = match slot {
            Some(slot) => self.session_record(record, slot),
            None if record.kind.0 == kind::AGENT_PUT => match &mut self.directory {
                Some(directory) => {
                    AgentPut::parse(record.payload, record.meta).map(|note| directory.fold(note, record.time_us))
                }
                None => Some(()),
            },
            None if record.kind.0 == kind::KEY_PUT => {
                let is_directory = self.directory.is_some();
                KeyPut::parse(record.payload)
                    .filter(|_| is_directory)
                    .map(|note| self.keyring.fold(note))
                    .or((!is_directory).then_some(()))
            }
            None => None,
        };
        if understood.is_none() {
            self.note_unreadable(|| format!("the record of kind {} at {}", record.kind.0, record.lsn));
        }
    }
}

/// Of snapshots before there were runs; still read.
const VERSION_WITHOUT_RUNS: u8 = 1;
/// Of sessions of the default namespace: names stand as plain ids.
const VERSION_PLAIN: u8 = 2;
/// Of all others: names stand scoped.
const VERSION_SCOPED: u8 = 3;

/// One session's state for a snapshot. Nothing for a session that is not shown: its notes stand in the log.
pub(super) fn encode_session(catalog: &Catalog, run: Option<FoldedRun>, slot: Slot, out: &mut Vec<u8>) {
    let Some(entry) = catalog.entry(slot) else { return };
    let names = &catalog.names;
    let is_plain = names.namespace(entry.user).is_empty();
    let text = |name: NameId| if is_plain { names.id(name) } else { names.text(name) };
    out.extend_from_slice(&[if is_plain { VERSION_PLAIN } else { VERSION_SCOPED }, entry.kept_flags()]);
    for number in [entry.created.0, entry.last_activity_us, entry.updated_at_us().unwrap_or(0)] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for number in [entry.user_cursor, entry.own_total, entry.own_at_cursor] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    encode_name(text(entry.user), out);
    encode_name(text(entry.agent), out);
    encode_sender(text, entry, out);
    let cursors = entry.extra.as_ref().map_or(&[][..], |extra| &extra.cursors);
    out.extend_from_slice(&(cursors.len() as u16).to_le_bytes());
    for &(reader, last_seq) in cursors {
        encode_name(text(reader), out);
        out.extend_from_slice(&last_seq.to_le_bytes());
    }
    let compacted = entry.extra.as_ref().and_then(|extra| extra.compacted);
    let blobs = entry.extra.as_ref().and_then(|extra| extra.blobs.as_ref()).filter(|claims| !claims.is_empty());
    let rare = entry.rare();
    out.push(
        u8::from(run.is_some())
            | u8::from(compacted.is_some()) << 1
            | u8::from(rare.is_some()) << 2
            | u8::from(blobs.is_some()) << 3,
    );
    if let Some(run) = run {
        run.encode(out);
    }
    if let Some(Compacted { upto_seq, note }) = compacted {
        out.extend_from_slice(&upto_seq.to_le_bytes());
        out.extend_from_slice(&note.0.to_le_bytes());
    }
    if let Some(rare) = rare {
        encode_rare(text, rare, out);
    }
    if let Some(claims) = blobs {
        claims.encode(out);
    }
}

fn encode_rare<'a>(text: impl Fn(NameId) -> &'a str, rare: &Rare, out: &mut Vec<u8>) {
    out.extend_from_slice(&rare.renamed.unwrap_or(Lsn::NONE).0.to_le_bytes());
    out.extend_from_slice(&(rare.ratings.len() as u16).to_le_bytes()); // limits::RATINGS_MAX has 16 bits
    for rating in &rare.ratings {
        out.extend_from_slice(&rating.seq.to_le_bytes());
        encode_name(text(rating.rater), out);
        out.push(rating.rating);
        out.extend_from_slice(&rating.note.0.to_le_bytes());
    }
}

pub(super) fn encode_name(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(name.len() as u16).to_le_bytes());
    out.extend_from_slice(name.as_bytes());
}

const SENDER_NONE: u8 = 0;
const SENDER_USER: u8 = 1;
const SENDER_AGENT: u8 = 2;
const SENDER_OTHER: u8 = 3;

fn encode_sender<'a>(text: impl Fn(NameId) -> &'a str, entry: &Entry, out: &mut Vec<u8>) {
    match entry.last_sender {
        NameId::NONE => out.push(SENDER_NONE),
        sender if sender == entry.user => out.push(SENDER_USER),
        sender if sender == entry.agent => out.push(SENDER_AGENT),
        sender => {
            out.push(SENDER_OTHER);
            encode_name(text(sender), out);
        }
    }
}

/// Takes over what [`encode_session`] wrote, and gives the run that it holds. `None`: the bytes are not that.
fn decode_session(catalog: &mut Catalog, slot: Slot, state: &[u8]) -> Option<Option<FoldedRun>> {
    if state.is_empty() {
        return Some(None);
    }
    let mut reader = Reader(state);
    let [version @ (VERSION_WITHOUT_RUNS | VERSION_PLAIN | VERSION_SCOPED), flags] = reader.take::<2>()? else {
        return None;
    };
    let (created, last_activity_us, updated_at_us) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let (user_cursor, own_total, own_at_cursor) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let (user_id, agent_id) = (reader.name()?, reader.name()?);
    let entry = catalog.insert(slot, &text(version, user_id), &text(version, agent_id), Lsn(created));
    entry.set_kept_flags(flags);
    entry.last_activity_us = last_activity_us;
    (entry.user_cursor, entry.own_total, entry.own_at_cursor) = (user_cursor, own_total, own_at_cursor);
    if updated_at_us != 0 {
        entry.extra_mut().updated_at_us = updated_at_us;
    }
    let (user, agent) = (entry.user, entry.agent);
    let last_sender = match reader.take::<1>()? {
        [SENDER_NONE] => NameId::NONE,
        [SENDER_USER] => user,
        [SENDER_AGENT] => agent,
        [SENDER_OTHER] => catalog.names.intern(&text(version, reader.name()?)),
        _ => return None,
    };
    let mut cursors = Vec::new();
    for _ in 0..reader.u16()? {
        cursors.push((catalog.names.intern(&text(version, reader.name()?)), reader.u32()?));
    }
    let entry = catalog.entry_mut(slot).expect("it was just put there");
    entry.last_sender = last_sender;
    if !cursors.is_empty() {
        entry.extra_mut().cursors = cursors;
    }
    if version == VERSION_WITHOUT_RUNS {
        return reader.0.is_empty().then_some(None);
    }
    let [parts] = reader.take::<1>()?;
    let run = decode_runs(parts, &mut reader, entry)?;
    if parts & 4 != 0 {
        let rare = decode_rare(&mut reader, |name| catalog.names.intern(&text(version, name)))?;
        catalog.entry_mut(slot).expect("it was just put there").extra_mut().rare = Some(Box::new(rare));
    }
    if parts & 8 != 0 {
        let claims = Claims::decode(&mut reader)?;
        catalog.entry_mut(slot).expect("it was just put there").extra_mut().blobs = Some(Box::new(claims));
    }
    reader.0.is_empty().then_some(run)
}

/// A name as the catalog holds it, from a snapshot of this version.
fn text(version: u8, name: &str) -> Cow<'_, str> {
    if version == VERSION_SCOPED { Cow::Borrowed(name) } else { scoped("", name) }
}

fn decode_rare(reader: &mut Reader<'_>, mut intern: impl FnMut(&str) -> NameId) -> Option<Rare> {
    let renamed = Some(Lsn(reader.u64()?)).filter(|lsn| !lsn.is_none());
    let mut ratings = Vec::new();
    for _ in 0..reader.u16()? {
        let (seq, rater) = (reader.u32()?, intern(reader.name()?));
        let [rating] = reader.take::<1>()?;
        ratings.push(Rating { seq, rater, rating, note: Lsn(reader.u64()?) });
    }
    Some(Rare { renamed, ratings })
}

fn decode_runs(parts: u8, reader: &mut Reader<'_>, entry: &mut Entry) -> Option<Option<FoldedRun>> {
    let run = if parts & 1 != 0 { Some(FoldedRun::decode(reader)?) } else { None };
    if parts & 2 != 0 {
        entry.extra_mut().compacted = Some(Compacted { upto_seq: reader.u64()?, note: Lsn(reader.u64()?) });
    }
    Some(run)
}

/// Reads what stands in a snapshot, little-endian.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn name(&mut self) -> Option<&'a str> {
        let length = usize::from(self.u16()?);
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(bytes).ok()
    }
}
