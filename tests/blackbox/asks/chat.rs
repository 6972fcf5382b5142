//! Whole answers: what stands in them, what stands of them, and that each gets its own.

use super::{chat, delta, message, post_as, scripted, spoken, stream, text_of, told};
use crate::harness::rest::{keys, list};
use crate::harness::{Agent, Options, Server, Value, json, unique};

/// The one session of a user.
#[track_caller]
fn session_of(server: &Server, user: &str) -> String {
    let sessions = list(&server.get(&format!("/api/sessions?user_id={user}")).expect(200), "sessions");
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    sessions[0]["id"].as_str().expect("a session has an id").to_owned()
}

#[test]
fn a_message_is_answered_with_the_keys_of_the_seed_and_stands_with_its_answer() {
    let server = Server::shared();
    let user = unique("alice");
    let body = message(&server, &user, "echo", "Say it again").expect(200);
    let expected =
        ["agentId", "agentName", "durationMs", "inputTokens", "messageId", "outputTokens", "response", "sessionId"];
    assert_eq!(keys(&body), expected);
    assert_eq!((&body["response"], &body["agentId"]), (&json!("Say it again"), &json!("echo")));
    assert_eq!((&body["inputTokens"], &body["outputTokens"]), (&json!(0), &json!(0)), "echo counts nothing");
    assert!(body["durationMs"].is_u64() && body["agentName"].is_string(), "{body}");
    let session = session_of(&server, &user);
    assert_eq!(body["sessionId"], session.as_str());
    assert_eq!(body["messageId"], format!("msg_{session}_2"));
    let texts: Vec<_> = server.history(&session).iter().map(text_of).collect();
    assert_eq!(texts, ["Say it again", "Say it again"]);
    assert_eq!(server.cursor(&session, &user), Some(2), "what was given is read");
}

#[test]
fn teammates_chat_answers_under_both_paths_and_stays_in_one_conversation() {
    let server = Server::shared();
    let user = unique("alice");
    let body = chat(&server, &user, "echo", "one").expect(200);
    assert_eq!(keys(&body), ["agent_id", "agent_name", "conversation_id", "message_id", "response"]);
    let path = "/api/agents/echo/chat";
    let again = post_as(&server, &user, path, &json!({"message": "two", "context": null})).expect(200);
    assert_eq!((&again["response"], &again["conversation_id"]), (&json!("two"), &body["conversation_id"]));
    let fleet = message(&server, &user, "echo", "three").expect(200);
    assert_eq!(fleet["sessionId"], body["conversation_id"], "a user and an agent have one main session");
    assert_eq!(server.history(&session_of(&server, &user)).len(), 6);
}

#[test]
fn a_named_session_is_asked_by_its_user_alone() {
    let server = Server::shared();
    let (alice, mallory) = (unique("alice"), unique("mallory"));
    let own = server.session(&alice, "echo");
    let main = message(&server, &alice, "echo", "hi").expect(200)["sessionId"].as_str().expect("an id").to_owned();
    for session in [&own, &main] {
        let fleet = |user: &str, body: Value| post_as(&server, user, "/api/chat/message", &body);
        let body = json!({"message": "hi", "sessionId": session});
        assert_eq!(fleet(&alice, body.clone()).expect(200)["sessionId"], session.as_str());
        assert_eq!(fleet(&mallory, body).expect(404), json!({"error": "Session not found"}));
        let with_agent = json!({"message": "hi", "sessionId": session, "agentId": "other"});
        fleet(&alice, with_agent).expect(404);
        let body = json!({"message": "hi", "conversation_id": session});
        let mate = |user: &str, agent: &str| post_as(&server, user, &format!("/agents/{agent}/chat"), &body);
        assert_eq!(mate(&alice, "echo").expect(200)["conversation_id"], session.as_str());
        assert_eq!(mate(&mallory, "echo").expect(404), json!({"detail": "Session not found"}));
        mate(&alice, "other").expect(404);
    }
    server.delete(&format!("/api/sessions/{main}?permanent=true"));
    let ended = post_as(&server, &alice, "/api/chat/message", &json!({"message": "hi", "sessionId": main}));
    assert_eq!(ended.status, 404, "what is named is not another one");
    assert_ne!(message(&server, &alice, "echo", "hi").expect(200)["sessionId"], main.as_str());
}

