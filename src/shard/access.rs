//! Who may do what: the one place that every command of a client passes before it is run.
//!
//! A command names users and agents by the ids that clients know. Whoever runs it scopes them by the namespace of the access, so no
//! command can name another tenant's user, agent or inbox; session ids are the only names that all tenants share, and they are
//! admitted here. The match is exhaustive: a new command does not compile without its line.
//!
//! Not here: who a caller is (`api::auth`), what a route asks of its caller before there is a command.

use super::{AgentCommand, Append, Author, Command, Parties, Refusal, Shard};
use crate::session::{Namespace, SessionId, main_id, split};
use storage::{Key, Medium};

/// What the caller of a command may do. A command without one may do everything in the default namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The tenant whose ids the command names.
    pub namespace: Namespace,
    /// Whose sessions.
    pub reach: Reach,
    /// This session only.
    pub session: Option<SessionId>,
    /// Nothing that changes anything.
    pub reads_only: bool,
}

/// Which sessions of its namespace a caller reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All.
    #[default]
    All,
    /// Those whose user it is; it acts as itself only. Not those of an agent of that id: users choose their ids.
    Party(Box<str>),
    /// Those with this agent or team.
    Agent(Box<str>),
}

impl Reach {
    /// Whether a session of these two is reached.
    fn reaches(&self, user_id: &str, agent_id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Party(me) => **me == *user_id,
            Self::Agent(agent) => **agent == *agent_id,
        }
    }

    /// Whether the caller may act as, or read all of, this user.
    fn is_user(&self, user_id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Party(me) => **me == *user_id,
            Self::Agent(_) => false,
        }
    }

    /// Whether the caller may read what a user and an agent have between them; without an agent, all of the user's. An agent of a user's
    /// id is somebody else: users choose their ids.
    fn may_list(&self, user_id: Option<&str>, agent_id: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Party(me) => user_id == Some(me),
            Self::Agent(agent) => agent_id == Some(agent),
        }
    }

    /// Whether the caller may do, in a user's name, what concerns the user and an agent. `in_session`: only in a session that was
    /// admitted.
    fn may_act_between(&self, user_id: &str, agent_id: Option<&str>, in_session: bool) -> bool {
        match self {
            Self::Agent(agent) => in_session || agent_id == Some(agent),
            _ => self.is_user(user_id),
        }
    }

    /// Whether the caller may write in the name of this user or agent.
    fn writes_as(&self, author: &Author) -> bool {
        match (self, author) {
            // Whose session it is, is the one who reaches it.
            (Self::Party(_), Author::SessionUser) => true,
            (Self::Party(me), author) => **me == *author.id(),
            (Self::Agent(agent), Author::Agent(id)) => **agent == **id,
            (Self::All | Self::Agent(_), _) => true,
        }
    }
}

impl<M: Medium> Shard<M> {
    /// Whether `access` admits `command`.
    pub(super) fn admit(&self, access: &Access, command: &Command) -> Result<(), Refusal> {
        if is_own(command) {
            return Ok(());
        }
        if access.reads_only && (command.appends() || matches!(command, Command::Chunk { .. })) {
            return Err(Refusal::Forbidden);
        }
        match command.session() {
            Some(main) if let Some(parties) = main_parties(command) => self.admit_to_main(access, main, parties)?,
            Some(session) => self.admit_to_session(access, session)?,
            None if let Command::ReadRows { places } = command => self.admit_to_places(access, places)?,
            None if access.session.is_some() => return Err(Refusal::Forbidden),
            None => {}
        }
        if is_permitted(access, command) {
            return Ok(());
        }
        // Of a session that is not there nothing else is said than of one that nobody may know of.
        let is_missing = |session| self.slot_of(session).is_none() && main_parties(command).is_none();
        let creates = matches!(command, Command::CreateSession { .. });
        match command.session() {
            Some(session) if !creates && is_missing(session) => Err(Refusal::SessionNotFound),
            _ => Err(Refusal::Forbidden),
        }
    }

    /// The parties say what is reached, whether the session is there or not: its id follows from them.
    fn admit_to_main(&self, access: &Access, main: SessionId, parties: &Parties) -> Result<(), Refusal> {
        let Parties { user_id, agent_id, .. } = parties;
        let is_right = main_id(access.namespace.stored(), user_id, agent_id) == main.base();
        let is_locked_out = access.session.is_some_and(|only| self.mains.living(main) != Some(only));
        if is_right && !is_locked_out && access.reach.reaches(user_id, agent_id) {
            return Ok(());
        }
        Err(Refusal::Forbidden)
    }

    /// Every place is in a session that is reached.
    fn admit_to_places(&self, access: &Access, places: &[(SessionId, u64)]) -> Result<(), Refusal> {
        let mut last = None;
        for &(session, _) in places {
            if last.replace(session) != Some(session) {
                self.admit_to_session(access, session)?;
            }
        }
        Ok(())
    }

