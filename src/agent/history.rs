//! What a call carries: the messages of the session in the shape that webhooks read (contract 4.4), and how many tokens
//! they are, by the original's estimate.

use crate::session::{Json, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::ops::RangeInclusive;

/// A stored message, as far as an agent sees it: five keys, in the contract's order.
#[derive(Serialize, Deserialize)]
struct Shown<'a> {
    seq: u64,
    #[serde(borrow)]
    sender_id: &'a RawValue,
    #[serde(borrow)]
    kind: &'a RawValue,
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(borrow)]
    inserted_at: &'a RawValue,
}

/// Messages in the order of seq, as a page gives them, to be sent.
#[derive(Debug, Default)]
pub struct History {
    /// JSON objects joined by commas.
    joined: String,
    /// Seq of the first, 0 without one.
    pub first_seq: u64,
    /// Seq of the last, 0 without one.
    pub last_seq: u64,
    /// Estimated.
    pub tokens: u64,
}

impl History {
    /// Takes stored messages, joined by commas and without brackets: of those with a seq in `range` the last `limit`.
    pub fn of_page(joined: &str, range: RangeInclusive<u64>, limit: usize) -> Self {
        let list = format!("[{joined}]");
        let mut messages: Vec<Shown<'_>> = serde_json::from_str(&list).expect("stored messages have the eight keys");
        messages.retain(|message| range.contains(&message.seq));
        let left_out = messages.len().saturating_sub(limit);
        let mut history = Self::default();
        for message in &messages[left_out..] {
            if history.first_seq == 0 {
                history.first_seq = message.seq;
            } else {
                history.joined.push(',');
            }
            history.last_seq = message.seq;
            history.tokens += tokens(message.content);
            history.joined += &serde_json::to_string(message).expect("raw parts always serialise");
        }
        history
    }

    /// The tokens of stored messages from `first_seq` on.
    pub fn tokens_of_page(joined: &str, first_seq: u64) -> u64 {
        let list = format!("[{joined}]");
        let messages: Vec<Shown<'_>> = serde_json::from_str(&list).expect("stored messages have the eight keys");
        messages.iter().filter(|message| message.seq >= first_seq).map(|message| tokens(message.content)).sum()
    }

    /// The body of a call (contract 4.4). `compacted`: what stands for the messages before these. `context`: what came with the
    /// last one and is not stored. `team`: of a member of a team, what it is to do there.
    pub fn call_body(
        &self,
        session: SessionId,
        agent_id: &str,
        user_id: &str,
        compacted: Option<&Json>,
        context: Option<&Json>,
        team: Option<&Json>,
    ) -> Vec<u8> {
        let mut body = self.parties(session, agent_id, user_id);
        for (name, part) in [("compacted", compacted), ("context", context), ("team", team)] {
            if let Some(part) = part {
                body += &format!(",\"{name}\":{}", part.as_str());
            }
        }
        self.close(body)
    }

    /// The body of a request to compact (contract 4.8): these messages, and what an earlier one made of those before.
    pub fn compaction_body(
        &self,
        session: SessionId,
        agent_id: &str,
        user_id: &str,
        compacted: Option<&Json>,
        token_budget: u32,
    ) -> Vec<u8> {
        let mut body = self.parties(session, agent_id, user_id);
        body += &format!(
            ",\"range_start\":{},\"range_end\":{},\"tokens\":{},\"token_budget\":{token_budget}",
            self.first_seq, self.last_seq, self.tokens
        );
        body += ",\"compacted\":";
        body += compacted.map_or("null", Json::as_str);
        self.close(body)
    }

    fn parties(&self, session: SessionId, agent_id: &str, user_id: &str) -> String {
        let text = |id: &str| serde_json::to_string(id).expect("a string always serialises");
        let mut body = String::with_capacity(self.joined.len() + 256);
        body +=
            &format!("{{\"session_id\":\"{session}\",\"agent_id\":{},\"user_id\":{}", text(agent_id), text(user_id));
        body
    }

    fn close(&self, mut body: String) -> Vec<u8> {
        body += ",\"messages\":[";
        body += &self.joined;
        body += "]}";
        body.into_bytes()
    }
}

/// What a compaction webhook answered: `{"compacted": [{..}, ..]}`. `None`: something else.
pub fn compacted_list(body: &[u8]) -> Option<Json> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        compacted: &'a RawValue,
    }
    let answer: Answer<'_> = serde_json::from_slice(body).ok()?;
    let items: Vec<&RawValue> = serde_json::from_str(answer.compacted.get()).ok()?;
    items.iter().all(|item| item.get().starts_with('{')).then(|| Json::from_raw(answer.compacted))
}

