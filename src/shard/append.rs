//! Appending a message: the checks in their order, the number, the record, the wait.
//!
//! Order of checks: the session exists, the author may write, the idempotency key, `expected_seq`, the size. What was
//! decided on top of records that are not yet durable is told only when they are.

use super::answer::MessageRun;
use super::commit::Effect;
use super::park::Walk;
use super::terms::Spoken;
use super::{Append, Author, Caller, Now, Outcome, Refusal, Reply, Shard, Stop, bounded_name};
use crate::limits::{IDEMPOTENCY_WINDOW, MESSAGE_BYTES_MAX, SESSION_MESSAGES_MAX};
use crate::session::{
    Fingerprint, Json, KeyHash, Lookup, MessageMeta, MessageParts, Namespace, RunPart, Sender, SessionId, Window, kind,
};
use storage::{Key, Kind, Lsn, Medium, NewRecord, Slot};

impl<M: Medium> Shard<M> {
    pub(super) fn append(
        &mut self,
        now: Now,
        from: Caller,
        namespace: &Namespace,
        append: &Append,
    ) -> Result<Outcome, Stop> {
        let slot = self.slot_for(now, namespace, append)?;
        let entry = self.catalog.entry(slot).expect("a writable session has an entry");
        let names = &self.catalog.names;
        if append.author == Author::SessionUser {
            let author = Author::User(names.id(entry.user).into());
            return self.append(now, from, namespace, &Append { author, ..append.clone() });
        }
        let sender = Sender::of(append.author.id(), names.id(entry.user), names.id(entry.agent));
        if append.participants_only && matches!(sender, Sender::Other(_)) {
            return Err(Refusal::Unauthorized.into());
        }
        bounded_name("sender_id", append.author.id())?;
        bounded_name("kind", &append.kind)?;
        let last_seq = self.log.last_seq(slot);
        let keyed = self.keyed(append);
        if let Some((key, fingerprint)) = keyed {
            match self.window(slot)?.look_up(key, fingerprint, last_seq + 1, IDEMPOTENCY_WINDOW) {
                Lookup::Fresh => {}
                Lookup::Replay { seq } => return self.replay(from, slot, seq, append),
                Lookup::Mismatch { seq } if append.terms.as_ref().is_some_and(|terms| terms.same_key_replays) => {
                    return self.replay(from, slot, seq, append);
                }
                Lookup::Mismatch { .. } => return Err(Stop::Behind(Refusal::IdempotencyMismatch)),
            }
        }
        if self.poisoned {
            return Err(Refusal::LogPoisoned.into()); // before the last seq is told, which may be lost
        }
        if append.expected_seq.is_some_and(|expected| expected != last_seq) {
            return Err(Stop::Behind(Refusal::SeqConflict { current: last_seq }));
        }
        if last_seq >= SESSION_MESSAGES_MAX {
            return Err(Refusal::Full { what: "the session", max: SESSION_MESSAGES_MAX as usize }.into());
        }
        self.append_fresh(now, from, namespace, slot, last_seq + 1, append, sender, keyed)
    }

