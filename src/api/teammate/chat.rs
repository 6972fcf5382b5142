//! A message to an agent of AI Teammate (seed 002): its answer whole, or as server-sent events while it grows.
//!
//! Invariants: an event is one line of `data`, whole in one piece; what a stream tells as text is what the whole answer says. The
//! reader that the seed shows splits what it reads at line ends and carries nothing over: long texts are therefore told in several
//! events, none of which is larger than what travels in one go.

use crate::api::Context;
use crate::api::ask::{Answered, Outcome};
use crate::api::ask_plan::{AskPlan, AskRender, Begin};
use crate::api::chat::{self, Actor, Place, Plan, Question, Whole};
use crate::api::dialect::Dialect;
use crate::api::error::ApiError;
use crate::api::params::Params;
use crate::api::view::{self, AskEvent, Message, member, whole_text};
use crate::limits::SSE_TEXT_BYTES_MAX;
use crate::protocol::http::{Request, Response};
use crate::protocol::json::elements;
use crate::protocol::sse;
use crate::session::Json;
use crate::shard::{Append, Asked};
use serde::Serialize;
use serde_json::value::RawValue;

/// The literal behind the last event.
const END: &str = "[DONE]";

/// `POST /agents/:id/chat`.
pub(super) fn whole(
    agent_id: &str,
    request: &Request,
    params: &Params<'_>,
    context: &Context,
) -> Result<Plan, ApiError> {
    Ok(plan(question(agent_id, request, params, context)?, Box::new(in_one_piece())))
}

/// `POST /agents/:id/chat/stream`.
pub(super) fn streamed(
    agent_id: &str,
    request: &Request,
    params: &Params<'_>,
    context: &Context,
) -> Result<Plan, ApiError> {
    Ok(plan(question(agent_id, request, params, context)?, Box::new(Streamed)))
}

fn question(agent_id: &str, request: &Request, params: &Params<'_>, context: &Context) -> Result<Append, ApiError> {
    let key = request.headers.first("idempotency-key");
    let question = Question::of(params, key, Actor::of(request)?)?.with_context(params)?;
    let place = match chat::optional_text(params, "conversation_id")? {
        Some(id) => Place::Session(chat::session(&id)?, Some(agent_id)),
        None => Place::Main(agent_id),
    };
    question.addressed(place, context)
}

fn plan(append: Append, render: Box<dyn AskRender>) -> Plan {
    Plan::Ask(Box::new(AskPlan::of(append, render)))
}

/// An answer in one piece.
fn in_one_piece() -> Whole {
    Whole { dialect: Dialect::Teammate, body: |answered| text_of(&WholeAnswer::of(answered)) }
}

/// What stands in an answer: the three keys of the seed, where it is to be found again, and what the API's clients read where it is.
#[derive(Serialize)]
struct WholeAnswer<'a> {
    response: String,
    agent_id: &'a str,
    agent_name: &'a str,
    conversation_id: String,
    message_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

/// A call of a tool in the answer: what a stream tells as `tool_start` and `tool_end`.
#[derive(Serialize)]
struct ToolCall<'a> {
    name: String,
    args: &'a RawValue,
    /// What came of it, an error's text included.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
}

impl<'a> ToolCall<'a> {
    /// All calls of an answer in their order.
    fn all(answered: &'a Answered) -> Vec<Self> {
        let contents =
            answered.messages.iter().filter_map(|row| Message::read(&row.json)).map(|message| message.content);
        let parts = contents.filter_map(|content| member(content, "parts")).filter(|parts| parts.starts_with('['));
        parts.flat_map(elements).filter_map(Self::of_part).collect()
    }

    /// `tool-<name>`, or `dynamic-tool` with `toolName`. One whose input never came whole was no call.
    fn of_part(part: &'a str) -> Option<Self> {
        let kind = whole_text(member(part, "type")?)?;
        let name = match kind.strip_prefix("tool-") {
            Some(name) => name.to_owned(),
            None if kind == "dynamic-tool" => whole_text(member(part, "toolName")?)?,
            None => return None,
        };
        let result = member(part, "output").or_else(|| member(part, "errorText"));
        let (args, result) = (raw_of(member(part, "input")?), result.map(raw_of));
        Some(Self { name, args, result })
    }
}

/// Of an agent that counts.
#[derive(Serialize)]
struct Usage {
    input_tokens: u64,
    output_tokens: u64,
}

impl<'a> WholeAnswer<'a> {
    fn of(answered: &'a Answered) -> Self {
        let Answered { agent, session, input_tokens, output_tokens, .. } = answered;
        let (input_tokens, output_tokens) = (*input_tokens, *output_tokens);
        Self {
            response: answered.text(),
            agent_id: &agent.id,
            agent_name: &agent.name,
            conversation_id: session.to_string(),
            message_id: chat::answer_id(answered),
            tool_calls: ToolCall::all(answered),
            usage: answered.names_tokens().then_some(Usage { input_tokens, output_tokens }),
        }
    }
}

/// An answer as it grows.
struct Streamed;

