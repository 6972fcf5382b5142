//! Answers that were cut off in the middle: by a crash, for the session; by a reconnect, for one client.
//!
//! Invariants: after a crash a session that owes an answer gets one, or its run visibly fails; what had been shown is
//! kept as a message, or another answer is begun, as the agent wants it (`on_crash`); what had not been shown is asked
//! for again under the same run. A client that joins in the middle is told which chunks are old, in whatever order the
//! answer to its join and the live chunks reach it.

use super::answer::{marked, with_fields};
use super::folded::{FoldedRun, OpenRun};
use super::runs::{Answering, Attempt, Ending, Phase, Runs};
use super::{Out, Resume, Resumed, Running, RunningChunk, Shard};
use crate::agent::{Answer, Assembler, Taken};
use crate::session::{AgentConfig, ChunkMeta, Json, OnCrash, RunId};
use hashbrown::HashMap;
use storage::{Log, Lsn, Medium, Slot};

/// Puts what recovery has folded to work again, reading the chunks of open runs. Blocks for the time of that.
pub(super) fn revive<M: Medium>(log: &Log<M>, folded: HashMap<Slot, FoldedRun>, runs: &mut Runs) {
    for (slot, mut folded) in folded {
        if folded.is_idle() {
            continue;
        }
        let phase = match folded.open.take() {
            None => Phase::Waiting,
            Some(mut open) => {
                read_chunks(log, &mut open);
                runs.last = runs.last.max(open.run);
                Phase::Recovered(Box::new(open))
            }
        };
        runs.insert(slot, folded.first_seq, folded.target_seq, 0, phase); // since when is not known: since the start
        runs.set_timer(slot, Some(0));
    }
}

/// Walks back over the notes of a run's chunks and keeps those from the first on. Where a note is missing (the log was full when its
/// chunk was shown) the answer ends: what lies behind it cannot be put together.
fn read_chunks<M: Medium>(log: &Log<M>, open: &mut OpenRun) {
    let mut next = open.last_chunk();
    let mut chunks = Vec::new();
    while let Some(lsn) = next {
        let Ok(record) = log.read_blocking(lsn) else { break };
        let Some(meta) = ChunkMeta::decode(record.meta).filter(|meta| meta.run == open.run) else { break };
        if meta.index < open.first_index {
            break;
        }
        let text = std::str::from_utf8(record.payload).expect("a verified payload is the JSON that was written");
        chunks.push((meta.index, Json::from_stored(text)));
        next = (meta.prev != ChunkMeta::NO_PREV).then_some(Lsn(meta.prev));
    }
    let in_order = chunks.into_iter().rev().zip(open.first_index..);
    open.chunks = in_order.take_while(|((index, _), at)| index == at).map(|((_, chunk), _)| chunk).collect();
}

impl<M: Medium> Shard<M> {
    /// Decides on a run that a crash has cut off.
    pub(super) fn recover(&mut self, slot: Slot, out: &mut Out<M>) {
        let Some(Phase::Recovered(open)) = self.runs.of(slot).map(|run| &run.phase) else { return };
        let open = (**open).clone();
        let entry = self.catalog.entry(slot).expect("a session with a run has an entry");
        let agent = self.roster.agent(&self.catalog.names, entry.agent).cloned();
        let on_crash = agent.as_ref().map_or(OnCrash::Abort, |agent| agent.on_crash);
        let (answers, ending) = match on_crash {
            OnCrash::Abort => replayed(&open),
            OnCrash::Retry => (Vec::new(), Ending::Finished),
        };
        self.runs.totals.recovered += 1;
        let attempt = Attempt { run: open.run, attempt: 1, compacted: false };
        if !answers.is_empty() {
            let agent = agent.unwrap_or_else(|| AgentConfig::echo("", 0)); // it is gone; it is not called here
            let mut answering = Answering::new(attempt, Box::new(agent), open.upto_seq, "");
            answering.first_index = open.next_index;
            answering.first_chunk = open.first_chunk();
            answers.into_iter().for_each(|answer| answering.complete(answer, self.now.mono_us));
            answering.ending = Some(ending);
            self.runs.enter(slot, Phase::Calling(Box::new(answering)));
            return self.save(slot, out);
        }
        if self.runs.of(slot).is_some_and(|run| run.target_seq == 0) {
            drop(self.runs.remove(slot)); // its first message stands, and of a second one there is nothing to keep
            return;
        }
        // What was shown and is dropped must not be taken for the beginning of the next answer, and a name that has answered is used
        // up.
        let has_spoken = open.next_index > 0 || open.has_answered;
        self.runs.enter(slot, Phase::Preparing((!has_spoken).then_some(attempt)));
        self.runs.set_timer(slot, Some(self.now.mono_us));
    }

