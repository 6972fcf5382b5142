//! An append whose answer is awaited: from the shard's reply and the pushes behind it to what the caller is told.
//!
//! [`Ask`] takes in what a shard says of one message and says what to do: wait, ask again, or that it is over. Pure; the server
//! brings replies and pushes in their order and performs what it says.
//!
//! Invariants:
//! - A run answers the message when it covers its seq. Whatever is said of other runs, before it or beside it, is nobody's here.
//! - The end is told only when the answer is durable: a run tells of its end behind its last message.
//! - All text told, in its order, is the text of the answer's messages without anything between them, in the order in which they are stored,
//!   whatever was lost on the way and however many spoke at once (`telling`).
//! - After a gap nothing is guessed: the session is watched again and the shard asked how the message stands.
//!
//! Not here: deadlines, the end of a connection (a run goes on without those who asked), how a dialect writes anything.

mod telling;
#[cfg(test)]
mod tests;

use self::telling::Telling;
use super::view::{self, AskEvent};
use crate::session::{Json, RunId, SessionId};
use crate::shard::{
    AgentName, Append, Asked, ChunkPlace, Command, Push, Refusal, Reply, Resume, Resumed, RunEvent, RunStatus,
    RunningChunk, Standing,
};
use std::borrow::Cow;

/// What follows a reply or a push.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// The next push.
    Wait,
    /// This command; its reply is taken in before any push.
    Again(Command),
    /// Nothing.
    Done(Outcome),
}

/// What an ask came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The answer stands.
    Answered(Box<Answered>),
    /// The run failed, or its agent broke off.
    Failed {
        /// A stable name.
        reason: Cow<'static, str>,
        /// One sentence for people; may be empty.
        detail: String,
        /// What had been produced.
        partial: Box<Answered>,
    },
    /// Somebody stopped the run.
    Stopped(Box<Answered>),
    /// The session was deleted meanwhile.
    Closed,
    /// It was not answered in time, or it cannot be known any more. The message stands and its run goes on.
    Late,
    /// The server shuts down before the run has begun; the next start takes it up.
    Draining,
    /// The message was not appended.
    Refused(Refusal),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The session of question and answer.
    pub session: SessionId,
    /// The question's seq.
    pub user_seq: u64,
    /// Who was to answer.
    pub agent: AgentName,
    /// The answer's messages, ascending.
    pub messages: Vec<Row>,
    /// Tokens that the agent read, 0 when it did not say.
    pub input_tokens: u64,
    /// Tokens that it wrote, 0 when it did not say.
    pub output_tokens: u64,
    /// Milliseconds from the call to the end of the answer, 0 when not known.
    pub duration_ms: u64,
}

impl Answered {
    /// What the messages say, without anything between them.
    pub fn text(&self) -> String {
        self.messages.iter().map(Row::text).collect()
    }

    /// Whether the agent said what the answer has cost.
    pub fn names_tokens(&self) -> bool {
        let is_counted = |row: &Row| {
            let message = row.message();
            message.is_some_and(|message| message.has("input_tokens") || message.has("output_tokens"))
        };
        self.messages.iter().any(is_counted)
    }

    /// The answer's last message.
    pub fn last_seq(&self) -> Option<u64> {
        self.messages.last().map(|row| row.seq)
    }
}

/// A message of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its seq.
    pub seq: u64,
    /// Who wrote it.
    pub sender_id: String,
    /// The message as clients read it.
    pub json: Json,
}

impl Row {
    /// Takes over a message as a shard renders it. `None` for anything else.
    pub fn of(json: Json) -> Option<Self> {
        let message = view::Message::read(&json)?;
        let (seq, sender_id) = (message.seq, message.sender_id.into_owned());
        Some(Self { seq, sender_id, json })
    }

    /// What it says.
    pub fn text(&self) -> String {
        self.message().map(|message| message.text()).unwrap_or_default()
    }

    fn message(&self) -> Option<view::Message<'_>> {
        view::Message::read(&self.json)
    }

    fn number(&self, name: &str) -> u64 {
        self.message().map_or(0, |message| message.number(name))
    }
}

/// How a run ended.
#[derive(Debug)]
enum Ending {
    Finished,
    Stopped,
    Failed(Cow<'static, str>, String),
}

/// See the top of the file.
#[derive(Debug)]
pub struct Ask {
    /// The session that the append names, then the one that it went to.
    session: SessionId,
    /// What the shard said of the append, and the message's place. `None` before.
    asked: Option<Box<Asked>>,
    /// The run that answers, once it is known.
    run: Option<RunId>,
    /// What was told of its answer.
    telling: Telling,
    /// A message may be missing: they are read at the end.
    must_read: bool,
    /// Chunks of a running answer of which it is not known yet whether it is ours.
    held: Option<Resumed>,
    messages: Vec<Row>,
    heard_seq: u64,
    ending: Option<Ending>,
}

impl Ask {
    /// An ask, and the command that begins it.
    pub fn new(mut append: Append) -> (Self, Command) {
        append.terms.get_or_insert_default().watch = true;
        let ask = Self {
            session: append.session,
            asked: None,
            run: None,
            telling: Telling::default(),
            must_read: false,
            held: None,
            messages: Vec::new(),
            heard_seq: 0,
            ending: None,
        };
        (ask, Command::Append(Box::new(append)))
    }

