//! What the log keeps of runs: that one began, its chunks while it lasts, that it ended without a message, and what a
//! session was compacted to. A run that ends with a message needs no note: the message's own record says what it answers.

use super::{Json, RunId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Payload of `RUN_OPENED` and of `RUN_CLOSED`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunNote {
    /// The run, 26 characters.
    run_id: String,
    /// The last message that it answers, or gives up on.
    pub upto_seq: u64,
    /// Why it was closed; of an opened one nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl RunNote {
    /// The note of `run`.
    pub fn new(run: RunId, upto_seq: u64, reason: Option<&str>) -> Self {
        Self { run_id: run.to_string(), upto_seq, reason: reason.map(str::to_owned) }
    }

    /// The run.
    pub fn run(&self) -> Option<RunId> {
        RunId::parse(&self.run_id)
    }

    /// The payload's bytes.
    pub fn render(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of plain fields always has a JSON form")
    }

    /// Reads a payload. `None`: it is not one.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok().filter(|note: &Self| note.run().is_some())
    }
}

/// Meta bytes of `RUN_CHUNK`; its payload is the chunk as clients read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkMeta {
    /// The run.
    pub run: RunId,
    /// Which chunk of it, from 0.
    pub index: u32,
    /// Address of the run's chunk before it, in the log's own numbering; `u64::MAX` for the first.
    pub prev: u64,
}

impl ChunkMeta {
    /// `prev` of a run's first chunk.
    pub const NO_PREV: u64 = u64::MAX;

    /// The meta bytes.
    pub fn encode(&self) -> [u8; 28] {
        let mut out = [0; 28];
        out[..16].copy_from_slice(&self.run.to_u128().to_le_bytes());
        out[16..20].copy_from_slice(&self.index.to_le_bytes());
        out[20..].copy_from_slice(&self.prev.to_le_bytes());
        out
    }

    /// Reads meta bytes. `None`: they are not a chunk's.
    pub fn decode(meta: &[u8]) -> Option<Self> {
        let (run, rest) = meta.split_first_chunk::<16>()?;
        let (index, rest) = rest.split_first_chunk::<4>()?;
        let prev: [u8; 8] = rest.try_into().ok()?;
        Some(Self {
            run: RunId::from(u128::from_le_bytes(*run)),
            index: u32::from_le_bytes(*index),
            prev: u64::from_le_bytes(prev),
        })
    }
}

/// Payload of `SESSION_COMPACTED`.
#[derive(Serialize, Deserialize)]
pub struct SessionCompacted<'a> {
    /// The last message that it stands for.
    pub upto_seq: u64,
    /// A JSON array of objects, as the compaction webhook gave it.
    #[serde(borrow)]
    pub compacted: &'a RawValue,
}

impl<'a> SessionCompacted<'a> {
    /// The payload's bytes.
    pub fn render(upto_seq: u64, compacted: &Json) -> Vec<u8> {
        format!("{{\"upto_seq\":{upto_seq},\"compacted\":{}}}", compacted.as_str()).into_bytes()
    }

    /// Reads a payload. `None`: it is not one.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_note_reads_back_as_it_was_written() {
        for reason in [None, Some("timeout")] {
            let note = RunNote::new(RunId::from_parts(7, 9), 3, reason);
            assert_eq!(RunNote::parse(&note.render()), Some(note));
        }
        assert_eq!(RunNote::parse(br#"{"run_id":"x","upto_seq":1}"#), None);
    }

    #[test]
    fn chunk_meta_reads_back_and_nothing_shorter_or_longer_does() {
        let meta = ChunkMeta { run: RunId::from_parts(7, 9), index: 4, prev: 1 << 40 };
        let bytes = meta.encode();
        assert_eq!(ChunkMeta::decode(&bytes), Some(meta));
        assert!((0..bytes.len()).all(|length| ChunkMeta::decode(&bytes[..length]).is_none()));
        assert_eq!(ChunkMeta::decode(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn a_compacted_note_keeps_the_raw_list() {
        let list = Json::parse(r#"[{"role": "system", "n": 1.0e2}]"#).unwrap();
        let payload = SessionCompacted::render(9, &list);
        let note = SessionCompacted::parse(&payload).unwrap();
        assert_eq!((note.upto_seq, note.compacted.get()), (9, list.as_str()));
    }
}
