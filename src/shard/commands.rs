//! From a command to the function that decides on it, and what an operator asks of a shard.

use super::{Caller, Command, Now, Out, Outcome, Reply, Shard, ShardStatus, Stop};
use crate::session::Namespace;
use storage::Medium;

impl<M: Medium> Shard<M> {
    /// Runs a command that was admitted, for a caller of `namespace`.
    pub(super) fn run(
        &mut self,
        now: Now,
        from: Caller,
        namespace: &Namespace,
        command: &Command,
        out: &mut Out<M>,
    ) -> Result<Outcome, Stop> {
        match command {
            Command::CreateSession { id, user_id, agent_id, metadata } => {
                self.create_session(now, from, namespace, *id, [user_id, agent_id], metadata)
            }
            Command::ReadSession { id } => self.read_session(*id),
            Command::ListSessions { user_id, before, limit } => {
                self.list_sessions(now, namespace, user_id.as_deref(), *before, *limit)
            }
            Command::ArchiveSession { id } => self.archive_session(now, from, *id),
            Command::DeleteSession { id } => self.delete_session(now, from, *id, out),
            Command::Append(append) => self.append(now, from, namespace, append),
            Command::ReadMessages { session, from, limit } => self.read_messages(*session, *from, *limit),
            Command::MarkRead { session, user_id, last_seq } => {
                self.mark_read(now, from, namespace, *session, user_id, *last_seq)
            }
            Command::ReadCursors { session } => self.read_cursors(*session),
            Command::Join { session, identity, after_seq, limit, resume } => {
                self.join(from, *session, Some(identity), *after_seq, *limit, *resume)
            }
            Command::Watch { session, after_seq, limit, resume } => {
                self.join(from, *session, None, *after_seq, *limit, *resume)
            }
            Command::ReadAnswer { session, seq } => self.read_answer(*session, *seq),
            Command::Unsubscribe { session, shard } => Ok(self.unsubscribe(*session, *shard)),
            Command::Chunk { session, agent_id, chunk } => self.chunk(*session, agent_id, chunk, out),
            Command::WatchInbox { user_id } => self.watch_inbox(from, namespace, user_id),
            Command::UnwatchInbox { user, shard } => {
                self.watchers.remove(user.as_str(), *shard);
                Ok(Outcome::Silent)
            }
            Command::Agents(command) => self.agents(now, from, namespace, command),
            Command::LearnAgents { notes, complete } => {
                self.roster.learn(&mut self.catalog.names, notes.clone(), *complete);
                Ok(Outcome::Reply(Reply::Done))
            }
            Command::StopRun { session, run, identity } => {
                self.stop_run(from, *session, *run, identity.as_deref(), out)
            }
            Command::ReadDeliveries { agent_id } => self.deliveries(namespace, agent_id),
            Command::Dispatch { session } => self.dispatch(now, *session, out),
            Command::ClaimBlob { session, claim } => self.claim_blob(now, from, *session, claim),
            Command::ReleaseBlob { session, hash, name } => self.release_blob(now, from, *session, *hash, name),
            Command::FindBlob { session, hash, name } => self.find_blob(*session, *hash, name),
            Command::ListClaims => self.list_claims(),
            Command::ReadStatus => Ok(Outcome::Reply(Reply::Status(Box::new(self.status())))),
        }
    }

    /// Counters and gauges, as [`Command::ReadStatus`] answers.
    pub fn status(&self) -> ShardStatus {
        let log = self.log.status();
        ShardStatus {
            sessions: self.catalog.len() as u64,
            appended_total: self.counters.appended_total,
            replayed_total: self.counters.replayed_total,
            read_messages_total: self.counters.read_messages_total,
            pending_commits: self.commits.len() as u64,
            runs_open: self.runs.len() as u64,
            calls_open: self.runs.calls as u64,
            runs_bytes: self.runs.chunks_bytes as u64,
            runs: self.runs.totals,
            subscriptions: self.tails.total(),
            catalog_bytes: self.catalog.memory_bytes() as u64,
            log_bytes: log.bytes,
            segments: log.segments,
            poisoned: self.poisoned || log.poisoned,
            disk_full: log.disk_full,
            corrupt: log.corrupt.iter().map(ToString::to_string).collect(),
        }
    }
}
