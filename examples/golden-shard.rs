//! Writes a data folder as a shard of this version does, every kind of record in it: `cargo run --example golden-shard -- FOLDER`.
//!
//! The same steps give the same bytes, so `tests/golden` holds what earlier versions wrote against what this one reads and writes
//! (`tests/golden/main.rs`). The last steps are an answer in the middle, which a folder of a killed server has.
//!
//! There are two scripts: the first knows what there was before namespaces, titles and teams; the second (`-- FOLDER 2`) has every kind of note
//! that came with them.

use fleetlm::agent::Failure;
use fleetlm::session::{
    BlobClaimed, BlobReleased, Feedback, Json, KeyId, KeyPut, KeyScope, MessageId, Namespace, SecretHash, SessionId,
    main_id,
};
use fleetlm::shard::{
    Access, AgentCommand, Append, Author, BlobCommand, Call, CallEnd, CallEvent, Caller, Command, Input, KeyCommand,
    Now, Output, Parties, Reply, Requires, Shard, ShardId, Terms,
};
use std::collections::VecDeque;
use storage::{File, Options, recover};

const START_US: u64 = 1_761_216_480_000_000;

/// A shard over a folder, and its driver.
pub struct Bench {
    shard: Shard<File>,
    now_us: u64,
    calls: VecDeque<Call>,
    replies: Vec<Reply>,
    messages: u128,
}

fn json(text: &str) -> Json {
    Json::parse(text).expect("it is JSON")
}

fn id(n: u64) -> SessionId {
    SessionId::from_parts(START_US / 1000 + n, u128::from(n))
}

impl Bench {
    fn step(&mut self, input: Input<File>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.now_us += 1000;
            let mut out = Vec::new();
            self.shard.step(Now { unix_us: self.now_us, mono_us: self.now_us }, input, &mut out);
            for output in out {
                match output {
                    Output::Reply { reply, .. } => self.replies.push(reply.expect("nothing is refused")),
                    Output::Spread { note, .. } => {
                        inputs.push_back(call(Command::Learn { notes: vec![*note], complete: true }));
                    }
                    Output::Sync(sync) => {
                        let result = sync.run();
                        inputs.push_back(Input::Synced(sync, result));
                    }
                    Output::Work(work) => inputs.push_back(Input::Worked(work.run())),
                    Output::Call(call) => self.calls.push_back(*call),
                    Output::Push { .. } | Output::StopCall { .. } => {}
                }
            }
        }
    }

    fn call(&mut self, command: Command) {
        self.step(call(command));
    }

    fn create(&mut self, n: u64, user: &str, agent: &str) {
        let metadata = json(r#"{"topic": "x", "n": 1.0e2}"#);
        let (user_id, agent_id, title) = (user.into(), agent.into(), None);
        self.call(Command::CreateSession { id: id(n), user_id, agent_id, title, metadata });
    }

    fn append(&mut self, n: u64, author: Author, key: Option<&str>) {
        let append = self.message(n, author, key);
        self.call(Command::Append(Box::new(append)));
    }

    fn message(&mut self, n: u64, author: Author, key: Option<&str>) -> Append {
        self.messages += 1;
        Append {
            session: id(n),
            message: MessageId::from(self.messages),
            author,
            kind: "text".into(),
            content: json(&format!(r#"{{"text":"message {} of {n}, ä"}}"#, self.messages)),
            metadata: Json::empty_object(),
            idempotency_key: key.map(Into::into),
            expected_seq: None,
            participants_only: false,
            echo: false,
            terms: None,
        }
    }

    fn agent(&mut self, fields: &str) {
        self.call(Command::Agents(AgentCommand::Create { fields: json(fields) }));
    }

    fn tick(&mut self, ms: u64) {
        self.now_us += ms * 1000;
        self.step(Input::Tick);
    }

    fn next_call(&mut self) -> Call {
        self.calls.pop_front().expect("an agent is called")
    }

    fn tell(&mut self, call: &Call, event: CallEvent) {
        self.step(Input::Called {
            session: call.session,
            run: call.run,
            voice: call.voice,
            attempt: call.attempt,
            event,
        });
    }
}

fn call(command: Command) -> Input<File> {
    Input::Call { from: Caller { shard: ShardId(0), token: 1 }, access: None, command }
}

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("usage: golden-shard FOLDER [2]"))?;
    let script = if std::env::args().nth(2).as_deref() == Some("2") { write_with_tenants } else { write };
    write_folder(folder.as_ref(), script)
}

