//! The WebSocket of AgenFleet (seed 003): frames in are questions, frames out are an answer as it grows and what stands of it.
//!
//! The seed shows what a client sends and says in words what it gets; the shapes of `chunk`, `final` and `error` are ours. A
//! `requestId` comes back on every frame of its answer. Answers come in the order of their questions, those to frames that are none
//! included; only `{"type":"stop"}` overtakes, and ends the answer under way.

use super::{Addressed, Found, Unaddressed, WholeAnswer, body};
use crate::api::Context;
use crate::api::ask::Outcome;
use crate::api::ask_plan::{FrameRender, SocketAsk, SocketFlow, SocketNext, SocketRender, Taken};
use crate::api::chat::{self, Actor, Question};
use crate::api::dialect::Dialect;
use crate::api::error::{ApiError, Kind};
use crate::api::flow::Answers;
use crate::api::message::idempotency_key;
use crate::api::params::Params;
use crate::api::view::AskEvent;
use crate::limits::NAME_BYTES_MAX;
use crate::shard::{Append, Asked};
use serde::Serialize;
use serde_json::value::RawValue;

/// What a client calls its request. Whatever it is, it comes back.
type RequestId = Option<Box<RawValue>>;

/// The client's frames.
pub(super) struct Frames {
    actor: Actor,
}

impl Frames {
    pub(super) fn new(actor: Actor) -> Self {
        Self { actor }
    }

    fn taken(&self, params: &Params<'_>, id: &RequestId, context: &Context) -> Result<Taken, ApiError> {
        if params.text("type").is_some_and(|kind| kind == "stop") {
            return Ok(Taken::Stop);
        }
        let key = idempotency_key(params.raw("idempotencyKey").map(RawValue::get), None)?;
        let question = Question { key, ..Question::of(params, None, self.actor.clone())? };
        Ok(match Addressed::of(question, params, context)? {
            Addressed::To(append) => Taken::Ask(Box::new(ask(*append, id.clone()))),
            Addressed::ToWhomItConcerns(unaddressed) => {
                Taken::Flow(Box::new(AskFlow { unaddressed, request_id: id.clone() }))
            }
        })
    }
}

impl SocketRender for Frames {
    fn take(&mut self, text: &str, context: &Context) -> Taken {
        let params = match Params::of_object(text) {
            Ok(params) => params,
            Err(_) => return refused(&Kind::FrameInvalid.into(), None),
        };
        match request_id(&params) {
            Ok(id) => self.taken(&params, &id, context).unwrap_or_else(|error| refused(&error, id)),
            Err(error) => refused(&error, None),
        }
    }

    fn refuse(&mut self, text: &str, error: &ApiError) -> Taken {
        let params = Params::of_object(text).ok();
        refused(error, params.and_then(|params| request_id(&params).ok().flatten()))
    }

    fn take_binary(&mut self) -> Taken {
        refused(&Kind::FrameInvalid.into(), None)
    }
}

/// It comes back on every frame, so it has a bound.
fn request_id(params: &Params<'_>) -> Result<RequestId, ApiError> {
    let id = params.raw("requestId").map(RawValue::to_owned);
    if id.as_deref().is_some_and(|id| id.get().len() > NAME_BYTES_MAX) {
        return Err(ApiError::about(Kind::NameTooLong, "{field}", "requestId"));
    }
    Ok(id)
}

/// What a frame comes to that asks nothing. It waits for its turn, so that a client can count.
fn refused(error: &ApiError, request_id: RequestId) -> Taken {
    Taken::Flow(Box::new(Refused(error_frame(error, request_id.as_deref()))))
}

struct Refused(String);

impl SocketFlow for Refused {
    fn step(&mut self, _: Answers) -> SocketNext {
        SocketNext::Reply(std::mem::take(&mut self.0))
    }
}

fn ask(append: Append, request_id: RequestId) -> SocketAsk {
    let reader = Some(append.author.id().to_owned());
    let render = Box::new(Streamed { request_id, session_id: String::new(), agent_id: String::new() });
    SocketAsk { append, reader, render }
}

/// A search for whom to ask.
struct AskFlow {
    unaddressed: Box<Unaddressed>,
    request_id: RequestId,
}

