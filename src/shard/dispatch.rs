//! From a user's message to the call of the session's agent: waiting for quiet, collecting history, opening the run,
//! trying again, giving up.
//!
//! Invariants: a message that waits for an answer is marked so in its own record, so that a crash forgets none; a call
//! is made only when the note of its run stands in the log (copied, not yet durable: the worst is that the agent is
//! called again under another name); whatever ends without a message ends with a note and an event.
//!
//! What an agent says is `answer`'s business, compaction `compact`'s.

use super::answer::text_of;
use super::call::{Call, CallKind, RunEvent, RunStatus};
use super::commit::Effect;
use super::runs::{Answering, Attempt, Closing, Ending, Phase};
use super::terms::Spoken;
use super::{Command, Now, Out, Outcome, Output, Push, Refusal, Shard, Stop};
use crate::agent::{Failure, History, due_us, retry_in_ms};
use crate::limits::{CALLS_MAX, PAGE_MESSAGES_MAX, PARKED_US_MAX};
use crate::session::{AgentConfig, HistoryMode, Json, MessageId, RunId, RunNote, SessionCompacted, SessionId, kind};
use storage::{Medium, Slot};

/// Runs that are looked at in one turn: reading their history must not keep clients waiting.
const DUE_PER_TURN: usize = 64;
/// Microseconds after which a call is begun again for which there was no connection: answers take seconds.
const NO_ROOM_US: u64 = 1_000_000;
/// Microseconds after which something that could not be done is tried again: the disk is full, too many calls.
pub(super) const AGAIN_US: u64 = 200_000;

impl<M: Medium> Shard<M> {
    /// Whether a message of the user to this agent waits for an answer: the agent is registered and enabled.
    pub(super) fn is_callable(&self, agent: super::names::NameId) -> bool {
        !self.roster.is_disabled() && self.roster.agent(&self.catalog.names, agent).is_some_and(AgentConfig::enabled)
    }

    /// A message that waits for an answer was committed.
    pub(super) fn user_spoke(&mut self, slot: Slot, seq: u64, spoken: Option<Box<Spoken>>) {
        let now_us = self.now.mono_us;
        let entry = self.catalog.entry(slot).expect("a session with a committed message has an entry");
        if entry.deleting() {
            return; // nothing more can be appended to it
        }
        let agent = self.roster.agent(&self.catalog.names, entry.agent);
        let (window, max_wait) = agent.map_or((0, 0), |agent| (agent.debounce_window_ms, agent.debounce_max_wait_ms));
        if self.runs.of(slot).is_none() {
            self.runs.insert(slot, seq, seq, now_us, Phase::Waiting);
        }
        let run = self.runs.of_mut(slot).expect("it was just put there");
        if run.phase.is_under_way() {
            run.late_us.get_or_insert(now_us);
        }
        (run.target_seq, run.spoke_us) = (seq, now_us);
        if let Some(spoken) = spoken {
            run.is_hurried |= spoken.at_once;
            run.context = spoken.context.map(|context| (seq, context)).or_else(|| run.context.take());
        }
        if matches!(run.phase, Phase::Waiting) {
            let due = if run.is_hurried { now_us } else { due_us(run.first_us, now_us, window, max_wait) };
            self.runs.set_timer(slot, Some(due));
        }
    }

    /// Looks at every session whose time has come.
    pub(super) fn run_due(&mut self, out: &mut Out<M>) {
        for _ in 0..DUE_PER_TURN {
            if self.parked.is_crowded() {
                return; // the disk is busy for clients already
            }
            if self.runs.calls < CALLS_MAX {
                self.runs.call_next();
            }
            let Some(slot) = self.runs.pop_due(self.now.mono_us) else { return };
            match self.runs.of(slot).map(|run| &run.phase) {
                Some(Phase::Calling(_) | Phase::Closing(_)) => self.go_on(slot, out),
                Some(Phase::Team(team)) if !team.is_due(self.now.mono_us) => self.go_on(slot, out),
                Some(_) if self.holds_runs => {}
                Some(_) => {
                    let from = self.nobody();
                    self.call(self.now, from, None, Command::Dispatch { session: self.id_of(slot) }, out);
                }
                None => {}
            }
        }
    }

