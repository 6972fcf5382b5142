//! What an agent says reaches everybody chunk by chunk and ends as messages (contract 4.5 to 4.7, 8.5, 8.7).

use super::{Room, delta, finish, names, of, spoken, start, text_end, text_of, text_start};
use crate::harness::rest::{keys, seqs};
use crate::harness::{Agent, Server, Value, json};

#[test]
fn json_lines_reach_the_channel_one_by_one_while_the_agent_speaks_and_end_as_a_message() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    let seq = room.say(&server, "Hello?");
    let mut call = agent.call();
    let started = room.run("started");
    assert_eq!(started["run_id"], call.run_id());
    for (index, chunk) in spoken("Hello!").iter().enumerate() {
        call.say(chunk);
        // The next one is said only when this one was seen.
        let shown = room.chunk();
        assert_eq!(keys(&shown), ["agent_id", "chunk", "index", "run_id"]);
        assert_eq!(shown["chunk"], *chunk);
        assert_eq!(shown["agent_id"], room.agent_id);
        assert_eq!(shown["index"], index);
        assert_eq!(shown["run_id"], call.run_id());
    }
    let run_id = call.run_id();
    let message = room.answer();
    call.finish();
    assert_eq!(message["seq"], seq + 1);
    assert_eq!(message["sender_id"], room.agent_id);
    assert_eq!(message["content"]["role"], "assistant");
    assert!(message["content"]["id"].is_string());
    assert_eq!(message["content"]["parts"], json!([{"type": "text", "text": "Hello!", "state": "done"}]));
    let metadata = json!({
        "termination": "finish", "_finish_chunk": {"type": "finish"}, "run_id": run_id, "reply_to": seq,
        "duration_ms": message["metadata"]["duration_ms"], "latency_ms": message["metadata"]["duration_ms"],
    });
    assert!(message["metadata"]["duration_ms"].is_u64(), "{message}");
    assert_eq!(message["metadata"], metadata);
    let finished = room.run("finished");
    assert_eq!((&finished["seq"], &finished["run_id"]), (&json!(seq + 1), &json!(run_id)));
    assert_eq!(server.history(&room.session)[1], message, "what was pushed is what is stored");
}

#[test]
fn server_sent_events_are_read_up_to_done_whatever_the_content_type_says() {
    let server = Server::shared();
    let agent = Agent::start();
    for content_type in ["text/event-stream", "application/json", "text/plain", "image/png"] {
        let mut room = Room::with(&server, &agent, json!({}));
        room.say(&server, "Hello?");
        let mut call = agent.call();
        call.head(200, &[("content-type", content_type)]);
        call.piece(": a comment\n\n");
        for chunk in spoken("Hello!") {
            call.piece(format!("data: {chunk}\n\n"));
        }
        call.piece("data: [DONE]\n\n");
        call.finish();
        let seen = room.until_the_end();
        let chunks: Vec<Value> = of(&seen, "stream_chunk").iter().map(|shown| shown["chunk"].clone()).collect();
        assert_eq!(chunks, spoken("Hello!"), "{content_type}");
        assert_eq!(text_of(of(&seen, "message")[0]), "Hello!");
        assert_eq!(seen.last().expect("an end").1["status"], "finished");
    }
}

#[test]
fn events_come_in_the_order_started_chunks_message_finished() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    agent.call().answer(&spoken("Hello!"));
    let seen = room.until_the_end();
    let chunk = "stream_chunk";
    assert_eq!(names(&seen), ["run", chunk, chunk, chunk, chunk, chunk, "message", "run"]);
    let indexes: Vec<&Value> = of(&seen, chunk).iter().map(|shown| &shown["index"]).collect();
    assert_eq!(indexes, [0, 1, 2, 3, 4]);
    let runs = of(&seen, "run");
    assert_eq!(runs[0]["status"], "started");
    assert_eq!(keys(runs[0]), ["agent_id", "attempt", "run_id", "status", "upto_seq"]);
    assert_eq!((&runs[0]["attempt"], &runs[0]["upto_seq"]), (&json!(1), &json!(1)));
    assert_eq!(keys(runs[1]), ["agent_id", "attempt", "run_id", "seq", "status", "upto_seq"]);
    assert!(room.socket.settle().is_empty(), "and nothing else");
}

#[test]
fn a_line_may_be_cut_anywhere_and_the_last_one_needs_no_newline() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    let lines: Vec<String> = spoken("Grüße, 世界!").iter().map(Value::to_string).collect();
    for byte in lines.join("\n").bytes() {
        call.piece([byte]);
    }
    call.finish();
    let seen = room.until_the_end();
    assert_eq!(text_of(of(&seen, "message")[0]), "Grüße, 世界!");
    assert_eq!(seen.last().expect("an end").1["status"], "finished");
}

