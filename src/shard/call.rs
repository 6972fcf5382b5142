//! The words between a shard and its driver about calls of agents: what to call, and what came of it.

use crate::agent::Failure;
use crate::session::{AgentConfig, Json, RunId, SessionId};

/// A call that the driver makes, and about which it hands in [`CallEvent`]s: any number of lines, then the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// For which session.
    pub session: SessionId,
    /// The run it belongs to. One run of a session is under way at a time.
    pub run: RunId,
    /// Which voice of the run: 0 of an agent alone; the calls of a team's run are counted from 1 and each has its own.
    pub voice: u16,
    /// Which attempt of the voice, from 1.
    pub attempt: u32,
    /// What is wanted.
    pub kind: CallKind,
    /// Whom to call, and how.
    pub agent: Box<AgentConfig>,
    /// The request's body, JSON.
    pub body: Vec<u8>,
    /// Monotonic time of the first message that waits for this, microseconds.
    pub spoke_us: u64,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// An answer, streamed in chunks.
    Answer,
    /// What is to stand for a session's older messages, in one piece.
    Compaction,
}

/// What came of a call so far.
#[derive(Clone, Debug, PartialEq)]
pub enum CallEvent {
    /// Lines of a streamed answer, in order, each of them perhaps a chunk.
    Lines(Vec<String>),
    /// Nothing more will come.
    Ended(CallEnd),
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct CallEnd {
    /// Why it came to nothing, or was cut off. `None`: the agent has said everything that it wanted to say.
    pub failure: Option<Failure>,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Lines that were handed in, chunks or not.
    pub lines: u32,
    /// Lines that could not even be read as text of a bearable length.
    pub lines_dropped: u64,
    /// From the beginning of the call to this.
    pub duration_us: u64,
    /// From the beginning of the call to its first line.
    pub first_line_us: Option<u64>,
    /// Of a compaction: what was answered.
    pub body: Vec<u8>,
}

/// One call, for `GET /api/agents/:id/deliveries`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallReport {
    /// Its session.
    pub session: SessionId,
    /// Its run.
    pub run: RunId,
    /// Its voice, see [`Call::voice`].
    pub voice: u16,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// What it was for.
    pub kind: CallKind,
    /// When it ended, microseconds since 1970.
    pub ended_at_us: u64,
    /// From its beginning to its end.
    pub duration_us: u64,
    /// From its beginning to its first line.
    pub first_line_us: Option<u64>,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Chunks that were shown.
    pub chunks: u32,
    /// Lines that were no chunks.
    pub lines_dropped: u64,
    /// Name and sentence of the failure.
    pub failure: Option<(&'static str, String)>,
}

/// What clients learn of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEvent {
    /// The run.
    pub run: RunId,
    /// Its agent.
    pub agent_id: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The last message that it answers.
    pub upto_seq: u64,
    /// What happened.
    pub status: RunStatus,
}

/// What happened to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// Its agent is being called for the first time.
    Started,
    /// The call failed; there will be another.
    Retrying {
        /// A stable name.
        reason: &'static str,
        /// Milliseconds until then.
        retry_in_ms: u64,
    },
    /// It has answered: its last message stands.
    Finished {
        /// That message.
        seq: u64,
    },
    /// Somebody stopped it.
    Stopped {
        /// Its last message, if it had produced anything.
        seq: Option<u64>,
    },
    /// It will not answer, or not go on.
    Failed {
        /// A stable name.
        reason: &'static str,
        /// One sentence for people.
        detail: String,
        /// The message that keeps what it had produced, if anything.
        seq: Option<u64>,
    },
}

/// Which chunks of a running answer a joining client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// All.
    All,
    /// It has those of this run below this index. Of another run it has none.
    From {
        /// The run.
        run: RunId,
        /// The first that it has not.
        index: u32,
    },
}

/// A running answer, for a client that joins in the middle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Chunks of runs before this one, and of this one below `next_index`, are old: the client has them or must not have them.
    pub run: RunId,
    /// The next chunk of `run` has this index.
    pub next_index: u32,
    /// What is running. `None`: nothing.
    pub running: Option<Running>,
    /// The client wants to know.
    pub asked: bool,
}

/// See [`Resumed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Who answers.
    pub agent_id: String,
    /// `waiting`, `calling` or `answering`.
    pub state: &'static str,
    /// The index of the first of `chunks`; of the next chunk when there are none.
    pub first_index: u32,
    /// What the client has not seen, ascending. Of a team whose members speak at once the indexes have holes: what is not there belongs to a
    /// message that is stored.
    pub chunks: Vec<RunningChunk>,
}

/// A chunk of a running answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningChunk {
    /// Which of its run.
    pub index: u32,
    /// Who has said it.
    pub agent_id: String,
    /// What the agent has sent.
    pub chunk: Json,
}

/// What runs came to since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTotals {
    /// Runs whose agent was called.
    pub started: u64,
    /// Runs that ended with what their agent wanted to say.
    pub finished: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were stopped.
    pub stopped: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Chunks shown.
    pub chunks: u64,
    /// Messages made of them.
    pub messages: u64,
    /// Lines of answers that were no chunks.
    pub lines_dropped: u64,
    /// Answers that a crash had cut off and that were kept or begun again.
    pub recovered: u64,
    /// Sessions compacted.
    pub compactions: u64,
    /// Compactions that failed.
    pub compactions_failed: u64,
}