    /// A session that is not there, or whose created note is damaged, is named by the command itself.
    fn admit_to_session(&self, access: &Access, session: SessionId) -> Result<(), Refusal> {
        if access.session.is_some_and(|only| only != session) {
            return Err(Refusal::Forbidden);
        }
        let Some(slot) = self.slot_of(session) else {
            // What is damaged has neither namespace nor user; its name is for those who run the server.
            let is_damaged = self.log.slot(Key(session.to_u128())).is_some();
            let runs_the_server =
                access.namespace.is_default() && access.reach == Reach::All && access.session.is_none();
            return if is_damaged && !runs_the_server { Err(Refusal::SessionNotFound) } else { Ok(()) };
        };
        let entry = self.catalog.entry(slot).expect("a slot of a session has an entry");
        let (namespace, user_id) = split(self.catalog.names.text(entry.user));
        if namespace != access.namespace.stored() {
            return Err(Refusal::OtherNamespace);
        }
        let agent_id = self.catalog.names.id(entry.agent);
        if access.reach.reaches(user_id, agent_id) { Ok(()) } else { Err(Refusal::Forbidden) }
    }
}

/// Whether the reach of `access` admits `command`, whose session was admitted.
fn is_permitted(access: &Access, command: &Command) -> bool {
    let reach = &access.reach;
    match command {
        Command::CreateSession { user_id, agent_id, .. } => reach.reaches(user_id, agent_id),
        Command::ListSessions { user_id, .. } => {
            *reach == Reach::All || user_id.as_ref().is_some_and(|user_id| reach.is_user(user_id))
        }
        Command::ListRows { user_id, agent_id, session, .. } => {
            session.is_some() || reach.may_list(user_id.as_deref(), agent_id.as_deref())
        }
        Command::TimelineKeys { user_id, agent_id, session, .. } => {
            session.is_some() || reach.may_list(Some(user_id), agent_id.as_deref())
        }
        Command::ReadUnread { user_id, agent_id, .. } => reach.may_act_between(user_id, agent_id.as_deref(), false),
        Command::MarkAllRead { user_id, agent_id, session, .. } => {
            reach.may_act_between(user_id, agent_id.as_deref(), session.is_some())
        }
        Command::Rate { feedback, .. } => !matches!(reach, Reach::Party(me) if **me != *feedback.rater),
        Command::DescribeAgents { ids } => match reach {
            Reach::All | Reach::Party(_) => true,
            Reach::Agent(agent) => ids.iter().all(|id| **agent == **id),
        },
        Command::Append(append) => may_append(reach, append),
        Command::MarkRead { user_id, .. } => !matches!(reach, Reach::Party(me) if **me != **user_id),
        Command::Join { identity, .. } => !matches!(reach, Reach::Party(me) if **me != **identity),
        Command::StopRun { identity, .. } => {
            !matches!((reach, identity), (Reach::Party(me), Some(identity)) if **me != **identity)
        }
        Command::Chunk { agent_id, .. } => match reach {
            Reach::All => true,
            Reach::Party(me) | Reach::Agent(me) => **me == **agent_id,
        },
        Command::WatchInbox { user_id } | Command::Route { user_id, .. } => reach.is_user(user_id),
        Command::Agents(command) => may_ask_for_agents(reach, command),
        // Keys of all namespaces: asked for by the server alone, once it has made sure of an administrator.
        Command::Keys(_) => *access == Access::default(),
        // The whole server's: asked for by the server alone, once it has made sure that the caller may see the server.
        Command::ReadHoldings { .. } => *access == Access::default(),
        Command::ReadDeliveries { agent_id } => match reach {
            Reach::All => true,
            Reach::Agent(agent) => **agent == **agent_id,
            Reach::Party(_) => false,
        },
        // The session was admitted, and it is all that these are about.
        Command::ReadSession { .. }
        | Command::ArchiveSession { .. }
        | Command::RenameSession { .. }
        | Command::ReadRatings { .. }
        | Command::ReadRows { .. }
        | Command::DeleteSession { .. }
        | Command::ReadMessages { .. }
        | Command::ReadAnswer { .. }
        | Command::Watch { .. }
        | Command::Blob { .. }
        | Command::ReadCursors { .. } => true,
        // The server's own, which were admitted above.
        Command::Unsubscribe { .. }
        | Command::UnwatchInbox { .. }
        | Command::Learn { .. }
        | Command::Dispatch { .. }
        | Command::ListClaims
        | Command::ReadStatus => true,
    }
}

/// What no client can ask for: the server makes these itself.
fn is_own(command: &Command) -> bool {
    matches!(
        command,
        Command::Unsubscribe { .. }
            | Command::UnwatchInbox { .. }
            | Command::Learn { .. }
            | Command::Dispatch { .. }
            | Command::ListClaims
            | Command::ReadStatus
    )
}

/// Whose main session a command is about, if it says so.
fn main_parties(command: &Command) -> Option<&Parties> {
    let Command::Append(append) = command else { return None };
    append.terms.as_ref()?.parties.as_ref().filter(|_| append.session.is_main())
}

fn may_append(reach: &Reach, append: &Append) -> bool {
    reach.writes_as(&append.author)
}

fn may_ask_for_agents(reach: &Reach, command: &AgentCommand) -> bool {
    match (reach, command) {
        (Reach::All, _) => true,
        (Reach::Party(_), AgentCommand::List { .. } | AgentCommand::Read { .. }) => true,
        (Reach::Agent(agent), AgentCommand::Read { id }) => **agent == **id,
        _ => false,
    }
}