    /// The running answer for a client that joins, and what is old for it.
    pub(super) fn resumed(&self, slot: Slot, resume: Option<Resume>) -> Resumed {
        let asked = resume.is_some();
        let idle = Resumed { run: self.runs.last, next_index: u32::MAX, running: None, asked };
        let Some(session) = self.runs.of(slot) else { return idle };
        let entry = self.catalog.entry(slot).expect("a session with a run has an entry");
        let agent_id = self.catalog.names.id(entry.agent).to_owned();
        if let Phase::Team(team) = &session.phase {
            let (run, next_index) = (team.attempt.run, team.next_index);
            let chunks = team.kept.from(unseen_from(resume, run, next_index));
            let first_index = chunks.first().map_or(next_index, |chunk| chunk.index);
            let state = if next_index > 0 { "answering" } else { "calling" };
            let running = Some(Running { agent_id, state, first_index, chunks });
            return Resumed { run, next_index, running, asked };
        }
        let Phase::Calling(answering) = &session.phase else {
            let running = Running { agent_id, state: "waiting", first_index: 0, chunks: Vec::new() };
            let (run, next_index) = match &session.phase {
                Phase::Preparing(Some(attempt)) | Phase::Compacting(attempt, _) | Phase::Retrying(attempt) => {
                    (attempt.run, 0)
                }
                Phase::Recovered(open) => (open.run, open.next_index),
                _ => return idle,
            };
            return Resumed { run, next_index, running: Some(running), asked };
        };
        let (run, next_index) = (answering.attempt.run, answering.next_index());
        let first_index = unseen_from(resume, run, next_index).max(answering.first_index);
        let unseen = answering.chunks.iter().skip((first_index - answering.first_index) as usize).zip(first_index..);
        let chunk =
            |(chunk, index): (&Json, u32)| RunningChunk { index, agent_id: agent_id.clone(), chunk: chunk.clone() };
        let chunks = unseen.map(chunk).collect();
        let state = if answering.has_spoken() { "answering" } else { "calling" };
        let running = Running { agent_id, state, first_index, chunks };
        Resumed { run, next_index, running: Some(running), asked }
    }
}

/// The first chunk of a run that a client wants which joins when `next_index` is next.
fn unseen_from(resume: Option<Resume>, run: RunId, next_index: u32) -> u32 {
    match resume {
        None => next_index,
        Some(Resume::From { run: known, index }) if known == run => index.min(next_index),
        Some(Resume::All | Resume::From { .. }) => 0,
    }
}

/// The messages of a run that was cut off, and how it ends.
fn replayed(open: &OpenRun) -> (Vec<Answer>, Ending) {
    let mut assembler = Assembler::new(open.run.to_string());
    let mut answers = Vec::new();
    for chunk in &open.chunks {
        // What it refused then it refuses now. A complete message whose record the power cut has taken is complete.
        if let Ok(Taken::Ended(answer)) = assembler.push(chunk) {
            answers.push(answer);
        }
    }
    let mut ending = Ending::Finished;
    if let Some(answer) = assembler.abort() {
        ending = Ending::Failed("crashed", "the server was restarted in the middle of the answer".to_owned());
        answers.push(marked(answer, &ending));
    }
    for answer in &mut answers {
        answer.metadata = with_fields(&answer.metadata, "\"recovered\":true");
    }
    (answers, ending)
}
