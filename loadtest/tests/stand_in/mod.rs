//! A server small enough to be seen through: sessions in memory, a thread per connection, one lock. It keeps its
//! promises, or breaks exactly one of them on purpose. With a journal it survives being killed: `examples/stand_in.rs`.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Message, Role, WebSocket};

/// What it does wrong, always with the seventh message or chunk of a session.
#[allow(dead_code, reason = "the example has faults of its own")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Does not deliver it live.
    Drop,
    /// Delivers it twice.
    Duplicate,
    /// Delivers it after the eighth.
    Reorder,
    /// Delivers it with another letter in it.
    Alter,
    /// Acknowledges it and leaves it out of every page.
    Forget,
    /// Acknowledges it with another number.
    Misnumber,
    /// Answers that it cannot append it.
    Refuse,
    /// Does everything right, but half a second late.
    Stall,
}

const VICTIM: usize = 7;

type Writer = Arc<Mutex<WebSocket<TcpStream>>>;

#[derive(Default)]
pub struct Session {
    user: String,
    agent: String,
    /// Ascending by seq.
    pub messages: Vec<Value>,
    /// The seq of each idempotency key.
    keys: HashMap<String, Value>,
    /// Sockets on the channel with their join_ref.
    joined: Vec<(u64, Value, Writer)>,
    chunks: usize,
    held_back: Option<(&'static str, Value)>,
}

pub struct Store {
    pub sessions: HashMap<String, Session>,
    /// Where the agents are called.
    agents: HashMap<String, String>,
    fault: Fault,
    ids: u64,
    /// Where creations and appends are written before they are answered.
    pub journal: Option<File>,
}

type Shared = Arc<Mutex<Store>>;

/// Starts it; it lives as long as the process.
#[allow(dead_code, reason = "the example opens its own listener")]
pub fn start(fault: Fault) -> SocketAddr {
    serve_on(TcpListener::bind("127.0.0.1:0").unwrap(), Store::new(fault)).0
}

/// Serves on `listener` with what is in `store`; the thread ends with the process.
pub fn serve_on(listener: TcpListener, store: Store) -> (SocketAddr, JoinHandle<()>) {
    let address = listener.local_addr().unwrap();
    let store = Arc::new(Mutex::new(store));
    let serving = thread::spawn(move || {
        for (number, stream) in (0..).zip(listener.incoming()) {
            let store = Arc::clone(&store);
            // A client that goes away ends its thread with an error, as it should.
            thread::spawn(move || drop(serve(number, stream.unwrap(), &store)));
        }
    });
    (address, serving)
}

fn serve(number: u64, mut stream: TcpStream, store: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        if let Ok(httparse::Status::Complete(head)) = request.parse(&bytes) {
            let (method, path) = (request.method.unwrap().to_owned(), request.path.unwrap().to_owned());
            let header = |name: &str| {
                let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                found.map(|header| String::from_utf8(header.value.to_vec()).unwrap())
            };
            if let Some(key) = header("sec-websocket-key") {
                let accept = derive_accept_key(key.as_bytes());
                write!(
                    stream,
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
                )?;
                return Socket::new(number, stream, bytes[head..].to_vec(), store)?.serve();
            }
            let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= head + length {
                let (status, body) = answer(&method, &path, &bytes[head..head + length], store);
                let body = body.to_string();
                write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
                if header("connection").is_some_and(|connection| connection == "close") {
                    return Ok(());
                }
                bytes.drain(..head + length);
                continue;
            }
        }
        let mut chunk = [0; 16 * 1024];
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

/// Asks a webhook for its answer and hands on each chunk.
fn call_agent(id: &str, url: &str, shared: &Shared) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://"))?;
    let body = json!({"session_id": id}).to_string();
    write!(stream, "POST /webhook HTTP/1.1\r\nhost: agent\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.starts_with('{') {
            let chunk: Value = serde_json::from_str(&line)?;
            let mut store = shared.lock().unwrap();
            store.sessions.get_mut(id).unwrap().chunks += 1;
            store.broadcast(id, "stream_chunk", json!({"agent_id": "loadtest-agent", "chunk": chunk}));
        }
    }
    Ok(())
}

