//! From an agent's lines to the session: chunks are shown as they come, complete messages are appended, the run ends.
//!
//! Invariants: a chunk is shown only after its note was copied into the log (if the log takes it), under its run and the
//! next index; a message covers exactly the chunks since the one before it; a run ends for its clients only when its
//! last message is committed. A failure before anything was shown is the schedule's; afterwards what was shown is kept.

use super::call::{CallEnd, CallEvent, CallKind, CallReport, RunStatus};
use super::commit::Effect;
use super::names::NameId;
use super::runs::{Ending, Phase};
use super::{Caller, ChunkPlace, Out, Outcome, Output, Push, Refusal, Reply, Shard, Stop};
use crate::agent::{Answer, ChunkError, Failure, Taken, Termination, numbers};
use crate::limits::{MESSAGE_BYTES_MAX, RUN_CHUNK_BYTES_MAX, RUN_MESSAGES_MAX, RUNS_BYTES_MAX};
use crate::session::{ChunkMeta, Json, MessageId, MessageMeta, MessageParts, RunId, RunPart, Sender, SessionId, kind};
use storage::{Key, Kind, Lsn, Medium, NewRecord, Slot, TRANSIENT};

/// An answer that has begun a message and not completed it.
pub(super) const INCOMPLETE: (&str, &str) = ("answer_incomplete", "the answer ended without a terminal chunk");
/// An answer that said nothing.
pub(super) const EMPTY: (&str, &str) = ("answer_empty", "the webhook answered without a chunk");

/// What a line came to.
enum Heard {
    /// It was a chunk or it was not; the answer goes on.
    GoesOn,
    /// The answer cannot go on.
    Ends(Ending),
}

impl<M: Medium> Shard<M> {
    /// Something came of a call.
    pub(super) fn called(
        &mut self,
        session: SessionId,
        run: RunId,
        voice: u16,
        attempt: u32,
        event: CallEvent,
        out: &mut Out<M>,
    ) {
        let Some(slot) = self.slot_of(session) else {
            self.runs.ended_early.remove(&(run, voice)); // the session was deleted: nobody asks for the reason
            return;
        };
        if self.runs.voice(slot, run, voice).is_some() {
            return self.voice_called(slot, run, voice, attempt, event, out);
        }
        match event {
            CallEvent::Lines(lines) => self.lines(slot, run, &lines, out),
            CallEvent::Ended(end) => self.ended(slot, run, voice, attempt, &end, out),
        }
    }

    fn lines(&mut self, slot: Slot, run: RunId, lines: &[String], out: &mut Out<M>) {
        for line in lines {
            match self.runs.answering(slot, run) {
                Some(answering) if answering.ending.is_none() => {}
                _ => return, // stopped, or ended by an earlier line
            }
            if let Heard::Ends(ending) = self.line(slot, run, line, out) {
                out.push(Output::StopCall { session: self.id_of(slot), run, voice: 0 });
                if let Ending::Failed(reason, detail) = &ending {
                    self.runs.ended_early.insert((run, 0), (reason, detail.clone()));
                }
                self.cut_off(slot, run, ending, out);
            }
        }
    }

    fn line(&mut self, slot: Slot, run: RunId, line: &str, out: &mut Out<M>) -> Heard {
        let answering = self.runs.answering(slot, run).expect("the caller has looked");
        let chunk = Json::parse(line).ok().filter(Json::is_object);
        let taken = chunk.as_ref().map(|chunk| answering.assembler.push(chunk));
        let taken = match taken {
            Some(Ok(taken)) => taken,
            Some(Err(ChunkError::TooLarge { .. })) => {
                return Heard::Ends(Ending::Failed("answer_too_large", "the answer is over its bound".to_owned()));
            }
            Some(Err(_)) | None => {
                answering.lines_dropped += 1;
                self.runs.totals.lines_dropped += 1;
                return Heard::GoesOn;
            }
        };
        self.show(slot, run, chunk.expect("what was taken was a chunk"), out);
        let answering = self.runs.answering(slot, run).expect("showing ends nothing");
        let is_over = answering.chunks_bytes > RUN_CHUNK_BYTES_MAX;
        match taken {
            Taken::Passed if is_over => {
                Heard::Ends(Ending::Failed("answer_too_large", "the answer's chunks are over their bound".to_owned()))
            }
            Taken::Passed if self.runs.chunks_bytes > RUNS_BYTES_MAX => {
                Heard::Ends(Ending::Failed("overloaded", "too many bytes of running answers".to_owned()))
            }
            Taken::Passed => Heard::GoesOn,
            Taken::Ended(answer) => {
                let answering = self.runs.answering(slot, run).expect("showing ends nothing");
                answering.complete(answer, self.now.mono_us);
                answering.messages += 1;
                let is_over = answering.messages >= RUN_MESSAGES_MAX;
                self.save(slot, out);
                match is_over {
                    true => {
                        Heard::Ends(Ending::Failed("answer_too_large", "too many messages in one answer".to_owned()))
                    }
                    false => Heard::GoesOn,
                }
            }
            Taken::Failed { text } => Heard::Ends(Ending::Failed("agent_error", text)),
        }
    }