impl SocketFlow for AskFlow {
    fn step(&mut self, answers: Answers) -> SocketNext {
        match self.unaddressed.step(answers) {
            Found::Ask(questions) => SocketNext::Ask(questions),
            Found::Append(append) => SocketNext::Begin(Box::new(ask(*append, self.request_id.take()))),
            Found::Nobody(error) => SocketNext::Reply(error_frame(&error, self.request_id.as_deref())),
        }
    }
}

/// An answer as it grows.
struct Streamed {
    request_id: RequestId,
    session_id: String,
    agent_id: String,
}

impl FrameRender for Streamed {
    fn begin(&mut self, asked: &Asked) -> Option<String> {
        (self.session_id, self.agent_id) = (asked.session.to_string(), asked.agent.id.clone());
        None
    }

    fn tell(&mut self, event: &AskEvent) -> Option<String> {
        let AskEvent::Text(content) = event else { return None };
        let (session_id, agent_id) = (&self.session_id, &self.agent_id);
        Some(frame(Content::Chunk { content, session_id, agent_id }, self.request_id.as_deref()))
    }

    fn done(&mut self, outcome: &Outcome) -> Vec<String> {
        let request_id = self.request_id.as_deref();
        vec![match chat::answered(outcome) {
            Ok(answered) => frame(Content::Final(WholeAnswer::of(answered)), request_id),
            Err(error) => error_frame(&error, request_id),
        }]
    }
}

fn error_frame(error: &ApiError, request_id: Option<&RawValue>) -> String {
    let retry_after_ms = error.retry_after_s().map(|seconds| seconds * 1000); // a frame has no header to say it
    let (error, status) = (&*error.said(Dialect::Agenfleet), error.kind().status(Dialect::Agenfleet));
    frame(Content::Error { error, status, retry_after_ms }, request_id)
}

fn frame(content: Content<'_>, request_id: Option<&RawValue>) -> String {
    body(&Frame { content, request_id })
}