    /// A command [`Command::Dispatch`] was refused; what the run does about it.
    pub(super) fn dispatch_refused(&mut self, session: SessionId, refusal: &Refusal, out: &mut Out<M>) {
        let Some(slot) = self.slot_of(session).filter(|&slot| self.runs.of(slot).is_some()) else { return };
        match refusal {
            Refusal::Corrupt { .. } => self.fail(slot, "history_unreadable", refusal.to_string(), out),
            Refusal::LogPoisoned => self.abandon(slot, out),
            Refusal::SessionNotFound => drop(self.runs.remove(slot)),
            _ => self.runs.set_timer(slot, Some(self.now.mono_us + AGAIN_US)),
        }
    }

    /// Begins the attempt that is due.
    pub(super) fn dispatch(&mut self, now: Now, session: SessionId, out: &mut Out<M>) -> Result<Outcome, Stop> {
        let slot = self.readable(session)?;
        if !self.roster.is_complete() {
            self.runs.set_timer(slot, Some(now.mono_us + AGAIN_US));
            return Ok(Outcome::Silent);
        }
        if self.holds_runs {
            return Ok(Outcome::Silent);
        }
        if let Some(team) = self.team_to_run(slot) {
            self.dispatch_team(now, slot, team, out)?;
            return Ok(Outcome::Silent);
        }
        if self.runs.calls >= CALLS_MAX {
            self.runs.wait_for_call(slot);
            return Ok(Outcome::Silent);
        }
        let Some(attempt) = self.prepare(slot) else {
            self.recover(slot, out);
            return Ok(Outcome::Silent);
        };
        // If this command is lost on the way (its wait for the disk may time out), the timer makes another.
        self.runs.set_timer(slot, Some(now.mono_us + PARKED_US_MAX + AGAIN_US));
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        let agent = match self.roster.agent(&self.catalog.names, entry.agent) {
            Some(agent) if agent.enabled() => Box::new(agent.clone()),
            found => {
                let reason = if found.is_some() { "agent_disabled" } else { "agent_not_found" };
                self.fail(slot, reason, "the session's agent is not to be called".to_owned(), out);
                return Ok(Outcome::Silent);
            }
        };
        let view = self.history(slot, &agent)?;
        if self.begin_compaction(now, slot, &agent, attempt, &view, out)? {
            return Ok(Outcome::Silent);
        }
        self.begin_call(now, slot, agent, attempt, &view, out)?;
        Ok(Outcome::Silent)
    }

    /// The attempt that is to be made. `None`: the session is recovered first, or has nothing to dispatch.
    fn prepare(&mut self, slot: Slot) -> Option<Option<Attempt>> {
        let now_us = self.now.mono_us;
        let run = self.runs.of_mut(slot)?;
        if run.first_us == 0 {
            (run.first_us, run.spoke_us) = (now_us, now_us); // it comes from an earlier life
        }
        let attempt = match &run.phase {
            Phase::Waiting => None,
            Phase::Preparing(attempt) => *attempt,
            Phase::Retrying(attempt) => Some(*attempt),
            Phase::Recovered(_) | Phase::Compacting(..) | Phase::Calling(_) | Phase::Team(_) | Phase::Closing(_) => {
                return None;
            }
        };
        self.runs.enter(slot, Phase::Preparing(attempt));
        Some(attempt)
    }

    /// What a call for this session may carry.
    fn history(&mut self, slot: Slot, agent: &AgentConfig) -> Result<HistoryView, Stop> {
        self.history_before(slot, agent, u64::MAX, 1)
    }

    /// The same up to the message before `before`, and at least so many messages whatever the agent wants.
    pub(super) fn history_before(
        &mut self,
        slot: Slot,
        agent: &AgentConfig,
        before: u64,
        at_least: usize,
    ) -> Result<HistoryView, Stop> {
        let compacted = self.compacted(slot)?;
        let mode_limit = match agent.message_history_mode {
            HistoryMode::Last => 1,
            HistoryMode::Tail => agent.message_history_limit as usize,
            HistoryMode::Entire => PAGE_MESSAGES_MAX,
        }
        .max(at_least);
        // Whether to compact is asked of everything since the last time, not of the window.
        let limit = if agent.compaction_enabled { PAGE_MESSAGES_MAX } else { mode_limit.min(PAGE_MESSAGES_MAX) };
        let upto_seq = compacted.as_ref().map_or(0, |(upto_seq, _)| *upto_seq);
        let last_seq = self.committed_seq(slot).min(before - 1);
        let since = usize::try_from(last_seq.saturating_sub(upto_seq)).unwrap_or(usize::MAX);
        let page = self.page_before(slot, before, limit.min(since))?;
        // What was not compacted is shown whole: it is in no other place.
        let is_whole = compacted.is_some() && agent.message_history_mode == HistoryMode::Tail;
        let joined = String::from_utf8(page.into_messages()).expect("a verified payload is the JSON that was written");
        Ok(HistoryView { joined, limit: if is_whole { usize::MAX } else { mode_limit }, compacted })
    }