    /// Shows a chunk to everybody, now.
    fn show(&mut self, slot: Slot, run: RunId, chunk: Json, out: &mut Out<M>) {
        let Some(answering) = self.runs.answering(slot, run) else { return };
        let index = answering.next_index();
        let prev = answering.last_chunk;
        let note = self.append_chunk(slot, run, index, prev, &chunk);
        let answering = self.runs.answering(slot, run).expect("appending a chunk ends nothing");
        if let Some(lsn) = note {
            answering.last_chunk = Some(lsn);
            answering.first_chunk.get_or_insert(lsn);
        }
        let agent_id = answering.agent.id().to_owned();
        let bytes = chunk.as_str().len();
        answering.keep(chunk.clone());
        self.runs.chunks_bytes += bytes;
        self.runs.totals.chunks += 1;
        let session = self.id_of(slot);
        let place = Some(ChunkPlace { run, index, has_floor: true });
        out.extend(self.tails.of(&slot).iter().map(|&to| {
            let push = Push::Chunk { session, agent_id: agent_id.clone(), chunk: chunk.clone(), place };
            Output::Push { to, push }
        }));
    }

    /// A chunk's note. `None`: the log does not take it now; then a crash loses the chunk, and nobody was promised it.
    fn append_chunk(&mut self, slot: Slot, run: RunId, index: u32, prev: Option<Lsn>, chunk: &Json) -> Option<Lsn> {
        let meta = ChunkMeta { run, index, prev: prev.map_or(ChunkMeta::NO_PREV, |lsn| lsn.0) };
        let record = NewRecord {
            kind: Kind(kind::RUN_CHUNK),
            flags: TRANSIENT,
            key: self.log.key(slot),
            seq: 0,
            time_us: self.now.unix_us,
            meta: &meta.encode(),
            payload: &[chunk.as_str().as_bytes()],
        };
        let lsn = self.log.append(record).ok()?.lsn;
        self.log.flush().ok()?; // it is shown now, whenever the next sync comes
        Some(lsn)
    }

    /// The answer ends before its agent has ended it: what was produced is kept, and everybody sees where it stops.
    pub(super) fn cut_off(&mut self, slot: Slot, run: RunId, ending: Ending, out: &mut Out<M>) {
        let Some(answering) = self.runs.answering(slot, run) else { return };
        if answering.ending.is_some() {
            return;
        }
        let answer = answering.assembler.abort().map(|answer| marked(answer, &ending));
        self.show_abort(slot, run, out);
        let answering = self.runs.answering(slot, run).expect("showing ends nothing");
        if let Some(answer) = answer {
            answering.complete(answer, self.now.mono_us);
        }
        self.runs.end_call(slot, ending);
        self.save(slot, out);
    }

