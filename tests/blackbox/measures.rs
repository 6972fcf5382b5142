//! What the metrics count, whichever API it came over.

use crate::harness::{Server, json};

/// The sum of a series over all shards.
fn sum(server: &Server, name: &str) -> f64 {
    let text = server.get("/metrics").text().to_owned();
    let of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
    let values = text.lines().filter(of_it).map(|line| line.rsplit(' ').next().expect("a value"));
    values.map(|value| value.parse::<f64>().expect("a number")).sum()
}

#[test]
fn appends_of_every_api_and_ratings_are_measured() {
    let server = Server::start();
    let session = server.session("alice", "echo");
    let appends = || sum(&server, "fleetlm_session_append_duration_count");
    assert_eq!(appends(), 0.0);
    server.say(&session, "alice", "hi");
    assert_eq!(appends(), 1.0);
    let path = format!("/api/sessions/{session}/messages");
    let hapi = [("x-dialect", "hapi")];
    server.call("POST", &path, &hapi, Some(&json!({"text": "hi"}))).expect(200);
    server.call("POST", &path, &hapi, Some(&json!({"text": ""}))).expect(400);
    assert_eq!(appends(), 2.0);
    let answer = server.post("/api/chat/message", &json!({"message": "hi", "agentId": "echo"})).expect(200);
    assert_eq!((appends(), sum(&server, "fleetlm_feedback_total")), (3.0, 0.0));
    let rated = |rating: u64| json!({"messageId": answer["messageId"], "rating": rating});
    server.post("/api/chat/feedback", &rated(5)).expect(200);
    server.post("/api/chat/feedback", &rated(6)).expect(400);
    assert_eq!(sum(&server, "fleetlm_feedback_total"), 1.0);
}
