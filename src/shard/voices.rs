//! The voices of a team's run: each a call of its own whose chunks are shown under its speaker's name and whose messages are appended as
//! they are complete.
//!
//! Invariants: all voices of a run share its id and one sequence of chunk indexes. A voice that ends without a message has failed, and is
//! named so once. A failure before anything was shown is the schedule's; afterwards what was shown is kept. Chunks of teams are not
//! notes: after a crash a member that has not answered is called again.
//!
//! Not here: who speaks when and what follows (`team_run`).

use super::answer::{EMPTY, INCOMPLETE, marked, named, with_fields};
use super::call::{CallEnd, CallEvent};
use super::kept::Kept;
use super::runs::{Attempt, Ending};
use super::{ChunkPlace, Out, Output, Push, Refusal, Shard, Stop};
use crate::agent::{Answer, Assembler, ChunkError, Failure, Sees, Taken, retry_in_ms, without};
use crate::limits::{RUN_CHUNK_BYTES_MAX, RUN_MESSAGES_MAX, RUNS_BYTES_MAX};
use crate::session::{AgentConfig, Json, RunId, RunPart, TeamMode, scoped};
use std::collections::VecDeque;
use storage::{Medium, Slot};

/// Microseconds after which a call is begun again for which there was no connection.
const NO_ROOM_US: u64 = 1_000_000;
/// What a message of a team says of itself ([`TeamRun::fields`]): under these names nothing of its agent's is stored.
const TEAM_FIELDS: [&str; 4] = ["team", "mode", "round", "stance"];

/// A team's run.
#[derive(Debug)]
pub(super) struct TeamRun {
    /// The run.
    pub(super) attempt: Attempt,
    /// Who answers.
    pub(super) team: Box<AgentConfig>,
    /// How; never `auto`.
    pub(super) mode: TeamMode,
    /// What is asked.
    pub(super) question: String,
    /// The last message that it answers.
    pub(super) upto_seq: u64,
    /// Those of this step.
    pub(super) voices: Vec<Voice>,
    /// How many there were.
    pub(super) voices_total: u16,
    /// The index of the next chunk.
    pub(super) next_index: u32,
    /// Chunks that no committed message covers.
    pub(super) kept: Kept,
    /// What has been said, and which turns have failed in this life.
    pub(super) turns: Vec<Turn>,
    /// The summarizer has failed.
    pub(super) no_summary: bool,
    /// Messages that are appended and not committed.
    pub(super) uncommitted: VecDeque<Uncommitted>,
    /// The last committed message, 0 before the first.
    pub(super) last_seq: u64,
    /// The last committed message of the team itself, 0 before.
    pub(super) summary_seq: u64,
    /// Why it ends early.
    pub(super) ending: Option<Ending>,
    /// The last failure of a member: name and sentence.
    pub(super) failure: Option<(&'static str, String)>,
}

/// A member's turn that is over. A turn of several messages stands there several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The member.
    pub(super) member: String,
    /// From 1.
    pub(super) round: u32,
    /// Its message; `None`: it has failed.
    pub(super) seq: Option<u64>,
}

/// Whose a message of the run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A member's, of this round.
    Member(String, u32),
    /// The team's own.
    Summary,
}

/// A message that is appended and not committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uncommitted {
    /// Whose turn it is.
    pub(super) part: Part,
    /// Its voice, 0 of what nobody was called for.
    pub(super) voice: u16,
    /// Every chunk of the voice below belongs to it or to a message before.
    pub(super) below: u32,
}