    /// What the shard said of the append. `None` before it has, and when it refused.
    pub fn asked(&self) -> Option<&Asked> {
        self.asked.as_deref()
    }

    /// Whether the run has begun that answers.
    pub fn has_begun(&self) -> bool {
        self.run.is_some()
    }

    /// Takes in the reply to the last command. What there is to tell goes to `events`.
    pub fn replied(&mut self, reply: Result<Reply, Refusal>, events: &mut Vec<AskEvent>) -> Step {
        match reply {
            Ok(Reply::Asked(asked)) => self.stands(asked, events),
            Ok(Reply::Joined { page, resumed }) => {
                self.heard_seq = page.session_last_seq;
                self.held = Some(*resumed);
                self.read_answer()
            }
            Ok(Reply::Standing(standing)) => self.settle(*standing, events),
            Err(refusal) if self.asked.is_none() => Step::Done(Outcome::Refused(refusal)),
            Err(Refusal::SessionNotFound) => Step::Done(Outcome::Closed),
            // The message stands; what became of it is not to be learned now.
            Ok(_) | Err(_) => Step::Done(Outcome::Late),
        }
    }

    /// Takes in a push of the session. What there is to tell goes to `events`.
    pub fn heard(&mut self, push: &Push, events: &mut Vec<AskEvent>) -> Step {
        let Some(asked) = &self.asked else {
            self.must_read = true; // it overtook the reply: what it said is asked for behind that
            return Step::Wait;
        };
        match push {
            Push::Message { seq, json, .. } => {
                self.heard_seq = self.heard_seq.max(*seq);
                self.take_message(*seq, json, events);
                Step::Wait
            }
            Push::Chunk { agent_id, chunk, place: Some(place), .. } if self.run == Some(place.run) => {
                self.telling.chunk(agent_id, chunk, *place, events);
                Step::Wait
            }
            Push::Run { event, .. } if event.upto_seq >= asked.seq => self.take_run(event, events),
            Push::Gap { .. } => self.watch_again(),
            Push::Closed { .. } => Step::Done(Outcome::Closed),
            _ => Step::Wait,
        }
    }

    fn stands(&mut self, mut asked: Box<Asked>, events: &mut Vec<AskEvent>) -> Step {
        let standing = std::mem::replace(&mut asked.standing, Standing::Unknown);
        (self.session, self.heard_seq) = (asked.session, asked.seq);
        let is_late = asked.replayed || self.must_read;
        self.asked = Some(asked);
        match standing {
            // Of what was said before the reply nothing was heard.
            Standing::Waiting { .. } if is_late => self.watch_again(),
            standing => self.settle(standing, events),
        }
    }

    /// How the message stands decides, but for an end that was heard: that one knows more.
    fn settle(&mut self, standing: Standing, events: &mut Vec<AskEvent>) -> Step {
        match standing {
            Standing::Answered { messages } => {
                self.messages = messages.into_iter().filter_map(Row::of).collect();
                self.finish(events)
            }
            Standing::Waiting { run } if self.ending.is_none() => {
                self.take_standing_run(run, events);
                Step::Wait
            }
            Standing::Waiting { .. } => self.finish(events),
            Standing::Unanswered { partial } => {
                let rows: Vec<Row> = partial.into_iter().filter_map(Row::of).collect();
                self.ending.get_or_insert_with(|| ending_of(rows.last()));
                if !rows.is_empty() {
                    self.messages = rows;
                }
                self.finish(events)
            }
            Standing::Unknown if self.ending.is_some() => self.finish(events),
            Standing::Unknown => Step::Done(Outcome::Late),
        }
    }

    fn take_standing_run(&mut self, standing: Option<(RunId, u32)>, events: &mut Vec<AskEvent>) {
        let held = self.held.take();
        let Some((run, _)) = standing else { return };
        self.begin(run);
        // What came since the session is watched is on its way as pushes; what was there before is held.
        if let Some(Resumed { run: held, running: Some(running), .. }) = held
            && held == run
        {
            for RunningChunk { index, agent_id, chunk } in running.chunks {
                // Of a team nothing is told to who comes late.
                self.telling.chunk(&agent_id, &chunk, ChunkPlace { run, index, has_floor: true }, events);
            }
        }
    }