/// Writes the folder.
pub fn write_folder(folder: &std::path::Path, script: fn(&mut Bench)) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let medium = File::open(folder)?;
    let options = Options { segment_bytes: 64 << 10, seed: 7, ..Options::default() };
    let recovered = recover(&medium, &options)?;
    let shard = Shard::open(medium, &recovered, options, None)?;
    let mut bench = Bench { shard, now_us: START_US, calls: VecDeque::new(), replies: Vec::new(), messages: 0 };
    script(&mut bench);
    Ok(())
}

/// What there was before namespaces.
pub fn write(bench: &mut Bench) {
    bench.agent(
        r#"{"id":"bot","name":"B","origin_url":"http://b","debounce_window_ms":0,"headers":{"x-a":"1"},"secret":"s"}"#,
    );
    bench.agent(r#"{"id":"old","name":"O","origin_url":"http://o","debounce_window_ms":0,"compaction_enabled":true,"compaction_webhook_url":"http://c","compaction_token_budget":10,"timeout_ms":7}"#);
    bench.call(Command::Agents(AgentCommand::Update { id: "old".into(), fields: json(r#"{"id":"new"}"#) }));
    for (n, user, agent) in [
        (1, "alice", "nobody"),
        (2, "alice", "new"),
        (3, "b\"ö", "nobody"),
        (4, "alice", "nobody"),
        (5, "carol", "bot"),
        (6, "carol", "bot"),
    ] {
        bench.create(n, user, agent);
    }
    for n in 0..20 {
        bench.append(1, Author::User("alice".into()), (n == 0).then_some("k0"));
        bench.append(3, Author::Agent("nobody".into()), None);
        bench.append(3, Author::User("guest".into()), None);
    }
    for (reader, last_seq) in [("alice", 7), ("guest", 3), ("alice", 9)] {
        bench.call(Command::MarkRead { session: id(1), user_id: reader.into(), last_seq });
    }
    bench.call(Command::ArchiveSession { id: id(3) });
    bench.call(Command::DeleteSession { id: id(4) });
    // A compaction, then a call that fails for good.
    for _ in 0..4 {
        bench.append(2, Author::Agent("new".into()), None);
    }
    bench.append(2, Author::User("alice".into()), None);
    bench.tick(1);
    let compaction = bench.next_call();
    let body = br#"{"compacted":[{"role":"system","content":"so far"}]}"#.to_vec();
    bench.tell(&compaction, CallEvent::Ended(CallEnd { body, status: Some(200), ..CallEnd::default() }));
    bench.tick(1);
    let answer = bench.next_call();
    let failure = Some(Failure::fatal("bad_status", "the webhook answered 400"));
    bench.tell(&answer, CallEvent::Ended(CallEnd { failure, status: Some(400), ..CallEnd::default() }));
    // Nobody answers session 6 yet; session 5 is in the middle of its answer.
    bench.append(5, Author::User("carol".into()), None);
    bench.tick(1);
    let answer = bench.next_call();
    let lines =
        [r#"{"type":"start"}"#, r#"{"type":"text-start","id":"0"}"#, r#"{"type":"text-delta","id":"0","delta":"Hal"}"#];
    bench.tell(&answer, CallEvent::Lines(lines.map(str::to_owned).into()));
    bench.append(6, Author::User("carol".into()), None);
    bench.tick(200);
}

/// A file that a session claims.
pub fn file(n: u8) -> BlobClaimed {
    BlobClaimed { hash: [n; 32], bytes: 1 << n, name: format!("{n}.png"), mime: "image/png".into() }
}

impl Bench {
    /// A command of a caller of the other namespace.
    fn call_in_acme(&mut self, command: Command) {
        let access = Access { namespace: Namespace::parse("acme").expect("a name"), ..Access::default() };
        let from = Caller { shard: ShardId(0), token: 1 };
        self.step(Input::Call { from, access: Some(Box::new(access)), command });
    }

    /// A question to a main session, which it makes where there is none.
    fn ask_main(&mut self, main: SessionId, agent: &str) {
        let parties = Parties { user_id: "alice".into(), agent_id: agent.into(), title: Some("Talks".into()) };
        let terms = Terms { parties: Some(parties), answer_from: Requires::Agent, ..Terms::default() };
        let message = self.message(0, Author::User("alice".into()), None);
        let append = Append { session: main, terms: Some(Box::new(terms)), ..message };
        self.call(Command::Append(Box::new(append)));
    }

    fn key(&mut self, n: u64, namespace: &str, scope: &str) -> KeyId {
        let id = KeyId::from_parts(START_US / 1000 + n, u128::from(n));
        let scope = KeyScope::parse(scope).expect("a scope");
        let (name, user) = (format!("key {n}"), "alice".to_owned());
        let (namespace, hash) = (namespace.to_owned(), SecretHash([n as u8; 32]));
        let (is_admin, created_at_us, revoked_at_us) = (n == 1, START_US, None);
        let key = KeyPut { id, hash, name, namespace, user, scope, is_admin, created_at_us, revoked_at_us };
        self.call(Command::Keys(KeyCommand::Create(Box::new(key))));
        id
    }
}

/// What came with namespaces: titles, ratings, files, keys, teams, main sessions and their second lives.
pub fn write_with_tenants(bench: &mut Bench) {
    for id in ["ann", "ben", "bot"] {
        bench.agent(&format!(r#"{{"id":"{id}","name":"{id}!","origin_url":"http://{id}","debounce_window_ms":0}}"#));
    }
    bench.agent(
        r#"{"id":"crew","name":"Crew","debounce_window_ms":0,"team":{"members":["ann","ben"],"mode":"sequential"}}"#,
    );
    let fields = json(r#"{"id":"bot","name":"Acme's","origin_url":"http://acme","debounce_window_ms":60000}"#);
    bench.call_in_acme(Command::Agents(AgentCommand::Create { fields }));
    let metadata = json("{}");
    let (user_id, agent_id, title) = ("alice".to_owned(), "bot".to_owned(), Some("Trip".to_owned()));
    bench.call_in_acme(Command::CreateSession { id: id(1), user_id, agent_id, title, metadata });
    let said = bench.message(1, Author::Agent("bot".into()), Some("k"));
    bench.call_in_acme(Command::Append(Box::new(said)));
    bench.call_in_acme(Command::MarkRead { session: id(1), user_id: "alice".into(), last_seq: 1 });

    bench.create(2, "alice", "bot");
    bench.call(Command::RenameSession { id: id(2), title: "Röme".into() });
    bench.append(2, Author::Agent("bot".into()), None);
    bench.append(2, Author::Agent("bot".into()), None);
    for (seq, rating, comment) in [(1, 2, None), (2, 4, Some("hm")), (1, 5, Some("Concise."))] {
        let feedback = Feedback { seq, rater: "alice".into(), rating, comment: comment.map(str::to_owned) };
        bench.call(Command::Rate { session: id(2), feedback });
    }
    for n in [1, 2] {
        let command = BlobCommand::Claim(Box::new(file(n)));
        bench.call(Command::Blob { session: id(2), command });
    }
    let command = BlobCommand::Release(BlobReleased { hash: file(1).hash, name: file(1).name });
    bench.call(Command::Blob { session: id(2), command });

    bench.key(1, "", "all");
    let gone = bench.key(2, "acme", "agent:bot");
    bench.key(3, "acme", "read");
    bench.call(Command::Keys(KeyCommand::Revoke { id: gone }));

    // A main session, deleted, in its second life, whose answer is begun; another one that nobody deleted.
    let main = main_id("", "alice", "bot");
    bench.ask_main(main, "bot");
    bench.call(Command::DeleteSession { id: main });
    bench.ask_main(main, "bot");
    bench.ask_main(main_id("", "alice", "ann"), "ann");
    // A team: one voice has spoken, the other one is in the middle.
    bench.create(3, "carol", "crew");
    bench.append(3, Author::User("carol".into()), None);
    bench.tick(1);
    let calls: Vec<Call> = bench.calls.drain(..).collect();
    for call in calls.iter().filter(|call| call.session == id(3)) {
        bench.speak(call);
    }
    bench.tick(1);
    let calls: Vec<Call> = bench.calls.drain(..).collect();
    for call in calls.iter().filter(|call| call.session == id(3)) {
        let lines = [r#"{"type":"text-start","id":"0"}"#, r#"{"type":"text-delta","id":"0","delta":"Hal"}"#];
        bench.tell(call, CallEvent::Lines(lines.map(str::to_owned).into()));
    }
    bench.tick(200);
}

impl Bench {
    /// The whole answer of a call.
    fn speak(&mut self, call: &Call) {
        let lines = [
            r#"{"type":"text-start","id":"0"}"#,
            r#"{"type":"text-delta","id":"0","delta":"Yes."}"#,
            r#"{"type":"text-end","id":"0"}"#,
            r#"{"type":"finish"}"#,
        ];
        self.tell(call, CallEvent::Lines(lines.map(str::to_owned).into()));
        self.tell(call, CallEvent::Ended(CallEnd { status: Some(200), ..CallEnd::default() }));
    }
}
