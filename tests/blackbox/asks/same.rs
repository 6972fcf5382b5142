//! One answer, four ways to it: what a stream tells, what a request returns, what the session stores, what histories say.

use super::{chat, delta, message, register, scripted, stream, text_of, told};
use crate::harness::rest::list;
use crate::harness::{Agent, Dice, Server, Value, json, unique};

/// A text of pieces that break everywhere but within a character.
fn pieces(dice: &mut Dice) -> Vec<String> {
    const PARTS: [&str; 8] = ["Grüße", " ", "\n\n", "😀", "data: ", "\"quoted\\\"", "[DONE]", "e\u{301}"];
    let piece = |dice: &mut Dice| (0..=dice.below(4)).map(|_| PARTS[dice.below(8) as usize]).collect::<String>();
    (0..1 + dice.below(20)).map(|_| piece(dice)).chain(["end".to_owned()]).collect()
}

/// The last answer of each history that a client of `user` can read.
fn last_told(server: &Server, user: &str, agent: &str) -> [String; 2] {
    let get = |path: &str| server.call("GET", path, &[("x-user-id", user)], None).expect(200);
    let content = |row: &Value| row["content"].as_str().expect("a content").to_owned();
    let teammate = list(&get(&format!("/agents/{agent}/history")), "messages");
    let fleet = list(&get("/api/chat/history"), "data");
    [content(teammate.last().expect("a message")), content(&fleet[0])]
}

#[test]
fn what_is_streamed_is_what_is_answered_stored_and_in_every_history() {
    let server = Server::shared();
    let mut dice = Dice::seeded("streamed, answered, stored");
    for _ in 0..12 {
        let pieces = pieces(&mut dice);
        let text = pieces.concat();
        let (_agent, id) = scripted(&server, json!({}), move |call| {
            let mut chunks = vec![json!({"type": "start"}), json!({"type": "text-start", "id": "t"})];
            chunks.extend(pieces.iter().map(|piece| delta(piece)));
            chunks.extend([json!({"type": "text-end", "id": "t"}), json!({"type": "finish"})]);
            call.answer(&chunks);
        });
        let user = unique("alice");
        assert_eq!(told(&stream(&server, &user, &id, "one")), text);
        assert_eq!(last_told(&server, &user, &id), [text.as_str(); 2]);
        let answer = chat(&server, &user, &id, "two").expect(200);
        assert_eq!(answer["response"], text);
        assert_eq!(last_told(&server, &user, &id), [text.as_str(); 2]);
        assert_eq!(message(&server, &user, &id, "three").expect(200)["response"], text);
        assert_eq!(last_told(&server, &user, &id), [text.as_str(); 2]);
        let session = answer["conversation_id"].as_str().expect("an id");
        let stored: Vec<String> = server.history(session).iter().skip(1).step_by(2).map(text_of).collect();
        assert_eq!(stored, [text.as_str(); 3]);
    }
}

#[test]
fn of_a_team_in_turn_the_stream_the_response_and_what_is_stored_are_the_same() {
    let server = Server::shared();
    let ann = Agent::serving(|call| call.answer(&super::spoken("First, shovels.")));
    let ben = Agent::serving(|call| call.answer(&super::spoken("Then, holes.")));
    let sum = Agent::serving(|call| call.answer(&super::spoken("Shovels make holes.")));
    let [ann_id, ben_id, sum_id] = [&ann, &ben, &sum].map(|agent| register(&server, &agent.url(), json!({})));
    let team = unique("team");
    let spec = json!({"members": [ann_id, ben_id], "mode": "sequential", "summarizer": sum_id});
    server.post("/api/agents", &json!({"agent": {"id": team, "name": "T", "team": spec}})).expect(201);
    let user = unique("alice");
    let streamed = told(&stream(&server, &user, &team, "one"));
    let answer = chat(&server, &user, &team, "two").expect(200);
    let session = answer["conversation_id"].as_str().expect("an id");
    let stored: Vec<String> = server.history(session).iter().map(text_of).collect();
    let turn = ["First, shovels.", "Then, holes.", "Shovels make holes."];
    assert_eq!((&stored[1..4], &stored[5..8]), (&turn.map(str::to_owned)[..], &turn.map(str::to_owned)[..]));
    assert_eq!(answer["response"], streamed, "{stored:?}");
    let bodies = json!({"message": "three", "mode": "sequential"});
    let board = super::post_as(&server, &user, &format!("/teams/{team}/chat"), &bodies).expect(200);
    let said: Vec<Value> = list(&board, "responses").iter().map(|one| one["content"].clone()).collect();
    assert_eq!((said, &board["summary"]), (turn[..2].iter().map(|text| json!(text)).collect(), &json!(turn[2])));
}

/// Voices that overlap are told one behind the other, in the order in which their messages are stored, whichever that comes to be.
#[test]
fn of_a_team_at_once_the_stream_the_response_and_what_is_stored_are_the_same() {
    let server = Server::shared();
    let voice = |text: &'static str| {
        let pieces: Vec<Value> = text.split_inclusive(' ').map(delta).collect();
        let script = [&[json!({"type": "text-start", "id": "t"})], &pieces[..]].concat();
        let script = [&script[..], &[json!({"type": "text-end", "id": "t"}), json!({"type": "finish"})]].concat();
        Agent::serving(move |call| call.answer(&script))
    };
    let agents = ["a b c d e f g h.", "one two three four five six.", "In short, letters and numbers."].map(voice);
    let [ann, ben, sum] = agents.each_ref().map(|agent| register(&server, &agent.url(), json!({})));
    let team = unique("team");
    let spec = json!({"members": [ann, ben], "mode": "parallel", "summarizer": sum});
    server.post("/api/agents", &json!({"agent": {"id": team, "name": "T", "team": spec}})).expect(201);
    let user = unique("alice");
    let answer = chat(&server, &user, &team, "zero").expect(200);
    let session = answer["conversation_id"].as_str().expect("an id");
    let last_stored = || {
        let history = server.history(session);
        history[history.len() - 3..].iter().map(text_of).collect::<String>()
    };
    assert_eq!(answer["response"], last_stored());
    for round in 0..8 {
        let streamed = told(&stream(&server, &user, &team, &round.to_string()));
        assert_eq!(streamed, last_stored(), "round {round}");
    }
}
