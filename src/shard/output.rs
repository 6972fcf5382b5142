//! What a shard says: replies, pushes, and the disk work it wants done.

use super::{
    AgentName, Asked, Call, CallReport, Caller, Resumed, RunEvent, RunTotals, ShardHoldings, ShardId, Standing,
};
use crate::session::{BlobClaimed, DirectoryNote, Feedback, Json, KeyPut, RunId, SessionId, SessionStatus};
use std::collections::BTreeMap;

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Nothing to say but that it is done.
    Done,
    /// As much is done as one turn may take: the same command does more.
    DoneInPart,
    /// One session, as clients read it (seven keys of contract 1.4).
    Session {
        /// A JSON object.
        json: Json,
    },
    /// Sessions, newest first.
    Sessions {
        /// Id and JSON object of each.
        sessions: Vec<(SessionId, Json)>,
        /// There are more below the last.
        has_more: bool,
    },
    /// A message was appended, or is the one that an earlier append with the same key made.
    Appended {
        /// Its seq.
        seq: u64,
        /// The message as clients read it, if the caller asked for it.
        json: Option<Json>,
        /// It stood already: this was a retry.
        replayed: bool,
    },
    /// The same for an append whose caller awaits the answer ([`super::Terms::watch`]).
    Asked(Box<Asked>),
    /// How a message stands that owes an answer.
    Standing(Box<Standing>),
    /// A page of messages.
    Messages(Page),
    /// A channel may open.
    Joined {
        /// The messages above its cursor.
        page: Page,
        /// The running answer, and which of its chunks are old.
        resumed: Box<Resumed>,
    },
    /// A run was stopped.
    Run(Box<RunEvent>),
    /// Calls of an agent by the answering shard, latest first.
    Deliveries(Vec<CallReport>),
    /// Cursors by reader, sorted.
    Cursors {
        /// Reader and last seq.
        cursors: Vec<(String, u64)>,
        /// Session object beside them.
        session: Json,
        /// The session's last seq.
        last_seq: u64,
    },
    /// Entries of an inbox that live on the answering shard.
    Inbox {
        /// In any order.
        entries: Vec<InboxEntry>,
    },
    /// Sessions as rows, most recently active first.
    SessionRows {
        /// How many there are.
        total: u64,
        /// The first of them.
        rows: Vec<SessionRow>,
    },
    /// What a user has not read.
    Unread {
        /// How many messages.
        count: u64,
        /// The oldest of them, oldest first.
        rows: Vec<Row>,
        /// There was no room for those that follow, whatever the limit.
        is_cut: bool,
    },
    /// The latest messages of a user.
    TimelineKeys {
        /// How many messages there are.
        total: u64,
        /// The first of them, descending.
        keys: Vec<TimelineKey>,
    },
    /// Messages by their places, in the order asked for.
    Rows {
        /// Those that are there.
        rows: Vec<Row>,
        /// For so many places from the first it is decided whether they are; a page had no room for the rest.
        decided: usize,
    },
    /// Ratings of a session, by message and rater.
    Ratings(Vec<RatingRow>),
    /// Agents by the ids asked for, `None` for one that is not there.
    AgentNames(Vec<Option<AgentName>>),
    /// One agent, as clients read it.
    Agent {
        /// A JSON object.
        json: Json,
    },
    /// Agents sorted by name.
    Agents {
        /// JSON objects.
        agents: Vec<Json>,
    },
    /// A file that a session claims.
    Blob(Box<BlobClaimed>),
    /// SHA-256 of every file that a session of the shard claims.
    Claims(Vec<[u8; 32]>),
    /// Whom a message is for.
    Routed {
        /// Whom its words clearly call for.
        agent: Option<AgentName>,
        /// Who is there for what is for nobody else.
        fallback: Option<AgentName>,
    },
    /// One API key.
    Key(Box<KeyPut>),
    /// API keys, oldest first.
    Keys(Vec<KeyPut>),
    /// The shard's status.
    Status(Box<ShardStatus>),
    /// The shard's part of the data folder.
    Holdings(Box<ShardHoldings>),
}

/// Messages in ascending order, ready to be spliced into a response.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Page {
    /// `room` bytes for what a reader puts before them, then the messages as clients read them, joined by commas, without
    /// brackets. UTF-8.
    pub text: Vec<u8>,
    /// Bytes at the beginning of `text` that are none of it.
    pub room: usize,
    /// How many.
    pub count: usize,
    /// Seq of the first, 0 when empty.
    pub first_seq: u64,
    /// Seq of the last, 0 when empty.
    pub last_seq: u64,
    /// There are more in the direction of reading.
    pub has_more: bool,
    /// The session's last committed seq. For a join: pushes start right above it.
    pub session_last_seq: u64,
}