    /// What the session's older messages were compacted to.
    fn compacted(&mut self, slot: Slot) -> Result<Option<(u64, Json)>, Stop> {
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        let Some(at) = entry.extra.as_ref().and_then(|extra| extra.compacted) else { return Ok(None) };
        let record = self.log.read(at.note)?;
        let note = SessionCompacted::parse(record.payload).expect("a verified note is what was written");
        Ok(Some((note.upto_seq, Json::from_raw(note.compacted))))
    }

    fn begin_call(
        &mut self,
        now: Now,
        slot: Slot,
        agent: Box<AgentConfig>,
        attempt: Option<Attempt>,
        view: &HistoryView,
        out: &mut Out<M>,
    ) -> Result<(), Stop> {
        let attempt = attempt.unwrap_or_else(|| self.new_attempt(now));
        let session = self.id_of(slot);
        let run = self.runs.of(slot).expect("a session that is dispatched stands here");
        let (target_seq, spoke_us, context) = (run.target_seq, run.first_us, run.context.clone());
        let note = RunNote::new(attempt.run, target_seq, None);
        self.append_note(now, session, kind::RUN_OPENED, 0, &note.render())?;
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        let names = &self.catalog.names;
        let body = view.history().call_body(
            session,
            names.id(entry.agent),
            names.id(entry.user),
            view.compacted.as_ref().map(|(_, list)| list),
            context.as_ref().map(|(_, context)| context),
            None,
        );
        let message = MessageId::from_parts(now.unix_us / 1000, attempt.run.to_u128()).to_string();
        let mut answering = Answering::new(attempt, agent.clone(), target_seq, &message);
        answering.began_us = Some(now.mono_us);
        self.runs.enter(slot, Phase::Calling(Box::new(answering)));
        self.runs.set_timer(slot, None);
        self.runs.of_mut(slot).expect("it was just entered").is_hurried = false; // what hurried it is under way
        if attempt.attempt == 1 {
            self.runs.totals.started += 1;
            self.tell_run(slot, attempt, target_seq, RunStatus::Started, out);
        }
        let (Attempt { run, attempt, .. }, kind) = (attempt, CallKind::Answer);
        out.push(Output::Call(Box::new(Call { session, run, voice: 0, attempt, kind, agent, body, spoke_us })));
        Ok(())
    }

    /// A run that has no name yet.
    pub(super) fn new_attempt(&mut self, now: Now) -> Attempt {
        Attempt { run: self.runs.new_id(now.unix_us, self.seed), attempt: 1, compacted: false }
    }

    /// The call came to nothing before anything was shown: another attempt, or the end.
    pub(super) fn retry_or_fail(&mut self, slot: Slot, attempt: Attempt, failure: &Failure, out: &mut Out<M>) {
        if failure.is_ours {
            self.runs.enter(slot, Phase::Retrying(attempt));
            return self.runs.set_timer(slot, Some(self.now.mono_us + NO_ROOM_US));
        }
        let random = self.runs.draw(self.seed);
        let Some(retry_in_ms) = retry_in_ms(attempt.attempt, failure, random) else {
            return self.fail(slot, failure.reason, failure.detail.clone(), out);
        };
        self.runs.totals.retries += 1;
        let next = Attempt { attempt: attempt.attempt + 1, ..attempt };
        self.runs.enter(slot, Phase::Retrying(next));
        self.runs.set_timer(slot, Some(self.now.mono_us + retry_in_ms * 1000));
        let upto_seq = self.runs.of(slot).map_or(0, |run| run.target_seq);
        let status = RunStatus::Retrying { reason: failure.reason, retry_in_ms };
        self.tell_run(slot, attempt, upto_seq, status, out);
    }

