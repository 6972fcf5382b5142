//! Compaction (contract 4.8): before a call, when the messages since the last time are too many tokens, the agent's own
//! compaction webhook says what is to stand for them.
//!
//! Invariants: the messages that wait for an answer are never compacted away; the whole session stays readable; a
//! compaction that fails costs the agent nothing but its plain window, and is tried again for the next run.

use super::call::{Call, CallEnd, CallKind};
use super::catalog::Compacted;
use super::commit::Effect;
use super::dispatch::HistoryView;
use super::runs::{Attempt, Phase};
use super::{Now, Out, Output, Shard, Stop};
use crate::agent::{History, compacted_list};
use crate::session::{AgentConfig, RunId, SessionCompacted, kind};
use storage::{Medium, Slot};

impl<M: Medium> Shard<M> {
    /// Asks for a compaction if it is time for one. False: it is not.
    pub(super) fn begin_compaction(
        &mut self,
        now: Now,
        slot: Slot,
        agent: &AgentConfig,
        attempt: Option<Attempt>,
        view: &HistoryView,
        out: &mut Out<M>,
    ) -> Result<bool, Stop> {
        let tried = attempt.is_some_and(|attempt| attempt.compacted);
        if !agent.compaction_enabled || agent.compaction_webhook_url.is_none() || tried {
            return Ok(false);
        }
        let run = self.runs.of(slot).expect("a session that is dispatched stands here");
        let (first_owed, spoke_us) = (run.first_seq, run.first_us);
        let threshold = f64::from(agent.compaction_token_budget) * agent.compaction_trigger_ratio;
        if (History::tokens_of_page(&view.joined, view.first_seq()) as f64) < threshold.floor() {
            return Ok(false);
        }
        let old = History::of_page(&view.joined, view.first_seq()..=first_owed.saturating_sub(1), usize::MAX);
        if old.last_seq == 0 {
            return Ok(false);
        }
        let attempt = Attempt { compacted: true, ..attempt.unwrap_or_else(|| self.new_attempt(now)) };
        let session = self.id_of(slot);
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        let names = &self.catalog.names;
        let body = old.compaction_body(
            session,
            names.id(entry.agent),
            names.id(entry.user),
            view.compacted.as_ref().map(|(_, list)| list),
            agent.compaction_token_budget,
        );
        self.runs.enter(slot, Phase::Compacting(attempt, old.last_seq));
        self.runs.set_timer(slot, None);
        out.push(Output::Call(Box::new(Call {
            session,
            run: attempt.run,
            voice: 0,
            attempt: attempt.attempt,
            kind: CallKind::Compaction,
            agent: Box::new(agent.clone()),
            body,
            spoke_us,
        })));
        Ok(true)
    }

    /// The compaction webhook has answered, or failed to.
    pub(super) fn compaction_ended(&mut self, slot: Slot, run: RunId, end: &CallEnd) {
        let (attempt, upto_seq) = match self.runs.of(slot).map(|session| &session.phase) {
            Some(&Phase::Compacting(attempt, upto_seq)) if attempt.run == run => (attempt, upto_seq),
            _ => return,
        };
        self.runs.enter(slot, Phase::Preparing(Some(attempt)));
        self.runs.set_timer(slot, Some(self.now.mono_us)); // the call itself goes on, with or without
        let list = if end.failure.is_none() { compacted_list(&end.body) } else { None };
        let appended = list.and_then(|list| {
            let note = SessionCompacted::render(upto_seq, &list);
            self.append_note(self.now, self.id_of(slot), kind::SESSION_COMPACTED, 0, &note).ok()
        });
        let Some((lsn, _)) = appended else {
            self.runs.totals.compactions_failed += 1;
            return;
        };
        self.runs.totals.compactions += 1;
        self.runs.set_timer(slot, None); // it goes on when the note can be read
        let from = self.nobody();
        let compacted = Compacted { upto_seq, note: lsn };
        self.commits.push(lsn, from, Effect::Compacted { slot, compacted });
    }

    /// The note is durable.
    pub(super) fn commit_compaction(&mut self, slot: Slot, compacted: Compacted) {
        if let Some(entry) = self.catalog.entry_mut(slot) {
            entry.extra_mut().compacted = Some(compacted);
        }
        if matches!(self.runs.of(slot).map(|run| &run.phase), Some(Phase::Preparing(_))) {
            self.runs.set_timer(slot, Some(self.now.mono_us));
        }
    }
}
