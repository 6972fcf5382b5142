//! What happens to a session besides its messages: created, read, listed, archived, deleted, read up to.

use super::commit::{Effect, Facts};
use super::names::NameId;
use super::titles::bounded_title;
use super::{Caller, Now, Out, Outcome, Refusal, Reply, Shard, Stop, bounded_name};
use crate::limits::{CURSORS_MAX, PAGE_SESSIONS_MAX};
use crate::session::{
    CursorMoved, Json, MessageMeta, Namespace, SessionCreated, SessionId, SessionParts, SessionStatus, advance, kind,
};
use storage::{ENDS_KEY, Key, Kind, Lsn, Medium, NewRecord, Slot};

/// A session that is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewSession<'a> {
    pub(super) id: SessionId,
    pub(super) user_id: &'a str,
    pub(super) agent_id: &'a str,
    pub(super) title: Option<&'a str>,
    pub(super) metadata: &'a Json,
}

impl NewSession<'_> {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        bounded_name("user_id", self.user_id)?;
        bounded_name("agent_id", self.agent_id)?;
        self.title.map_or(Ok(()), bounded_title)
    }
}

impl<M: Medium> Shard<M> {
    pub(super) fn create_session(
        &mut self,
        now: Now,
        from: Caller,
        namespace: &Namespace,
        new: &NewSession<'_>,
    ) -> Result<Outcome, Stop> {
        new.check()?;
        if self.log.slot(Key(new.id.to_u128())).is_some() {
            return Err(Stop::Behind(Refusal::SessionExists));
        }
        self.found_session(now, from, namespace, new)?;
        Ok(Outcome::Later)
    }

    /// Appends the created note of a session that passed its checks.
    pub(super) fn found_session(
        &mut self,
        now: Now,
        from: Caller,
        namespace: &Namespace,
        new: &NewSession<'_>,
    ) -> Result<Slot, Stop> {
        let &NewSession { id, user_id, agent_id, title, metadata } = new;
        let payload = SessionCreated::render(namespace, [user_id, agent_id], title, metadata);
        let (lsn, slot) = self.append_note(now, id, kind::SESSION_CREATED, 0, &payload)?;
        self.catalog.insert(slot, &namespace.scoped(user_id), &namespace.scoped(agent_id), lsn);
        let (metadata, title) = (metadata.clone(), title.map(str::to_owned));
        let json = self.session_json(slot, &Facts { metadata, inserted_at_us: now.unix_us, title });
        self.commits.push(lsn, from, Effect::Created { slot, json });
        Ok(slot)
    }

    pub(super) fn read_session(&mut self, id: SessionId) -> Result<Outcome, Stop> {
        let slot = self.readable(id)?;
        let facts = self.facts(slot)?;
        Ok(Outcome::Reply(Reply::Session { json: self.session_json(slot, &facts) }))
    }

    pub(super) fn list_sessions(
        &mut self,
        now: Now,
        namespace: &Namespace,
        user_id: Option<&str>,
        before: Option<SessionId>,
        limit: usize,
    ) -> Result<Outcome, Stop> {
        let limit = limit.min(PAGE_SESSIONS_MAX);
        let log = &self.log;
        let id_of = |slot: Slot| SessionId::from(log.key(slot).0);
        let mut slots: Vec<Slot> =
            self.catalog.newest_first(namespace, user_id, before, id_of).take(limit + 1).collect();
        let has_more = slots.len() > limit;
        slots.truncate(limit);
        let mut sessions = Vec::with_capacity(slots.len());
        let mut is_cold = false;
        for slot in slots {
            match self.facts(slot) {
                Ok(facts) => sessions.push((self.id_of(slot), self.session_json(slot, &facts))),
                Err(Stop::Cold(cold)) => {
                    self.parked.want(now.mono_us, cold); // and go on: all cold ones are warmed at once
                    is_cold = true;
                }
                Err(stop) => return Err(stop),
            }
        }
        if is_cold { Err(Stop::Park) } else { Ok(Outcome::Reply(Reply::Sessions { sessions, has_more })) }
    }

    pub(super) fn archive_session(&mut self, now: Now, from: Caller, id: SessionId) -> Result<Outcome, Stop> {
        let slot = self.readable(id)?;
        self.check_not_deleting(slot)?;
        let facts = self.facts(slot)?;
        if self.catalog.entry(slot).is_some_and(|entry| entry.status() == SessionStatus::Archived) {
            return Ok(Outcome::Reply(Reply::Session { json: self.session_json(slot, &facts) }));
        }
        let (lsn, _) = self.append_note(now, id, kind::SESSION_ARCHIVED, 0, b"{}")?;
        self.commits.push(lsn, from, Effect::Archived { slot, facts, time_us: now.unix_us });
        Ok(Outcome::Later)
    }

    pub(super) fn delete_session(
        &mut self,
        now: Now,
        from: Caller,
        id: SessionId,
        out: &mut Out<M>,
    ) -> Result<Outcome, Stop> {
        let slot = self.readable(id)?;
        self.check_not_deleting(slot)?;
        let (lsn, _) = self.append_note(now, id, kind::SESSION_DELETED, ENDS_KEY, b"{}")?;
        self.catalog.entry_mut(slot).expect("a readable session has an entry").set_deleting();
        self.drop_run(slot, out);
        self.commits.push(lsn, from, Effect::Deleted { slot, session: id });
        Ok(Outcome::Later)
    }