    /// Shows where an answer stops, unless everybody has seen the end of its last message.
    fn show_abort(&mut self, slot: Slot, run: RunId, out: &mut Out<M>) {
        let Some(answering) = self.runs.answering(slot, run) else { return };
        if answering.next_index() > answering.covered_below() {
            let chunk = Json::parse(r#"{"type":"abort"}"#).expect("it is JSON");
            self.show(slot, run, chunk, out);
        }
    }

    fn ended(&mut self, slot: Slot, run: RunId, voice: u16, attempt: u32, end: &CallEnd, out: &mut Out<M>) {
        self.report(slot, run, voice, attempt, end);
        if matches!(self.runs.of(slot).map(|run| &run.phase), Some(Phase::Compacting(..))) {
            return self.compaction_ended(slot, run, end);
        }
        let Some(answering) = self.runs.answering(slot, run) else { return };
        if answering.ending.is_some() || answering.attempt.attempt != attempt {
            return; // it was ended here already
        }
        answering.lines_dropped += end.lines_dropped;
        self.runs.totals.lines_dropped += end.lines_dropped;
        let answering = self.runs.answering(slot, run).expect("it was there above");
        let (has_spoken, is_complete) = (answering.has_spoken(), answering.is_complete());
        let this = answering.attempt;
        match &end.failure {
            _ if is_complete => {
                self.show_abort(slot, run, out); // of a message that was begun and holds nothing
                self.runs.end_call(slot, Ending::Finished);
                self.save(slot, out);
            }
            Some(failure) if !has_spoken => self.retry_or_fail(slot, this, failure, out),
            Some(failure) => {
                self.cut_off(slot, run, Ending::Failed(failure.reason, failure.detail.clone()), out);
            }
            None if has_spoken => {
                self.cut_off(slot, run, Ending::Failed(INCOMPLETE.0, INCOMPLETE.1.to_owned()), out);
            }
            None => {
                let failure = Failure::fatal(EMPTY.0, EMPTY.1);
                self.retry_or_fail(slot, this, &failure, out);
            }
        }
    }

    /// Appends the messages of a run that are complete, and ends the run when all is said and committed.
    pub(super) fn save(&mut self, slot: Slot, out: &mut Out<M>) {
        while let Some(SaveStep { run, upto_seq, answer, index }) = self.next_unsaved(slot) {
            let agent = self.catalog.entry(slot).map_or(NameId::NONE, |entry| entry.agent);
            let part = RunPart::Answers(self.runs.span(slot, upto_seq));
            match self.append_answer(slot, run, agent, part, &answer) {
                Ok(()) => {
                    let answering = self.runs.answering(slot, run).expect("appending ends nothing");
                    answering.unsaved.pop_front();
                    answering.uncommitted.push_back(index);
                }
                Err(Stop::Refuse(Refusal::LogPoisoned)) => return self.abandon(slot, out),
                Err(Stop::Refuse(Refusal::MessageTooLarge { .. })) => {
                    let answering = self.runs.answering(slot, run).expect("a refusal ends nothing");
                    answering.unsaved.pop_front();
                    out.push(Output::StopCall { session: self.id_of(slot), run, voice: 0 });
                    self.runs.end_call(slot, Ending::Failed("answer_too_large", "the message is too large".to_owned()));
                }
                Err(_) => return self.runs.set_timer(slot, Some(self.now.mono_us + super::dispatch::AGAIN_US)),
            }
        }
        self.end_if_saved(slot, out);
    }

    fn next_unsaved(&self, slot: Slot) -> Option<SaveStep> {
        let Phase::Calling(answering) = &self.runs.of(slot)?.phase else { return None };
        let (answer, index) = answering.unsaved.front()?;
        let (run, upto_seq) = (answering.attempt.run, answering.upto_seq);
        Some(SaveStep { run, upto_seq, answer: answer.clone(), index: *index })
    }

    /// Appends a message of `run` by `sender`, the session's agent or a member of it.
    pub(super) fn append_answer(
        &mut self,
        slot: Slot,
        run: RunId,
        sender: NameId,
        part: RunPart,
        answer: &Answer,
    ) -> Result<(), Stop> {
        if !self.commits.has_room() {
            return Err(Refusal::Overloaded.into());
        }
        let session = self.id_of(slot);
        self.writable(session)?;
        let seq = self.log.last_seq(slot) + 1;
        let random = self.runs.draw_wide(self.seed);
        let json = MessageParts {
            id: MessageId::from_parts(self.now.unix_us / 1000, random),
            session,
            seq,
            sender_id: self.catalog.names.id(sender),
            kind: "assistant",
            content: &answer.content,
            metadata: &answer.metadata,
            inserted_at_us: self.now.unix_us,
        }
        .render();
        let bytes = json.as_str().len();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(Refusal::MessageTooLarge { bytes, bytes_max: MESSAGE_BYTES_MAX }.into());
        }
        let lsn = self.append_answer_record(slot, seq, sender, part, &json)?;
        let time_us = self.now.unix_us;
        let (run, echo, spoken) = (MessageRun::Answers(run), false, None);
        let effect = Effect::Message { slot, seq, json, sender, own: false, time_us, run, echo, spoken };
        let from = self.nobody();
        self.counters.appended_total += 1;
        self.runs.totals.messages += 1;
        self.commits.push(lsn, from, effect);
        Ok(())
    }