    /// The run of a session ends without a message.
    pub(super) fn fail(&mut self, slot: Slot, reason: &'static str, detail: String, out: &mut Out<M>) {
        self.close(slot, Ending::Failed(reason, detail), out);
    }

    /// Ends the run of a session that has nothing to keep, with a note.
    pub(super) fn close(&mut self, slot: Slot, ending: Ending, out: &mut Out<M>) {
        let run = self.runs.of(slot).expect("a run that ends stands here");
        let attempt = match &run.phase {
            Phase::Preparing(Some(attempt)) | Phase::Compacting(attempt, _) | Phase::Retrying(attempt) => {
                Some(*attempt)
            }
            Phase::Calling(answering) => Some(answering.attempt),
            Phase::Team(team) => Some(team.attempt),
            _ => None,
        };
        let (upto_seq, last_seq) = match &run.phase {
            Phase::Calling(answering) => (answering.upto_seq, 0),
            Phase::Team(team) => (team.upto_seq, team.last_seq),
            _ => (run.target_seq, 0),
        };
        if let Phase::Team(_) = &run.phase {
            self.stop_calls(slot, out);
        }
        let attempt = attempt.unwrap_or_else(|| self.new_attempt(self.now));
        let closing = Closing { attempt, upto_seq, ending, last_seq, appended: false };
        self.runs.enter(slot, Phase::Closing(Box::new(closing)));
        self.go_on(slot, out);
    }

    /// Appends what a run that is over has still to append, as far as the log takes it.
    pub(super) fn go_on(&mut self, slot: Slot, out: &mut Out<M>) {
        match self.runs.of(slot).map(|run| &run.phase) {
            Some(Phase::Calling(_)) => self.save(slot, out),
            Some(Phase::Team(_)) => self.save_voices(slot, out),
            Some(Phase::Closing(closing)) if !closing.appended => self.append_closed(slot, out),
            _ => {}
        }
    }

    fn append_closed(&mut self, slot: Slot, out: &mut Out<M>) {
        let Some(Phase::Closing(closing)) = self.runs.of(slot).map(|run| &run.phase) else { return };
        let (run, reason) = (closing.attempt.run, text_of(&closing.ending));
        let note = RunNote::new(run, closing.upto_seq, Some(reason)).render();
        let session = self.id_of(slot);
        match self.append_note(self.now, session, kind::RUN_CLOSED, 0, &note) {
            Ok((lsn, _)) => {
                if let Some(Phase::Closing(closing)) = self.runs.of_mut(slot).map(|run| &mut run.phase) {
                    closing.appended = true;
                }
                let from = self.nobody();
                self.commits.push(lsn, from, Effect::RunClosed { slot, run });
            }
            Err(Stop::Refuse(Refusal::LogPoisoned)) => self.abandon(slot, out),
            Err(_) => self.runs.set_timer(slot, Some(self.now.mono_us + AGAIN_US)),
        }
    }

    /// The note of a run that ended without a message is durable.
    pub(super) fn run_closed(&mut self, slot: Slot, run: RunId, out: &mut Out<M>) {
        let Some(Phase::Closing(closing)) = self.runs.of(slot).map(|run| &run.phase) else { return };
        if closing.attempt.run != run {
            return;
        }
        let (attempt, upto_seq, ending) = (closing.attempt, closing.upto_seq, closing.ending.clone());
        let last_seq = Some(closing.last_seq).filter(|&seq| seq > 0);
        self.end_run(slot, attempt, upto_seq, ending, last_seq, out);
    }

