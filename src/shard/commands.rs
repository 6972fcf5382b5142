//! From a command to the function that decides on it, and what an operator asks of a shard.

use super::rows::Listed;
use super::sessions::NewSession;
use super::timeline::Whose;
use super::{Caller, Command, Now, Out, Outcome, Refusal, Reply, Shard, ShardStatus, Stop};
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
            Command::CreateSession { id, user_id, agent_id, title, metadata } => {
                let new = NewSession { id: *id, user_id, agent_id, title: title.as_deref(), metadata };
                self.create_session(now, from, namespace, &new)
            }
            Command::ReadSession { id } => self.read_session(*id),
            Command::ListSessions { user_id, before, limit } => {
                self.list_sessions(now, namespace, user_id.as_deref(), *before, *limit)
            }
            Command::ArchiveSession { id } => self.archive_session(now, from, *id),
            Command::DeleteSession { id } => self.delete_session(now, from, *id, out),
            Command::RenameSession { id, title } => self.rename_session(now, from, *id, title),
            Command::Rate { session, feedback } => self.rate(now, from, namespace, *session, feedback),
            Command::ReadRatings { session } => self.read_ratings(*session),
            Command::ListRows { .. }
            | Command::ReadUnread { .. }
            | Command::MarkAllRead { .. }
            | Command::TimelineKeys { .. }
            | Command::ReadRows { .. } => self.run_over_sessions(now, from, namespace, command),
            Command::DescribeAgents { ids } => self.describe_agents(namespace, ids),
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
            Command::Keys(command) => self.keys(now, from, command),
            Command::Learn { notes, complete } => Ok(self.learn(notes, *complete)),
            Command::Route { message, recent, .. } => self.route(namespace, message, recent.as_deref()),
            Command::StopRun { session, run, identity } => {
                self.stop_run(from, *session, *run, identity.as_deref(), out)
            }
            Command::ReadDeliveries { agent_id } => self.deliveries(namespace, agent_id),
            Command::Dispatch { session } => self.dispatch(now, *session, out),
            Command::Blob { session, command } => self.blob(now, from, *session, command),
            Command::ListClaims => self.list_claims(),
            Command::ReadHoldings { before, limit } => self.read_holdings(*before, *limit),
            Command::ReadStatus => Ok(Outcome::Reply(Reply::Status(Box::new(self.status())))),
        }
    }

    /// Runs a command that is about many sessions of one user.
    fn run_over_sessions(
        &mut self,
        now: Now,
        from: Caller,
        namespace: &Namespace,
        command: &Command,
    ) -> Result<Outcome, Stop> {
        match command {
            Command::ListRows { user_id, agent_id, session, limit, offset } => {
                let (user_id, agent_id) = (user_id.as_deref(), agent_id.as_deref());
                let (session, limit, offset) = (*session, *limit, *offset);
                self.list_rows(namespace, Listed { user_id, agent_id, session, limit, offset })
            }
            Command::ReadUnread { user_id, agent_id, limit } => {
                let whose = Whose { user_id, agent_id: agent_id.as_deref(), session: None };
                self.read_unread(namespace, whose, *limit)
            }
            Command::MarkAllRead { user_id, agent_id, session, upto } => {
                let whose = Whose { user_id, agent_id: agent_id.as_deref(), session: *session };
                self.mark_all_read(now, from, namespace, whose, *upto)
            }
            Command::TimelineKeys { user_id, agent_id, session, upto } => {
                let whose = Whose { user_id, agent_id: agent_id.as_deref(), session: *session };
                self.timeline_keys(namespace, whose, *upto)
            }
            Command::ReadRows { places } => self.read_rows(places),
            _ => unreachable!("no other command is about many sessions"),
        }
    }

    fn describe_agents(&mut self, namespace: &Namespace, ids: &[String]) -> Result<Outcome, Stop> {
        if !self.roster.is_complete() && !self.roster.is_disabled() {
            return Err(Refusal::Overloaded.into()); // the registrations are on their way
        }
        let found = ids.iter().map(|id| self.roster.find(&mut self.catalog.names, namespace, id));
        let found: Vec<_> = found.collect();
        let names = found.into_iter().map(|agent| agent.map(|agent| self.agent_name(agent))).collect();
        Ok(Outcome::Reply(Reply::AgentNames(names)))
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