#[test]
fn asks_at_one_time_each_get_their_own_answer() {
    let server = Server::shared();
    let (_agent, id) = scripted(&server, json!({}), |call| {
        let answer = format!("about {}", call.texts().last().expect("a question"));
        call.answer(&spoken(&answer));
    });
    std::thread::scope(|scope| {
        for n in 0..24 {
            let (server, id) = (&server, &id);
            scope.spawn(move || {
                let (user, text) = (unique("asker"), format!("question {n}"));
                let said = match n % 3 {
                    0 => message(server, &user, id, &text).expect(200)["response"].clone(),
                    1 => chat(server, &user, id, &text).expect(200)["response"].clone(),
                    _ => told(&stream(server, &user, id, &text)).into(),
                };
                assert_eq!(said, format!("about {text}"));
            });
        }
    });
}

#[test]
fn asks_of_one_user_at_one_time_are_all_answered_and_all_stand() {
    let server = Server::shared();
    let (_agent, id) = scripted(&server, json!({}), |call| {
        let answer = call.texts().join("+");
        call.answer(&spoken(&answer));
    });
    let user = unique("alice");
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (server, id, user) = (&server, &id, &user);
            scope.spawn(move || {
                let text = format!("q{n}.");
                let said = chat(server, user, id, &text).expect(200)["response"].to_string();
                assert!(said.contains(&text), "{said} is an answer to {text}");
            });
        }
    });
    let texts: Vec<_> = server.history(&session_of(&server, &user)).iter().map(text_of).collect();
    assert!((0..8).all(|n| texts.contains(&format!("q{n}."))), "{texts:?}");
}

/// A question, and what each reader says of its answer.
#[track_caller]
fn readings(server: &Server, agent: &str, text: &str) -> Vec<String> {
    let (one, two, three) = (unique("reader"), unique("reader"), unique("reader"));
    let whole = |answer: Value| answer["response"].as_str().expect("a response").to_owned();
    let mut readings = vec![
        whole(message(server, &one, agent, text).expect(200)),
        whole(chat(server, &two, agent, text).expect(200)),
        told(&stream(server, &three, agent, text)),
    ];
    for user in [one, two, three] {
        let history = server.history(&session_of(server, &user));
        readings.push(history.iter().filter(|message| message["sender_id"] == agent).map(text_of).collect());
    }
    readings
}

#[test]
fn the_answer_is_the_stream_is_what_stands() {
    let server = Server::shared();
    let text = "Grüße,\n\"you\" \\ 😀  there ";
    assert!(readings(&server, "echo", text).iter().all(|read| read == text));
    // Cut within a character, a line, an escape.
    let (_split, split) = scripted(&server, json!({}), |mut call| {
        let lines: String = spoken("Grüße\n").iter().map(|chunk| format!("{chunk}\r\n")).collect();
        lines.as_bytes().chunks(7).for_each(|piece| assert!(call.piece(piece)));
        call.finish();
    });
    assert!(readings(&server, &split, "hi").iter().all(|read| read == "Grüße\n"));
    let (_many, many) = scripted(&server, json!({}), |call| {
        let three = vec![delta("thr"), delta("ee"), json!({"type": "finish"})];
        call.answer(&[spoken("one, "), spoken("two, "), three].concat());
    });
    assert!(readings(&server, &many, "hi").iter().all(|read| read == "one, two, three"));
    let (_long, long) = scripted(&server, json!({}), |call| call.answer(&spoken(&"é".repeat(40_000))));
    assert!(readings(&server, &long, "hi").iter().all(|read| *read == "é".repeat(40_000)));
}

#[test]
fn usage_is_what_the_agent_counted() {
    let server = Server::shared();
    let (_agent, id) = scripted(&server, json!({"name": "Nova"}), |call| {
        let usage = json!({"inputTokens": 3840, "outputTokens": 612});
        let mut chunks = spoken("Counted");
        chunks.insert(1, json!({"type": "message-metadata", "messageMetadata": {"usage": usage}}));
        call.answer(&chunks);
    });
    let user = unique("alice");
    let body = message(&server, &user, &id, "hi").expect(200);
    assert_eq!((&body["inputTokens"], &body["outputTokens"]), (&json!(3840), &json!(612)));
    assert_eq!(body["agentName"], "Nova");
    let usage = json!({"input_tokens": 3840, "output_tokens": 612});
    assert_eq!(chat(&server, &user, &id, "hi").expect(200)["usage"], usage);
}

