//! The load of the kill loop. Each writer works until its connection breaks and tells the oracle what it was told.

use crate::harness::http::request;
use crate::harness::rest::messages;
use crate::harness::{Connection, Value, json};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::Sender;
use tungstenite::Message;

/// What a cycle's writers work on.
pub struct Plan {
    /// Makes texts unique over all cycles.
    pub cycle: u64,
    pub sessions: Vec<String>,
    /// Written to, then deleted for good; empty when there is none.
    pub doomed: String,
}

/// What a writer was told, or not told, by the server.
pub enum Acknowledged {
    Message {
        session: String,
        seq: u64,
        id: String,
        text: String,
    },
    Sent {
        session: String,
        seq: u64,
        text: String,
    },
    /// A keyed append is about to be sent; a later `Message` with its text is its answer.
    Unanswered {
        session: String,
        text: String,
    },
    /// Nothing was appended, and will not be.
    Refused {
        session: String,
        text: String,
    },
    /// A post of the hub's API was acknowledged, which tells no seq.
    Posted {
        session: String,
        text: String,
    },
    Read {
        session: String,
        last_seq: u64,
    },
    Archived {
        session: String,
    },
    /// A deletion is about to be asked for.
    Deleting {
        session: String,
    },
    Deleted {
        session: String,
    },
}

impl Acknowledged {
    /// An append's reply.
    pub fn message(session: &str, message: &Value) -> Self {
        Self::Message {
            session: session.to_owned(),
            seq: message["seq"].as_u64().expect("a seq"),
            id: message["id"].as_str().expect("an id").to_owned(),
            text: message["content"]["text"].as_str().expect("a text").to_owned(),
        }
    }
}

type Writer = fn(SocketAddr, &Plan, Sender<Acknowledged>);

/// Every kind of load, each once.
pub fn all() -> [Writer; 6] {
    [by_rest, by_rest_pipelined, by_hub, by_socket, reads, deletes]
}

/// A keyed append whose key is its text.
pub fn append(session: &str, text: &str) -> Vec<u8> {
    let body = json!({"user_id": "alice", "content": {"text": text}});
    request("POST", &messages(session), &[("idempotency-key", text)], Some(&body))
}

/// A post of the hub's API whose `localId` is its text.
pub fn post(session: &str, text: &str) -> Vec<u8> {
    request("POST", &messages(session), &[], Some(&json!({"text": text, "localId": text})))
}

/// Posts of the hub's API, each twice: before the kill too a retry adds nothing.
fn by_hub(address: SocketAddr, plan: &Plan, told: Sender<Acknowledged>) {
    let Ok(mut connection) = Connection::try_open(address) else { return };
    let mut call = |bytes: Vec<u8>| {
        connection.try_send(bytes).ok()?;
        connection.try_answer(false).ok()
    };
    for round in 0.. {
        let session = plan.sessions[round % plan.sessions.len()].clone();
        let text = format!("hub-{}-{round}", plan.cycle);
        told.send(Acknowledged::Unanswered { session: session.clone(), text: text.clone() })
            .expect("the oracle listens");
        let Some(answer) = call(post(&session, &text)) else { return };
        if answer.status == 409 {
            told.send(Acknowledged::Refused { session, text }).expect("the oracle listens");
            continue; // it is archived, which this API does not write to
        }
        answer.expect(200);
        let posted = Acknowledged::Posted { session: session.clone(), text: text.clone() };
        told.send(posted).expect("the oracle listens");
        let Some(answer) = call(post(&session, &text)) else { return };
        assert!([200, 409].contains(&answer.status), "{}", answer.text());
    }
}

/// One append after the other.
fn by_rest(address: SocketAddr, plan: &Plan, told: Sender<Acknowledged>) {
    appends(address, plan, &told, 1);
}

/// Batches of eight, so that many are in one group commit when the kill comes.
fn by_rest_pipelined(address: SocketAddr, plan: &Plan, told: Sender<Acknowledged>) {
    appends(address, plan, &told, 8);
}

fn appends(address: SocketAddr, plan: &Plan, told: &Sender<Acknowledged>, depth: usize) {
    let Ok(mut connection) = Connection::try_open(address) else { return };
    for round in 0.. {
        let mut batch = Vec::new();
        for n in 0..depth {
            let session = &plan.sessions[(round * depth + n) % plan.sessions.len()];
            let text = format!("rest-{}-{depth}-{round}-{n}", plan.cycle);
            let unanswered = Acknowledged::Unanswered { session: session.clone(), text: text.clone() };
            told.send(unanswered).expect("the oracle listens");
            batch.push((session, append(session, &text)));
        }
        let bytes: Vec<u8> = batch.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        if connection.try_send(bytes).is_err() {
            return;
        }
        for (session, _) in &batch {
            let Ok(answer) = connection.try_answer(false) else { return };
            let message = answer.expect(200)["message"].clone();
            told.send(Acknowledged::message(session, &message)).expect("the oracle listens");
        }
    }
}

