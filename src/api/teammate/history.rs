//! What AI Teammate's users read back of an agent: history, the inbox of what they have not read, and that they have read it.
//!
//! Messages stand oldest first in both. An agent is there if it is registered or the user has a conversation with it.

use super::super::error::{ApiError, Kind};
use super::super::flow::{Answers, Flow, Next, To};
use super::super::params::Params;
use super::super::timeline::{Page, TimelineFlow, Window, known_agent};
use super::super::view::{Message, message_id, parse_message_id, time_s};
use super::super::{Context, Dialect, Target};
use super::conversations::{conversation, limit, ok, session_rows};
use crate::protocol::http::Response;
use crate::session::SessionId;
use crate::shard::{Command, Reply, Row};
use serde::Serialize;

/// Messages of a history when the caller names no limit (seed 002).
const HISTORY_DEFAULT: usize = 20;
/// Messages of an inbox when the caller names no limit.
const INBOX_DEFAULT: usize = 50;

/// A message as clients read it.
#[derive(Serialize)]
struct Said {
    role: &'static str,
    content: String,
    created_at: String,
    id: String,
    conversation_id: String,
}

impl Said {
    fn of(row: &Row) -> Option<Self> {
        let message = Message::read(&row.json)?;
        Some(Self {
            role: message.role(row.by_agent).as_str(),
            content: message.text(),
            created_at: time_s(row.time_us),
            id: message_id(row.session, row.seq),
            conversation_id: row.session.to_string(),
        })
    }
}

#[derive(Serialize)]
struct History {
    messages: Vec<Said>,
}

/// The latest messages of all conversations with an agent, or of one.
pub(super) fn history(
    agent: &str,
    user_id: String,
    params: &Params<'_>,
    context: &Context,
) -> Result<TimelineFlow, ApiError> {
    let session = params.name("conversation_id").map(|id| conversation(&id)).transpose()?;
    let limit = limit(params, HISTORY_DEFAULT);
    let window = Window { user_id, agent_id: Some(agent.to_owned()), session, offset: 0, limit };
    Ok(TimelineFlow::new(window, context.shards, Dialect::Teammate, render))
}

fn render(_: &Window, page: &Page) -> String {
    let messages = page.rows.iter().rev().filter_map(Said::of).collect();
    serde_json::to_string(&History { messages }).expect("structs of plain fields always have a JSON form")
}

/// Questions that tell whether an agent is there.
fn is_known(agent_id: &str, user_id: &str) -> [(To, Command); 2] {
    let (user, agent) = (Some(user_id.to_owned()), Some(agent_id.to_owned()));
    let rows = Command::ListRows { user_id: user, agent_id: agent, session: None, limit: 0, offset: 0 };
    [(To::Every, rows), (To::One(Target::Here), Command::DescribeAgents { ids: vec![agent_id.to_owned()] })]
}

/// Takes the answers to [`is_known`], the last two.
fn check_known(answers: &mut Answers) -> Result<(), ApiError> {
    let (known, rows) = (answers.pop().ok_or(Kind::Internal)?, answers.pop().ok_or(Kind::Internal)?);
    if session_rows(vec![rows])?.0 == 0 { known_agent(known) } else { Ok(()) }
}

/// What of an agent's the user has not read.
#[derive(Debug)]
pub(super) struct Inbox {
    agent_id: String,
    user_id: String,
    limit: usize,
}

impl Inbox {
    pub(super) fn of(agent: &str, user_id: String, params: &Params<'_>) -> Self {
        Self { agent_id: agent.to_owned(), user_id, limit: limit(params, INBOX_DEFAULT) }
    }

    fn respond(&self, mut answers: Answers) -> Result<Response, ApiError> {
        check_known(&mut answers)?;
        let (unread_count, rows) = unread(answers, self.limit)?;
        #[derive(Serialize)]
        struct Body {
            messages: Vec<Said>,
            unread_count: u64,
        }
        Ok(ok(&Body { messages: rows.iter().filter_map(Said::of).collect(), unread_count }))
    }
}

impl Flow for Inbox {
    fn step(&mut self, answers: Answers) -> Next {
        if answers.is_empty() {
            let (user_id, agent_id) = (self.user_id.clone(), Some(self.agent_id.clone()));
            let unread = Command::ReadUnread { user_id, agent_id, limit: self.limit };
            let known = is_known(&self.agent_id, &self.user_id);
            return Next::Ask(std::iter::once((To::Every, unread)).chain(known).collect());
        }
        Next::Respond(self.respond(answers).unwrap_or_else(|error| error.respond(Dialect::Teammate)))
    }
}