impl Page {
    /// The messages alone, as in `text`.
    pub fn into_messages(self) -> Vec<u8> {
        let Self { mut text, room, .. } = self;
        text.drain(..room);
        text
    }
}

/// One session in its user's inbox (contract 5, corrected: unread = messages by others above the user's cursor).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxEntry {
    /// The session.
    pub session: SessionId,
    /// Its agent.
    pub agent_id: String,
    /// Messages by others with a seq above the user's cursor.
    pub unread_count: u64,
    /// Time of the last message, microseconds since 1970; `None` before the first.
    pub last_activity_us: Option<u64>,
    /// Sender of the last message.
    pub last_sender_id: Option<String>,
    /// The last message.
    pub last_seq: u64,
    /// Archived or deleted: the entry leaves the inbox.
    pub gone: bool,
    /// Up to where in its owner's log this account goes: of two accounts of one session the greater is right.
    pub as_of: u64,
}

/// One session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// Its user.
    pub user_id: String,
    /// Its agent.
    pub agent_id: String,
    /// Its status.
    pub status: SessionStatus,
    /// What people call it, if anything.
    pub title: Option<String>,
    /// Its creation, microseconds since 1970.
    pub created_us: u64,
    /// Its last change or message, microseconds since 1970.
    pub updated_us: u64,
    /// By what lists are ordered: its last message; before the first its creation, as far as its id tells.
    pub active_us: u64,
    /// Its messages.
    pub messages: u64,
    /// Messages by others above its user's cursor.
    pub unread: u64,
}

/// The place of a message in its user's timeline. Ordered as timelines are, but upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimelineKey {
    /// Its time, microseconds since 1970; never above that of the message behind it in its session.
    pub time_us: u64,
    /// Its session.
    pub session: SessionId,
    /// Its seq.
    pub seq: u64,
}

/// A message and who speaks in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its session.
    pub session: SessionId,
    /// Its seq.
    pub seq: u64,
    /// When it was appended, microseconds since 1970.
    pub time_us: u64,
    /// An agent wrote it, or a run made it.
    pub by_agent: bool,
    /// The agent that wrote it; of what nobody's agent wrote, the session's.
    pub agent: AgentName,
    /// The message as clients read it.
    pub json: Json,
}

/// A rating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatingRow {
    /// Of what, by whom, how.
    pub feedback: Feedback,
    /// When, microseconds since 1970.
    pub time_us: u64,
}

/// Why a command was refused. `api::error` gives each its status, channel reason and text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such session.
    #[error("session not found")]
    SessionNotFound,
    /// No such agent.
    #[error("agent not found")]
    AgentNotFound,
    /// The id is taken.
    #[error("session id already exists")]
    SessionExists,
    /// Neither the session's user nor its agent.
    #[error("not a participant of the session")]
    Unauthorized,
    /// Fields that broke a rule, with their messages (contract 1.3).
    #[error("invalid fields")]
    InvalidFields(BTreeMap<String, Vec<String>>),
    /// `expected_seq` does not hold.
    #[error("the session is at seq {current}")]
    SeqConflict {
        /// The session's last seq.
        current: u64,
    },
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used with another request")]
    IdempotencyMismatch,
    /// The message is over its bound.
    #[error("the message has {bytes} bytes, {bytes_max} are allowed")]
    MessageTooLarge {
        /// Its size as stored.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// A table is at its bound.
    #[error("{what} is full ({max})")]
    Full {
        /// Which.
        what: &'static str,
        /// Its bound.
        max: usize,
    },
    /// Too much is waiting; retry. Also: the mailbox to the owner is full.
    #[error("overloaded, retry")]
    Overloaded,
    /// The disk has no room for another segment; reads go on, appends can be retried when there is room.
    #[error("the disk is full")]
    DiskFull,
    /// A sync of this shard's log failed; it takes no more appends until the server is restarted.
    #[error("the log is poisoned: a sync failed")]
    LogPoisoned,
    /// No such run, or it has ended.
    #[error("run not found")]
    RunNotFound,
    /// A record of this session does not verify.
    #[error("corrupt: {file} at offset {offset}")]
    Corrupt {
        /// The file.
        file: String,
        /// Bytes from its start.
        offset: u64,
    },
    /// The agent that was to answer is there but takes no work.
    #[error("the agent is disabled")]
    AgentDisabled,
    /// The session takes nothing more: it is archived, or its agent is gone or disabled.
    #[error("the session is inactive")]
    SessionInactive,
    /// The session belongs to another namespace than the caller. Most dialects answer as if it were not there.
    #[error("the session is in another namespace")]
    OtherNamespace,
    /// The caller's rights do not reach so far.
    #[error("forbidden")]
    Forbidden,
    /// The session has no message with this seq.
    #[error("message not found")]
    MessageNotFound,
    /// The message is there, but no agent wrote it.
    #[error("the message is no answer")]
    NotAnAnswer,
    /// The session claims no such file.
    #[error("blob not found")]
    BlobNotFound,
    /// No member of the team is left that could answer.
    #[error("the team has no enabled member")]
    TeamEmpty,
    /// No such API key.
    #[error("key not found")]
    KeyNotFound,
}

