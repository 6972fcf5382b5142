//! The chat API of AgenFleet (seed 003): which method on which path is what, and the rules of a message whose answer is awaited.
//!
//! A message goes to the main session of its user and agent unless `sessionId`, an addition of ours, names another one.

pub mod history;
mod socket;

use super::Context;
use super::ask::Answered;
use super::ask_plan::{AskPlan, SocketPlan};
use super::chat::{self, Actor, Place, Plan, Question, Whole};
use super::choosing::{Choosing, Chosen};
use super::dialect::Dialect;
use super::error::ApiError;
use super::flow::{Answers, Flow, Next};
use super::params::Params;
use super::table::routes;
use crate::protocol::http::Request;
use crate::shard::Append;
use serde::Serialize;

/// A method on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /chat/message`.
    Message,
    /// `GET /chat/ws`.
    Socket,
}

routes! {
    /// What `method` on a path below `/api` is, if anything.
    pub fn endpoint<'a>(Agenfleet below "/api") -> Endpoint;

    POST "chat"/"message", Write => Endpoint::Message;
    GET "chat"/"ws", Write streams => Endpoint::Socket;
}

impl Endpoint {
    /// What the request comes to.
    ///
    /// # Errors
    /// The first check that fails: of the message, then of who is to answer.
    pub fn plan(self, request: &Request, params: &Params<'_>, context: &Context) -> Result<Plan, ApiError> {
        let actor = Actor::of(request)?;
        match self {
            Self::Message => message(request, params, actor, context),
            Self::Socket => Ok(Plan::Socket(SocketPlan { render: Box::new(socket::Frames::new(actor)) })),
        }
    }
}

fn message(request: &Request, params: &Params<'_>, actor: Actor, context: &Context) -> Result<Plan, ApiError> {
    let question = Question::of(params, request.headers.first("idempotency-key"), actor)?;
    Ok(match Addressed::of(question, params, context)? {
        Addressed::To(append) => Plan::Ask(Box::new(whole(*append))),
        Addressed::ToWhomItConcerns(unaddressed) => Plan::Flow(Box::new(WholeFlow(unaddressed))),
    })
}

/// The plan of an ask that is answered at its end.
fn whole(append: Append) -> AskPlan {
    let body = |answered: &Answered| body(&WholeAnswer::of(answered));
    AskPlan::of(append, Box::new(Whole { dialect: Dialect::Agenfleet, body }))
}

/// A question, and whether it says for whom it is.
enum Addressed {
    To(Box<Append>),
    ToWhomItConcerns(Box<Unaddressed>),
}

impl Addressed {
    /// Reads `agentId` and `sessionId`.
    fn of(question: Question, params: &Params<'_>, context: &Context) -> Result<Self, ApiError> {
        let agent_id = chat::optional_text(params, "agentId")?;
        let place = match (chat::optional_text(params, "sessionId")?, &agent_id) {
            (Some(session), agent_id) => Place::Session(chat::session(&session)?, agent_id.as_deref()),
            (None, Some(agent_id)) => Place::Main(agent_id),
            (None, None) => {
                let choosing = Choosing::new(&question);
                let unaddressed = Unaddressed { question: Some(question), choosing, context: *context };
                return Ok(Self::ToWhomItConcerns(Box::new(unaddressed)));
            }
        };
        Ok(Self::To(Box::new(question.addressed(place, context)?)))
    }
}

/// A question that names nobody.
#[derive(Debug)]
struct Unaddressed {
    /// Until its addressee is found.
    question: Option<Question>,
    choosing: Choosing,
    context: Context,
}

impl Unaddressed {
    /// Goes on: the questions to the shards are `Err`, `Ok` is the end.
    fn step(&mut self, answers: Answers) -> Found {
        match self.choosing.step(answers) {
            Chosen::Ask(questions) => Found::Ask(questions),
            Chosen::Nobody(error) => Found::Nobody(error),
            Chosen::Agent(agent_id) => {
                let question = self.question.take().expect("somebody is found once");
                match question.addressed(Place::Main(&agent_id), &self.context) {
                    Ok(append) => Found::Append(Box::new(append)),
                    Err(error) => Found::Nobody(error),
                }
            }
        }
    }
}

/// How the search for an addressee goes on.
enum Found {
    Ask(Vec<(super::To, crate::shard::Command)>),
    Append(Box<Append>),
    Nobody(ApiError),
}