/// One call.
#[derive(Debug)]
pub(super) struct Voice {
    /// From 1, of the run.
    pub(super) number: u16,
    /// Whose turn it is.
    pub(super) part: Part,
    /// Its side in a debate.
    pub(super) stance: Option<&'static str>,
    /// What it is shown.
    pub(super) sees: Sees,
    /// Who is called.
    pub(super) agent: Box<AgentConfig>,
    /// Which attempt is next or under way, from 1.
    pub(super) attempt: u32,
    /// How far it is.
    pub(super) state: VoiceState,
    /// When it was called, monotonic.
    pub(super) began_us: u64,
    /// What it has said since its last message.
    pub(super) assembler: Assembler,
    /// Messages that are complete and not appended, each with the index behind its last chunk.
    pub(super) unsaved: VecDeque<(Answer, u32)>,
    /// Every chunk below belongs to a message that is complete.
    pub(super) covered_below: u32,
    /// Messages that are complete.
    pub(super) messages: usize,
    /// Chunks that were shown, and those of them since its last message.
    pub(super) chunks: (u32, u32),
    /// Bytes of those since its last message.
    pub(super) chunks_bytes: usize,
    /// Lines that were no chunks.
    pub(super) lines_dropped: u64,
}

/// How far a voice is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VoiceState {
    /// To be called at this time, monotonic.
    Due(u64),
    /// To be called when another call ends.
    Queued,
    /// It is being called, or speaks.
    Called,
    /// It is over, and how.
    Ended(Ending),
}

impl TeamRun {
    /// The voices that are being called.
    pub(super) fn called(&self) -> impl Iterator<Item = u16> + use<'_> {
        self.voices.iter().filter(|voice| voice.state == VoiceState::Called).map(|voice| voice.number)
    }

    /// Whether a voice waits for another call to end.
    pub(super) fn is_queued(&self) -> bool {
        self.voices.iter().any(|voice| voice.state == VoiceState::Queued)
    }

    /// Whether all voices of the step are over and everything that they have said is committed.
    pub(super) fn is_settled(&self) -> bool {
        self.uncommitted.is_empty() && self.voices.iter().all(Voice::is_saved)
    }

    /// Whether the next message to be stored is this voice's, whatever comes: a step is planned only when the one before it is settled.
    fn has_floor(&self, number: u16) -> bool {
        let is_over = |voice: &Voice| voice.number == number || voice.is_saved();
        let part = self.voices.iter().find(|voice| voice.number == number).map(|voice| &voice.part);
        self.voices.iter().all(is_over) && self.uncommitted.iter().all(|other| Some(&other.part) == part)
    }

    /// Whether a call is to be begun, or the next step to be planned.
    pub(super) fn is_due(&self, now_us: u64) -> bool {
        let is_voice_due = |voice: &Voice| match voice.state {
            VoiceState::Due(at_us) => at_us <= now_us,
            VoiceState::Queued => true,
            VoiceState::Called | VoiceState::Ended(_) => false,
        };
        (self.is_settled() && self.ending.is_none()) || self.voices.iter().any(is_voice_due)
    }

    /// The next time at which a voice is to be called.
    pub(super) fn next_due_us(&self) -> Option<u64> {
        let due = |voice: &Voice| if let VoiceState::Due(at_us) = voice.state { Some(at_us) } else { None };
        self.voices.iter().filter_map(due).min()
    }

    /// A turn is over without a message.
    fn fail(&mut self, part: &Part, ending: &Ending) {
        if let Ending::Failed(reason, detail) = ending {
            self.failure = Some((reason, detail.clone()));
        }
        match part {
            Part::Member(member, round) => {
                self.turns.push(Turn { member: member.clone(), round: *round, seq: None });
            }
            Part::Summary => self.no_summary = true,
        }
    }

    /// What its messages say of themselves besides what every answer does.
    pub(super) fn fields(&self, part: &Part, stance: Option<&str>) -> String {
        let team = serde_json::to_string(self.team.id()).expect("a string always has a JSON form");
        let mut fields = format!("\"team\":{team},\"mode\":\"{}\"", self.mode.as_str());
        if let Part::Member(_, round) = part {
            fields += &format!(",\"round\":{round}");
        }
        if let Some(stance) = stance {
            fields += &format!(",\"stance\":\"{stance}\"");
        }
        fields
    }
}

impl Voice {
    /// Who is seen to speak.
    pub(super) fn speaker<'a>(&'a self, team: &'a AgentConfig) -> &'a str {
        match &self.part {
            Part::Member(member, _) => member,
            Part::Summary => team.id(),
        }
    }

    fn is_saved(&self) -> bool {
        matches!(self.state, VoiceState::Ended(_)) && self.unsaved.is_empty()
    }
}