/// Sends on a channel, eight in flight. Not keyed: without an ack a send may be there or not, but never twice.
fn by_socket(address: SocketAddr, plan: &Plan, told: Sender<Acknowledged>) {
    let Ok(stream) = TcpStream::connect(address) else { return };
    stream.set_read_timeout(Some(crate::harness::HANG)).expect("a TCP option");
    let url = format!("ws://{address}/socket/websocket?user_id=alice&vsn=2.0.0");
    let Ok((mut socket, _)) = tungstenite::client(url, stream) else { return };
    let topics: Vec<String> = plan.sessions.iter().map(|session| format!("session:{session}")).collect();
    for (n, topic) in topics.iter().enumerate() {
        let reference = format!("join-{n}");
        let join = json!([reference, reference, topic, "phx_join", {"last_seq": 1_000_000_000u64}]);
        if socket.send(Message::text(join.to_string())).is_err() {
            return;
        }
    }
    let mut in_flight = BTreeMap::new();
    for round in 0.. {
        while in_flight.len() < 8 {
            let n = round * 8 + in_flight.len();
            let session = &plan.sessions[n % plan.sessions.len()];
            let (reference, text) = (format!("{round}-{n}"), format!("socket-{}-{round}-{n}", plan.cycle));
            let send = json!([null, reference, format!("session:{session}"), "send", {"content": {"content": {"text": text}}}]);
            if socket.send(Message::text(send.to_string())).is_err() {
                return;
            }
            in_flight.insert(reference, (session.clone(), text));
        }
        while in_flight.len() > 4 {
            let Ok(message) = socket.read() else { return };
            let Some((reference, seq)) = ack(&message) else { continue };
            if let Some((session, text)) = in_flight.remove(&reference) {
                told.send(Acknowledged::Sent { session, seq, text }).expect("the oracle listens");
            }
        }
    }
}

/// The ref and the seq of a send's ack.
fn ack(message: &Message) -> Option<(String, u64)> {
    let frame: Value = serde_json::from_str(message.to_text().ok()?).ok()?;
    if frame[3] != "phx_reply" {
        return None;
    }
    let payload = &frame[4];
    assert_eq!(payload["status"], "ok", "{frame}");
    Some((frame[1].as_str()?.to_owned(), payload["response"]["seq"].as_u64()?))
}

/// Reads the newest message and moves the cursor to it, session after session.
fn reads(address: SocketAddr, plan: &Plan, told: Sender<Acknowledged>) {
    let Ok(mut connection) = Connection::try_open(address) else { return };
    let mut call = |bytes: Vec<u8>| {
        connection.try_send(bytes).ok()?;
        connection.try_answer(false).ok()
    };
    for session in plan.sessions.iter().cycle() {
        let newest = format!("{}?before_seq=1000000000&limit=1", messages(session));
        let Some(answer) = call(request("GET", &newest, &[], None)) else { return };
        let Some(last_seq) = answer.expect(200)["messages"][0]["seq"].as_u64() else { continue };
        let mark = json!({"user_id": "alice", "last_seq": last_seq});
        let path = format!("/api/sessions/{session}/read");
        let Some(answer) = call(request("POST", &path, &[], Some(&mark))) else { return };
        answer.expect(200);
        told.send(Acknowledged::Read { session: session.clone(), last_seq }).expect("the oracle listens");
    }
}

/// Archives one session and deletes the doomed one for good, then goes on reading so that it ends with the server.
fn deletes(address: SocketAddr, plan: &Plan, told: Sender<Acknowledged>) {
    let Ok(mut connection) = Connection::try_open(address) else { return };
    let mut delete = |path: String| {
        connection.try_send(request("DELETE", &path, &[], None)).ok()?;
        connection.try_answer(false).ok().map(|answer| assert_eq!(answer.status, 204))
    };
    if let Some(session) = plan.sessions.first() {
        if delete(format!("/api/sessions/{session}")).is_none() {
            return;
        }
        told.send(Acknowledged::Archived { session: session.clone() }).expect("the oracle listens");
    }
    if plan.doomed.is_empty() {
        return;
    }
    let session = plan.doomed.clone();
    told.send(Acknowledged::Deleting { session: session.clone() }).expect("the oracle listens");
    if delete(format!("/api/sessions/{session}?permanent=true")).is_some() {
        told.send(Acknowledged::Deleted { session }).expect("the oracle listens");
    }
}
