//! What AgenFleet's users read back, and what they think of it: history over all sessions and feedback (seed 003).
//!
//! Invariant: a session or a message of somebody else is not there.

use super::super::chat::{Actor, Plan};
use super::super::error::{ApiError, Kind};
use super::super::flow::{Answers, Flow, Next, To};
use super::super::params::Params;
use super::super::table::routes;
use super::super::timeline::{Page, TimelineFlow, Window};
use super::super::view::{Message, Role, message_id, parse_message_id, time_s};
use super::super::{Context, Dialect, JSON, Target};
use crate::limits::{CHAT_ROWS_MAX, FEEDBACK_COMMENT_BYTES_MAX};
use crate::protocol::http::{Request, Response};
use crate::session::{Feedback, SessionId};
use crate::shard::{Command, Refusal, Row};
use serde::Serialize;

/// Messages of a page when the caller names no limit (seed 003).
const HISTORY_DEFAULT: usize = 50;

/// A method on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /chat/history`.
    History,
    /// `POST /chat/feedback`.
    Feedback,
}

routes! {
    /// What `method` on a path below `/api` is, if anything.
    pub fn endpoint<'a>(Agenfleet below "/api") -> Endpoint;

    GET "chat"/"history", Read => Endpoint::History;
    POST "chat"/"feedback", Write => Endpoint::Feedback;
}

impl Endpoint {
    /// What the request comes to.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn plan(self, request: &Request, params: &Params<'_>, context: &Context) -> Result<Plan, ApiError> {
        let user_id = Actor::of(request)?.user_id;
        Ok(Plan::Flow(match self {
            Self::History => Box::new(history(user_id, params, context)?),
            Self::Feedback => Box::new(Rating::of(user_id, params)?),
        }))
    }
}

fn history(user_id: String, params: &Params<'_>, context: &Context) -> Result<TimelineFlow, ApiError> {
    let number =
        |name, default| params.positive(name).map_or(default, |number| usize::try_from(number).unwrap_or(usize::MAX));
    let session = params.name("sessionId").map(|id| SessionId::parse(&id).ok_or(Kind::SessionNotFound)).transpose()?;
    let (limit, offset) = (number("limit", HISTORY_DEFAULT).min(CHAT_ROWS_MAX), number("offset", 0));
    let window = Window { user_id, agent_id: params.name("agentId"), session, offset, limit };
    Ok(TimelineFlow::new(window, context.shards, Dialect::Agenfleet, render))
}

/// A message as clients read it. Who answered and what it took stand at answers alone.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Said<'a> {
    id: String,
    role: &'static str,
    content: String,
    #[serde(flatten)]
    answer: Option<Answered<'a>>,
    created_at: String,
    session_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    agent_id: &'a str,
    agent_name: &'a str,
    input_tokens: u64,
    output_tokens: u64,
}

impl<'a> Said<'a> {
    fn of(row: &'a Row) -> Option<Self> {
        let message = Message::read(&row.json)?;
        let role = message.role(row.by_agent);
        let answer = (role == Role::Assistant).then(|| Answered {
            agent_id: &row.agent.id,
            agent_name: &row.agent.name,
            input_tokens: message.number("input_tokens"),
            output_tokens: message.number("output_tokens"),
        });
        Some(Self {
            id: message_id(row.session, row.seq),
            role: role.as_str(),
            content: message.text(),
            answer,
            created_at: time_s(row.time_us),
            session_id: row.session.to_string(),
        })
    }
}

fn render(window: &Window, page: &Page) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Pagination {
        total: u64,
        limit: usize,
        offset: usize,
        has_more: bool,
    }
    #[derive(Serialize)]
    struct Body<'a> {
        data: Vec<Said<'a>>,
        pagination: Pagination,
    }
    let (total, has_more) = (page.total, page.has_more);
    let pagination = Pagination { total, limit: window.limit, offset: window.offset, has_more };
    let body = Body { data: page.rows.iter().filter_map(Said::of).collect(), pagination };
    serde_json::to_string(&body).expect("structs of plain fields always have a JSON form")
}

/// Rates a message of one of the user's own sessions.
#[derive(Debug)]
struct Rating {
    session: SessionId,
    feedback: Feedback,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Begin,
    Checked,
    Rated,
}

impl Rating {
    fn of(user_id: String, params: &Params<'_>) -> Result<Self, ApiError> {
        let id = params.text("messageId").filter(|id| !id.trim().is_empty()).ok_or(Kind::MessageIdMissing)?;
        let rating = params.raw("rating").and_then(|raw| raw.get().parse().ok());
        let is_sound = |rating: &u8| (Feedback::RATING_MIN..=Feedback::RATING_MAX).contains(rating);
        let rating = rating.filter(is_sound).ok_or(Kind::RatingInvalid)?;
        let comment = match params.raw("comment").is_none_or(|raw| raw.get() == "null") {
            true => None,
            false => {
                let comment = params.text("comment").filter(|text| text.len() <= FEEDBACK_COMMENT_BYTES_MAX);
                Some(comment.ok_or(Kind::CommentInvalid)?)
            }
        };
        let (session, seq) = parse_message_id(&id).ok_or(Kind::MessageNotFound)?;
        let feedback = Feedback { seq, rater: user_id, rating, comment };
        Ok(Self { session, feedback, stage: Stage::Begin })
    }

    fn go_on(&mut self, mut answers: Answers) -> Result<Next, ApiError> {
        let (to, session) = (To::One(Target::Owner(self.session)), self.session);
        let answer = answers.pop().and_then(|mut answer| answer.pop());
        if let Some(Err(refusal)) = answer {
            return Err(match refusal {
                Refusal::SessionNotFound | Refusal::OtherNamespace => Kind::MessageNotFound.into(),
                refusal => refusal.into(),
            });
        }
        Ok(match self.stage {
            Stage::Begin => {
                let user_id = Some(self.feedback.rater.clone());
                let is_theirs =
                    Command::ListRows { user_id, agent_id: None, session: Some(session), limit: 0, offset: 0 };
                self.stage = Stage::Checked;
                Next::Ask(vec![(to, is_theirs)])
            }
            Stage::Checked => {
                self.stage = Stage::Rated;
                Next::Ask(vec![(to, Command::Rate { session, feedback: self.feedback.clone() })])
            }
            Stage::Rated => Next::Respond(Response::new(200).with_body(JSON, "{\"ok\":true}")),
        })
    }
}

impl Flow for Rating {
    fn step(&mut self, answers: Answers) -> Next {
        self.go_on(answers).unwrap_or_else(|error| Next::Respond(error.respond(Dialect::Agenfleet)))
    }
}
