//! A Phoenix Channels client of serializer 2.0.0 on tungstenite, blocking, that keeps what it has not been asked for.

use super::{HANG, Server, Stream, Value, json};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;
use tungstenite::{Error, Message, WebSocket};

/// One channel message from the server.
#[derive(Debug, Clone)]
pub struct Frame {
    pub join_ref: Value,
    pub reference: Value,
    pub topic: String,
    pub event: String,
    pub payload: Value,
}

impl Frame {
    /// Reads the array of five.
    pub fn parse(text: &str) -> Self {
        let frame: Value = serde_json::from_str(text).expect("a frame is JSON");
        let parts = frame.as_array().unwrap_or_else(|| panic!("{text} is an array"));
        assert_eq!(parts.len(), 5, "{text}");
        let name = |part: &Value| part.as_str().unwrap_or_else(|| panic!("{text} names topic and event")).to_owned();
        Self {
            join_ref: parts[0].clone(),
            reference: parts[1].clone(),
            topic: name(&parts[2]),
            event: name(&parts[3]),
            payload: parts[4].clone(),
        }
    }

    pub fn is_reply_to(&self, reference: &Value) -> bool {
        self.event == "phx_reply" && self.reference == *reference
    }
}

/// One socket.
pub struct Socket {
    stream: WebSocket<Stream>,
    unread: VecDeque<Frame>,
    next_ref: u64,
}

impl Socket {
    /// Connects as a user (or agent, which is the same to a socket) with serializer 2.
    pub fn open(server: &Server, identity: &str) -> Self {
        Self::try_open(server, &format!("user_id={identity}&vsn=2.0.0")).expect("the socket is accepted")
    }

    /// Connects with this query. Refused: the status.
    pub fn try_open(server: &Server, query: &str) -> Result<Self, u16> {
        let stream = server.open().expect("the server accepts");
        let url = format!("ws://{}/socket/websocket?{query}", server.address());
        match tungstenite::client(url, stream) {
            Ok((stream, _)) => Ok(Self { stream, unread: VecDeque::new(), next_ref: 1 }),
            Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(error) => panic!("the handshake failed: {error}"),
        }
    }

    /// The next ref, as stock clients number them.
    pub fn fresh_ref(&mut self) -> Value {
        self.next_ref += 1;
        Value::String((self.next_ref - 1).to_string())
    }

    /// Sends one text frame as it is.
    pub fn send_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).expect("the socket is open");
    }

    /// Sends one binary frame as it is.
    pub fn send_binary(&mut self, bytes: Vec<u8>) {
        self.stream.send(Message::binary(bytes)).expect("the socket is open");
    }

    /// Sends a channel message with these refs.
    pub fn send(&mut self, join_ref: &Value, reference: &Value, topic: &str, event: &str, payload: &Value) {
        self.send_text(&json!([join_ref, reference, topic, event, payload]).to_string());
    }

    /// Sends an event with a null join_ref, as raw clients do, and gives its ref.
    pub fn push(&mut self, topic: &str, event: &str, payload: &Value) -> Value {
        let reference = self.fresh_ref();
        self.send(&Value::Null, &reference, topic, event, payload);
        reference
    }

    /// The next frame that nobody has asked for yet, in the order of arrival.
    pub fn next(&mut self) -> Frame {
        self.unread.pop_front().unwrap_or_else(|| self.receive())
    }

    /// The first frame for which this is true; those before it stay for later.
    pub fn first(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        if let Some(at) = self.unread.iter().position(&wanted) {
            return self.unread.remove(at).expect("it was just found");
        }
        loop {
            let frame = self.receive();
            if wanted(&frame) {
                return frame;
            }
            self.unread.push_back(frame);
        }
    }

    /// The next event of this name on a topic.
    pub fn event(&mut self, topic: &str, event: &str) -> Value {
        self.first(|frame| frame.topic == topic && frame.event == event).payload
    }

    /// The reply to a ref: `Ok` or `Err` with its response.
    pub fn reply(&mut self, reference: &Value) -> Result<Value, Value> {
        let payload = self.first(|frame| frame.is_reply_to(reference)).payload;
        let response = payload["response"].clone();
        match payload["status"].as_str() {
            Some("ok") => Ok(response),
            Some("error") => Err(response),
            _ => panic!("a reply says ok or error: {payload}"),
        }
    }

    /// Joins a topic.
    pub fn join(&mut self, topic: &str, payload: &Value) -> Result<Value, Value> {
        let reference = self.fresh_ref();
        self.send(&reference, &reference, topic, "phx_join", payload);
        self.reply(&reference)
    }

    /// Joins a session from its beginning and gives its topic.
    #[track_caller]
    pub fn join_session(&mut self, session: &str) -> String {
        let topic = format!("session:{session}");
        self.join(&topic, &json!({})).expect("the join is accepted");
        topic
    }

    /// Sends a text on a session's topic and gives the seq of the ack.
    #[track_caller]
    pub fn say(&mut self, topic: &str, text: &str) -> u64 {
        let reference = self.push(topic, "send", &json!({"content": {"kind": "text", "content": {"text": text}}}));
        let response = self.reply(&reference).expect("the send is accepted");
        response["seq"].as_u64().expect("an ack has a seq")
    }

    /// Sends a heartbeat and gives every frame that came before its reply: what the server said up to here.
    pub fn settle(&mut self) -> Vec<Frame> {
        let reference = self.push("phoenix", "heartbeat", &json!({}));
        let mut before = Vec::new();
        loop {
            let frame = self.next();
            if frame.is_reply_to(&reference) {
                return before;
            }
            before.push(frame);
        }
    }

    /// Nothing comes for this long. For claims about time that passes, not to wait for something.
    pub fn is_silent_for(&mut self, duration: Duration) -> bool {
        self.stream.get_ref().tcp().set_read_timeout(Some(duration)).expect("a TCP option");
        let read = self.stream.read();
        self.stream.get_ref().tcp().set_read_timeout(Some(HANG)).expect("a TCP option");
        self.unread.is_empty() && matches!(read, Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Reads to the end and gives the close code, `None` when the connection just ended.
    pub fn close_code(&mut self) -> Option<u16> {
        self.drain().1
    }

    /// Reads to the end and gives what came, with the close code.
    pub fn drain(&mut self) -> (Vec<Frame>, Option<u16>) {
        let mut frames: Vec<Frame> = self.unread.drain(..).collect();
        loop {
            match self.stream.read() {
                Ok(Message::Text(text)) => frames.push(Frame::parse(&text)),
                Ok(Message::Close(frame)) => return (frames, frame.map(|frame| frame.code.into())),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => panic!("it does not close"),
                Err(_) => return (frames, None),
            }
        }
    }

    fn receive(&mut self) -> Frame {
        loop {
            match self.stream.read().expect("the socket is open and speaks") {
                Message::Text(text) => return Frame::parse(&text),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("expected a text frame, not {other:?}"),
            }
        }
    }
}