fn answer(method: &str, path: &str, body: &[u8], shared: &Shared) -> (u16, Value) {
    let mut store = shared.lock().unwrap();
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<_> = path.trim_start_matches("/api/sessions").trim_matches('/').split('/').collect();
    match (method, &parts[..]) {
        ("POST", [""]) => {
            store.ids += 1;
            let id = format!("S{}", store.ids);
            let user = body["user_id"].as_str().unwrap().to_owned();
            let agent = body["agent_id"].as_str().unwrap().to_owned();
            let session = json!({"session": {"id": id, "user_id": user}});
            store.keep(&json!({"create": id, "user": user, "agent": agent}));
            store.create(id, user, agent);
            (201, session)
        }
        ("POST", ["api", "agents"]) => {
            let text = |name: &str| body["agent"][name].as_str().unwrap().to_owned();
            store.agents.insert(text("id"), text("origin_url"));
            (201, json!({"agent": body["agent"]}))
        }
        ("GET", [id]) => (200, json!({"session": {"id": id, "user_id": store.sessions[*id].user}})),
        ("GET", [id, "messages"]) => {
            let number =
                |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
            (200, store.page(id, number("after_seq").unwrap_or(0), number("limit").unwrap_or(50)))
        }
        ("POST", [id, "messages"]) => {
            let (message, is_new) = store.append(id, body["content"].clone(), body["idempotency_key"].as_str());
            if is_new {
                store.broadcast(id, "message", message.clone());
            }
            if let Some(url) = store.agents.get(&store.sessions[*id].agent) {
                let (id, url, shared) = ((*id).to_owned(), url.clone(), Arc::clone(shared));
                thread::spawn(move || drop(call_agent(&id, &url, &shared)));
            }
            (200, json!({"message": message}))
        }
        _ => (200, json!({})),
    }
}

impl Store {
    /// An empty one.
    pub fn new(fault: Fault) -> Self {
        Self { sessions: HashMap::new(), agents: HashMap::new(), fault, ids: 0, journal: None }
    }

    pub fn create(&mut self, id: String, user: String, agent: String) {
        self.sessions.insert(id, Session { user, agent, ..Session::default() });
    }

    /// Takes in what a journal says.
    #[allow(dead_code, reason = "only the example has a journal")]
    pub fn replay(&mut self, line: &Value) {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        if line["create"].is_string() {
            self.ids += 1;
            return self.create(text("create"), text("user"), text("agent"));
        }
        let session = self.sessions.get_mut(&text("append")).unwrap();
        if let Some(key) = line["key"].as_str() {
            session.keys.insert(key.to_owned(), line["message"]["seq"].clone());
        }
        session.messages.push(line["message"].clone());
    }

    /// Writes a line that a killed process has written.
    fn keep(&mut self, line: &Value) {
        if let Some(journal) = &mut self.journal {
            journal.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
    }

    fn page(&self, id: &str, after: usize, limit: usize) -> Value {
        let messages = &self.sessions[id].messages;
        let seq = |message: &Value| message["seq"].as_u64().unwrap() as usize;
        let later = || messages.iter().filter(|message| seq(message) > after);
        let page: Vec<_> = later()
            .take(limit)
            .filter(|message| self.fault != Fault::Forget || message["seq"] != VICTIM)
            .cloned()
            .collect();
        json!({"session_id": id, "messages": page, "has_more": later().count() > limit})
    }

    /// The message, and whether it is new: a key that was used before has its first result.
    fn append(&mut self, id: &str, content: Value, key: Option<&str>) -> (Value, bool) {
        let session = self.sessions.get_mut(id).unwrap();
        if let Some(seq) = key.and_then(|key| session.keys.get(key)) {
            return (json!({"id": format!("{id}-{seq}"), "session_id": id, "seq": seq, "content": content}), false);
        }
        let seq = session.messages.last().map_or(1, |last| last["seq"].as_u64().unwrap() + 1);
        let message =
            json!({"id": format!("{id}-{seq}"), "session_id": id, "seq": seq, "content": content, "metadata": {}});
        session.messages.push(message.clone());
        if let Some(key) = key {
            session.keys.insert(key.to_owned(), json!(seq));
        }
        self.keep(&json!({"append": id, "key": key, "message": message}));
        (message, true)
    }

    /// Delivers to everybody on the channel; here the live faults happen.
    fn broadcast(&mut self, id: &str, event: &'static str, payload: Value) {
        let fault = self.fault;
        let session = self.sessions.get_mut(id).unwrap();
        let place = match event {
            "message" => session.messages.len(),
            _ => session.chunks,
        };
        let deliveries = match (fault, place) {
            (Fault::Drop, VICTIM) => vec![],
            (Fault::Duplicate, VICTIM) => vec![payload.clone(), payload],
            (Fault::Alter, VICTIM) => vec![serde_json::from_str(&payload.to_string().replace('.', ":")).unwrap()],
            (Fault::Reorder, VICTIM) => {
                session.held_back = Some((event, payload));
                vec![]
            }
            _ => [Some(payload), session.held_back.take().map(|(_, payload)| payload)].into_iter().flatten().collect(),
        };
        for payload in deliveries {
            for (_, join_ref, writer) in &session.joined {
                push(writer, &json!([join_ref, null, format!("session:{id}"), event, payload]));
            }
        }
    }
}

/// A reader that went away is noticed by its own thread.
fn push(writer: &Writer, frame: &Value) {
    drop(writer.lock().unwrap().send(Message::text(frame.to_string())));
}

struct Socket<'a> {
    number: u64,
    reader: WebSocket<TcpStream>,
    writer: Writer,
    store: &'a Shared,
    stalled: bool,
}

