//! What a shard is told: commands, finished disk work, time.

use super::{Access, BlobCommand, CallEvent, Resume, ShardId, Terms};
use crate::session::{DirectoryNote, Feedback, Json, KeyId, KeyPut, MessageId, RunId, SessionId};
use compact_str::CompactString;

/// The time of a turn, read once by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, microseconds since 1970-01-01T00:00:00Z. Stamped on records.
    pub unix_us: u64,
    /// Monotonic clock, microseconds since an arbitrary start. For intervals.
    pub mono_us: u64,
}

/// Who is to be answered: a place on a shard. The token is the driver's and opaque here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The shard whose connection asks.
    pub shard: ShardId,
    /// The driver's name for the request on that shard.
    pub token: u64,
}

impl Caller {
    /// The token of nobody: the shard's own commands are answered to it, and the driver lets the answer fall.
    pub const NOBODY: u64 = u64::MAX;
}

/// Who wrote a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// `user_id` of the request.
    User(CompactString),
    /// `agent_id` of the request.
    Agent(CompactString),
    /// The identity of a socket, which is a user's or an agent's.
    Identity(CompactString),
    /// Whoever the session's user is: the shard knows, the caller does not.
    SessionUser,
}

impl Author {
    /// The id that stands in `sender_id`. Empty for the session's user, whom the shard puts there.
    pub fn id(&self) -> &str {
        match self {
            Self::User(id) | Self::Agent(id) | Self::Identity(id) => id,
            Self::SessionUser => "",
        }
    }
}

/// A message to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The session to append to.
    pub session: SessionId,
    /// The id that the message will have, unless this is a retry.
    pub message: MessageId,
    /// Who wrote it.
    pub author: Author,
    /// Free text such as `text`, `assistant`, `tool_call`.
    pub kind: CompactString,
    /// A JSON object.
    pub content: Json,
    /// A JSON object.
    pub metadata: Json,
    /// The caller's key: a second append by the same author with the same key returns the first result.
    pub idempotency_key: Option<CompactString>,
    /// The append is refused unless the session's last seq is this.
    pub expected_seq: Option<u64>,
    /// Only the session's user or agent may write (channels); REST callers may be anybody.
    pub participants_only: bool,
    /// The reply holds the message (REST answers with it); a channel has enough with its seq.
    pub echo: bool,
    /// What the caller wants besides: a session made, an answer awaited. `None`: nothing.
    pub terms: Option<Box<Terms>>,
}

/// Where a page of messages starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFrom {
    /// Ascending from the first message with a greater seq.
    After(u64),
    /// The messages just below this seq, given in ascending order. `u64::MAX`: the newest.
    Before(u64),
}

/// What the registration of an agent holds. Defaults and rules: `session::agent_config`.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentCommand {
    /// All, sorted by name; `Some(true)` the enabled ones only, `Some(false)` the disabled ones.
    List {
        /// The filter.
        enabled: Option<bool>,
    },
    /// One.
    Read {
        /// Its id.
        id: String,
    },
    /// A new one from the caller's JSON object (the value of `agent`).
    Create {
        /// The caller's object.
        fields: Json,
    },
    /// Changes the fields that the caller's object names.
    Update {
        /// Its present id.
        id: String,
        /// The caller's object.
        fields: Json,
    },
    /// Sets `status` to `disabled`; the registration stays.
    Disable {
        /// Its id.
        id: String,
    },
}

/// What is asked of the list of API keys.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyCommand {
    /// All, oldest first, revoked ones included.
    List,
    /// A new one.
    Create(Box<KeyPut>),
    /// Opens nothing any more. Repeatable.
    Revoke {
        /// Which.
        id: KeyId,
    },
}

