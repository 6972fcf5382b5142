//! Data folders of earlier versions open for ever, and this version still writes what they wrote.
//!
//! `shard-v1` was written by the example `golden-shard` before there were namespaces, titles and teams, and is never written again. It
//! ends in the middle of an answer, as the folder of a killed server does. `shard-v2` has what came since: titles, ratings, files, keys,
//! teams, main sessions, and all of it in two namespaces.

#[path = "../../examples/golden-shard.rs"]
#[allow(dead_code)] // its `main` is the example's
mod script;

use fleetlm::session::{Namespace, SessionId, main_id};
use fleetlm::shard::{
    Access, AgentCommand, BlobCommand, Call, Caller, Command, Input, KeyCommand, Now, Output, PageFrom, Refusal, Reply,
    Shard, ShardId, owner_of_session,
};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use storage::{File, Options, recover};

const NOW: Now = Now { unix_us: 1_761_300_000_000_000, mono_us: 1_000_000 };

/// The steps that wrote a folder.
type Script = fn(&mut script::Bench);

/// Each folder with its script.
const FOLDERS: [(&str, Script); 2] = [("shard-v1", script::write), ("shard-v2", script::write_with_tenants)];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A copy that may be opened for writing.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

/// All shards of a folder.
struct Shards {
    shards: Vec<Shard<File>>,
    calls: Vec<Call>,
    /// As whom is asked.
    access: Option<Box<Access>>,
}

impl Shards {
    fn open(folder: &Path, count: u16) -> Self {
        let medium = File::open(folder).unwrap();
        let options = Options { shards: count, segment_bytes: 64 << 10, seed: 9, ..Options::default() };
        let recovered = recover(&medium, &options).unwrap();
        assert!(recovered.report.corrupt.is_empty(), "{:?}", recovered.report);
        let open = |shard| {
            let options = Options { shard, seed: 9 + u64::from(shard), ..options.clone() };
            Shard::open(medium.clone(), &recovered, options, None).unwrap()
        };
        Self { shards: (0..count).map(open).collect(), calls: Vec::new(), access: None }
    }

    fn call(&mut self, shard: ShardId, command: Command) -> Result<Reply, Refusal> {
        let from = Caller { shard, token: 1 };
        let mut inputs = VecDeque::from([Input::Call { from, access: self.access.clone(), command }]);
        let mut answer = None;
        while let Some(input) = inputs.pop_front() {
            let mut out = Vec::new();
            self.shards[usize::from(shard.0)].step(NOW, input, &mut out);
            for output in out {
                match output {
                    Output::Reply { reply, .. } => answer = Some(reply),
                    Output::Work(work) => inputs.push_back(Input::Worked(work.run())),
                    Output::Sync(sync) => {
                        let result = sync.run();
                        inputs.push_back(Input::Synced(sync, result));
                    }
                    Output::Call(call) => self.calls.push(*call),
                    Output::Push { .. } | Output::StopCall { .. } | Output::Spread { .. } => {}
                }
            }
        }
        answer.expect("the command is answered")
    }

    /// Every session with its JSON object, messages and cursors, by id.
    fn sessions(&mut self) -> BTreeMap<String, [String; 3]> {
        let count = self.shards.len() as u16;
        let mut all = BTreeMap::new();
        for shard in 0..count {
            let list = Command::ListSessions { user_id: None, before: None, limit: 100 };
            let Ok(Reply::Sessions { sessions, .. }) = self.call(ShardId(shard), list) else { panic!("a list") };
            for (id, json) in sessions {
                assert_eq!(owner_of_session(id, count), ShardId(shard));
                all.insert(id.to_string(), [json.as_str().to_owned(), self.messages(id), self.cursors(id)]);
            }
        }
        all
    }

    fn messages(&mut self, session: SessionId) -> String {
        let to = owner_of_session(session, self.shards.len() as u16);
        let read = Command::ReadMessages { session, from: PageFrom::After(0), limit: 1000 };
        let Ok(Reply::Messages(page)) = self.call(to, read) else { panic!("a page") };
        String::from_utf8(page.into_messages()).unwrap()
    }

    fn cursors(&mut self, session: SessionId) -> String {
        let to = owner_of_session(session, self.shards.len() as u16);
        let Ok(Reply::Cursors { cursors, .. }) = self.call(to, Command::ReadCursors { session }) else {
            panic!("cursors")
        };
        format!("{cursors:?}")
    }

    fn agents(&mut self) -> Vec<String> {
        let list = Command::Agents(AgentCommand::List { enabled: None });
        let Ok(Reply::Agents { agents }) = self.call(ShardId(0), list) else { panic!("agents") };
        agents.iter().map(|agent| agent.as_str().to_owned()).collect()
    }
}

