//! Whom a message is for that names nobody.

use super::*;
use crate::session::{AgentConfig, AgentPut, DirectoryNote, Namespace};

/// Registrations, each a microsecond after the one before it.
fn registered(agents: &[&str]) -> Vec<AgentPut> {
    let agents = agents.iter().enumerate().map(|(n, fields)| {
        let origin = if fields.contains("members") { "" } else { r#","origin_url":"http://a""# };
        let fields = json(&format!("{{{fields}{origin}}}"));
        AgentPut { former_id: None, agent: AgentConfig::create(&fields, 5 + n as u64).unwrap() }
    });
    agents.collect()
}

fn learn(bench: &mut Bench, notes: Vec<AgentPut>) {
    let notes = notes.into_iter().map(DirectoryNote::Agent).collect();
    bench.call(Command::Learn { notes, complete: true }).unwrap();
}

/// The chosen one and the fallback.
fn routed(bench: &mut Bench, access: &Access, message: &str) -> (Option<String>, Option<String>) {
    match bench.call_as(access, route(message)) {
        Ok(Reply::Routed { agent, fallback }) => (agent.map(|agent| agent.id), fallback.map(|agent| agent.id)),
        other => panic!("unexpected {other:?}"),
    }
}

fn route(message: &str) -> Command {
    Command::Route { message: message.into(), user_id: "alice".into(), recent: None }
}

/// The fallback for who spoke last to this one.
fn falls_back(bench: &mut Bench, recent: &str) -> Option<String> {
    let command = Command::Route { message: "hi".into(), user_id: "alice".into(), recent: Some(recent.into()) };
    match bench.call(command) {
        Ok(Reply::Routed { agent: None, fallback }) => fallback.map(|agent| agent.id),
        other => panic!("unexpected {other:?}"),
    }
}

fn found(agent: Option<&str>, fallback: Option<&str>) -> (Option<String>, Option<String>) {
    (agent.map(str::to_owned), fallback.map(str::to_owned))
}

#[test]
fn the_words_choose_and_the_default_or_the_oldest_is_there_for_the_rest() {
    let mut bench = Bench::new();
    assert_eq!(bench.call(route("hi")), Err(Refusal::Overloaded), "who is registered is not known yet");
    let everybody = Access::default();
    learn(&mut bench, Vec::new());
    assert_eq!(routed(&mut bench, &everybody, "hi"), found(None, None));
    let team = r#""id":"team","name":"Team","team":{"members":["tax"]}"#;
    let agents = [team, r#""id":"tax","name":"Tax","keywords":["invoice"]"#, r#""id":"cook","name":"Cook""#];
    learn(&mut bench, registered(&agents));
    assert_eq!(routed(&mut bench, &everybody, "hi"), found(None, Some("tax")), "a team is nobody's fallback");
    assert_eq!(routed(&mut bench, &everybody, "Cook me an egg"), found(Some("cook"), Some("tax")));
    learn(&mut bench, registered(&[r#""id":"host","name":"Host","is_default":true"#]));
    assert_eq!(routed(&mut bench, &everybody, "my invoice"), found(Some("tax"), Some("host")));
    learn(&mut bench, registered(&[r#""id":"tax","name":"Tax","keywords":["invoice"],"status":"disabled""#]));
    assert_eq!(routed(&mut bench, &everybody, "my invoice"), found(None, Some("host")));
}

#[test]
fn whom_the_user_spoke_to_last_comes_before_the_default_if_he_still_answers() {
    let mut bench = Bench::new();
    let disabled = r#""id":"gone","name":"Gone","status":"disabled""#;
    let agents = [r#""id":"tax","name":"Tax""#, r#""id":"host","name":"Host","is_default":true"#, disabled];
    learn(&mut bench, registered(&agents));
    assert_eq!(falls_back(&mut bench, "tax").as_deref(), Some("tax"));
    for unknown in ["gone", "nobody", "echo"] {
        assert_eq!(falls_back(&mut bench, unknown).as_deref(), Some("host"), "{unknown}");
    }
}

#[test]
fn nobody_is_found_in_another_namespace_and_nobody_asks_for_another() {
    let mut bench = Bench::new();
    let mut notes = registered(&[r#""id":"ours","name":"Cook""#, r#""id":"theirs","name":"Cook""#]);
    notes[1].agent.namespace = "acme".to_owned();
    learn(&mut bench, notes);
    let acme = Access { namespace: Namespace::parse("acme").unwrap(), ..Access::default() };
    assert_eq!(routed(&mut bench, &acme, "cook"), found(Some("theirs"), Some("theirs")));
    assert_eq!(routed(&mut bench, &Access::default(), "cook"), found(Some("ours"), Some("ours")));
    let bob = Access { reach: Reach::Party("bob".into()), ..Access::default() };
    assert_eq!(bench.call_as(&bob, route("cook")), Err(Refusal::Forbidden));
}
