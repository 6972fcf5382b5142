//! The directory on its shard: durable, recovered, refused in order. Rules of the fields: `session::agent_config`.

use super::*;

fn create_agent(id: &str) -> Command {
    Command::Agents(AgentCommand::Create {
        fields: json(&format!(r#"{{"id":"{id}","name":"{id}","origin_url":"http://a"}}"#)),
    })
}

fn update_agent(id: &str, fields: &str) -> Command {
    Command::Agents(AgentCommand::Update { id: id.into(), fields: json(fields) })
}

fn ids(bench: &mut Bench) -> Vec<String> {
    match bench.call(Command::Agents(AgentCommand::List { enabled: None })).unwrap() {
        Reply::Agents { agents } => {
            agents.iter().map(|agent| value(agent)["id"].as_str().unwrap().to_owned()).collect()
        }
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn agents_survive_a_power_cut() {
    let mut bench = Bench::new();
    bench.call(create_agent("a")).unwrap();
    bench.call(create_agent("b")).unwrap();
    bench.call(update_agent("a", r#"{"id":"c"}"#)).unwrap();
    bench.call(Command::Agents(AgentCommand::Disable { id: "b".into() })).unwrap();
    bench.cut_power();
    assert_eq!(ids(&mut bench), ["c", "b"]);
    let Reply::Agent { json } = bench.call(Command::Agents(AgentCommand::Read { id: "b".into() })).unwrap() else {
        panic!()
    };
    assert_eq!(value(&json)["status"], "disabled");
    assert_eq!(bench.call(Command::Agents(AgentCommand::Read { id: "a".into() })), Err(Refusal::AgentNotFound));
}

#[test]
fn a_registration_is_answered_and_listed_when_it_is_durable() {
    let mut bench = Bench::new();
    bench.hold_syncs = true;
    let first = bench.send(create_agent("a"));
    let taken = bench.send(create_agent("a"));
    assert!(ids(&mut bench).is_empty());
    assert_eq!((bench.answer(first), bench.answer(taken)), (None, None));
    bench.release_syncs();
    assert!(matches!(bench.answer(first), Some(Ok(Reply::Agent { .. }))));
    assert!(matches!(bench.answer(taken), Some(Err(Refusal::InvalidFields(fields))) if fields.contains_key("id")));
    assert_eq!(ids(&mut bench), ["a"]);
}

#[test]
fn only_the_directorys_shard_keeps_agents_and_any_number_of_shards_finds_them() {
    let mut bench = Bench::with(storage::Options { shards: 2, ..options() });
    bench.call(create_agent("a")).unwrap();
    let disk = bench.disk.kill();
    let options = storage::Options { shards: 3, seed: 9, ..options() };
    let recovered = storage::recover(&disk, &options).unwrap();
    let directories: Vec<bool> = (0..3)
        .map(|shard| {
            let options = storage::Options { shard, ..options.clone() };
            Shard::open(disk.clone(), &recovered, options, None).unwrap().directory.is_some()
        })
        .collect();
    assert_eq!(directories, [true, false, false]);
}