    fn append_answer_record(
        &mut self,
        slot: Slot,
        seq: u64,
        sender: NameId,
        run: RunPart,
        json: &Json,
    ) -> Result<Lsn, Stop> {
        let entry = self.catalog.entry(slot).expect("a writable session has an entry");
        let own_total = entry.own_total + self.commits.of(slot).own;
        // A member is never the user, whatever its name: what it says is unread.
        let is_agent = sender == entry.agent;
        let sender = if is_agent { Sender::Agent } else { Sender::Other(self.catalog.names.id(sender)) };
        let meta = MessageMeta { sender, own_total, keyed: None, run };
        self.scratch.clear();
        meta.encode(&mut self.scratch);
        let record = NewRecord {
            kind: Kind(kind::MESSAGE),
            flags: meta.flags(),
            key: Key(self.id_of(slot).to_u128()),
            seq,
            time_us: self.now.unix_us,
            meta: &self.scratch,
            payload: &[json.as_str().as_bytes()],
        };
        Ok(self.log.append(record)?.lsn)
    }

    /// A message of a run is committed, and everybody was told of it.
    pub(super) fn answer_committed(&mut self, slot: Slot, run: RunId, seq: u64, out: &mut Out<M>) {
        if self.runs.team(slot, run).is_some() {
            return self.team_message_committed(slot, seq, out);
        }
        let Some(answering) = self.runs.answering(slot, run) else { return };
        answering.last_seq = seq;
        if let Some(index) = answering.uncommitted.pop_front() {
            let let_go = answering.forget_below(index);
            if answering.chunks.is_empty() {
                answering.first_chunk = None;
            }
            self.runs.chunks_bytes -= let_go;
        }
        self.end_if_saved(slot, out);
    }

    fn end_if_saved(&mut self, slot: Slot, out: &mut Out<M>) {
        let Some(Phase::Calling(answering)) = self.runs.of(slot).map(|run| &run.phase) else { return };
        let Some(ending) = answering.ending.clone().filter(|_| answering.is_saved()) else { return };
        let (attempt, upto_seq, last_seq) = (answering.attempt, answering.upto_seq, answering.last_seq);
        if last_seq == 0 {
            return self.close(slot, ending, out);
        }
        self.end_run(slot, attempt, upto_seq, ending, Some(last_seq), out);
    }

    fn report(&mut self, slot: Slot, run: RunId, voice: u16, attempt: u32, end: &CallEnd) {
        let (chunks, dropped) = match self.runs.answering(slot, run) {
            Some(answering) => (answering.next_index(), answering.lines_dropped),
            None => (end.lines, 0), // it was stopped, and all that it had said is saved
        };
        let is_compaction = matches!(self.runs.of(slot).map(|run| &run.phase), Some(Phase::Compacting(..)));
        let failure = self.why_it_failed(slot, run, voice, end);
        let report = CallReport {
            session: self.id_of(slot),
            run,
            voice,
            attempt,
            kind: if is_compaction { CallKind::Compaction } else { CallKind::Answer },
            ended_at_us: self.now.unix_us,
            duration_us: end.duration_us,
            first_line_us: end.first_line_us,
            status: end.status,
            chunks,
            lines_dropped: end.lines_dropped + dropped,
            failure,
        };
        let agent = self.catalog.entry(slot).map_or(NameId::NONE, |entry| entry.agent);
        self.reports.push(agent, report);
    }

    /// What a report says of a call: why it was ended here, or how it ended.
    fn why_it_failed(&mut self, slot: Slot, run: RunId, voice: u16, end: &CallEnd) -> Option<(&'static str, String)> {
        if let Some(early) = self.runs.ended_early.remove(&(run, voice)) {
            return Some(early);
        }
        if let Some(failure) = &end.failure {
            return Some((failure.reason, failure.detail.clone()));
        }
        let answering = self.runs.answering(slot, run).filter(|answering| !answering.is_complete())?;
        Some(if answering.has_spoken() { INCOMPLETE } else { EMPTY })
            .map(|(reason, detail)| (reason, detail.to_owned()))
    }

