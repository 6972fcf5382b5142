//! Steps of the pure core: assembling an answer, handing an event to local subscribers, one append through a shard.

use crate::harness::Group;
use anyhow::Result;
use fleetlm::agent::{Assembler, Taken};
use fleetlm::session::{Json, MessageId, RunId, SessionId};
use fleetlm::shard::{
    Append, Author, Caller, ChannelKey, ChunkPlace, Command, Heard, Hub, Input, Now, Out, Output, Push, Shard, ShardId,
    TopicKey,
};
use serde::Deserialize;
use std::hint::black_box;
use std::path::Path;
use storage::{Durability, File, Options};

/// Chunks of one answer.
const CHUNKS: u64 = 256;
/// The time of everything; only its advance would matter, and nothing here waits.
const NOW: Now = Now { unix_us: 1_795_348_976_000_000, mono_us: 1_000_000 };
/// Who asks.
const CALLER: Caller = Caller { shard: ShardId(0), token: 1 };

fn json(text: &str) -> Json {
    Json::parse(text).expect("it is JSON")
}

fn delta(bytes: usize) -> Json {
    json(&format!(r#"{{"type":"text-delta","id":"0","delta":"{}"}}"#, "d".repeat(bytes)))
}

/// What a text delta must be read for at the least.
#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    delta: &'a str,
}

/// Taking the text deltas of an answer, beside serde_json that reads the same three fields and appends the text.
pub fn assemble(bytes: usize) -> Group<'static> {
    let (start, chunk) = (json(r#"{"type":"text-start","id":"0"}"#), delta(bytes));
    let (copied, mut text) = (chunk.clone(), String::new());
    Group::new(format!("assemble: {CHUNKS} text deltas of {bytes} bytes, per chunk"))
        .batch("serde_json, three borrowed fields, and a copy (reference)", CHUNKS, move || {
            text.clear();
            for _ in 0..CHUNKS {
                let delta: Delta<'_> = serde_json::from_str(black_box(copied.as_str())).expect("three fields");
                black_box((delta.kind, delta.id));
                text.push_str(delta.delta);
            }
            black_box(&text);
        })
        .batch("Assembler::push", CHUNKS, move || {
            let mut assembler = Assembler::new("answer".to_owned());
            assert_eq!(assembler.push(&start), Ok(Taken::Passed));
            for _ in 0..CHUNKS {
                assert_eq!(assembler.push(black_box(&chunk)), Ok(Taken::Passed));
            }
            black_box(&assembler);
        })
}

/// One chunk of an answer to the channels of this shard that listen, beside copying the list of their keys. Writing to their sockets is not
/// in it: that is what `peers` measures.
pub fn fan_out(channels: u32) -> Group<'static> {
    let session = SessionId::from(7);
    let topic = TopicKey::Session(session);
    let (mut hub, mut out) = (Hub::default(), Vec::new());
    let key = |channel| ChannelKey { connection: u64::from(channel), channel };
    for channel in 0..channels {
        hub.begin_join(&topic);
        hub.join(&topic, key(channel), Heard { seq: 0, next_chunk: None }, &mut out);
    }
    let keys: Vec<ChannelKey> = (0..channels).map(key).collect();
    let (chunk, mut index) = (delta(150), 0);
    Group::new(format!("fan-out step: a chunk to {channels} channels of one shard, per chunk"))
        .case("copy of their keys (reference)", move || {
            drop(black_box(black_box(&keys).clone()));
        })
        .case("Hub::push", move || {
            out.clear();
            let place = Some(ChunkPlace { run: RunId::from(1), index, has_floor: true });
            index += 1;
            hub.push(NOW, Push::Chunk { session, agent_id: "bot".to_owned(), chunk: chunk.clone(), place }, &mut out);
            assert_eq!(black_box(&out).len(), 1);
        })
}

/// A shard over files and what a driver would do for it at once.
struct Driven {
    shard: Shard<File>,
    out: Out<File>,
    session: SessionId,
    messages: u128,
}

impl Driven {
    fn open(dir: &Path) -> Result<Self> {
        let options = Options { durability: Durability::Memory, ..Options::default() };
        let medium = File::open(dir)?;
        let recovered = storage::recover(&medium, &options)?;
        let shard = Shard::open(medium, &recovered, options, None)?;
        let session = SessionId::from_parts(NOW.unix_us / 1_000, 0);
        let mut driven = Self { shard, out: Vec::new(), session, messages: 0 };
        let user_id = "alice".to_owned();
        driven.command(Command::CreateSession {
            id: session,
            user_id,
            agent_id: "nobody".to_owned(),
            title: None,
            metadata: Json::empty_object(),
        });
        Ok(driven)
    }

    /// Carries out a command to its end; disk work, for which a server has a thread, is done in between.
    fn command(&mut self, command: Command) {
        self.shard.step(NOW, Input::Call { from: CALLER, access: None, command }, &mut self.out);
        let mut replied = false;
        while let Some(output) = self.out.pop() {
            match output {
                Output::Work(work) => self.shard.step(NOW, Input::Worked(work.run()), &mut self.out),
                Output::Sync(sync) => {
                    let result = sync.run();
                    self.shard.step(NOW, Input::Synced(sync, result), &mut self.out);
                }
                Output::Reply { reply, .. } => {
                    assert!(reply.is_ok(), "{reply:?}");
                    replied = true;
                }
                _ => {}
            }
        }
        assert!(replied, "a command is answered when its work is done");
    }

    fn append(&mut self, content: &Json) {
        self.messages += 1;
        self.command(Command::Append(Box::new(Append {
            session: self.session,
            message: MessageId::from(self.messages),
            author: Author::User("alice".into()),
            kind: "text".into(),
            content: content.clone(),
            metadata: Json::empty_object(),
            idempotency_key: None,
            expected_seq: None,
            participants_only: false,
            echo: true,
            terms: None,
        })));
    }
}

/// One append from the command to the reply, acknowledged in memory, beside copying the bytes of its record and their CRC.
pub fn shard_append(dir: &Path, bytes: usize) -> Result<Group<'static>> {
    let mut driven = Driven::open(dir)?;
    let content = json(&format!(r#"{{"text":"{}"}}"#, "m".repeat(bytes)));
    let (source, mut copy) = (vec![b'x'; bytes + 200], Vec::with_capacity(bytes + 200));
    Ok(Group::new(format!("shard append: a message of {bytes} bytes, command to reply, no sync"))
        .case("copy and crc32 of as many bytes (reference)", move || {
            copy.clear();
            copy.extend_from_slice(black_box(&source));
            black_box(crc32fast::hash(&copy));
        })
        .case("Shard::step", move || driven.append(black_box(&content))))
}
