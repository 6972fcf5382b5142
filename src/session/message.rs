//! What a message is at rest: the JSON object that clients read, and the few facts beside it that the server needs
//! again.
//!
//! The object is rendered once, at append; every replay and every push copies it. `content` and `metadata` are
//! spliced as they came. The facts ([`MessageMeta`]) are absolute, so that folding a record twice changes nothing.

use super::idempotency::{Fingerprint, KeyHash};
use super::{Json, MessageId, SessionId, time};

/// A message about to become bytes.
#[derive(Clone, Copy, Debug)]
pub struct MessageParts<'a> {
    /// Its id.
    pub id: MessageId,
    /// Its session.
    pub session: SessionId,
    /// Its place in the session.
    pub seq: u64,
    /// Who wrote it.
    pub sender_id: &'a str,
    /// Free text.
    pub kind: &'a str,
    /// A JSON object.
    pub content: &'a Json,
    /// A JSON object.
    pub metadata: &'a Json,
    /// When it was appended, microseconds since 1970.
    pub inserted_at_us: u64,
}

impl MessageParts<'_> {
    /// The message as clients read it: eight keys in the order of contract 1.5.
    pub fn render(&self) -> Json {
        let mut out = Vec::with_capacity(256 + self.content.as_str().len() + self.metadata.as_str().len());
        out.extend_from_slice(b"{\"id\":\"");
        push_ulid(self.id.0, &mut out);
        out.extend_from_slice(b"\",\"session_id\":\"");
        push_ulid(self.session.0, &mut out);
        out.extend_from_slice(b"\",\"seq\":");
        out.extend_from_slice(itoa::Buffer::new().format(self.seq).as_bytes());
        out.extend_from_slice(b",\"sender_id\":");
        push_string(self.sender_id, &mut out);
        out.extend_from_slice(b",\"kind\":");
        push_string(self.kind, &mut out);
        out.extend_from_slice(b",\"content\":");
        out.extend_from_slice(self.content.as_str().as_bytes());
        out.extend_from_slice(b",\"metadata\":");
        out.extend_from_slice(self.metadata.as_str().as_bytes());
        out.extend_from_slice(b",\"inserted_at\":\"");
        time::push_rfc3339(self.inserted_at_us, &mut out);
        out.extend_from_slice(b"\"}");
        Json::from_rendered(out)
    }
}

pub(super) fn push_ulid(id: ulid::Ulid, out: &mut Vec<u8>) {
    let mut text = [0; ulid::ULID_LEN];
    out.extend_from_slice(id.array_to_str(&mut text).as_bytes());
}

/// Appends `text` as a JSON string.
pub(super) fn push_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string always has a JSON form and a Vec takes every byte");
}

/// Who wrote a message, seen from its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender<'a> {
    /// The session's user: the message never counts as unread.
    User,
    /// The session's agent.
    Agent,
    /// Anybody else (REST callers may be anybody, contract 1.5).
    Other(&'a str),
}

impl<'a> Sender<'a> {
    /// Places `sender_id` among the parties of a session. One id in both roles counts as the user.
    pub fn of(sender_id: &'a str, user_id: &str, agent_id: &str) -> Self {
        match sender_id {
            id if id == user_id => Self::User,
            id if id == agent_id => Self::Agent,
            id => Self::Other(id),
        }
    }
}

/// The facts kept in a message's record beside the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageMeta<'a> {
    /// Who wrote it.
    pub sender: Sender<'a>,
    /// Messages by the session's user up to and including this one.
    pub own_total: u32,
    /// The idempotency key and the request that came with it.
    pub keyed: Option<(KeyHash, Fingerprint)>,
    /// What it has to do with runs.
    pub run: RunPart,
}

/// What a message has to do with runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunPart {
    /// Nothing.
    #[default]
    None,
    /// Its author waits for the session's agent, which was enabled when the message was appended.
    Owes,
    /// A run made it: every message up to the span's end is answered.
    Answers(RunSpan),
    /// A run made it that answers the messages of this span and goes on: it settles nothing.
    Part(RunSpan),
}

impl RunPart {
    /// What the run answers that made the message. `None`: no run did.
    pub fn span(self) -> Option<RunSpan> {
        match self {
            Self::None | Self::Owes => None,
            Self::Answers(span) | Self::Part(span) => Some(span),
        }
    }
}

/// The messages that a run answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSpan {
    /// The first of them.
    pub first_seq: u32,
    /// The last of them. No two runs of a session that ended have the same.
    pub upto_seq: u32,
}