#[test]
fn empty_text_and_no_text_at_all_still_make_a_message() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    for (chunks, parts) in [
        (spoken(""), json!([{"type": "text", "text": "", "state": "done"}])),
        (vec![start(), finish()], json!([])),
        (vec![finish()], json!([])),
    ] {
        room.say(&server, "Hello?");
        agent.call().answer(&chunks);
        let seen = room.until_the_end();
        assert_eq!(of(&seen, "message")[0]["content"]["parts"], parts);
        assert_eq!(seen.last().expect("an end").1["status"], "finished");
    }
}

#[test]
fn one_response_may_hold_several_messages() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    let seq = room.say(&server, "Hello?");
    agent.call().answer(&[spoken("One"), spoken("Two"), spoken("Three")].concat());
    let seen = room.until_the_end();
    let messages = of(&seen, "message");
    assert_eq!(messages.iter().map(|message| text_of(message)).collect::<Vec<_>>(), ["One", "Two", "Three"]);
    for message in &messages {
        assert_eq!(message["metadata"]["reply_to"], seq);
    }
    let ids: Vec<&Value> = messages.iter().map(|message| &message["content"]["id"]).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "each has an id of its own: {ids:?}");
    let indexes: Vec<u64> = of(&seen, "stream_chunk").iter().map(|shown| shown["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..15).collect::<Vec<u64>>(), "one run, one count");
    let runs = of(&seen, "run");
    assert_eq!((runs.len(), &runs[1]["seq"]), (2, &json!(seq + 3)));
    assert_eq!(seqs(&server.history(&room.session)), [1, 2, 3, 4]);
}

#[test]
fn lines_that_are_no_chunks_are_dropped_and_counted_and_the_answer_goes_on() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    call.piece(format!("{}\n{}\n", start(), text_start()));
    let bad = ["no JSON", "{\"type\":", "[1]", "null", "7", "\"text\"", "{\"no\":\"type\"}", "{\"type\":5}"];
    for line in bad {
        call.piece(format!("{line}\n"));
    }
    call.piece("\n   \n\r\n");
    call.piece(b"{\"type\":\"text-delta\",\"id\":\"t\",\"delta\":\"\xff\xfe\"}\n");
    call.piece(format!("{}\n{}\n{}\n", delta("Hello!"), text_end(), finish()));
    call.finish();
    let seen = room.until_the_end();
    let chunks: Vec<Value> = of(&seen, "stream_chunk").iter().map(|shown| shown["chunk"].clone()).collect();
    assert_eq!(chunks, spoken("Hello!"), "what is no chunk is shown to nobody");
    assert_eq!(text_of(of(&seen, "message")[0]), "Hello!");
    let deliveries = server.get(&format!("/api/agents/{}/deliveries", room.agent_id)).expect(200);
    let delivery = &deliveries["deliveries"][0];
    assert_eq!(delivery["lines_dropped"], bad.len() + 1, "{delivery}");
    assert_eq!((&delivery["chunks"], &delivery["error"]), (&json!(5), &Value::Null));
}

#[test]
fn an_unknown_chunk_passes_through_as_it_is_and_leaves_no_part() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    let odd = r#"{"type":"from-the-future","z":1,"a":[1.50,1e3,"\u00e9",{"b":null}]}"#;
    call.piece(format!("{odd}\n"));
    let shown = room.chunk();
    assert_eq!(shown["chunk"], serde_json::from_str::<Value>(odd).expect("it is JSON"));
    call.answer(&spoken("Hello!"));
    assert_eq!(room.answer()["content"]["parts"].as_array().expect("parts").len(), 1);
}

