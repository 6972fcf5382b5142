//! What the chat APIs have in common in which a message is asked of an agent and its answer awaited: the message and the session it
//! goes to, what went wrong instead of an answer.
//!
//! Invariants: whoever names no session has one main session with each agent; whoever names one reaches it only as its user, and one
//! that is not his is not there. Not here: names of fields and shapes of answers, which the dialects have.

use super::ask::{Answered, Outcome};
use super::ask_plan::{AskPlan, AskRender, Begin, SocketPlan};
use super::error::{ApiError, Kind};
use super::flow::Flow;
use super::message::{bounded_depth, bounded_name, idempotency_key};
use super::params::{self, Params};
use super::view::AskEvent;
use super::{Context, Dialect, JSON};
use super::{actor, view};
use crate::protocol::http::{Request, Response};
use crate::session::{Json, MessageId, Namespace, SessionId, main_id};
use crate::shard::{Append, Asked, Author, Parties, Refusal, Requires, Terms};
use compact_str::CompactString;
use serde_json::json;

/// What a request of a chat API comes to.
#[derive(Debug)]
pub enum Plan {
    /// A message is appended and its answer awaited.
    Ask(Box<AskPlan>),
    /// Shards are asked in several steps.
    Flow(Box<dyn Flow>),
    /// A WebSocket.
    Socket(SocketPlan),
}

/// Somebody who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Whose tenant.
    pub namespace: Namespace,
    /// Who.
    pub user_id: String,
}

impl Actor {
    /// Who sends `request`.
    ///
    /// # Errors
    /// Those of [`actor::of`].
    pub fn of(request: &Request) -> Result<Self, ApiError> {
        Ok(Self { namespace: actor::namespace_of(request), user_id: actor::of(request)? })
    }
}

/// A message whose answer is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who asks.
    pub actor: Actor,
    /// What he says.
    pub text: String,
    /// A second one under the same key is a retry.
    pub key: Option<CompactString>,
    /// JSON for the call of the agent, and for nobody else.
    pub context: Option<Json>,
}

