//! AgenFleet's WebSocket: questions in, an answer as it grows and its end out, one after another.

use super::{delta, register, scripted, spoken};
use crate::harness::{Agent, Options, Server, Stream, Value, json, unique};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

/// A client that reads frame by frame.
pub(super) struct Client(WebSocket<Stream>);

impl Client {
    fn open(server: &Server, user: &str) -> Self {
        Self::try_open(server, "t", Some(user)).expect("the socket is accepted")
    }

    /// Connects with this token. Refused: the status.
    pub(super) fn try_open(server: &Server, token: &str, user: Option<&str>) -> Result<Self, u16> {
        let url = format!("ws://{}/api/chat/ws?token={token}", server.address());
        let mut request = url.into_client_request().expect("a URL");
        if let Some(user) = user {
            request.headers_mut().insert("x-user-id", user.parse().expect("a name"));
        }
        match tungstenite::client(request, server.open().expect("the server accepts")) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(error) => panic!("the handshake failed: {error}"),
        }
    }

    /// Reads up to the close frame; its code.
    pub(super) fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.0.read().expect("the server sends") {
                Message::Close(frame) => return frame.map(|frame| frame.code.into()),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn say(&mut self, frame: &Value) {
        self.text(&frame.to_string());
    }

    fn text(&mut self, text: &str) {
        self.0.send(Message::text(text)).expect("the socket is open");
    }

    pub(super) fn ask(&mut self, agent: &str, text: &str, id: u64) {
        self.say(&json!({"message": text, "agentId": agent, "requestId": id}));
    }

    /// The next frame.
    fn frame(&mut self) -> Value {
        loop {
            match self.0.read().expect("the server sends") {
                Message::Text(text) => return serde_json::from_str(&text).expect("a frame is JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// The frames up to the end of an answer.
    pub(super) fn answer(&mut self) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            frames.push(self.frame());
            if frames[frames.len() - 1]["type"] != "chunk" {
                return frames;
            }
        }
    }
}

fn told(frames: &[Value]) -> String {
    frames.iter().filter_map(|frame| frame["content"].as_str()).collect()
}

#[test]
fn an_answer_comes_in_chunks_and_a_final_frame_that_says_all() {
    let server = Server::shared();
    let user = unique("alice");
    let mut client = Client::open(&server, &user);
    client.say(&json!({"message": "Say it again", "agentId": "echo"}));
    let frames = client.answer();
    let last = frames.last().expect("a final frame");
    let session = last["sessionId"].as_str().expect("a session").to_owned();
    let chunk = json!({"type": "chunk", "content": "Say ", "sessionId": session, "agentId": "echo"});
    assert_eq!(frames[0], chunk);
    let expected = json!({
        "type": "final", "response": "Say it again", "messageId": format!("msg_{session}_2"), "sessionId": session,
        "agentId": "echo", "agentName": last["agentName"], "inputTokens": 0, "outputTokens": 0,
        "durationMs": last["durationMs"],
    });
    assert_eq!((last, told(&frames)), (&expected, "Say it again".to_owned()));
    assert_eq!(server.history(&session).len(), 2, "it stands before it is told");
    assert_eq!(server.cursor(&session, &user), Some(2));
}

#[test]
fn questions_are_answered_in_their_order_what_is_none_included() {
    let server = Server::shared();
    let agent = Agent::start();
    let id = register(&server, &agent.url(), json!({}));
    let mut client = Client::open(&server, &unique("alice"));
    client.ask(&id, "slow", 1);
    client.ask("echo", "fast", 2);
    client.text("rubbish");
    client.ask("nobody", "hi", 4);
    client.ask("echo", "last", 5);
    agent.call().answer(&spoken("at last"));
    for (id, kind) in
        [(json!(1), "final"), (json!(2), "final"), (Value::Null, "error"), (json!(4), "error"), (json!(5), "final")]
    {
        let frames = client.answer();
        assert!(frames.iter().all(|frame| frame["requestId"] == id), "{frames:?}");
        assert_eq!(frames.last().expect("an end")["type"], kind, "{frames:?}");
    }
}

#[test]
fn errors_leave_the_socket_open() {
    let server = Server::shared();
    let (_agent, broken) = scripted(&server, json!({}), |call| call.respond(500, &[], "no"));
    let mut client = Client::open(&server, &unique("alice"));
    for (frame, status, text) in [
        (json!([]), 400, "A frame must be a JSON object"),
        (json!({"requestId": "r"}), 400, "message must be a non-empty string"),
        (json!({"message": "hi", "agentId": "nobody", "requestId": "r"}), 404, "Agent not found"),
        (json!({"message": "hi", "sessionId": "none", "requestId": "r"}), 404, "Session not found"),
        (
            json!({"message": "hi", "agentId": broken, "requestId": "r"}),
            502,
            "The agent failed to answer: the webhook answered with status 500",
        ),
    ] {
        client.say(&frame);
        let mut expected = json!({"type": "error", "error": text, "status": status});
        if let Some(id) = frame.get("requestId") {
            expected["requestId"] = id.clone();
        }
        assert_eq!(client.frame(), expected);
    }
    client.0.send(Message::binary(vec![1, 2])).expect("the socket is open");
    assert_eq!(client.frame()["status"], 400);
    client.ask("echo", "still there", 1);
    assert_eq!(told(&client.answer()), "still there");
}

#[test]
fn a_stop_ends_the_answer_under_way_and_the_next_question_is_answered() {
    let server = Server::shared();
    let agent = Agent::start();
    let id = register(&server, &agent.url(), json!({}));
    let mut client = Client::open(&server, &unique("alice"));
    client.ask(&id, "go on for ever", 1);
    client.ask("echo", "next", 2);
    let mut call = agent.call();
    call.say(&delta("So far"));
    let chunk = client.frame();
    assert_eq!((&chunk["content"], &chunk["requestId"]), (&json!("So far"), &json!(1)));
    client.say(&json!({"type": "stop"}));
    let end = json!({"type": "error", "error": "The answer was stopped", "status": 409, "requestId": 1});
    assert_eq!(client.frame(), end);
    assert!(call.is_closed_by_server());
    assert_eq!(told(&client.answer()), "next");
    let session = chunk["sessionId"].as_str().expect("a session");
    assert_eq!(super::text_of(&server.history(session)[1]), "So far", "what was said stands");
}

#[test]
fn a_client_that_leaves_leaves_its_answer_in_the_session() {
    let server = Server::shared();
    let agent = Agent::start();
    let id = register(&server, &agent.url(), json!({}));
    let user = unique("alice");
    let mut client = Client::open(&server, &user);
    client.ask(&id, "hi", 1);
    let call = agent.call();
    let session = call.json()["session_id"].as_str().expect("a session").to_owned();
    drop(client);
    let mut room = crate::harness::Socket::open(&server, &user);
    let topic = room.join_session(&session);
    call.answer(&spoken("here"));
    room.first(|frame| frame.topic == topic && frame.event == "message" && frame.payload["kind"] == "assistant");
    assert_eq!(super::text_of(&server.history(&session)[1]), "here");
}

#[test]
fn a_frame_that_names_nobody_goes_to_whom_its_words_call_for() {
    let server = Server::with(&Options::default().flags(&["--echo-chunks-per-s", "0"]));
    let mut client = Client::open(&server, "alice");
    client.say(&json!({"message": "Hello?", "requestId": 1}));
    let nobody = "There is no agent to answer: register one, or name one";
    assert_eq!(client.frame(), json!({"type": "error", "error": nobody, "status": 404, "requestId": 1}));
    let (_tax, tax) = scripted(&server, json!({"keywords": ["invoice"]}), |call| call.answer(&spoken("paid")));
    client.say(&json!({"message": "Where is my invoice?"}));
    let frames = client.answer();
    assert_eq!((told(&frames).as_str(), &frames[0]["agentId"]), ("paid", &json!(tax)));
}

#[test]
fn a_frame_that_is_sent_again_under_its_key_is_answered_with_the_first_answer() {
    let server = Server::shared();
    let user = unique("alice");
    let ask = |id: u64| {
        let mut client = Client::open(&server, &user);
        client.say(&json!({"message": "once", "agentId": "echo", "requestId": id, "idempotencyKey": "k"}));
        client.answer().pop().expect("a final frame")
    };
    let (first, again) = (ask(1), ask(2));
    assert_eq!((&first["type"], &again["type"]), (&json!("final"), &json!("final")), "{first} {again}");
    assert_eq!((&first["messageId"], &first["response"]), (&again["messageId"], &again["response"]));
    assert_eq!((&first["requestId"], &again["requestId"]), (&json!(1), &json!(2)));
    assert_eq!(server.history(first["sessionId"].as_str().expect("a session")).len(), 2);
}