    pub(super) fn mark_read(
        &mut self,
        now: Now,
        from: Caller,
        namespace: &Namespace,
        id: SessionId,
        user_id: &str,
        reported: u64,
    ) -> Result<Outcome, Stop> {
        let slot = self.readable(id)?;
        self.check_not_deleting(slot)?;
        bounded_name("user_id", user_id)?;
        let facts = self.facts(slot)?;
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        let committed_seq = self.committed_seq(slot);
        let name = namespace.scoped(user_id);
        let present = self.catalog.names.find(&name).map_or(0, |reader| entry.cursor(reader));
        let Some(last_seq) = advance(present, reported, committed_seq) else {
            return Ok(Outcome::Reply(self.cursors(slot, &facts)));
        };
        let is_user = self.catalog.names.text(entry.user) == name;
        let others = entry.extra.as_ref().map_or(0, |extra| extra.cursors.len());
        if !is_user && present == 0 && others + self.commits.of(slot).cursors as usize >= CURSORS_MAX {
            return Err(Refusal::Full { what: "the session's table of cursors", max: CURSORS_MAX }.into());
        }
        let own_at = match is_user {
            true if last_seq == committed_seq => Some(entry.own_total),
            true => Some(self.own_at(slot, last_seq)?),
            false => None,
        };
        let note = CursorMoved { user_id: user_id.to_owned(), last_seq, own_at };
        let (lsn, _) = self.append_note(now, id, kind::CURSOR_MOVED, 0, &note.render())?;
        let reader = self.catalog.names.intern(&name);
        let (last_seq, own_at) = (last_seq as u32, own_at.unwrap_or(0)); // limits::SESSION_MESSAGES_MAX has 32 bits
        let facts = Some(facts);
        self.commits.push(lsn, from, Effect::CursorMoved { slot, reader, last_seq, own_at, facts });
        Ok(Outcome::Later)
    }

    pub(super) fn read_cursors(&mut self, id: SessionId) -> Result<Outcome, Stop> {
        let slot = self.readable(id)?;
        let facts = self.facts(slot)?;
        Ok(Outcome::Reply(self.cursors(slot, &facts)))
    }

    /// All cursors of a session, sorted by reader.
    pub(super) fn cursors(&self, slot: Slot, facts: &Facts) -> Reply {
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        let text = |name: NameId| self.catalog.names.id(name).to_owned();
        let others = entry.extra.iter().flat_map(|extra| &extra.cursors);
        let mut cursors: Vec<_> = others.map(|&(name, last_seq)| (text(name), u64::from(last_seq))).collect();
        if entry.user_cursor > 0 {
            cursors.push((text(entry.user), u64::from(entry.user_cursor)));
        }
        cursors.sort();
        Reply::Cursors { cursors, session: self.session_json(slot, facts), last_seq: self.committed_seq(slot) }
    }

    /// The session as clients read it.
    pub(super) fn session_json(&self, slot: Slot, facts: &Facts) -> Json {
        let entry = self.catalog.entry(slot).expect("a session that is rendered has an entry");
        SessionParts {
            id: self.id_of(slot),
            user_id: self.catalog.names.id(entry.user),
            agent_id: self.catalog.names.id(entry.agent),
            status: entry.status(),
            metadata: &facts.metadata,
            inserted_at_us: facts.inserted_at_us,
            updated_at_us: entry.updated_at_us().unwrap_or(facts.inserted_at_us),
            title: facts.title.as_deref(),
        }
        .render()
    }

    /// What the notes of a session hold.
    pub(super) fn facts(&self, slot: Slot) -> Result<Facts, Stop> {
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        let record = self.log.read(entry.created)?;
        let note = SessionCreated::parse(record.payload).expect("a verified created note is what was written");
        let title = match entry.renamed() {
            Some(renamed) => Some(self.renamed_title(renamed)?),
            None => note.title.map(Into::into),
        };
        Ok(Facts { metadata: Json::from_raw(note.metadata), inserted_at_us: record.time_us, title })
    }

    /// How many messages up to `seq` are by the session's user.
    pub(super) fn own_at(&self, slot: Slot, seq: u64) -> Result<u32, Stop> {
        let lsn = self.log.find(slot, seq)?;
        let record = self.log.read(lsn)?;
        Ok(MessageMeta::decode(record.flags, record.meta)
            .expect("a verified message's meta is what was written")
            .own_total)
    }

    pub(super) fn append_note(
        &mut self,
        now: Now,
        id: SessionId,
        kind: u8,
        flags: u8,
        payload: &[u8],
    ) -> Result<(Lsn, Slot), Stop> {
        let record = NewRecord {
            kind: Kind(kind),
            flags,
            key: Key(id.to_u128()),
            seq: 0,
            time_us: now.unix_us,
            meta: &[],
            payload: &[payload],
        };
        let appended = self.log.append(record)?;
        Ok((appended.lsn, appended.slot.expect("a session's note is indexed")))
    }
}