impl<'a> Socket<'a> {
    fn new(number: u64, stream: TcpStream, rest: Vec<u8>, store: &'a Shared) -> std::io::Result<Self> {
        let writer = WebSocket::from_raw_socket(stream.try_clone()?, Role::Server, None);
        let reader = WebSocket::from_partially_read(stream, rest, Role::Server, None);
        Ok(Self { number, reader, writer: Arc::new(Mutex::new(writer)), store, stalled: false })
    }

    fn serve(mut self) -> std::io::Result<()> {
        while let Ok(message) = self.reader.read() {
            if let Message::Text(text) = message {
                self.respond(&serde_json::from_str(&text)?);
            }
        }
        for session in self.store.lock().unwrap().sessions.values_mut() {
            session.joined.retain(|(number, ..)| *number != self.number);
        }
        Ok(())
    }

    fn respond(&mut self, frame: &Value) {
        let id = frame[2].as_str().unwrap().trim_start_matches("session:").to_owned();
        let reply = |status: &str, response: Value| json!([frame[0], frame[1], frame[2], "phx_reply", {"status": status, "response": response}]);
        let mut store = self.store.lock().unwrap();
        match frame[3].as_str().unwrap() {
            "phx_join" => {
                let after = frame[4]["last_seq"].as_u64().unwrap_or(0) as usize;
                let limit = frame[4]["limit"].as_u64().unwrap_or(100) as usize;
                push(&self.writer, &reply("ok", store.page(&id, after, limit)));
                let joined = &mut store.sessions.get_mut(&id).unwrap().joined;
                joined.retain(|(number, ..)| *number != self.number);
                joined.push((self.number, frame[0].clone(), Arc::clone(&self.writer)));
            }
            "send" if store.fault == Fault::Refuse && store.sessions[&id].messages.len() + 1 == VICTIM => {
                push(&self.writer, &reply("error", json!({"error": "timeout"})));
            }
            "send" => {
                let key = frame[4]["idempotency_key"].as_str();
                let (message, is_new) = store.append(&id, frame[4]["content"]["content"].clone(), key);
                if store.fault == Fault::Stall && message["seq"] == VICTIM && !self.stalled {
                    self.stalled = true;
                    thread::sleep(Duration::from_millis(500));
                }
                let wrong = store.fault == Fault::Misnumber && message["seq"] == VICTIM;
                push(&self.writer, &reply("ok", json!({"seq": if wrong { json!(1) } else { message["seq"].clone() }})));
                if is_new {
                    store.broadcast(&id, "message", message);
                }
            }
            "stream_chunk" => {
                store.sessions.get_mut(&id).unwrap().chunks += 1;
                store.broadcast(&id, "stream_chunk", json!({"agent_id": "loadtest-agent", "chunk": frame[4]["chunk"]}));
                push(&self.writer, &reply("ok", json!({})));
            }
            _ => push(&self.writer, &reply("ok", json!({}))),
        }
    }
}