#[test]
fn a_folder_of_version_1_holds_the_same_with_any_number_of_shards() {
    let read = |count| {
        let folder = copy("shard-v1");
        let mut shards = Shards::open(folder.path(), count);
        (shards.sessions(), shards.agents())
    };
    let (sessions, agents) = read(1);
    assert_eq!((read(2), read(3)), ((sessions.clone(), agents.clone()), (sessions.clone(), agents.clone())));
    let count = |[_, messages, _]: &[String; 3]| messages.matches("\"seq\":").count();
    assert_eq!(sessions.values().map(count).collect::<Vec<_>>(), [20, 5, 40, 1, 1]);
    let [first, second, third, ..] = &sessions.values().collect::<Vec<_>>()[..] else { panic!("five sessions") };
    assert_eq!(first[2], r#"[("alice", 9), ("guest", 3)]"#);
    assert!(first[0].contains(r#""metadata":{"topic": "x", "n": 1.0e2},"#), "{}", first[0]);
    assert!(second[1].contains(r#""sender_id":"new""#), "the agent's new name");
    assert!(third[0].contains(r#""user_id":"b\"ö","agent_id":"nobody","status":"archived""#), "{}", third[0]);
    assert_eq!(agents.len(), 2);
    assert!(agents[0].contains(r#""id":"bot""#) && agents[1].contains(r#""id":"new""#), "{agents:?}");
}

#[test]
fn what_this_version_writes_for_the_same_steps_is_the_same_to_the_byte() {
    for (name, script) in FOLDERS {
        let folder = tempfile::tempdir().unwrap();
        script::write_folder(folder.path(), script).unwrap();
        let mut files: Vec<_> =
            std::fs::read_dir(golden(name)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        assert!(!files.is_empty());
        for file in files {
            let [expected, written] =
                [golden(name), folder.path().to_owned()].map(|folder| std::fs::read(folder.join(&file)).unwrap());
            let at = expected.iter().zip(&written).position(|(a, b)| a != b);
            assert!(at.is_none() && expected.len() == written.len(), "{name}: {file:?} differs at {at:?}");
        }
    }
}

/// What a folder with two namespaces holds, as one text, with any number of shards the same.
fn tenants(count: u16) -> String {
    let folder = copy("shard-v2");
    let mut shards = Shards::open(folder.path(), count);
    let mut all = String::new();
    for namespace in ["default", "acme"] {
        let namespace = Namespace::parse(namespace).unwrap();
        shards.access = Some(Box::new(Access { namespace, ..Access::default() }));
        all += &format!("{:#?}\n{:#?}\n", shards.sessions(), shards.agents());
    }
    shards.access = None;
    let session = SessionId::from_parts(1_761_216_480_002, 2);
    let owner = owner_of_session(session, count);
    let Ok(Reply::Ratings(ratings)) = shards.call(owner, Command::ReadRatings { session }) else { panic!("ratings") };
    all += &format!("{ratings:#?}\n");
    for n in [1, 2] {
        let command = BlobCommand::Find { hash: script::file(n).hash, name: script::file(n).name };
        all += &format!("{:?}\n", shards.call(owner, Command::Blob { session, command }));
    }
    let Ok(Reply::Keys(keys)) = shards.call(ShardId(0), Command::Keys(KeyCommand::List)) else { panic!("keys") };
    all + &format!("{keys:#?}\n")
}

#[test]
fn a_folder_of_version_2_holds_the_same_with_any_number_of_shards() {
    let one = tenants(1);
    assert_eq!((tenants(2) == one, tenants(3) == one), (true, true));
    let main = main_id("", "alice", "bot");
    for (what, times) in [
        (format!("\"{}\"", main.at_generation(1)), 1),
        (format!("\"{main}\""), 0), // the first life, deleted
        (main_id("", "alice", "ann").to_string(), 1),
        ("\\\"title\\\":\\\"Trip\\\"".to_owned(), 1),
        ("\\\"title\\\":\\\"Röme\\\"".to_owned(), 1),
        ("Acme's".to_owned(), 1),
        ("\\\"members\\\":[\\\"ann\\\",\\\"ben\\\"]".to_owned(), 1),
        ("Concise.".to_owned(), 1),
        ("rating: 2".to_owned(), 0), // what was said before the last word
        ("BlobNotFound".to_owned(), 1),
        ("\"2.png\"".to_owned(), 1),
        ("KeyPut {".to_owned(), 3),
        ("revoked_at_us: None".to_owned(), 2),
        ("Yes.".to_owned(), 1),
    ] {
        let found = one.matches(&what).count();
        assert!(if times == 0 { found == 0 } else { found >= times }, "{what} is there {found} times:\n{one}");
    }
}