    #[allow(clippy::too_many_arguments)] // what was found out about one message, used once
    fn append_fresh(
        &mut self,
        now: Now,
        from: Caller,
        namespace: &Namespace,
        slot: Slot,
        seq: u64,
        append: &Append,
        sender: Sender<'_>,
        keyed: Option<(KeyHash, Fingerprint)>,
    ) -> Result<Outcome, Stop> {
        let session = self.id_of(slot);
        let json = render(now, session, seq, append);
        let bytes = json.as_str().len();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(Refusal::MessageTooLarge { bytes, bytes_max: MESSAGE_BYTES_MAX }.into());
        }
        let own = sender == Sender::User;
        let entry = self.catalog.entry(slot).expect("a writable session has an entry");
        let own_total = entry.own_total + self.commits.of(slot).own + u32::from(own);
        let (user, agent) = (entry.user, entry.agent);
        let owes = own && user != agent && self.is_callable(agent);
        let (part, run) = if owes { (RunPart::Owes, MessageRun::Owes) } else { (RunPart::None, MessageRun::None) };
        let meta = MessageMeta { sender, own_total, keyed, run: part };
        self.scratch.clear();
        meta.encode(&mut self.scratch);
        let record = NewRecord {
            kind: Kind(kind::MESSAGE),
            flags: meta.flags(),
            key: Key(session.to_u128()),
            seq,
            time_us: now.unix_us,
            meta: &self.scratch,
            payload: &[json.as_str().as_bytes()],
        };
        let lsn = self.log.append(record)?.lsn;
        let sender = match sender {
            Sender::User => user,
            Sender::Agent => agent,
            Sender::Other(id) => self.catalog.names.intern(&namespace.scoped(id)),
        };
        if let Some((key, fingerprint)) = keyed {
            self.catalog.entry_mut(slot).expect("a writable session has an entry").set_keyed();
            self.windows.insert(slot, seq, key, fingerprint);
        }
        self.counters.appended_total += 1;
        if append.terms.as_ref().is_some_and(|terms| terms.watch) {
            self.tails.add(slot, from.shard); // its commit, and all that follows, is pushed there behind the answer
        }
        let (echo, spoken) = (append.echo, Spoken::of(append.terms.as_deref()));
        let time_us = now.unix_us;
        self.commits.push(lsn, from, Effect::Message { slot, seq, json, sender, own, time_us, run, echo, spoken });
        Ok(Outcome::Later)
    }

    fn keyed(&self, append: &Append) -> Option<(KeyHash, Fingerprint)> {
        let key = append.idempotency_key.as_deref()?;
        let fingerprint = Fingerprint::of(&append.kind, &append.content, &append.metadata);
        Some((KeyHash::of(append.author.id(), key), fingerprint))
    }

    /// Answers a retry with the message that stands, once that is durable.
    fn replay(&mut self, from: Caller, slot: Slot, seq: u64, append: &Append) -> Result<Outcome, Stop> {
        let lsn = self.log.find(slot, seq)?;
        let record = self.log.read(lsn)?;
        let json = append.echo.then(|| stored_json(record.payload));
        let asked = append.terms.as_ref().is_some_and(|terms| terms.watch).then_some(slot);
        if seq <= self.committed_seq(slot) {
            let standing = asked.map(|slot| self.standing(slot, seq)).transpose()?;
            if asked.is_some() {
                self.tails.add(slot, from.shard);
            }
            self.counters.replayed_total += 1;
            return Ok(Outcome::Reply(match standing {
                Some(standing) => self.asked(slot, seq, json, true, standing),
                None => Reply::Appended { seq, json, replayed: true },
            }));
        }
        if asked.is_some() {
            self.tails.add(slot, from.shard);
        }
        match self.commits.push_behind(from, Effect::Replayed { seq, json, asked }) {
            None => Ok(Outcome::Later),
            Some(_) => Err(Refusal::LogPoisoned.into()), // appended, no longer in the queue, not committed: lost
        }
    }

    /// The keys of a session's latest messages, built from the log when it is not in memory.
    fn window(&mut self, slot: Slot) -> Result<&Window, Stop> {
        if self.windows.of(slot).is_none() {
            let keyed = self.catalog.entry(slot).is_some_and(|entry| entry.keyed());
            let window = if keyed { self.walk_back_keys(slot)? } else { Window::default() };
            self.windows.put(slot, window);
        }
        Ok(self.windows.of(slot).expect("it was just put there"))
    }

    fn walk_back_keys(&mut self, slot: Slot) -> Result<Window, Stop> {
        let (mut window, mut next, mut walked) = match self.parked.take_walk() {
            Some(Walk::Keys { window, next, walked }) => (window, next, walked),
            _ => (Window::default(), self.log.last_lsn(slot), 0),
        };
        while walked < IDEMPOTENCY_WINDOW && next != Lsn::NONE {
            let record = match self.log.read(next) {
                Ok(record) => record,
                Err(error) => {
                    self.parked.keep_walk(Walk::Keys { window, next, walked });
                    return Err(error.into());
                }
            };
            if let Some((key, fingerprint)) = MessageMeta::decode(record.flags, record.meta).and_then(|meta| meta.keyed)
            {
                window.insert_older(record.seq, key, fingerprint);
            }
            next = record.prev;
            walked += 1;
        }
        Ok(window)
    }
}

fn render(now: Now, session: SessionId, seq: u64, append: &Append) -> Json {
    MessageParts {
        id: append.message,
        session,
        seq,
        sender_id: append.author.id(),
        kind: &append.kind,
        content: &append.content,
        metadata: &append.metadata,
        inserted_at_us: now.unix_us,
    }
    .render()
}

/// A payload as JSON. Its record has verified, so it is what this server wrote.
pub(super) fn stored_json(payload: &[u8]) -> Json {
    Json::from_stored(std::str::from_utf8(payload).expect("a verified payload is the JSON that was written"))
}