    /// The run that answers is this one.
    fn begin(&mut self, run: RunId) {
        if self.run != Some(run) {
            self.run = Some(run);
            self.telling.begin();
            self.messages.clear();
        }
    }

    fn take_message(&mut self, seq: u64, json: &Json, events: &mut Vec<AskEvent>) {
        let Some(run) = self.run else { return };
        let is_ours = view::Message::read(json)
            .and_then(|message| Some(RunId::parse(&message.note("run_id")?)? == run))
            .unwrap_or_default();
        if is_ours
            && self.messages.last().is_none_or(|last| last.seq < seq)
            && let Some(row) = Row::of(json.clone())
        {
            self.telling.message(&row.sender_id, &row.text(), events);
            self.messages.push(row);
        }
    }

    fn take_run(&mut self, event: &RunEvent, events: &mut Vec<AskEvent>) -> Step {
        let (ending, last_seq) = match &event.status {
            RunStatus::Started => {
                self.begin(event.run);
                return Step::Wait;
            }
            RunStatus::Retrying { .. } => return Step::Wait,
            RunStatus::Finished { seq } => (Ending::Finished, Some(*seq)),
            RunStatus::Stopped { seq } => (Ending::Stopped, *seq),
            RunStatus::Failed { reason, detail, seq } => (Ending::Failed((*reason).into(), detail.clone()), *seq),
        };
        self.ending = Some(ending);
        let is_whole = last_seq.is_none_or(|seq| self.messages.last().is_some_and(|row| row.seq == seq));
        if self.must_read || !is_whole { self.read_answer() } else { self.finish(events) }
    }

    /// Watches the session anew from where the shard is now. What was missed meanwhile is read at the end.
    fn watch_again(&mut self) -> Step {
        self.must_read = true;
        match self.asked.as_ref().is_some_and(|asked| asked.team.is_some()) {
            true => self.telling.be_silent(), // who has the floor now, may have had others before
            false => self.telling.miss_messages(),
        }
        let resume = self.run.map_or(Resume::All, |run| Resume::From { run, index: self.telling.next_index() });
        let after_seq = self.heard_seq;
        Step::Again(Command::Watch { session: self.session, after_seq, limit: 0, resume: Some(resume) })
    }

    fn read_answer(&self) -> Step {
        let seq = self.asked.as_ref().map_or(0, |asked| asked.seq);
        Step::Again(Command::ReadAnswer { session: self.session, seq })
    }

    fn finish(&mut self, events: &mut Vec<AskEvent>) -> Step {
        let answered = Box::new(self.answered());
        self.telling.end(&answered.text(), events);
        Step::Done(outcome(self.ending.take(), answered))
    }

    fn answered(&mut self) -> Answered {
        let messages = std::mem::take(&mut self.messages);
        let (user_seq, agent) = self.asked.as_ref().map(|asked| (asked.seq, asked.agent.clone())).unwrap_or_default();
        let all = |name: &'static str| messages.iter().map(move |row| row.number(name));
        Answered {
            session: self.session,
            user_seq,
            agent,
            input_tokens: all("input_tokens").sum(),
            output_tokens: all("output_tokens").sum(),
            duration_ms: all("duration_ms").max().unwrap_or(0), // each is counted from the call
            messages,
        }
    }
}

/// What was heard of the end decides; where nothing was, and of an answer that its agent broke off itself, the last message does.
fn outcome(ending: Option<Ending>, answered: Box<Answered>) -> Outcome {
    match ending {
        Some(Ending::Stopped) => Outcome::Stopped(answered),
        Some(Ending::Failed(reason, detail)) => Outcome::Failed { reason, detail, partial: answered },
        Some(Ending::Finished) | None => match answered.messages.last().and_then(broken_off) {
            None => Outcome::Answered(answered),
            Some(reason) if reason == "stopped" => Outcome::Stopped(answered),
            Some(reason) => Outcome::Failed { reason: reason.into(), detail: String::new(), partial: answered },
        },
    }
}

/// How a run ended that has answered nothing, by the last that members of a team have said in it.
fn ending_of(last: Option<&Row>) -> Ending {
    match last.and_then(broken_off) {
        Some(reason) if reason == "stopped" => Ending::Stopped,
        reason => Ending::Failed(reason.map_or("unanswered".into(), Cow::Owned), String::new()),
    }
}

/// Why an answer's last message is not whole. `None`: it is.
fn broken_off(last: &Row) -> Option<String> {
    let last = last.message()?;
    last.note("termination").filter(|termination| termination == "abort")?;
    Some(last.note("reason").map_or_else(|| "aborted".to_owned(), Cow::into_owned))
}