/// What a shard is asked to do. Each is answered exactly once by an [`super::Output::Reply`], unless it says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Creates a session. The api chose the id; the owner is `owner_of_session(id)`.
    CreateSession {
        /// Its id.
        id: SessionId,
        /// Its user.
        user_id: String,
        /// Its agent, registered or not (contract 1.4).
        agent_id: String,
        /// What people call it.
        title: Option<String>,
        /// A JSON object.
        metadata: Json,
    },
    /// Reads one session.
    ReadSession {
        /// Its id.
        id: SessionId,
    },
    /// This shard's sessions, newest id first, archived ones included.
    ListSessions {
        /// Only this user's.
        user_id: Option<String>,
        /// Only ids below this one (a page's last id).
        before: Option<SessionId>,
        /// At most this many.
        limit: usize,
    },
    /// Gives a session another title. Answered by [`super::Reply::Session`].
    RenameSession {
        /// Its id.
        id: SessionId,
        /// The title.
        title: String,
    },
    /// This shard's sessions as rows, most recently active first: its first `offset + limit`, so that whoever merges the shards' rows
    /// can cut. Beyond [`crate::limits::SESSION_ROWS_MAX`] none, and the total. Answered by [`super::Reply::SessionRows`].
    ListRows {
        /// Only this user's.
        user_id: Option<String>,
        /// Only those with this agent.
        agent_id: Option<String>,
        /// Only this one, which is not found if it is not theirs.
        session: Option<SessionId>,
        /// At most this many,
        limit: usize,
        /// behind so many.
        offset: usize,
    },
    /// A user's oldest unread messages in its active sessions on this shard. Answered by [`super::Reply::Unread`].
    ReadUnread {
        /// The user.
        user_id: String,
        /// Only from sessions with this agent.
        agent_id: Option<String>,
        /// At most this many.
        limit: usize,
    },
    /// Moves a user's cursor to the end of each of its sessions on this shard, of as many as one turn may: then the answer is
    /// [`super::Reply::DoneInPart`]. Repeatable; refused as a whole when it has no room.
    MarkAllRead {
        /// The user.
        user_id: String,
        /// Only in sessions with this agent.
        agent_id: Option<String>,
        /// Only in this one, which is not found if it is not theirs,
        session: Option<SessionId>,
        /// and there only up to this message.
        upto: Option<u64>,
    },
    /// The keys of a user's messages in its sessions on this shard, latest first. Beyond [`crate::limits::TIMELINE_ROWS_MAX`] none, and
    /// the total. Answered by [`super::Reply::TimelineKeys`].
    TimelineKeys {
        /// The user.
        user_id: String,
        /// Only from sessions with this agent.
        agent_id: Option<String>,
        /// Only from this one, which is not found if it is not theirs.
        session: Option<SessionId>,
        /// The first so many.
        upto: usize,
    },
    /// Messages by their places. Answered by [`super::Reply::Rows`].
    ReadRows {
        /// Session and seq of each, at most [`crate::limits::CHAT_ROWS_MAX`].
        places: Vec<(SessionId, u64)>,
    },
    /// Rates an answer, over the rater's last rating of it.
    Rate {
        /// The session.
        session: SessionId,
        /// Which message, who, how.
        feedback: Feedback,
    },
    /// All ratings of a session. Answered by [`super::Reply::Ratings`].
    ReadRatings {
        /// The session.
        session: SessionId,
    },
    /// Which of these ids are agents, enabled or not. Answered by [`super::Reply::AgentNames`].
    DescribeAgents {
        /// The ids.
        ids: Vec<String>,
    },
    /// Sets `status` to `archived`. Repeatable.
    ArchiveSession {
        /// Its id.
        id: SessionId,
    },
    /// Deletes a session and its messages for good; its topic is closed.
    DeleteSession {
        /// Its id.
        id: SessionId,
    },
    /// Appends a message.
    Append(Box<Append>),
    /// Reads a page of messages.
    ReadMessages {
        /// The session.
        session: SessionId,
        /// Where.
        from: PageFrom,
        /// At most this many.
        limit: usize,
    },
    /// Moves a read cursor forward (a lower value changes nothing). Beyond the last seq it is set to the last seq.
    MarkRead {
        /// The session.
        session: SessionId,
        /// The reader, anybody (contract 1.5).
        user_id: String,
        /// The last seq that the reader has processed.
        last_seq: u64,
    },
    /// Reads all cursors of a session.
    ReadCursors {
        /// The session.
        session: SessionId,
    },
    /// Reads a page and subscribes the caller's shard to the session, in one step: every message committed later is
    /// pushed to that shard behind this reply.
    Join {
        /// The session.
        session: SessionId,
        /// The socket's identity; must be the session's user or agent.
        identity: String,
        /// Messages above this are in the reply.
        after_seq: u64,
        /// At most this many.
        limit: usize,
        /// The chunks of a running answer are wanted too.
        resume: Option<Resume>,
    },
    /// [`Command::Join`] by nobody in particular: whoever may see the session may watch it. Answered by
    /// [`super::Reply::Joined`].
    Watch {
        /// The session.
        session: SessionId,
        /// Messages above this are in the reply.
        after_seq: u64,
        /// At most this many.
        limit: usize,
        /// The chunks of a running answer are wanted too.
        resume: Option<Resume>,
    },
    /// How a message stands that owes an answer. Answered by [`super::Reply::Standing`].
    ReadAnswer {
        /// The session.
        session: SessionId,
        /// The message.
        seq: u64,
    },
    /// The caller's shard has no more channel on the session. Not answered.
    Unsubscribe {
        /// The session.
        session: SessionId,
        /// The shard that leaves.
        shard: ShardId,
    },
    /// A live piece of an answer for everybody on the session. Not stored. Refused unless `agent_id` is the session's
    /// agent.
    Chunk {
        /// The session.
        session: SessionId,
        /// The session's agent, which is the sender.
        agent_id: String,
        /// A JSON object, passed on verbatim.
        chunk: Json,
    },
    /// This shard's entries of a user's inbox; from now on every change of one is pushed to the caller's shard.
    WatchInbox {
        /// The user.
        user_id: String,
    },
    /// The caller's shard has no more channel on the inbox. Not answered.
    UnwatchInbox {
        /// The user, scoped ([`crate::session::Namespace::scoped`]).
        user: String,
        /// The shard that leaves.
        shard: ShardId,
    },
    /// The directory of agents. Only for [`super::DIRECTORY_SHARD`].
    Agents(AgentCommand),
    /// The API keys. Only for [`super::DIRECTORY_SHARD`].
    Keys(KeyCommand),
    /// What the directory's shard keeps, from there.
    Learn {
        /// In the order in which they were made.
        notes: Vec<DirectoryNote>,
        /// These are all that there are.
        complete: bool,
    },
    /// Whom a message is for that names nobody, as the shard that is asked knows the agents. Answered by
    /// [`super::Reply::Routed`].
    Route {
        /// What it says.
        message: String,
        /// Who says it.
        user_id: String,
        /// With whom he spoke last, if that is known.
        recent: Option<String>,
    },
    /// Ends the session's run for everybody; what was produced is kept.
    StopRun {
        /// The session.
        session: SessionId,
        /// Which run; `None`: whichever it is.
        run: Option<RunId>,
        /// Only the session's user or agent may (channels); REST callers may be anybody.
        identity: Option<String>,
    },
    /// The last calls of an agent by this shard.
    ReadDeliveries {
        /// The agent.
        agent_id: String,
    },
    /// What a session does with its files.
    Blob {
        /// The session.
        session: SessionId,
        /// What.
        command: BlobCommand,
    },
    /// The server's own: every file that a session of this shard claims.
    ListClaims,
    /// The shard's own: the session's run is due. Not answered.
    Dispatch {
        /// The session.
        session: SessionId,
    },
    /// Counters and gauges of the shard.
    ReadStatus,
    /// The shard's part of the data folder: asked for by the server once it has made sure that the caller may see it.
    ReadHoldings {
        /// Segments with a number below this only.
        before: u32,
        /// So many segments at the most.
        limit: usize,
    },
}