#[test]
fn a_context_reaches_the_agent_and_nobody_else() {
    let server = Server::shared();
    let agent = Agent::start();
    let id = super::register(&server, &agent.url(), json!({}));
    let context = json!([{"role": "user", "content": "before"}]);
    let body = json!({"message": "hi", "context": context});
    let user = unique("alice");
    let mut asking = super::sent(&server, &user, &format!("/agents/{id}/chat"), &body);
    let call = agent.call();
    assert_eq!((&call.json()["context"], call.texts()), (&context, vec!["hi".to_owned()]));
    call.answer(&spoken("yes"));
    asking.answer().expect(200);
    assert_eq!(server.history(&session_of(&server, &user))[0]["content"], json!({"text": "hi"}));
}

#[test]
fn a_retry_with_the_same_key_gives_the_same_answer_and_both_stand_once() {
    let server = Server::shared();
    let user = unique("alice");
    let ask = |path: &str, body: Value| {
        let headers = [("x-user-id", user.as_str()), ("idempotency-key", "k1")];
        server.call("POST", path, &headers, Some(&body))
    };
    let body = json!({"message": "Just once", "agentId": "echo"});
    let first = ask("/api/chat/message", body.clone()).expect(200);
    assert_eq!(ask("/api/chat/message", body).expect(200), first);
    let mate = ask("/agents/echo/chat", json!({"message": "Just once"})).expect(200);
    assert_eq!(mate["message_id"], first["messageId"]);
    let streamed = ask("/agents/echo/chat/stream", json!({"message": "Just once"}));
    assert_eq!(told(&super::events(streamed.text())), "Just once");
    assert_eq!(server.history(&session_of(&server, &user)).len(), 2);
    let other = json!({"message": "Another", "agentId": "echo"});
    ask("/api/chat/message", other).expect(400);
    ask("/agents/echo/chat", json!({"message": "Another"})).expect(422);
}

#[test]
fn who_leaves_before_the_answer_finds_it_where_it_stands() {
    let server = Server::shared();
    let agent = Agent::start();
    let id = super::register(&server, &agent.url(), json!({}));
    for (path, body) in [
        ("/api/chat/message".to_owned(), json!({"message": "hi", "agentId": id})),
        (format!("/agents/{id}/chat"), json!({"message": "hi"})),
        (format!("/agents/{id}/chat/stream"), json!({"message": "hi"})),
    ] {
        let user = unique("alice");
        let asking = super::sent(&server, &user, &path, &body);
        let call = agent.call();
        drop(asking);
        let session = session_of(&server, &user);
        let mut socket = crate::harness::Socket::open(&server, &user);
        let topic = socket.join_session(&session);
        call.answer(&spoken("late, but here"));
        let answer = socket
            .first(|frame| frame.topic == topic && frame.event == "message" && frame.payload["kind"] == "assistant");
        assert_eq!(text_of(&answer.payload), "late, but here");
        assert_eq!(text_of(&server.history(&session)[1]), "late, but here");
        assert_ne!(server.cursor(&session, &user), Some(2), "nobody has read it");
    }
}

#[test]
fn a_message_that_names_nobody_goes_to_whom_its_words_call_for() {
    let server = Server::start();
    let ask = |user: &str, text: &str| {
        let answer = post_as(&server, user, "/api/chat/message", &json!({"message": text}));
        answer.expect(200)["agentId"].as_str().expect("an agent").to_owned()
    };
    assert_eq!(ask("first", "Hello there"), "echo", "on a fresh server echo answers");
    let answer = |call: crate::harness::Call| call.answer(&spoken("mine"));
    let (_tax, tax) = scripted(&server, json!({"name": "Tax adviser", "keywords": ["invoice"]}), answer);
    let (_cook, cook) = scripted(&server, json!({"name": "Cook", "is_default": true}), answer);
    assert_eq!(ask("alice", "How are you?"), cook, "the default is there for the rest");
    assert_eq!(ask("alice", "Where is my invoice?"), tax);
    assert_eq!(ask("alice", "How are you?"), tax, "who was spoken to last is spoken to again");
    assert_eq!(ask("first", "How are you?"), "echo");
    server.delete(&format!("/api/agents/{tax}"));
    assert_eq!(ask("alice", "How are you?"), cook, "unless he answers no more");
    server.delete(&format!("/api/agents/{cook}"));
    assert_eq!(ask("alice", "How are you?"), "echo");
}

#[test]
fn a_message_that_names_nobody_is_refused_where_nobody_is() {
    let server = Server::with(&Options::default().flags(&["--echo-chunks-per-s", "0"]));
    let said = post_as(&server, "alice", "/api/chat/message", &json!({"message": "Hello?"})).expect(404);
    assert_eq!(said, json!({"error": "There is no agent to answer: register one, or name one"}));
}