/// A search that ends in an ask that is answered at its end.
#[derive(Debug)]
struct WholeFlow(Box<Unaddressed>);

impl Flow for WholeFlow {
    fn step(&mut self, answers: Answers) -> Next {
        match self.0.step(answers) {
            Found::Ask(questions) => Next::Ask(questions),
            Found::Append(append) => Next::Answer(Box::new(whole(*append))),
            Found::Nobody(error) => Next::Respond(error.respond(Dialect::Agenfleet)),
        }
    }
}

/// What stands in an answer: the seven keys of the seed, and the id that feedback needs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WholeAnswer<'a> {
    response: String,
    agent_id: &'a str,
    agent_name: &'a str,
    session_id: String,
    input_tokens: u64,
    output_tokens: u64,
    duration_ms: u64,
    message_id: String,
}

impl<'a> WholeAnswer<'a> {
    fn of(answered: &'a Answered) -> Self {
        Self {
            response: answered.text(),
            agent_id: &answered.agent.id,
            agent_name: &answered.agent.name,
            session_id: answered.session.to_string(),
            input_tokens: answered.input_tokens,
            output_tokens: answered.output_tokens,
            duration_ms: answered.duration_ms,
            message_id: chat::answer_id(answered),
        }
    }
}

fn body(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::error::Kind;
    use crate::protocol::http::Method;
    use crate::session::main_id;
    use crate::shard::{AgentName, Now, Refusal, Reply};

    const CONTEXT: Context = Context { now: Now { unix_us: 1_761_216_480_123_456, mono_us: 5 }, random: 42, shards: 4 };

    fn planned(body: &str) -> Result<Plan, ApiError> {
        let request = Request::new(Method::Post, "/api/chat/message")
            .with_header("content-type", "application/json")
            .with_header("x-user-id", "alice")
            .with_header("idempotency-key", "k")
            .with_body(body);
        Endpoint::Message.plan(&request, &Params::of(&request).unwrap(), &CONTEXT)
    }

    #[test]
    fn a_message_goes_to_the_main_session_with_its_agent() {
        let Ok(Plan::Ask(plan)) = planned(r#"{"message":"hi","agentId":"bot"}"#) else { panic!() };
        assert_eq!(plan.append.session, main_id("", "alice", "bot"));
        assert_eq!((plan.reader.as_deref(), plan.append.idempotency_key.as_deref()), (Some("alice"), Some("k")));
        assert!(plan.append.terms.as_ref().is_some_and(|terms| terms.at_once && terms.watch));
    }

    #[test]
    fn fields_of_a_wrong_type_are_refused_with_400() {
        for (body, said) in [
            (r#"{"agentId":"bot"}"#, "message must be a non-empty string"),
            (r#"{"message":"hi","agentId":7}"#, "agentId must be a non-empty string"),
            (r#"{"message":"hi","agentId":" "}"#, "agentId must be a non-empty string"),
            (r#"{"message":"hi","sessionId":[]}"#, "sessionId must be a non-empty string"),
        ] {
            let response = planned(body).unwrap_err().respond(Dialect::Agenfleet);
            let expected = format!(r#"{{"error":"{said}"}}"#);
            assert_eq!((response.status, std::str::from_utf8(&response.body).unwrap()), (400, expected.as_str()));
        }
        let unknown = planned(r#"{"message":"hi","sessionId":"x"}"#).unwrap_err();
        assert_eq!(unknown.kind(), Kind::SessionNotFound);
    }

    #[test]
    fn a_message_that_names_nobody_goes_to_who_is_found() {
        let name = |id: &str| AgentName { id: id.to_owned(), name: id.to_owned() };
        for (reply, agent) in [
            (Ok(Reply::Routed { agent: Some(name("a")), fallback: Some(name("b")) }), Some("a")),
            (Err(Refusal::Overloaded), None),
        ] {
            let Ok(Plan::Flow(mut flow)) = planned(r#"{"message":"hi","agentId":null}"#) else { panic!() };
            assert!(matches!(flow.step(Vec::new()), Next::Ask(questions) if questions.len() == 1));
            match (flow.step(vec![vec![reply]]), agent) {
                (Next::Answer(plan), Some(agent)) => assert_eq!(plan.append.session, main_id("", "alice", agent)),
                (Next::Respond(response), None) => assert_eq!(response.status, 503),
                (next, agent) => panic!("{next:?} for {agent:?}"),
            }
        }
    }
}