impl RunSpan {
    /// The span of a run that answers up to `upto_seq`. A `first_seq` that is not known (0), or lies behind, says as little as none: then
    /// it is the last alone.
    pub fn new(first_seq: u64, upto_seq: u64) -> Self {
        let first_seq = if first_seq == 0 { upto_seq } else { first_seq.min(upto_seq) };
        // limits::SESSION_MESSAGES_MAX has 32 bits
        Self { first_seq: first_seq as u32, upto_seq: upto_seq as u32 }
    }

    /// Whether it answers message `seq`.
    pub fn covers(self, seq: u64) -> bool {
        u64::from(self.first_seq) <= seq && seq <= u64::from(self.upto_seq)
    }
}

const FLAG_USER: u8 = 1;
const FLAG_AGENT: u8 = 2;
const FLAG_KEYED: u8 = 4;
const FLAG_OWES: u8 = 8;
const FLAG_ANSWERS: u8 = 16;
const FLAG_PART: u8 = 32;
/// With `FLAG_ANSWERS` or `FLAG_PART`: it is written from which message on. An answer owes nothing, so the bit was never set beside them:
/// a version that does not know it refuses the record by name.
const FLAG_FROM: u8 = FLAG_OWES;

impl<'a> MessageMeta<'a> {
    /// The record's flags.
    pub fn flags(&self) -> u8 {
        let sender = match self.sender {
            Sender::User => FLAG_USER,
            Sender::Agent => FLAG_AGENT,
            Sender::Other(_) => 0,
        };
        let run = match self.run {
            RunPart::None => 0,
            RunPart::Owes => FLAG_OWES,
            RunPart::Answers(span) => FLAG_ANSWERS | from_flag(span),
            RunPart::Part(span) => FLAG_PART | from_flag(span),
        };
        sender | run | if self.keyed.is_some() { FLAG_KEYED } else { 0 }
    }

    /// The record's meta bytes: own_total, then key hash and fingerprint if keyed, then the seq up to which it answers
    /// if it does or is a part of what does, and the one from which it does unless that is the same, then the sender unless the flags
    /// name it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.own_total.to_le_bytes());
        if let Some((key, fingerprint)) = self.keyed {
            out.extend_from_slice(&key.0.to_le_bytes());
            out.extend_from_slice(&fingerprint.0.to_le_bytes());
        }
        if let Some(span) = self.run.span() {
            out.extend_from_slice(&span.upto_seq.to_le_bytes());
            if from_flag(span) != 0 {
                out.extend_from_slice(&span.first_seq.to_le_bytes());
            }
        }
        if let Sender::Other(id) = self.sender {
            out.extend_from_slice(id.as_bytes());
        }
    }

    /// Reads flags and meta bytes. `None`: they are not a message's.
    pub fn decode(flags: u8, meta: &'a [u8]) -> Option<Self> {
        let (own_total, rest) = meta.split_first_chunk::<4>()?;
        let (keyed, rest) = if flags & FLAG_KEYED == 0 {
            (None, rest)
        } else {
            let (key, rest) = rest.split_first_chunk::<16>()?;
            let (fingerprint, rest) = rest.split_first_chunk::<8>()?;
            let key = KeyHash(u128::from_le_bytes(*key));
            (Some((key, Fingerprint(u64::from_le_bytes(*fingerprint)))), rest)
        };
        let (run, rest) = match flags & (FLAG_OWES | FLAG_ANSWERS | FLAG_PART) {
            0 => (RunPart::None, rest),
            FLAG_OWES => (RunPart::Owes, rest),
            part if part & (FLAG_ANSWERS | FLAG_PART) != FLAG_ANSWERS | FLAG_PART => {
                let (span, rest) = decode_span(part & FLAG_FROM != 0, rest)?;
                (if part & FLAG_PART != 0 { RunPart::Part(span) } else { RunPart::Answers(span) }, rest)
            }
            _ => return None,
        };
        let sender = match flags & (FLAG_USER | FLAG_AGENT) {
            FLAG_USER => Sender::User,
            FLAG_AGENT => Sender::Agent,
            0 => Sender::Other(std::str::from_utf8(rest).ok()?),
            _ => return None,
        };
        Some(Self { sender, own_total: u32::from_le_bytes(*own_total), keyed, run })
    }
}

/// Most runs answer one message: of them nothing more is written than before there were spans.
fn from_flag(span: RunSpan) -> u8 {
    if span.first_seq == span.upto_seq { 0 } else { FLAG_FROM }
}