/// What a line came to.
enum Heard {
    GoesOn,
    Ends(&'static str, String),
}

impl<M: Medium> Shard<M> {
    /// Something came of a voice's call.
    pub(super) fn voice_called(
        &mut self,
        slot: Slot,
        run: RunId,
        number: u16,
        attempt: u32,
        event: CallEvent,
        out: &mut Out<M>,
    ) {
        match event {
            CallEvent::Lines(lines) => {
                for line in &lines {
                    match self.runs.voice(slot, run, number) {
                        Some(voice) if voice.state == VoiceState::Called && voice.attempt == attempt => {}
                        _ => return,
                    }
                    if let Heard::Ends(reason, detail) = self.voice_line(slot, run, number, line, out) {
                        out.push(Output::StopCall { session: self.id_of(slot), run, voice: number });
                        self.runs.ended_early.insert((run, number), (reason, detail.clone()));
                        self.cut_voice(slot, run, number, Ending::Failed(reason, detail), out);
                        self.save_voices(slot, out);
                    }
                }
            }
            CallEvent::Ended(end) => self.voice_ended(slot, run, number, attempt, &end, out),
        }
    }

    fn voice_line(&mut self, slot: Slot, run: RunId, number: u16, line: &str, out: &mut Out<M>) -> Heard {
        let voice = self.runs.voice(slot, run, number).expect("the caller has looked");
        let chunk = Json::parse(line).ok().filter(Json::is_object);
        let taken = match chunk.as_ref().map(|chunk| voice.assembler.push(chunk)) {
            Some(Ok(taken)) => taken,
            Some(Err(ChunkError::TooLarge { .. })) => {
                return Heard::Ends("answer_too_large", "the answer is over its bound".to_owned());
            }
            Some(Err(_)) | None => {
                voice.lines_dropped += 1;
                self.runs.totals.lines_dropped += 1;
                return Heard::GoesOn;
            }
        };
        self.show_voice(slot, run, number, chunk.expect("what was taken was a chunk"), out);
        match taken {
            Taken::Passed => {
                let bytes = self.runs.voice(slot, run, number).map_or(0, |voice| voice.chunks_bytes);
                let kept_bytes = self.runs.team(slot, run).map_or(0, |team| team.kept.bytes());
                if bytes.max(kept_bytes) > RUN_CHUNK_BYTES_MAX {
                    Heard::Ends("answer_too_large", "the answer's chunks are over their bound".to_owned())
                } else if self.runs.chunks_bytes > RUNS_BYTES_MAX {
                    Heard::Ends("overloaded", "too many bytes of running answers".to_owned())
                } else {
                    Heard::GoesOn
                }
            }
            Taken::Failed { text } => Heard::Ends("agent_error", text),
            Taken::Ended(answer) => {
                self.complete_voice(slot, run, number, answer);
                let messages = self.runs.voice(slot, run, number).map_or(0, |voice| voice.messages);
                self.save_voices(slot, out);
                match messages < RUN_MESSAGES_MAX {
                    true => Heard::GoesOn,
                    false => Heard::Ends("answer_too_large", "too many messages in one answer".to_owned()),
                }
            }
        }
    }

    /// Shows a chunk to everybody, now.
    fn show_voice(&mut self, slot: Slot, run: RunId, number: u16, chunk: Json, out: &mut Out<M>) {
        let Some(team) = self.runs.team(slot, run) else { return };
        let index = team.next_index;
        team.next_index += 1;
        let has_floor = team.has_floor(number);
        let Some(voice) = team.voices.iter_mut().find(|voice| voice.number == number) else { return };
        voice.chunks = (voice.chunks.0 + 1, voice.chunks.1 + 1);
        voice.chunks_bytes += chunk.as_str().len();
        let agent_id = voice.speaker(&team.team).to_owned();
        let taken = team.kept.keep(number, index, &agent_id, &chunk);
        self.runs.chunks_bytes += taken;
        self.runs.totals.chunks += 1;
        let session = self.id_of(slot);
        let place = Some(ChunkPlace { run, index, has_floor });
        out.extend(self.tails.of(&slot).iter().map(|&to| {
            let push = Push::Chunk { session, agent_id: agent_id.clone(), chunk: chunk.clone(), place };
            Output::Push { to, push }
        }));
    }