#[derive(Serialize)]
struct Frame<'a> {
    #[serde(flatten)]
    content: Content<'a>,
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Content<'a> {
    Chunk {
        content: &'a str,
        session_id: &'a str,
        agent_id: &'a str,
    },
    Final(WholeAnswer<'a>),
    Error {
        error: &'a str,
        status: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ask::{Answered, Row};
    use crate::session::{Json, MessageId, MessageParts, Namespace, SessionId, main_id};
    use crate::shard::{AgentName, Now, Standing};

    const CONTEXT: Context = Context { now: Now { unix_us: 1_761_216_480_123_456, mono_us: 5 }, random: 42, shards: 4 };

    fn frames() -> Frames {
        Frames::new(Actor { namespace: Namespace::default(), user_id: "alice".into() })
    }

    fn asked(text: &str) -> SocketAsk {
        match frames().take(text, &CONTEXT) {
            Taken::Ask(ask) => *ask,
            _ => panic!("{text} asks nobody"),
        }
    }

    fn reply(taken: Taken) -> String {
        let Taken::Flow(mut flow) = taken else { panic!("it waits for its turn") };
        match flow.step(Vec::new()) {
            SocketNext::Reply(frame) => frame,
            _ => panic!("it is no reply"),
        }
    }

    #[test]
    fn a_frame_asks_its_agent_and_its_answer_carries_its_request_id() {
        let SocketAsk { append, reader, mut render } =
            asked(r#"{"message":"hi","agentId":"bot","requestId":{"n":[7]}}"#);
        assert_eq!((append.session, reader.as_deref()), (main_id("", "alice", "bot"), Some("alice")));
        let session = SessionId::from_parts(1, 2);
        let agent = AgentName { id: "bot".into(), name: "Bot \"B\"".into() };
        let standing = Standing::Waiting { run: None };
        let asked = Asked { session, seq: 1, json: None, replayed: false, agent: agent.clone(), team: None, standing };
        assert_eq!(render.begin(&asked), None);
        assert_eq!(
            render.tell(&AskEvent::Text("a\n".into())).unwrap(),
            format!(
                r#"{{"type":"chunk","content":"a\n","sessionId":"{session}","agentId":"bot","requestId":{{"n":[7]}}}}"#
            )
        );
        assert_eq!(render.tell(&AskEvent::ToolEnd { tool: "t".into(), content: "c".into() }), None);
        let json = MessageParts {
            id: MessageId::from_parts(1, 2),
            session,
            seq: 2,
            sender_id: "bot",
            kind: "assistant",
            content: &Json::parse(r#"{"parts":[{"type":"text","text":"a\n"}]}"#).unwrap(),
            metadata: &Json::empty_object(),
            inserted_at_us: 5,
        };
        let messages = vec![Row::of(json.render()).unwrap()];
        let answered =
            Answered { session, user_seq: 1, agent, messages, input_tokens: 3, output_tokens: 4, duration_ms: 5 };
        let last = format!(
            r#"{{"type":"final","response":"a\n","agentId":"bot","agentName":"Bot \"B\"","sessionId":"{session}","inputTokens":3,"outputTokens":4,"durationMs":5,"messageId":"msg_{session}_2","requestId":{{"n":[7]}}}}"#
        );
        assert_eq!(render.done(&Outcome::Answered(Box::new(answered))), [last]);
        let late =
            r#"{"type":"error","error":"The agent has not answered in time","status":504,"requestId":{"n":[7]}}"#;
        assert_eq!(render.done(&Outcome::Late), [late]);
    }

    #[test]
    fn what_is_no_question_is_answered_with_an_error() {
        for (text, said) in [
            ("hi", r#"{"type":"error","error":"A frame must be a JSON object","status":400}"#),
            ("[1]", r#"{"type":"error","error":"A frame must be a JSON object","status":400}"#),
            (
                r#"{"requestId":7}"#,
                r#"{"type":"error","error":"message must be a non-empty string","status":400,"requestId":7}"#,
            ),
            (
                r#"{"message":"hi","sessionId":"x","requestId":"r"}"#,
                r#"{"type":"error","error":"Session not found","status":404,"requestId":"r"}"#,
            ),
        ] {
            assert_eq!(reply(frames().take(text, &CONTEXT)), said, "{text}");
        }
        let long = format!(r#"{{"message":"hi","requestId":"{}"}}"#, "x".repeat(300));
        assert!(reply(frames().take(&long, &CONTEXT)).contains("requestId must be at most 255 bytes"));
        assert!(reply(frames().take_binary()).contains("400"));
    }

    #[test]
    fn a_frame_may_carry_a_key_by_which_a_retry_is_known() {
        let key = |text: &str| asked(text).append.idempotency_key;
        assert_eq!(key(r#"{"message":"hi","agentId":"bot","idempotencyKey":"k1"}"#).as_deref(), Some("k1"));
        assert_eq!(key(r#"{"message":"hi","agentId":"bot","idempotencyKey":null}"#), None);
        assert_eq!(key(r#"{"message":"hi","agentId":"bot"}"#), None);
        for bad in ["\"\"", "7", "{}"] {
            let said = reply(frames().take(&format!(r#"{{"message":"hi","idempotencyKey":{bad}}}"#), &CONTEXT));
            assert!(said.contains("idempotency_key must be a string") && said.contains("400"), "{said}");
        }
    }

    #[test]
    fn a_stop_overtakes_and_a_message_that_names_nobody_is_looked_after_in_its_turn() {
        assert!(matches!(frames().take(r#"{"type":"stop"}"#, &CONTEXT), Taken::Stop));
        let Taken::Flow(mut flow) = frames().take(r#"{"message":"hi","requestId":1}"#, &CONTEXT) else { panic!() };
        assert!(matches!(flow.step(Vec::new()), SocketNext::Ask(questions) if questions.len() == 1));
        let nobody = crate::shard::Reply::Routed { agent: None, fallback: None };
        assert!(matches!(flow.step(vec![vec![Ok(nobody)]]), SocketNext::Ask(_)));
        let no_session = crate::shard::Reply::SessionRows { total: 0, rows: Vec::new() };
        let SocketNext::Reply(frame) = flow.step(vec![vec![Ok(no_session)]]) else { panic!() };
        assert!(frame.starts_with(r#"{"type":"error","error":"There is no agent"#), "{frame}");
        assert!(frame.ends_with(r#","status":404,"requestId":1}"#), "{frame}");
    }
}
