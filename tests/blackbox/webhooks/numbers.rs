//! What an operator sees of agents: the last deliveries of each, and metrics.

use super::{Room, finish, spoken, start};
use crate::harness::rest::{keys, list};
use crate::harness::{Agent, HANG, Options, Server, Value, json};
use std::time::Instant;

#[test]
fn deliveries_show_the_last_calls_latest_first() {
    let server = Server::with(&Options::shards(3));
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    let path = format!("/api/agents/{}/deliveries", room.agent_id);
    assert_eq!(server.get(&path).expect(200), json!({"deliveries": []}));
    room.say(&server, "Hello?");
    let call = agent.call();
    let run_id = call.run_id();
    call.respond(503, &[], "");
    let mut call = agent.call();
    call.piece("nonsense\n");
    call.answer(&spoken("Hello!"));
    room.until_the_end();
    let deliveries = list(&server.get(&path).expect(200), "deliveries");
    let expected = [
        "attempt",
        "chunks",
        "delivery_id",
        "detail",
        "duration_ms",
        "ended_at",
        "error",
        "first_chunk_ms",
        "kind",
        "lines_dropped",
        "run_id",
        "session_id",
        "status",
    ];
    let fields = |delivery: &Value| {
        ["delivery_id", "attempt", "status", "chunks", "lines_dropped", "error"].map(|key| delivery[key].clone())
    };
    assert_eq!(deliveries.len(), 2, "{deliveries:?}");
    deliveries.iter().for_each(|delivery| assert_eq!(keys(delivery), expected));
    let second = [json!(format!("{run_id}-2")), json!(2), json!(200), json!(5), json!(1), Value::Null];
    let first = [json!(format!("{run_id}-1")), json!(1), json!(503), json!(0), json!(0), json!("http_status")];
    assert_eq!((fields(&deliveries[0]), fields(&deliveries[1])), (second, first));
    let latest = &deliveries[0];
    assert_eq!((&latest["session_id"], &latest["run_id"]), (&json!(room.session), &json!(run_id)));
    assert_eq!((&latest["kind"], &latest["detail"]), (&json!("answer"), &Value::Null));
    assert!(latest["first_chunk_ms"].as_f64() <= latest["duration_ms"].as_f64(), "{latest}");
    assert_eq!(deliveries[1]["first_chunk_ms"], Value::Null);
    assert_eq!(list(&server.get(&format!("{path}?limit=1")).expect(200), "deliveries"), deliveries[..1]);
}

#[test]
fn deliveries_are_fifty_at_most_from_all_shards_and_of_this_agent_only() {
    let server = Server::with(&Options::shards(4));
    let agent = Agent::serving(|call| call.answer(&[start(), finish()]));
    let mut room = Room::with(&server, &agent, json!({}));
    let mut other = Room::with(&server, &agent, json!({}));
    other.say(&server, "Hello?");
    other.until_the_end();
    let others = server.get(&format!("/api/agents/{}/deliveries", other.agent_id)).expect(200);
    for n in 0..60 {
        if n % 10 == 0 {
            room = Room::open(&server, &room.agent_id);
        }
        room.say(&server, "Hello?");
        room.until_the_end();
    }
    let path = format!("/api/agents/{}/deliveries", room.agent_id);
    let deliveries = list(&server.get(&format!("{path}?limit=1000")).expect(200), "deliveries");
    assert_eq!(deliveries.len(), 50);
    let times: Vec<&str> = deliveries.iter().map(|delivery| delivery["ended_at"].as_str().expect("a time")).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    assert_eq!(deliveries[0]["session_id"], json!(room.session));
    assert_eq!(server.get(&format!("/api/agents/{}/deliveries", other.agent_id)).expect(200), others);
    assert_eq!(server.get("/api/agents/nobody/deliveries").expect(404), json!({"error": "Agent not found"}));
}

/// The sum over shards of a metric whose labels hold this.
fn metric(server: &Server, name: &str, label: &str) -> f64 {
    let text = server.get("/metrics").text().to_owned();
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    let is_name = |line: &&str| line[name.len()..].starts_with(['{', ' ']);
    lines.filter(is_name).map(|line| line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number")).sum()
}

/// Asks until the number is there: gauges and counters are refreshed about once a second.
#[track_caller]
fn assert_comes_to(server: &Server, name: &str, label: &str, expected: f64) {
    let began = Instant::now();
    while metric(server, name, label) != expected {
        let text = server.get("/metrics").text().to_owned();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("agent_")).collect();
        assert!(began.elapsed() < HANG, "{name} never comes to {expected}:\n{}", lines.join("\n"));
    }
}

#[test]
fn metrics_count_what_became_of_runs() {
    let server = Server::with(&Options::shards(2));
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "one");
    agent.call().respond(503, &[], "");
    let mut call = agent.call();
    call.piece("nonsense\n");
    call.answer(&spoken("Hello!"));
    room.until_the_end();
    room.say(&server, "two");
    agent.call().respond(404, &[], "");
    room.until_the_end();
    room.say(&server, "three");
    let mut call = agent.call();
    call.say(&start());
    room.run("started");
    assert_comes_to(&server, "fleetlm_agent_runs_open", "", 1.0);
    assert_comes_to(&server, "fleetlm_agent_calls_open", "", 1.0);
    assert_comes_to(&server, "fleetlm_agent_runs_bytes", "", start().to_string().len() as f64);
    assert!(metric(&server, "fleetlm_webhook_connections_open", "") >= 1.0);
    let topic = room.topic.clone();
    let sent = room.socket.push(&topic, "stop", &json!({}));
    room.socket.reply(&sent).expect("stopped");
    for (name, expected) in [
        ("runs_started_total", 3.0),
        ("runs_finished_total", 1.0),
        ("runs_stopped_total", 1.0),
        ("runs_recovered_total", 0.0),
        ("dispatch_drops_total", 1.0),
        ("dispatch_retries_total", 1.0),
        ("stream_chunks_total", 7.0),
        ("stream_lines_dropped_total", 1.0),
        ("compactions_total", 0.0),
        ("runs_open", 0.0),
        ("calls_open", 0.0),
        ("runs_bytes", 0.0),
    ] {
        assert_comes_to(&server, &format!("fleetlm_agent_{name}"), "", expected);
    }
    assert_comes_to(&server, "fleetlm_agent_webhook_duration_count", "Success", 2.0); // a stop is no failure
    assert_comes_to(&server, "fleetlm_agent_webhook_duration_count", "Failure", 2.0);
    assert!(metric(&server, "fleetlm_agent_ttft_duration_count", "") >= 1.0);
}