/// The original's estimate: a token for four characters of `text` and of the texts of `parts`; without any, of the whole
/// content.
fn tokens(content: &RawValue) -> u64 {
    let characters = match serde_json::from_str::<Value>(content.get()) {
        Ok(value) => texts(&value),
        Err(_) => 0, // a number out of range: valid JSON that no value holds
    };
    let characters = if characters == 0 { content.get().len() as u64 } else { characters };
    characters.div_ceil(4)
}

fn texts(content: &Value) -> u64 {
    let of = |value: &Value| value.get("text").and_then(Value::as_str).map_or(0, |text| text.chars().count() as u64);
    let parts = content.get("parts").and_then(Value::as_array).map_or(0, |parts| parts.iter().map(of).sum());
    of(content) + parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{MessageId, MessageParts};

    fn message(seq: u64, content: &str) -> String {
        MessageParts {
            id: MessageId::from(u128::from(seq)),
            session: SessionId::from(7),
            seq,
            sender_id: "ali\"ce",
            kind: "text",
            content: &Json::parse(content).unwrap(),
            metadata: &Json::parse(r#"{"secret":1}"#).unwrap(),
            inserted_at_us: 1_761_216_480_123_456,
        }
        .render()
        .as_str()
        .to_owned()
    }

    fn page() -> String {
        [message(1, r#"{"text":"12345678"}"#), message(2, r#"{"n":1.0e2}"#), message(3, r#"{"text":"abc"}"#)].join(",")
    }

    #[test]
    fn a_call_carries_five_keys_of_each_message_and_raw_content() {
        let history = History::of_page(&page(), 2..=9, 9);
        let body = String::from_utf8(history.call_body(SessionId::from(7), "bot", "alice", None, None, None)).unwrap();
        let session = SessionId::from(7);
        let when = "2025-10-23T10:48:00.123456Z";
        assert_eq!(
            body,
            format!(
                r#"{{"session_id":"{session}","agent_id":"bot","user_id":"alice","messages":[{{"seq":2,"sender_id":"ali\"ce","kind":"text","content":{{"n":1.0e2}},"inserted_at":"{when}"}},{{"seq":3,"sender_id":"ali\"ce","kind":"text","content":{{"text":"abc"}},"inserted_at":"{when}"}}]}}"#
            )
        );
        assert_eq!((history.first_seq, history.last_seq), (2, 3));
    }

    #[test]
    fn an_empty_session_makes_an_empty_list() {
        let body = History::of_page("", 1..=9, 9).call_body(SessionId::from(7), "bot", "alice", None, None, None);
        assert!(String::from_utf8(body).unwrap().ends_with(r#","messages":[]}"#));
    }

    #[test]
    fn what_was_compacted_stands_beside_the_messages_behind_it() {
        let list = Json::parse(r#"[{"role":"system","content":"so far"}]"#).unwrap();
        let history = History::of_page(&page(), 1..=9, 1);
        let body: Value =
            serde_json::from_slice(&history.call_body(SessionId::from(7), "b", "a", Some(&list), Some(&list), None))
                .unwrap();
        assert_eq!(body["compacted"][0]["content"], "so far");
        assert_eq!(body["messages"].as_array().unwrap().len(), 1);
        let request = history.compaction_body(SessionId::from(7), "b", "a", Some(&list), 9);
        let request: Value = serde_json::from_slice(&request).unwrap();
        assert_eq!(
            (&request["range_start"], &request["range_end"], &request["token_budget"]),
            (&3.into(), &3.into(), &9.into())
        );
    }

    #[test]
    fn tokens_are_a_quarter_of_the_characters_of_texts() {
        assert_eq!(History::of_page(&message(1, r#"{"text":"12345678"}"#), 1..=1, 1).tokens, 2);
        let parts = r#"{"parts":[{"type":"text","text":"ééé"},{"type":"step-start"},{"type":"text","text":"12345"}]}"#;
        assert_eq!(History::of_page(&message(1, parts), 1..=1, 1).tokens, 2);
        assert_eq!(History::of_page(&message(1, r#"{"n":123456}"#), 1..=1, 1).tokens, 3);
    }

    #[test]
    fn only_a_list_of_objects_is_a_compaction() {
        assert!(compacted_list(br#"{"compacted":[{"role":"user","content":"x"}],"more":1}"#).is_some());
        assert!(compacted_list(br#"{"compacted":[]}"#).is_some());
        for body in ["", "[]", "{}", r#"{"compacted":"x"}"#, r#"{"compacted":[1]}"#, r#"{"compacted":{}}"#] {
            assert_eq!(compacted_list(body.as_bytes()), None, "{body}");
        }
    }
}