    /// Ends the session's run for everybody and keeps what was produced.
    pub(super) fn stop_run(
        &mut self,
        from: Caller,
        session: SessionId,
        wanted: Option<RunId>,
        identity: Option<&str>,
        out: &mut Out<M>,
    ) -> Result<Outcome, Stop> {
        let slot = self.readable(session)?;
        self.check_participant(slot, identity)?;
        let run = self.runs.of(slot).ok_or(Refusal::RunNotFound)?;
        let (attempt, upto_seq, is_called) = match &run.phase {
            Phase::Calling(answering) if answering.ending.is_none() => {
                (Some(answering.attempt), answering.upto_seq, true)
            }
            Phase::Compacting(attempt, _) => (Some(*attempt), run.target_seq, true),
            Phase::Preparing(Some(attempt)) | Phase::Retrying(attempt) => (Some(*attempt), run.target_seq, false),
            Phase::Waiting | Phase::Preparing(None) => (None, run.target_seq, false),
            Phase::Team(team) if team.ending.is_none() => (Some(team.attempt), team.upto_seq, false),
            Phase::Calling(_) | Phase::Team(_) | Phase::Closing(_) | Phase::Recovered(_) => {
                return Err(Refusal::RunNotFound.into());
            }
        };
        if wanted.is_some_and(|wanted| attempt.is_none_or(|attempt| attempt.run != wanted)) {
            return Err(Refusal::RunNotFound.into());
        }
        if is_called && let Some(attempt) = attempt {
            out.push(Output::StopCall { session, run: attempt.run, voice: 0 });
        }
        let attempt = attempt.unwrap_or_else(|| self.new_attempt(self.now));
        match self.runs.of(slot).map(|run| &run.phase) {
            Some(Phase::Team(_)) => self.stop_team(slot, Ending::Stopped, out),
            Some(Phase::Calling(_)) => self.cut_off(slot, attempt.run, Ending::Stopped, out),
            _ => {
                self.runs.enter(slot, Phase::Preparing(Some(attempt))); // so that it is told under this name
                self.close(slot, Ending::Stopped, out);
            }
        }
        let event = Box::new(self.run_event(slot, attempt, upto_seq, RunStatus::Stopped { seq: None }));
        match self.commits.push_behind(from, Effect::Stopped(event)) {
            Some(Effect::Stopped(event)) => Ok(Outcome::Reply(Reply::Run(event))),
            _ => Ok(Outcome::Later),
        }
    }

    fn check_participant(&self, slot: Slot, identity: Option<&str>) -> Result<(), Stop> {
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        let names = &self.catalog.names;
        match identity.map(|id| Sender::of(id, names.id(entry.user), names.id(entry.agent))) {
            Some(Sender::Other(_)) => Err(Refusal::Unauthorized.into()),
            _ => Ok(()),
        }
    }
}

struct SaveStep {
    run: RunId,
    upto_seq: u64,
    answer: Answer,
    index: u32,
}

/// What a committed message has to do with runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageRun {
    /// Nothing.
    None,
    /// It waits for an answer.
    Owes,
    /// This run made it.
    Answers(RunId),
}

/// The stable name of an ending.
pub(super) fn text_of(ending: &Ending) -> &'static str {
    match ending {
        Ending::Finished => "finished",
        Ending::Stopped => "stopped",
        Ending::Failed(reason, _) => reason,
    }
}

/// Metadata with the run, the last message that it answers, and the numbers of the answer.
pub(super) fn named(answer: &Answer, run: RunId, upto_seq: u64, took_ms: Option<u64>) -> Json {
    let numbers = numbers(&answer.metadata, answer.usage, took_ms);
    with_fields(&answer.metadata, &format!("\"run_id\":\"{run}\",\"reply_to\":{upto_seq}{numbers}"))
}

/// An answer that was cut off says why.
pub(super) fn marked(answer: Answer, ending: &Ending) -> Answer {
    let metadata = with_fields(&answer.metadata, &format!("\"reason\":\"{}\"", text_of(ending)));
    Answer { metadata, termination: Termination::Abort, ..answer }
}

/// An object with more fields behind its own.
pub(super) fn with_fields(object: &Json, fields: &str) -> Json {
    let text = object.as_str().trim_end();
    let open = text.strip_suffix('}').expect("metadata is an object");
    let comma = if open.trim_end().ends_with('{') { "" } else { "," };
    Json::from_rendered(format!("{open}{comma}{fields}}}").into_bytes())
}