/// A record that does not say from which message on it answers is the answer of the last alone. Of one that was written before that was
/// said, more may be true; it is not known.
fn decode_span(has_first: bool, bytes: &[u8]) -> Option<(RunSpan, &[u8])> {
    let (upto_seq, rest) = bytes.split_first_chunk::<4>()?;
    let (first_seq, rest) = if has_first { rest.split_first_chunk::<4>()? } else { (upto_seq, rest) };
    let [first_seq, upto_seq] = [first_seq, upto_seq].map(|seq| u32::from_le_bytes(*seq));
    (first_seq <= upto_seq).then_some((RunSpan { first_seq, upto_seq }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_has_eight_keys_in_contract_order_and_raw_content() {
        let session = SessionId::from_parts(1_761_216_480_123, 7);
        let id = MessageId::from_parts(1_761_216_480_123, 8);
        let parts = MessageParts {
            id,
            session,
            seq: 3,
            sender_id: "ali\"ce\n",
            kind: "text",
            content: &Json::parse(r#"{"text": 1.0e2}"#).unwrap(),
            metadata: &Json::empty_object(),
            inserted_at_us: 1_761_216_480_123_456,
        };
        let expected = format!(
            r#"{{"id":"{id}","session_id":"{session}","seq":3,"sender_id":"ali\"ce\n","kind":"text","content":{{"text": 1.0e2}},"metadata":{{}},"inserted_at":"2025-10-23T10:48:00.123456Z"}}"#
        );
        assert_eq!(parts.render().as_str(), expected);
    }

    #[test]
    fn the_parties_of_a_session_are_told_apart() {
        assert_eq!(Sender::of("a", "a", "b"), Sender::User);
        assert_eq!(Sender::of("b", "a", "b"), Sender::Agent);
        assert_eq!(Sender::of("c", "a", "b"), Sender::Other("c"));
        assert_eq!(Sender::of("a", "a", "a"), Sender::User);
    }

    #[test]
    fn meta_bytes_that_are_too_short_are_not_a_messages() {
        let keyed = Some((KeyHash(1), Fingerprint(2)));
        let meta = MessageMeta {
            sender: Sender::User,
            own_total: 1,
            keyed,
            run: RunPart::Answers(RunSpan { first_seq: 5, upto_seq: 7 }),
        };
        let mut bytes = Vec::new();
        meta.encode(&mut bytes);
        for length in 0..bytes.len() {
            assert_eq!(MessageMeta::decode(meta.flags(), &bytes[..length]), None);
        }
        assert_eq!(MessageMeta::decode(FLAG_USER | FLAG_AGENT, &bytes), None);
        for from in [0, FLAG_FROM] {
            assert_eq!(MessageMeta::decode(FLAG_ANSWERS | FLAG_PART | from, &bytes), None);
        }
        let backwards = [&[0; 4][..], &3u32.to_le_bytes(), &4u32.to_le_bytes()].concat();
        assert_eq!(MessageMeta::decode(FLAG_AGENT | FLAG_ANSWERS | FLAG_FROM, &backwards), None);
    }

    #[test]
    fn an_answer_to_one_message_is_written_as_it_was_before_there_were_spans() {
        let of = |first_seq, upto_seq| {
            let run = RunPart::Answers(RunSpan::new(first_seq, upto_seq));
            let meta = MessageMeta { sender: Sender::Agent, own_total: 1, keyed: None, run };
            let mut bytes = Vec::new();
            meta.encode(&mut bytes);
            (meta.flags(), bytes)
        };
        assert_eq!(of(7, 7), (FLAG_AGENT | FLAG_ANSWERS, vec![1, 0, 0, 0, 7, 0, 0, 0]));
        assert_eq!((of(0, 7), of(9, 7)), (of(7, 7), of(7, 7)), "what is not known is not said");
        assert_eq!(of(5, 7), (FLAG_AGENT | FLAG_ANSWERS | FLAG_FROM, vec![1, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0, 0]));
    }

    proptest! {
        #[test]
        fn meta_reads_back_as_it_was_written(
            own_total: u32,
            keyed in proptest::option::of((any::<u128>(), any::<u64>())),
            who in 0..3,
            (role, first_seq, upto_seq) in (0..4, any::<u32>(), any::<u32>()),
            other in ".{0,40}",
        ) {
            let sender = match who { 0 => Sender::User, 1 => Sender::Agent, _ => Sender::Other(&other) };
            let span = RunSpan::new(first_seq.into(), upto_seq.into());
            let run = match role {
                0 => RunPart::None,
                1 => RunPart::Owes,
                2 => RunPart::Answers(span),
                _ => RunPart::Part(span),
            };
            let keyed = keyed.map(|(k, f)| (KeyHash(k), Fingerprint(f)));
            let meta = MessageMeta { sender, own_total, keyed, run };
            let mut bytes = Vec::new();
            meta.encode(&mut bytes);
            prop_assert_eq!(MessageMeta::decode(meta.flags(), &bytes), Some(meta));
        }
    }
}