    /// A message of a voice ends: it waits to be appended.
    fn complete_voice(&mut self, slot: Slot, run: RunId, number: u16, mut answer: Answer) {
        let now_us = self.now.mono_us;
        let Some(team) = self.runs.team(slot, run) else { return };
        let Some(place) = team.voices.iter().position(|voice| voice.number == number) else { return };
        let (voice, upto_seq) = (&team.voices[place], team.upto_seq);
        let fields = team.fields(&voice.part, voice.stance);
        let took_ms = now_us.saturating_sub(voice.began_us) / 1000;
        answer.metadata = without(&answer.metadata, &TEAM_FIELDS);
        answer.metadata = with_fields(&named(&answer, run, upto_seq, Some(took_ms)), &fields);
        let (voice, below) = (&mut team.voices[place], team.next_index);
        voice.unsaved.push_back((answer, below));
        voice.covered_below = below;
        voice.messages += 1;
        (voice.chunks.1, voice.chunks_bytes) = (0, 0);
    }

    /// A voice ends before its agent has ended it: what was produced is kept, and everybody sees where it stops.
    pub(super) fn cut_voice(&mut self, slot: Slot, run: RunId, number: u16, ending: Ending, out: &mut Out<M>) {
        let Some(voice) = self.runs.voice(slot, run, number) else { return };
        if matches!(voice.state, VoiceState::Ended(_)) {
            return;
        }
        let answer = voice.assembler.abort().map(|answer| marked(answer, &ending));
        if voice.chunks.1 > 0 {
            let chunk = Json::parse(r#"{"type":"abort"}"#).expect("it is JSON");
            self.show_voice(slot, run, number, chunk, out);
        }
        if let Some(answer) = answer {
            self.complete_voice(slot, run, number, answer);
        }
        self.end_voice(slot, run, number, ending);
    }

    /// A voice is over.
    fn end_voice(&mut self, slot: Slot, run: RunId, number: u16, ending: Ending) {
        let Some(team) = self.runs.team(slot, run) else { return };
        let Some(place) = team.voices.iter().position(|voice| voice.number == number) else { return };
        let voice = &mut team.voices[place];
        let before = std::mem::replace(&mut voice.state, VoiceState::Ended(ending.clone()));
        let let_go = team.kept.forget_from(number, voice.covered_below); // of what was begun nothing comes
        if voice.messages == 0 {
            let part = voice.part.clone();
            team.fail(&part, &ending);
        }
        self.runs.chunks_bytes -= let_go;
        if before == VoiceState::Called {
            self.runs.leave_call();
        }
    }

    fn voice_ended(&mut self, slot: Slot, run: RunId, number: u16, attempt: u32, end: &CallEnd, out: &mut Out<M>) {
        self.report_voice(slot, run, number, attempt, end);
        let Some(voice) = self.runs.voice(slot, run, number) else { return };
        if voice.state != VoiceState::Called || voice.attempt != attempt {
            return; // it was ended here already
        }
        voice.lines_dropped += end.lines_dropped;
        let (has_spoken, is_complete) = (voice.chunks.0 > 0, voice.messages > 0 && voice.assembler.is_empty());
        self.runs.totals.lines_dropped += end.lines_dropped;
        match &end.failure {
            _ if is_complete => self.cut_voice(slot, run, number, Ending::Finished, out),
            Some(failure) if !has_spoken => self.retry_voice(slot, run, number, failure),
            Some(failure) => {
                self.cut_voice(slot, run, number, Ending::Failed(failure.reason, failure.detail.clone()), out);
            }
            None => {
                let (reason, detail) = if has_spoken { INCOMPLETE } else { EMPTY };
                self.cut_voice(slot, run, number, Ending::Failed(reason, detail.to_owned()), out);
            }
        }
        self.save_voices(slot, out);
    }

    /// The call came to nothing before anything was shown: another attempt, or the end of the voice. The others go on.
    fn retry_voice(&mut self, slot: Slot, run: RunId, number: u16, failure: &Failure) {
        let (random, now_us) = (self.runs.draw(self.seed), self.now.mono_us);
        let Some(attempt) = self.runs.voice(slot, run, number).map(|voice| voice.attempt) else { return };
        let (next, due_us) = match retry_in_ms(attempt, failure, random) {
            _ if failure.is_ours => (attempt, now_us + NO_ROOM_US),
            Some(ms) => (attempt + 1, now_us + ms * 1000),
            None => {
                let ending = Ending::Failed(failure.reason, failure.detail.clone());
                return self.end_voice(slot, run, number, ending);
            }
        };
        self.runs.totals.retries += u64::from(next > attempt);
        let voice = self.runs.voice(slot, run, number).expect("it was there above");
        (voice.attempt, voice.state) = (next, VoiceState::Due(due_us));
        self.runs.leave_call();
    }

    /// Appends the messages that are complete, as far as the log takes them, and goes on when the step is over.
    pub(super) fn save_voices(&mut self, slot: Slot, out: &mut Out<M>) {
        while let Some(Unsaved { run, number, part, speaker, upto_seq, answer, below }) =
            self.next_unsaved_of_voices(slot)
        {
            let sender = self.catalog.names.intern(&speaker);
            let span = self.runs.span(slot, upto_seq);
            let role = if part == Part::Summary { RunPart::Answers(span) } else { RunPart::Part(span) };
            let appended = self.append_answer(slot, run, sender, role, &answer);
            match appended {
                Ok(()) | Err(Stop::Refuse(Refusal::MessageTooLarge { .. })) => {
                    let team = self.runs.team(slot, run).expect("appending ends nothing");
                    let voice = team.voices.iter_mut().find(|voice| voice.number == number);
                    drop(voice.expect("appending ends nothing").unsaved.pop_front());
                    if appended.is_ok() {
                        team.uncommitted.push_back(Uncommitted { part, voice: number, below });
                    } else {
                        self.runs.chunks_bytes -= team.kept.forget_below(number, below);
                        self.drop_too_large(slot, run, number, out);
                    }
                }
                Err(Stop::Refuse(Refusal::LogPoisoned)) => return self.abandon(slot, out),
                Err(_) => return self.runs.set_timer(slot, Some(self.now.mono_us + super::dispatch::AGAIN_US)),
            }
        }
        self.settle_team(slot, out);
    }

    /// A message that the log does not take ends its voice.
    fn drop_too_large(&mut self, slot: Slot, run: RunId, number: u16, out: &mut Out<M>) {
        let ending = Ending::Failed("answer_too_large", "the message is too large".to_owned());
        let session = self.id_of(slot);
        let team = self.runs.team(slot, run).expect("the caller has looked");
        let voice = team.voices.iter_mut().find(|voice| voice.number == number).expect("the caller has looked");
        voice.messages -= 1;
        match voice.state {
            VoiceState::Ended(_) if voice.messages == 0 => {
                let part = voice.part.clone();
                team.fail(&part, &ending);
            }
            VoiceState::Ended(_) => {}
            _ => {
                out.push(Output::StopCall { session, run, voice: number });
                self.end_voice(slot, run, number, ending);
            }
        }
    }

    fn next_unsaved_of_voices(&mut self, slot: Slot) -> Option<Unsaved> {
        let team = self.runs.team_at(slot)?;
        let voice = team.voices.iter().find(|voice| !voice.unsaved.is_empty())?;
        let (answer, below) = voice.unsaved.front().cloned()?;
        Some(Unsaved {
            run: team.attempt.run,
            number: voice.number,
            part: voice.part.clone(),
            speaker: scoped(&team.team.namespace, voice.speaker(&team.team)).into_owned(),
            upto_seq: team.upto_seq,
            answer,
            below,
        })
    }
}

/// The next message of a team's run that is to be appended.
struct Unsaved {
    run: RunId,
    number: u16,
    part: Part,
    /// Scoped.
    speaker: String,
    upto_seq: u64,
    answer: Answer,
    /// Every chunk of the voice below belongs to it or to a message before.
    below: u32,
}