/// An event for everybody on a topic, sent once per subscribed shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// A message was committed.
    Message {
        /// Its session.
        session: SessionId,
        /// Its seq.
        seq: u64,
        /// The message as clients read it.
        json: Json,
    },
    /// A live piece of an answer.
    Chunk {
        /// Its session.
        session: SessionId,
        /// Its agent.
        agent_id: String,
        /// Verbatim.
        chunk: Json,
        /// Its place in the run that produced it; `None` for what an agent sends over its own socket.
        place: Option<ChunkPlace>,
    },
    /// A run began, will be tried again, or has ended.
    Run {
        /// Its session.
        session: SessionId,
        /// What happened.
        event: Box<RunEvent>,
    },
    /// An entry of a user's inbox changed.
    Inbox {
        /// The user, scoped ([`crate::session::Namespace::scoped`]).
        user: String,
        /// The entry as it is now.
        entry: InboxEntry,
    },
    /// The session was deleted: its channels close.
    Closed {
        /// The session.
        session: SessionId,
    },
    /// Pushes on this session were dropped because the subscribed shard's mailbox was full: its channels must rejoin.
    Gap {
        /// The session.
        session: SessionId,
    },
    /// Pushes of this inbox were dropped: its channels must rejoin.
    InboxGap {
        /// The user, scoped.
        user: String,
    },
}

/// Where a chunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Its run.
    pub run: RunId,
    /// Which chunk of it, from 0.
    pub index: u32,
    /// Of the messages of its run that are still to come, the one that it belongs to is the next to be stored: nobody else of a team speaks,
    /// or is about to, and all that the others have said is committed.
    pub has_floor: bool,
}

/// What an operator wants to know of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ShardStatus {
    /// Sessions that exist.
    pub sessions: u64,
    /// Messages appended since start.
    pub appended_total: u64,
    /// Appends that were answered from an earlier one with the same key.
    pub replayed_total: u64,
    /// Messages read in pages and joins since start.
    pub read_messages_total: u64,
    /// Commands waiting for their commit.
    pub pending_commits: u64,
    /// Runs that wait, are being called or are answering.
    pub runs_open: u64,
    /// Calls under way.
    pub calls_open: u64,
    /// Bytes of the chunks of running answers.
    pub runs_bytes: u64,
    /// What runs came to since start.
    pub runs: RunTotals,
    /// Subscriptions of shards to sessions.
    pub subscriptions: u64,
    /// Bytes of memory of the table of sessions, the log's own index aside.
    pub catalog_bytes: u64,
    /// Bytes of the log that hold records.
    pub log_bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// The log takes no more appends.
    pub poisoned: bool,
    /// The last preparation of a segment failed for want of room.
    pub disk_full: bool,
    /// Records that did not verify, by name, for the health page.
    pub corrupt: Vec<String>,
}

/// What the driver must do, in order.
#[derive(Debug)]
pub enum Output<S, W> {
    /// Answer a caller.
    Reply {
        /// Whom.
        to: Caller,
        /// What.
        reply: Result<Reply, Refusal>,
    },
    /// Bring an event to a subscribed shard (this one among them).
    Push {
        /// Where.
        to: ShardId,
        /// What.
        push: Push,
    },
    /// Tell every shard of what the directory keeps ([`super::Command::Learn`]); answer when all of them know.
    Spread {
        /// Whom to answer.
        to: Caller,
        /// What.
        reply: Reply,
        /// What is new.
        note: Box<DirectoryNote>,
    },
    /// Make a call; what comes of it is handed in as [`Input::Called`](super::Input).
    Call(Box<Call>),
    /// End a call; what it still says is not heard.
    StopCall {
        /// Its session.
        session: SessionId,
        /// Its run.
        run: RunId,
        /// Its voice.
        voice: u16,
    },
    /// Perform a sync and hand it back as [`Input::Synced`](super::Input).
    Sync(S),
    /// Perform blocking disk work away from the shard's thread and hand it back as `Input::Worked`.
    Work(W),
}
