//! The application over REST, as short calls on a [`Server`] that fail the test when the answer is not the good one.

use super::http::request;
use super::{Answer, Connection, Server, Value, json};

impl Server {
    pub fn connect(&self) -> Connection {
        Connection::over(self.open().expect("the server accepts"))
    }

    /// One request on a connection of its own.
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let mut connection = self.connect();
        connection.send(request(method, path, headers, body));
        if method == "HEAD" { connection.answer_to_head() } else { connection.answer() }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, &[], Some(body))
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.call("PUT", path, &[], Some(body))
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], None)
    }

    /// Creates a session and gives its id.
    #[track_caller]
    pub fn session(&self, user: &str, agent: &str) -> String {
        let body = self.post("/api/sessions", &json!({"user_id": user, "agent_id": agent})).expect(201);
        body["session"]["id"].as_str().expect("a session has an id").to_owned()
    }

    /// Appends a text as a user and gives the message.
    #[track_caller]
    pub fn say(&self, session: &str, user: &str, text: &str) -> Value {
        let body = json!({"user_id": user, "content": {"text": text}});
        self.post(&messages(session), &body).expect(200)["message"].clone()
    }

    /// Appends a text as an agent and gives the message.
    #[track_caller]
    pub fn answer_as(&self, session: &str, agent: &str, text: &str) -> Value {
        let body = json!({"agent_id": agent, "kind": "assistant", "content": {"text": text}});
        self.post(&messages(session), &body).expect(200)["message"].clone()
    }

    /// All messages of a session, page by page.
    #[track_caller]
    pub fn history(&self, session: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().map_or(0, |message| message["seq"].as_u64().expect("a seq"));
            let page = self.get(&format!("{}?after_seq={after}&limit=1000", messages(session))).expect(200);
            let batch = list(&page, "messages");
            if batch.is_empty() {
                return all;
            }
            all.extend(batch);
        }
    }

    /// Moves a read cursor.
    #[track_caller]
    pub fn mark_read(&self, session: &str, user: &str, last_seq: u64) -> Value {
        self.post(&format!("/api/sessions/{session}/read"), &json!({"user_id": user, "last_seq": last_seq})).expect(200)
    }

    /// A user's cursor as `GET /api/sessions/:id/read` tells it; `None` before the first mark.
    #[track_caller]
    pub fn cursor(&self, session: &str, user: &str) -> Option<u64> {
        let body = self.get(&format!("/api/sessions/{session}/read")).expect(200);
        assert!(body["cursors"].is_object(), "{body}");
        body["cursors"][user].as_u64()
    }
}

/// The path of a session's messages.
pub fn messages(session: &str) -> String {
    format!("/api/sessions/{session}/messages")
}

/// An array field of a body.
#[track_caller]
pub fn list(body: &Value, field: &str) -> Vec<Value> {
    body[field].as_array().unwrap_or_else(|| panic!("{field} is an array in {body}")).clone()
}

/// The seqs of messages.
#[track_caller]
pub fn seqs(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["seq"].as_u64().expect("a message has a seq")).collect()
}

/// The texts of messages.
#[track_caller]
pub fn texts(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["content"]["text"].as_str().expect("a message has a text")).collect()
}

/// The keys of an object, sorted.
#[track_caller]
pub fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap_or_else(|| panic!("{object} is an object")).keys().map(String::as_str).collect()
}
