//! Agents and keys: the directory's registrations, their calls' reports, and the chunks that an agent sends over its own socket.

use super::commit::Effect;
use super::directory::Decision;
use super::keyring::KeyDecision;
use super::{AgentCommand, Caller, KeyCommand, Now, Out, Outcome, Output, Push, Refusal, Reply, Shard, ShardId, Stop};
use crate::session::{AgentPut, DirectoryNote, Json, KeyPut, Namespace, SessionId, kind};
use storage::{Key, Kind, Lsn, Medium, NewRecord};

impl<M: Medium> Shard<M> {
    pub(super) fn agents(
        &mut self,
        now: Now,
        from: Caller,
        namespace: &Namespace,
        command: &AgentCommand,
    ) -> Result<Outcome, Stop> {
        let directory = self.directory.as_mut().expect("commands for agents go to the directory's shard");
        let note = match directory.decide(namespace, command, now.unix_us) {
            Decision::Reply(reply) => return Ok(Outcome::Reply(reply)),
            Decision::Refuse(refusal) if directory.has_pending() => return Err(Stop::Behind(refusal)),
            Decision::Refuse(refusal) => return Err(refusal.into()),
            Decision::Put(note) => *note,
        };
        let lsn = self.append_agent(now, &note)?;
        self.directory.as_mut().expect("it was there above").push(note);
        self.commits.push(lsn, from, Effect::AgentPut { time_us: now.unix_us });
        Ok(Outcome::Later)
    }

    fn append_agent(&mut self, now: Now, note: &AgentPut) -> Result<Lsn, Stop> {
        let (payload, meta) = note.render();
        let record = NewRecord {
            kind: Kind(kind::AGENT_PUT),
            flags: 0,
            key: Key(xxhash_rust::xxh3::xxh3_128(note.agent.scoped_id().as_bytes())),
            seq: 0,
            time_us: now.unix_us,
            meta: &meta,
            payload: &[&payload],
        };
        Ok(self.log.append(record)?.lsn)
    }

    pub(super) fn keys(&mut self, now: Now, from: Caller, command: &KeyCommand) -> Result<Outcome, Stop> {
        let note = match self.keyring.decide(command, now.unix_us) {
            KeyDecision::Reply(reply) => return Ok(Outcome::Reply(reply)),
            KeyDecision::Refuse(refusal) if self.keyring.has_pending() => return Err(Stop::Behind(refusal)),
            KeyDecision::Refuse(refusal) => return Err(refusal.into()),
            KeyDecision::Put(note) => *note,
        };
        let lsn = self.append_key(now, &note)?;
        self.keyring.push(note);
        self.commits.push(lsn, from, Effect::KeyPut);
        Ok(Outcome::Later)
    }

    fn append_key(&mut self, now: Now, note: &KeyPut) -> Result<Lsn, Stop> {
        let record = NewRecord {
            kind: Kind(kind::KEY_PUT),
            flags: 0,
            key: Key(xxhash_rust::xxh3::xxh3_128(note.id.to_string().as_bytes())),
            seq: 0,
            time_us: now.unix_us,
            meta: &[],
            payload: &[&note.render()],
        };
        Ok(self.log.append(record)?.lsn)
    }

    /// Takes in what the directory's shard tells.
    pub(super) fn learn(&mut self, notes: &[DirectoryNote], complete: bool) -> Outcome {
        let mut agents = Vec::new();
        for note in notes {
            match note {
                DirectoryNote::Agent(put) => {
                    self.router.forget(&put.agent.namespace);
                    agents.push(put.clone());
                }
                DirectoryNote::Key(key) => self.keyring.fold(key.clone()),
            }
        }
        self.roster.learn(&mut self.catalog.names, agents, complete);
        Outcome::Reply(Reply::Done)
    }

    /// Everything that the directory's shard keeps, for the others. Empty on those.
    pub fn registrations(&self) -> Vec<DirectoryNote> {
        let Some(directory) = &self.directory else { return Vec::new() };
        let agents = directory.all().into_iter().map(DirectoryNote::Agent);
        agents.chain(self.keyring.all().cloned().map(DirectoryNote::Key)).collect()
    }

    /// The API keys.
    pub fn keyring(&self) -> &super::Keyring {
        &self.keyring
    }

    pub(super) fn deliveries(&mut self, namespace: &Namespace, agent_id: &str) -> Result<Outcome, Stop> {
        let names = &mut self.catalog.names;
        let known = self.roster.find(names, namespace, agent_id).ok_or(Refusal::AgentNotFound)?;
        Ok(Outcome::Reply(Reply::Deliveries(self.reports.of(known))))
    }

    pub(super) fn unsubscribe(&mut self, session: SessionId, shard: ShardId) -> Outcome {
        // Of a main session the subscriber knows one generation, and may listen to another that has followed.
        let mut next = Some(if session.is_main() { self.mains.living(session).unwrap_or(session) } else { session });
        while let Some(session) = next
            && let Some(slot) = self.log.slot(Key(session.to_u128()))
        {
            self.tails.remove(&slot, shard);
            let generation = session.generation().checked_add(1).filter(|_| session.is_main());
            next = generation.map(|generation| session.at_generation(generation));
        }
        Outcome::Silent
    }

    pub(super) fn chunk(
        &mut self,
        session: SessionId,
        agent_id: &str,
        chunk: &Json,
        out: &mut Out<M>,
    ) -> Result<Outcome, Stop> {
        let slot = self.readable(session)?;
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        if self.catalog.names.id(entry.agent) != agent_id {
            return Err(Refusal::Unauthorized.into());
        }
        out.extend(self.tails.of(&slot).iter().map(|&to| {
            let push = Push::Chunk { session, agent_id: agent_id.to_owned(), chunk: chunk.clone(), place: None };
            Output::Push { to, push }
        }));
        Ok(Outcome::Reply(Reply::Done))
    }
}