impl AskRender for Streamed {
    fn begin(&mut self, asked: &Asked) -> Begin {
        let head = Response::new(200)
            .with_header("content-type", "text/event-stream")
            .with_header("cache-control", "no-cache")
            .with_header("x-accel-buffering", "no")
            .with_header("x-conversation-id", asked.session.to_string())
            .with_header("x-message-id", view::message_id(asked.session, asked.seq))
            .with_header("access-control-expose-headers", "x-conversation-id, x-message-id, x-request-id");
        Begin::Stream(head)
    }

    fn tell(&mut self, event: &AskEvent, out: &mut Vec<u8>) {
        match event {
            AskEvent::Text(text) => {
                pieces(text, SSE_TEXT_BYTES_MAX).for_each(|content| encode(&Event::Text { content }, out));
            }
            AskEvent::ToolStart { tool, args } => encode(&Event::ToolStart { tool, args: raw(args) }, out),
            AskEvent::ToolEnd { tool, content } => encode(&Event::ToolEnd { tool, content }, out),
        }
    }

    fn end(&mut self, outcome: &Outcome) -> Vec<Vec<u8>> {
        let (mut last, mut end) = (Vec::new(), Vec::new());
        match chat::answered(outcome) {
            Ok(_) => encode(&Event::Done { content: "" }, &mut last),
            Err(error) => encode(&Event::Error { content: &error.said(Dialect::Teammate) }, &mut last),
        }
        encode_text(END, &mut end);
        vec![last, end]
    }