/// How much is unread on all shards, and the oldest of it. What follows a shard's last row that had no room is left out.
fn unread(answers: Answers, limit: usize) -> Result<(u64, Vec<Row>), ApiError> {
    let key = |row: &Row| (row.time_us, row.session, row.seq);
    let (mut total, mut all, mut end) = (0, Vec::new(), None);
    for reply in answers.into_iter().flatten() {
        let Reply::Unread { count, rows, is_cut } = reply? else { return Err(Kind::Internal.into()) };
        total += count;
        if let Some(last) = rows.last().filter(|_| is_cut) {
            end = Some(end.map_or(key(last), |end| key(last).min(end)));
        }
        all.extend(rows);
    }
    all.sort_by_key(key);
    all.retain(|row| end.is_none_or(|end| key(row) <= end));
    all.truncate(limit);
    Ok((total, all))
}

/// Marks what the user has read of an agent's: everything, a conversation, or one up to a message.
#[derive(Debug)]
pub(super) struct Marking {
    agent_id: String,
    user_id: String,
    session: Option<SessionId>,
    upto: Option<u64>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Begin,
    Marked,
    Counted,
}

impl Marking {
    pub(super) fn of(agent: &str, user_id: String, params: &Params<'_>) -> Result<Self, ApiError> {
        // What is named and cannot be read must not stand for everything.
        let is_given = |name: &str| params.raw(name).is_some_and(|raw| raw.get() != "null");
        if is_given("conversation_id") && params.name("conversation_id").is_none() {
            return Err(Kind::SessionNotFound.into());
        }
        if is_given("message_id") && params.name("message_id").is_none() {
            return Err(Kind::MessageNotFound.into());
        }
        let last_seq = is_given("last_seq").then(|| params.positive("last_seq").unwrap_or(0));
        let session = params.name("conversation_id").map(|id| conversation(&id)).transpose()?;
        let message = params.name("message_id").map(|id| parse_message_id(&id).ok_or(Kind::MessageNotFound));
        let (session, upto) = match (message.transpose()?, session) {
            (Some((of, _)), Some(session)) if of != session => return Err(Kind::MessageNotFound.into()),
            (Some((of, seq)), _) => (Some(of), Some(seq)),
            (None, session) => (session, last_seq),
        };
        if upto.is_some() && session.is_none() {
            return Err(Kind::ConversationMissing.into());
        }
        Ok(Self { agent_id: agent.to_owned(), user_id, session, upto, stage: Stage::Begin })
    }

    fn go_on(&mut self, mut answers: Answers) -> Result<Next, ApiError> {
        let (user_id, agent_id) = (self.user_id.clone(), Some(self.agent_id.clone()));
        match self.stage {
            Stage::Begin => {
                let (session, upto) = (self.session, self.upto);
                let to = session.map_or(To::Every, |session| To::One(Target::Owner(session)));
                let mark = (to, Command::MarkAllRead { user_id, agent_id, session, upto });
                self.stage = Stage::Marked;
                // That a session is there with this agent is all there is to know.
                let known = session.is_none().then(|| is_known(&self.agent_id, &self.user_id));
                Ok(Next::Ask(std::iter::once(mark).chain(known.into_iter().flatten()).collect()))
            }
            Stage::Marked => {
                if self.session.is_none() {
                    check_known(&mut answers)?;
                }
                let mut is_part = false;
                for reply in answers.into_iter().flatten() {
                    is_part |= reply? == Reply::DoneInPart;
                }
                if is_part {
                    self.stage = Stage::Begin; // shards that have marked all have nothing left to do
                    return self.go_on(Answers::default());
                }
                self.stage = Stage::Counted;
                Ok(Next::Ask(vec![(To::Every, Command::ReadUnread { user_id, agent_id, limit: 0 })]))
            }
            Stage::Counted => {
                #[derive(Serialize)]
                struct Body {
                    ok: bool,
                    unread_count: u64,
                }
                Ok(Next::Respond(ok(&Body { ok: true, unread_count: unread(answers, 0)?.0 })))
            }
        }
    }
}

impl Flow for Marking {
    fn step(&mut self, answers: Answers) -> Next {
        self.go_on(answers).unwrap_or_else(|error| Next::Respond(error.respond(Dialect::Teammate)))
    }
}
