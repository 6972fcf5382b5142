//! The words of an append that wants more than to stand: a session made with it, a call at once, an answer awaited.
//!
//! Plain values, boxed where they travel: an append without terms pays one pointer for them. What they do stands in `append`,
//! how a message stands in `asked`; who awaits the answer, and how, is the api's `ask`.

use crate::session::{Json, RunId, SessionId, TeamMode};

/// What the caller of an append wants besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Whose session it is. One that is not there is made by this append.
    pub parties: Option<Parties>,
    /// The agent is called without waiting for more of the user's messages.
    pub at_once: bool,
    /// The caller's shard is subscribed before anything is appended, and the reply is [`super::Reply::Asked`].
    pub watch: bool,
    /// What must hold of who is to answer, or nothing is appended and nothing made.
    pub answer_from: Requires,
    /// A second append under the same idempotency key is a replay whatever it says, never a mismatch.
    pub same_key_replays: bool,
    /// Contents (SHA-256) that the session must have claimed.
    pub claims: Vec<[u8; 32]>,
    /// JSON for the call of the agent, and for nobody else: it is not stored.
    pub context: Option<Json>,
}

/// The two that a session is between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parties {
    /// Its user.
    pub user_id: String,
    /// Its agent.
    pub agent_id: String,
    /// Its title, if this append makes it.
    pub title: Option<String>,
}

/// What must hold of who is to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Requires {
    /// Nothing: the message may stand unanswered.
    #[default]
    Nothing,
    /// The session's agent is registered and enabled.
    Agent,
    /// The session's agent is a team that is registered and enabled.
    Team,
    /// The session is active and its agent is enabled.
    ActiveSession,
}

/// An agent as people know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentName {
    /// Its id.
    pub id: String,
    /// Its name; its id when it has none.
    pub name: String,
}

/// A team as it was when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedTeam {
    /// How its members work together unless the question says otherwise.
    pub mode: TeamMode,
    /// Its members in their order, whether they can be called or not.
    pub members: Vec<AgentName>,
}

/// The answer to an append that is watched: the message is durable, and whatever is committed or said in its session from now on is
/// pushed behind this reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The session, which may have been chosen or made by the append.
    pub session: SessionId,
    /// The message's seq.
    pub seq: u64,
    /// The message as clients read it, if the caller asked for it.
    pub json: Option<Json>,
    /// It stood already: this was a retry.
    pub replayed: bool,
    /// Who is to answer.
    pub agent: AgentName,
    /// Who that is, of a team.
    pub team: Option<Box<AskedTeam>>,
    /// How far that is.
    pub standing: Standing,
}

/// How a message stands that owes an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A run will answer it, or is about to.
    Waiting {
        /// The run that has begun, and the index of its next chunk.
        run: Option<(RunId, u32)>,
    },
    /// A run has answered it.
    Answered {
        /// The messages of that run as clients read them, ascending; one at least.
        messages: Vec<Json>,
    },
    /// No run has answered it, and none will.
    Unanswered {
        /// What members of a team had said before their run ended, as clients read it, ascending.
        partial: Vec<Json>,
    },
    /// It is not known: more than [`crate::limits::ANSWER_WITHIN`] messages lie behind it without an answer among them.
    Unknown,
}