    /// It ended before it was begun.
    fn respond(&mut self, outcome: &Outcome) -> Response {
        in_one_piece().respond(outcome)
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    Text { content: &'a str },
    ToolStart { tool: &'a str, args: &'a RawValue },
    ToolEnd { tool: &'a str, content: &'a str },
    Done { content: &'a str },
    Error { content: &'a str },
}

fn raw(json: &Json) -> &RawValue {
    raw_of(json.as_str())
}

fn raw_of(json: &str) -> &RawValue {
    serde_json::from_str(json).expect("it is JSON")
}

fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    encode_text(&text_of(event), out);
}

fn encode_text(text: &str, out: &mut Vec<u8>) {
    sse::encode_event(out, None, None, text).expect("there is neither id nor name");
}

fn text_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers always serialise")
}

/// `text` in pieces of at most so many bytes (a longer character is a piece).
fn pieces(text: &str, bytes_max: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?.len_utf8();
        let end = rest.floor_char_boundary(bytes_max).max(first);
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ask::Row;
    use crate::api::error::Kind;
    use crate::protocol::http::Method;
    use crate::session::{MessageId, MessageParts, SessionId, main_id};
    use crate::shard::{AgentName, Now, Standing};
    use proptest::prelude::*;

    const CONTEXT: Context = Context { now: Now { unix_us: 1_761_216_480_123_456, mono_us: 5 }, random: 42, shards: 4 };

    fn session() -> SessionId {
        SessionId::from_parts(1, 2)
    }

    fn agent() -> AgentName {
        AgentName { id: "abc123".into(), name: "My Assistant".into() }
    }

    fn asked_with(body: &str) -> Result<Append, ApiError> {
        let request = Request::new(Method::Post, "/agents/abc123/chat")
            .with_header("content-type", "application/json")
            .with_header("x-user-id", "alice")
            .with_body(body);
        match whole("abc123", &request, &Params::of(&request).unwrap(), &CONTEXT)? {
            Plan::Ask(plan) => Ok(plan.append),
            plan => panic!("{plan:?}"),
        }
    }

    fn answered(metadata: &str) -> Outcome {
        let json = MessageParts {
            id: MessageId::from_parts(1, 2),
            session: session(),
            seq: 2,
            sender_id: "abc123",
            kind: "assistant",
            content: &Json::parse(r#"{"parts":[{"type":"text","text":"I \"can\""}]}"#).unwrap(),
            metadata: &Json::parse(metadata).unwrap(),
            inserted_at_us: 5,
        };
        let messages = vec![Row::of(json.render()).unwrap()];
        let (session, agent) = (session(), agent());
        Outcome::Answered(Box::new(Answered {
            session,
            user_seq: 1,
            agent,
            messages,
            input_tokens: 3,
            output_tokens: 0,
            duration_ms: 5,
        }))
    }

    #[test]
    fn a_message_goes_to_the_conversation_it_names_else_to_the_main_one() {
        assert_eq!(asked_with(r#"{"message":"hi"}"#).unwrap().session, main_id("", "alice", "abc123"));
        let named = asked_with(&format!(r#"{{"message":"hi","conversation_id":"{}"}}"#, session())).unwrap();
        assert_eq!(named.session, session());
        assert_eq!(named.terms.unwrap().parties.unwrap().agent_id, "abc123");
        for (body, kind) in [
            (r#"{"message":""}"#, Kind::TextInvalid),
            (r#"{"message":"hi","conversation_id":7}"#, Kind::TextInvalid),
            (r#"{"message":"hi","conversation_id":"x"}"#, Kind::SessionNotFound),
            (r#"{"message":"hi","context":"x"}"#, Kind::ContextInvalid),
        ] {
            assert_eq!(asked_with(body).unwrap_err().kind(), kind, "{body}");
        }
    }

    #[test]
    fn a_whole_answer_has_usage_only_of_an_agent_that_counts() {
        let said = |metadata| String::from_utf8(in_one_piece().respond(&answered(metadata)).body.into_vec()).unwrap();
        let session = session();
        let plain = format!(
            r#"{{"response":"I \"can\"","agent_id":"abc123","agent_name":"My Assistant","conversation_id":"{session}","message_id":"msg_{session}_2""#
        );
        assert_eq!(said("{}"), format!("{plain}}}"));
        let usage = r#","usage":{"input_tokens":3,"output_tokens":0}"#;
        assert_eq!(said(r#"{"input_tokens":3}"#), format!("{plain}{usage}}}"));
    }

    fn told(event: AskEvent) -> String {
        let mut out = Vec::new();
        Streamed.tell(&event, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_stream_is_the_events_of_the_seed_to_the_byte() {
        assert_eq!(told(AskEvent::Text("Hello".into())), "data: {\"type\":\"text\",\"content\":\"Hello\"}\n\n");
        let args = Json::parse(r#"{"city":"Ulm"}"#).unwrap();
        assert_eq!(
            told(AskEvent::ToolStart { tool: "weather".into(), args }),
            "data: {\"type\":\"tool_start\",\"tool\":\"weather\",\"args\":{\"city\":\"Ulm\"}}\n\n"
        );
        assert_eq!(
            told(AskEvent::ToolEnd { tool: "weather".into(), content: "rain\n".into() }),
            "data: {\"type\":\"tool_end\",\"tool\":\"weather\",\"content\":\"rain\\n\"}\n\n"
        );
        let ends = |outcome| Streamed.end(&outcome).into_iter().map(|piece| String::from_utf8(piece).unwrap());
        let done: Vec<_> = ends(answered("{}")).collect();
        assert_eq!(done, ["data: {\"type\":\"done\",\"content\":\"\"}\n\n", "data: [DONE]\n\n"]);
        let failed: Vec<_> = ends(Outcome::Late).collect();
        let error = "data: {\"type\":\"error\",\"content\":\"The agent has not answered in time\"}\n\n";
        assert_eq!(failed, [error, "data: [DONE]\n\n"]);
    }

    #[test]
    fn a_stream_says_in_its_head_where_it_is_to_be_found_again() {
        let standing = Standing::Waiting { run: None };
        let asked =
            Asked { session: session(), seq: 7, json: None, replayed: false, agent: agent(), team: None, standing };
        let Begin::Stream(head) = Streamed.begin(&asked) else { panic!() };
        let id = session().to_string();
        let message = format!("msg_{id}_7");
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("x-conversation-id", id.as_str()),
            ("x-message-id", message.as_str()),
        ] {
            assert_eq!(head.header(name), Some(value));
        }
    }

    #[test]
    fn calls_of_tools_stand_in_the_answer_in_their_order() {
        let call = |part: &str| ToolCall::of_part(part).map(|call| text_of(&call));
        for (part, said) in [
            (
                r#"{"type":"tool-weather","toolCallId":"c","state":"output-available","input":{"city":"Ulm"},"output":[1]}"#,
                Some(r#"{"name":"weather","args":{"city":"Ulm"},"result":[1]}"#),
            ),
            (
                r#"{"type":"dynamic-tool","toolName":"rm","toolCallId":"c","input":"/","errorText":"no"}"#,
                Some(r#"{"name":"rm","args":"/","result":"no"}"#),
            ),
            (r#"{"type":"tool-rm","input":{}}"#, Some(r#"{"name":"rm","args":{}}"#)),
            (r#"{"type":"tool-rm","state":"input-streaming"}"#, None),
            (r#"{"type":"dynamic-tool","input":{}}"#, None),
            (r#"{"type":"text","text":"x"}"#, None),
            ("7", None),
        ] {
            assert_eq!(call(part).as_deref(), said, "{part}");
        }
        let Outcome::Answered(mut whole) = answered("{}") else { panic!() };
        assert!(ToolCall::all(&whole).is_empty());
        let json = whole.messages[0].json.as_str().replace(
            r#"{"type":"text","text":"I \"can\""}"#,
            r#"{"type":"tool-a","input":1},{"type":"text","text":"t"},{"type":"tool-b","input":2}"#,
        );
        whole.messages[0].json = Json::from_valid(&json);
        assert_eq!(ToolCall::all(&whole).into_iter().map(|call| call.name).collect::<Vec<_>>(), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn pieces_are_bounded_and_together_the_text(text in "\\PC{0,60}", bytes_max in 1..20usize) {
            let pieces: Vec<_> = pieces(&text, bytes_max).collect();
            prop_assert_eq!(pieces.concat(), text.clone());
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
            prop_assert!(pieces.iter().all(|piece| piece.len() <= bytes_max || piece.chars().count() == 1));
        }
    }
}