/// Where a question goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// The main session with this agent.
    Main(&'a str),
    /// A session that the client names, and the agent with whom it must be if he names one too.
    Session(SessionId, Option<&'a str>),
}

impl Question {
    /// Reads the field `message`; `key` is the `Idempotency-Key` header.
    ///
    /// # Errors
    /// [`Kind::TextInvalid`] for a blank message, and those of a key.
    pub fn of(params: &Params<'_>, key: Option<&str>, actor: Actor) -> Result<Self, ApiError> {
        let text = params.text("message").filter(|text| !text.trim().is_empty());
        let text = text.ok_or_else(|| invalid("message"))?;
        Ok(Self { actor, text, key: idempotency_key(None, key)?, context: None })
    }

    /// The same with what stands in `context`: a list, which is the agent's to read.
    ///
    /// # Errors
    /// [`Kind::ContextInvalid`] for anything but a list; too deep a one.
    pub fn with_context(self, params: &Params<'_>) -> Result<Self, ApiError> {
        let raw = params.raw("context").map(|raw| raw.get()).filter(|raw| *raw != "null");
        let Some(raw) = raw else { return Ok(self) };
        if !raw.starts_with('[') {
            return Err(Kind::ContextInvalid.into());
        }
        bounded_depth("context", raw)?;
        Ok(Self { context: Some(Json::from_valid(raw)), ..self })
    }

    /// The append that asks it.
    ///
    /// # Errors
    /// [`Kind::SessionNotFound`] for a session that cannot be the actor's; a name too long for any agent.
    pub fn addressed(self, place: Place<'_>, context: &Context) -> Result<Append, ApiError> {
        let Actor { namespace, user_id } = self.actor;
        let parties = |agent_id: &str| Parties { user_id: user_id.clone(), agent_id: agent_id.to_owned(), title: None };
        let (session, parties) = match place {
            Place::Main(agent_id) => {
                bounded_name("agent_id", agent_id)?;
                (main_id(namespace.stored(), &user_id, agent_id), Some(parties(agent_id)))
            }
            // A main session's id holds its parties. Named as parties they would stand for the generation that lives, and the
            // client means this one.
            Place::Session(session, Some(agent_id)) if session.is_main() => {
                if main_id(namespace.stored(), &user_id, agent_id) != session.base() {
                    return Err(Kind::SessionNotFound.into());
                }
                (session, None)
            }
            Place::Session(session, agent_id) => (session, agent_id.map(parties)),
        };
        let terms = Terms {
            parties,
            at_once: true,
            watch: true,
            answer_from: Requires::Agent,
            context: self.context,
            ..Terms::default()
        };
        Ok(Append {
            session,
            message: MessageId::from_parts(context.now.unix_us / 1000, context.random),
            author: Author::User(user_id.into()),
            kind: CompactString::const_new("text"),
            content: Json::from_valid(&json!({ "text": self.text }).to_string()),
            metadata: Json::empty_object(),
            idempotency_key: self.key,
            expected_seq: None,
            participants_only: true,
            echo: false,
            terms: Some(Box::new(terms)),
        })
    }
}

/// A text that may be left out; null is left out.
///
/// # Errors
/// [`Kind::TextInvalid`] for anything else, and for a blank one.
pub fn optional_text(params: &Params<'_>, name: &str) -> Result<Option<String>, ApiError> {
    match params.raw(name).filter(|raw| raw.get() != "null") {
        None => Ok(None),
        Some(raw) => match params::text(raw).filter(|text| !text.trim().is_empty()) {
            Some(text) => Ok(Some(text)),
            None => Err(invalid(name)),
        },
    }
}

/// The session that a client names.
///
/// # Errors
/// [`Kind::SessionNotFound`] for what is no id.
pub fn session(id: &str) -> Result<SessionId, ApiError> {
    SessionId::parse(id).ok_or_else(|| Kind::SessionNotFound.into())
}

fn invalid(field: &str) -> ApiError {
    ApiError::about(Kind::TextInvalid, "{field}", field)
}

/// The answer, or why there is none.
///
/// # Errors
/// The row of the table for every other outcome.
pub fn answered(outcome: &Outcome) -> Result<&Answered, ApiError> {
    Err(match outcome {
        Outcome::Answered(answered) => return Ok(answered),
        Outcome::Failed { reason, detail, .. } => {
            let kind = if reason.ends_with("timeout") { Kind::AgentTimedOut } else { Kind::AgentFailed };
            ApiError::from(kind).because(if detail.is_empty() { reason } else { detail })
        }
        Outcome::Stopped(_) => Kind::AnswerStopped.into(),
        // It is there, but not for whoever is not of it.
        Outcome::Closed | Outcome::Refused(Refusal::Unauthorized) => Kind::SessionNotFound.into(),
        Outcome::Late => Kind::AgentTimedOut.into(),
        Outcome::Draining => Kind::Draining.into(),
        Outcome::Refused(refusal) => refusal.clone().into(),
    })
}

/// An answer in one piece, in the words of a dialect.
pub struct Whole {
    /// Whose words a refusal has.
    pub dialect: Dialect,
    /// The body of the response to who asked.
    pub body: fn(&Answered) -> String,
}

impl AskRender for Whole {
    fn begin(&mut self, _: &Asked) -> Begin {
        Begin::Sync
    }

    fn tell(&mut self, _: &AskEvent, _: &mut Vec<u8>) {}

    fn end(&mut self, _: &Outcome) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn respond(&mut self, outcome: &Outcome) -> Response {
        match answered(outcome) {
            Ok(answered) => Response::new(200).with_body(JSON, (self.body)(answered)),
            Err(error) => error.respond(self.dialect),
        }
    }
}

/// The id of an answer's last message; that of the question where the agent said nothing that is kept.
pub fn answer_id(answered: &Answered) -> String {
    view::message_id(answered.session, answered.last_seq().unwrap_or(answered.user_seq))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::Method;
    use crate::shard::{AgentName, Now};

    const CONTEXT: Context = Context { now: Now { unix_us: 1_761_216_480_123_456, mono_us: 5 }, random: 42, shards: 4 };

    fn question(body: &str) -> Result<Question, ApiError> {
        let request = Request::new(Method::Post, "/").with_header("content-type", "application/json").with_body(body);
        let params = Params::of(&request).unwrap();
        Question::of(&params, request.headers.first("idempotency-key"), alice())?.with_context(&params)
    }

    fn alice() -> Actor {
        Actor { namespace: Namespace::default(), user_id: "alice".into() }
    }

    fn kind(result: Result<impl std::fmt::Debug, ApiError>) -> Kind {
        result.unwrap_err().kind()
    }

    #[test]
    fn a_message_is_a_text_that_says_something() {
        assert_eq!(question(r#"{"message":" hi\n"}"#).unwrap().text, " hi\n");
        for body in ["{}", r#"{"message":" \n"}"#, r#"{"message":7}"#, r#"{"message":null}"#, "[]", r#"{"message":""}"#]
        {
            let error = question(body).unwrap_err().respond(super::super::Dialect::Teammate);
            let said = r#"{"detail":"message must be a non-empty string"}"#;
            assert_eq!((error.status, std::str::from_utf8(&error.body).unwrap()), (422, said), "{body}");
        }
    }

    #[test]
    fn a_context_is_a_list_that_goes_with_the_terms_alone() {
        let asked = question(r#"{"message":"hi","context":[{"role":"user","content":"before"}]}"#).unwrap();
        let append = asked.addressed(Place::Main("bot"), &CONTEXT).unwrap();
        assert_eq!(append.content.as_str(), r#"{"text":"hi"}"#);
        let terms = append.terms.unwrap();
        assert_eq!(terms.context.unwrap().as_str(), r#"[{"role":"user","content":"before"}]"#);
        assert!(question(r#"{"message":"hi","context":null}"#).unwrap().context.is_none());
        assert_eq!(kind(question(r#"{"message":"hi","context":{}}"#)), Kind::ContextInvalid);
        let deep = format!(r#"{{"message":"hi","context":{}{}}}"#, "[".repeat(101), "]".repeat(101));
        assert_eq!(kind(question(&deep)), Kind::NestedTooDeep);
    }

    #[test]
    fn who_names_no_session_has_one_with_each_agent() {
        let asked = || question(r#"{"message":"hi"}"#).unwrap();
        let append = asked().addressed(Place::Main("bot"), &CONTEXT).unwrap();
        assert_eq!(append.session, main_id("", "alice", "bot"));
        let parties = append.terms.unwrap().parties.unwrap();
        assert_eq!((parties.user_id.as_str(), parties.agent_id.as_str()), ("alice", "bot"));
        assert_eq!(kind(asked().addressed(Place::Main(&"x".repeat(256)), &CONTEXT)), Kind::NameTooLong);
    }

    #[test]
    fn a_named_main_session_is_that_generation_and_nobody_elses() {
        let asked = || question(r#"{"message":"hi"}"#).unwrap();
        let second = main_id("", "alice", "bot").at_generation(1);
        let append = asked().addressed(Place::Session(second, Some("bot")), &CONTEXT).unwrap();
        assert_eq!((append.session, append.terms.unwrap().parties), (second, None));
        for foreign in [main_id("", "bob", "bot"), main_id("", "alice", "other"), main_id("acme", "alice", "bot")] {
            let result = asked().addressed(Place::Session(foreign, Some("bot")), &CONTEXT);
            assert_eq!(kind(result), Kind::SessionNotFound);
        }
        let other = SessionId::from_parts(1, 2);
        let append = asked().addressed(Place::Session(other, Some("bot")), &CONTEXT).unwrap();
        assert_eq!(append.terms.unwrap().parties.unwrap().agent_id, "bot");
        let append = asked().addressed(Place::Session(other, None), &CONTEXT).unwrap();
        assert!(append.participants_only && append.terms.unwrap().parties.is_none());
    }

    #[test]
    fn every_end_without_an_answer_has_its_row() {
        let partial = || {
            Box::new(Answered {
                session: SessionId::from_parts(1, 2),
                user_seq: 1,
                agent: AgentName::default(),
                messages: Vec::new(),
                input_tokens: 0,
                output_tokens: 0,
                duration_ms: 0,
            })
        };
        let failed = |reason: &'static str, detail: &str| Outcome::Failed {
            reason: reason.into(),
            detail: detail.to_owned(),
            partial: partial(),
        };
        for (outcome, status, said) in [
            (failed("status", "status 500"), 502, "The agent failed to answer: status 500"),
            (failed("aborted", ""), 502, "The agent failed to answer: aborted"),
            (failed("gap_timeout", ""), 504, "The agent has not answered in time: gap_timeout"),
            (Outcome::Late, 504, "The agent has not answered in time"),
            (Outcome::Stopped(partial()), 409, "The answer was stopped"),
            (Outcome::Closed, 404, "Session not found"),
            (Outcome::Draining, 503, "The server shuts down"),
            (Outcome::Refused(Refusal::Unauthorized), 404, "Session not found"),
            (Outcome::Refused(Refusal::AgentDisabled), 409, "Agent is disabled"),
        ] {
            let response = answered(&outcome).unwrap_err().respond(super::super::Dialect::Agenfleet);
            let expected = json!({ "error": said }).to_string();
            assert_eq!((response.status, std::str::from_utf8(&response.body).unwrap()), (status, expected.as_str()));
        }
        assert_eq!(answer_id(&partial()), view::message_id(partial().session, 1));
    }
}