#[test]
fn the_message_keeps_what_the_agent_says_of_it() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Weather?");
    agent.call().answer(&[
        json!({"type": "start", "messageId": "m-1", "messageMetadata": {"model": "x", "usage": {"in": 1}}}),
        json!({"type": "start-step"}),
        json!({"type": "reasoning-start", "id": "r"}),
        json!({"type": "reasoning-delta", "id": "r", "delta": "Hm."}),
        json!({"type": "reasoning-end", "id": "r"}),
        json!({"type": "tool-input-start", "toolCallId": "c", "toolName": "weather"}),
        json!({"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "{\"city\":"}),
        json!({"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "\"Bern\"}"}),
        json!({"type": "tool-input-available", "toolCallId": "c", "toolName": "weather", "input": {"city": "Bern"}}),
        json!({"type": "tool-output-available", "toolCallId": "c", "output": {"sun": true}}),
        json!({"type": "data-map", "id": "d", "data": 1}),
        json!({"type": "data-map", "id": "d", "data": 2}),
        text_start(),
        delta("Sun"),
        delta("ny"),
        text_end(),
        json!({"type": "finish-step"}),
        json!({"type": "finish", "messageMetadata": {"usage": {"out": 2}}}),
    ]);
    let message = room.answer();
    assert_eq!(message["content"]["id"], "m-1");
    let metadata = &message["metadata"];
    assert_eq!((&metadata["model"], &metadata["usage"]), (&json!("x"), &json!({"in": 1, "out": 2})));
    assert_eq!((&metadata["input_tokens"], &metadata["output_tokens"]), (&json!(1), &json!(2)));
    assert_eq!(metadata["_finish_chunk"], json!({"type": "finish", "messageMetadata": {"usage": {"out": 2}}}));
    let parts = message["content"]["parts"].as_array().expect("parts");
    let types: Vec<&str> = parts.iter().map(|part| part["type"].as_str().expect("a type")).collect();
    assert_eq!(types, ["step-start", "reasoning", "tool-weather", "data-map", "text"]);
    assert_eq!(parts[2]["state"], "output-available");
    assert_eq!((&parts[2]["input"], &parts[2]["output"]), (&json!({"city": "Bern"}), &json!({"sun": true})));
    assert_eq!((&parts[3]["data"], &parts[4]["text"]), (&json!(2), &json!("Sunny")));
}

#[test]
fn an_abort_by_the_agent_keeps_the_text_and_is_no_failure() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    agent.call().answer(&[start(), text_start(), delta("Hel"), json!({"type": "abort"})]);
    let seen = room.until_the_end();
    assert_eq!(of(&seen, "stream_chunk").len(), 4, "no abort is added to the agent's own");
    let message = of(&seen, "message")[0];
    assert_eq!((text_of(message).as_str(), &message["metadata"]["termination"]), ("Hel", &json!("abort")));
    assert_eq!(message["content"]["parts"][0]["state"], "done");
    assert_eq!(seen.last().expect("an end").1["status"], "finished");
}

#[test]
fn an_error_chunk_is_passed_on_and_ends_the_run_by_name_with_what_was_produced() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    let error = json!({"type": "error", "errorText": "the model is tired"});
    for chunk in [start(), text_start(), delta("Hel"), error.clone()] {
        call.say(&chunk);
    }
    let seen = room.until_the_end();
    assert!(call.is_closed_by_server(), "nothing more is wanted of it");
    let chunks = of(&seen, "stream_chunk");
    assert_eq!((&chunks[3]["chunk"], &chunks[4]["chunk"]), (&error, &json!({"type": "abort"})));
    let message = of(&seen, "message")[0];
    assert_eq!((text_of(message).as_str(), &message["metadata"]["reason"]), ("Hel", &json!("agent_error")));
    let end = &seen.last().expect("an end").1;
    assert_eq!((&end["status"], &end["reason"], &end["seq"]), (&json!("failed"), &json!("agent_error"), &json!(2)));
    assert_eq!(end["detail"], "the model is tired");
}

#[test]
fn a_response_without_a_chunk_fails_visibly_and_without_a_message() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    for body in ["", "\n\n", "data: [DONE]\n\n", "{\"kind\":\"text\",\"content\":{}}\n"] {
        room.say(&server, "Hello?");
        agent.call().respond(200, &[], body);
        let seen = room.until_the_end();
        assert_eq!(names(&seen), ["run", "run"], "{body:?}");
        assert_eq!(seen[1].1["reason"], "answer_empty", "{body:?}");
    }
}

#[test]
fn everybody_in_the_session_sees_the_same_answer_on_whatever_shard() {
    let server = Server::with(&crate::harness::Options::shards(4));
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    let mut others: Vec<Room> = (0..8).map(|_| Room::enter(&server, &room.agent_id, &room.session)).collect();
    room.say(&server, "Hello?");
    agent.call().answer(&spoken("Hello!"));
    let seen = room.until_the_end();
    for other in &mut others {
        assert_eq!(other.until_the_end(), seen);
    }
}

#[test]
fn what_comes_behind_a_large_message_arrives_as_well() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, &"x".repeat(3_000_000));
    room.run("started");
    let mut call = agent.call();
    call.say(&start());
    call.say(&text_start());
    for _ in 0..6 {
        call.say(&delta(&"y".repeat(500_000)));
        while room.chunk()["chunk"]["type"] != "text-delta" {}
    }
    call.answer(&[text_end(), finish()]);
    assert_eq!(text_of(&room.answer()).len(), 3_000_000);
    room.run("finished");
}