    /// A run is over and everybody may know. What came in meanwhile is the next one.
    pub(super) fn end_run(
        &mut self,
        slot: Slot,
        attempt: Attempt,
        upto_seq: u64,
        ending: Ending,
        seq: Option<u64>,
        out: &mut Out<M>,
    ) {
        let totals = &mut self.runs.totals;
        let status = match ending {
            Ending::Finished => {
                totals.finished += 1;
                RunStatus::Finished { seq: seq.unwrap_or(0) }
            }
            Ending::Stopped => {
                totals.stopped += 1;
                RunStatus::Stopped { seq }
            }
            Ending::Failed(reason, detail) => {
                totals.failed += 1;
                RunStatus::Failed { reason, detail, seq }
            }
        };
        self.tell_run(slot, attempt, upto_seq, status, out);
        let Some(before) = self.runs.remove(slot) else { return };
        if before.target_seq <= upto_seq {
            return;
        }
        let first_seq = before.first_seq.max(upto_seq + 1);
        let entry = self.catalog.entry(slot).expect("a session with a run has an entry");
        let agent = self.roster.agent(&self.catalog.names, entry.agent);
        let (window, max_wait) = agent.map_or((0, 0), |agent| (agent.debounce_window_ms, agent.debounce_max_wait_ms));
        let first_us = before.late_us.unwrap_or(before.spoke_us);
        self.runs.insert(slot, first_seq, before.target_seq, first_us, Phase::Waiting);
        let run = self.runs.of_mut(slot).expect("it was just put there");
        run.is_hurried = before.is_hurried;
        run.context = before.context.filter(|(seq, _)| *seq > upto_seq);
        let due = if run.is_hurried { first_us } else { due_us(first_us, before.spoke_us, window, max_wait) };
        self.runs.set_timer(slot, Some(due));
    }

    /// The log takes nothing more: the session's run cannot be ended in it. Its clients are told; the next life decides.
    pub(super) fn abandon(&mut self, slot: Slot, out: &mut Out<M>) {
        let Some(run) = self.runs.of(slot) else { return };
        let (attempt, upto_seq) = match &run.phase {
            Phase::Calling(answering) => (answering.attempt, answering.upto_seq),
            Phase::Team(team) => (team.attempt, team.upto_seq),
            Phase::Closing(closing) => (closing.attempt, closing.upto_seq),
            Phase::Preparing(Some(attempt)) | Phase::Compacting(attempt, _) | Phase::Retrying(attempt) => {
                (*attempt, run.target_seq)
            }
            Phase::Waiting | Phase::Recovered(_) | Phase::Preparing(None) => {
                drop(self.runs.remove(slot));
                return;
            }
        };
        self.stop_calls(slot, out);
        drop(self.runs.remove(slot));
        self.runs.totals.failed += 1;
        let detail = Refusal::LogPoisoned.to_string();
        self.tell_run(slot, attempt, upto_seq, RunStatus::Failed { reason: "log_poisoned", detail, seq: None }, out);
    }

    /// The session's deleted note is appended: nothing may follow, nobody waits for an answer any more.
    pub(super) fn drop_run(&mut self, slot: Slot, out: &mut Out<M>) {
        self.stop_calls(slot, out);
        drop(self.runs.remove(slot));
    }

    /// What the session's calls still say is not heard.
    pub(super) fn stop_calls(&self, slot: Slot, out: &mut Out<M>) {
        let session = self.id_of(slot);
        let called = self.runs.of(slot).into_iter().flat_map(|run| run.phase.calls());
        out.extend(called.map(|(run, voice)| Output::StopCall { session, run, voice }));
    }

    /// Tells everybody on the session what became of its run.
    pub(super) fn tell_run(&self, slot: Slot, attempt: Attempt, upto_seq: u64, status: RunStatus, out: &mut Out<M>) {
        let event = self.run_event(slot, attempt, upto_seq, status);
        let session = self.id_of(slot);
        let tails = self.tails.of(&slot);
        out.extend(
            tails.iter().map(|&to| Output::Push { to, push: Push::Run { session, event: Box::new(event.clone()) } }),
        );
    }

    /// See [`RunEvent`].
    pub(super) fn run_event(&self, slot: Slot, attempt: Attempt, upto_seq: u64, status: RunStatus) -> RunEvent {
        let entry = self.catalog.entry(slot).expect("a session with a run has an entry");
        let agent_id = self.catalog.names.id(entry.agent).to_owned();
        RunEvent { run: attempt.run, agent_id, attempt: attempt.attempt, upto_seq, status }
    }
}

/// What of a session a call may carry.
pub(super) struct HistoryView {
    /// Stored messages up to the last, joined.
    pub(super) joined: String,
    /// How many of them the agent is shown.
    limit: usize,
    /// What stands for the messages up to a seq.
    pub(super) compacted: Option<(u64, Json)>,
}

impl HistoryView {
    /// The first seq that nothing was compacted of.
    pub(super) fn first_seq(&self) -> u64 {
        self.compacted.as_ref().map_or(0, |(upto_seq, _)| *upto_seq) + 1
    }

    pub(super) fn history(&self) -> History {
        History::of_page(&self.joined, self.first_seq()..=u64::MAX, self.limit)
    }
}