impl Command {
    /// The session that it is about.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::Append(append) => Some(append.session),
            Self::CreateSession { id, .. }
            | Self::ReadSession { id }
            | Self::ArchiveSession { id }
            | Self::RenameSession { id, .. }
            | Self::DeleteSession { id } => Some(*id),
            Self::ListRows { session, .. } | Self::MarkAllRead { session, .. } | Self::TimelineKeys { session, .. } => {
                *session
            }
            Self::ReadMessages { session, .. }
            | Self::MarkRead { session, .. }
            | Self::ReadCursors { session }
            | Self::Join { session, .. }
            | Self::Watch { session, .. }
            | Self::ReadAnswer { session, .. }
            | Self::Rate { session, .. }
            | Self::ReadRatings { session }
            | Self::Unsubscribe { session, .. }
            | Self::Dispatch { session }
            | Self::StopRun { session, .. }
            | Self::Blob { session, .. }
            | Self::Chunk { session, .. } => Some(*session),
            Self::ListSessions { .. }
            | Self::ReadUnread { .. }
            | Self::ReadRows { .. }
            | Self::DescribeAgents { .. }
            | Self::WatchInbox { .. }
            | Self::UnwatchInbox { .. }
            | Self::Agents(_)
            | Self::Route { .. }
            | Self::Keys(_)
            | Self::Learn { .. }
            | Self::ReadDeliveries { .. }
            | Self::ListClaims
            | Self::ReadHoldings { .. }
            | Self::ReadStatus => None,
        }
    }

    /// Whether it may append to the log.
    pub fn appends(&self) -> bool {
        match self {
            Self::CreateSession { .. }
            | Self::ArchiveSession { .. }
            | Self::DeleteSession { .. }
            | Self::RenameSession { .. }
            | Self::MarkAllRead { .. }
            | Self::Rate { .. }
            | Self::Append(_)
            | Self::StopRun { .. }
            | Self::Dispatch { .. }
            | Self::MarkRead { .. } => true,
            Self::Keys(command) => !matches!(command, KeyCommand::List),
            Self::Blob { command, .. } => command.appends(),
            Self::Agents(command) => !matches!(command, AgentCommand::List { .. } | AgentCommand::Read { .. }),
            _ => false,
        }
    }

    /// Whether it is answered by a reply.
    pub fn is_answered(&self) -> bool {
        !matches!(self, Self::Unsubscribe { .. } | Self::UnwatchInbox { .. } | Self::Dispatch { .. })
    }
}

/// What a shard takes in. `M` is where its log lives.
#[derive(Debug)]
pub enum Input<M: storage::Medium> {
    /// Somebody asks for something.
    Call {
        /// Who.
        from: Caller,
        /// What the caller may do. `None`: everything in the default namespace.
        access: Option<Box<Access>>,
        /// What.
        command: Command,
    },
    /// A sync that [`super::Output::Sync`] asked for was performed.
    Synced(storage::Sync<M>, std::io::Result<()>),
    /// Work that [`super::Output::Work`] asked for was performed.
    Worked(storage::WorkDone<M>),
    /// Something came of a call that [`super::Output::Call`] asked for.
    Called {
        /// The call's session.
        session: SessionId,
        /// The call's run.
        run: RunId,
        /// The call's voice.
        voice: u16,
        /// The call's attempt.
        attempt: u32,
        /// What came.
        event: CallEvent,
    },
    /// Time passed: every 10 ms or so.
    Tick,
}
