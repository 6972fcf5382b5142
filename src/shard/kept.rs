//! The chunks of a team's run that no stored message covers, for those who join in the middle.
//!
//! Invariants: ascending by index; a chunk is let go with the message that it belongs to, or when nothing comes of it. So what is kept and
//! what is stored are, together, all that was shown. The indexes have holes where another voice's chunks were let go. What counts for
//! the bounds is what a chunk takes, not what it says: one that says next to nothing takes its place too.

use super::RunningChunk;
use crate::session::Json;
use std::collections::VecDeque;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Kept {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    /// Who speaks with which voice.
    speakers: Vec<(u16, String)>,
}

#[derive(Debug)]
struct Chunk {
    voice: u16,
    index: u32,
    chunk: Json,
}

impl Chunk {
    /// Bytes that it takes, as nearly as can be told: its own, its text, and what the allocator adds.
    fn cost(&self) -> usize {
        const ALLOCATION_BYTES: usize = 32;
        size_of::<Self>() + ALLOCATION_BYTES + self.chunk.as_str().len()
    }
}

impl Kept {
    /// Bytes that the chunks take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a chunk of a voice, whose speaker is always the same; `index` is above all before. Gives the bytes that it takes.
    pub(super) fn keep(&mut self, voice: u16, index: u32, agent_id: &str, chunk: &Json) -> usize {
        if self.speakers.iter().all(|(known, _)| *known != voice) {
            self.speakers.push((voice, agent_id.to_owned()));
        }
        let chunk = Chunk { voice, index, chunk: chunk.clone() };
        let cost = chunk.cost();
        self.bytes += cost;
        self.chunks.push_back(chunk);
        cost
    }

    /// A voice's chunks below `index` are stored as a message, or never will be. Gives the bytes that were let go.
    pub(super) fn forget_below(&mut self, voice: u16, index: u32) -> usize {
        self.forget(|chunk| chunk.voice == voice && chunk.index < index)
    }

    /// Nothing comes of a voice's chunks from `index` on. Gives the bytes that were let go.
    pub(super) fn forget_from(&mut self, voice: u16, index: u32) -> usize {
        self.forget(|chunk| chunk.voice == voice && chunk.index >= index)
    }

    fn forget(&mut self, is_over: impl Fn(&Chunk) -> bool) -> usize {
        let before = self.bytes;
        self.chunks.retain(|chunk| {
            let goes = is_over(chunk);
            self.bytes -= if goes { chunk.cost() } else { 0 };
            !goes
        });
        before - self.bytes
    }

    /// Those from `index` on.
    pub(super) fn from(&self, index: u32) -> Vec<RunningChunk> {
        let unseen = self.chunks.iter().filter(|chunk| chunk.index >= index);
        unseen
            .map(|Chunk { voice, index, chunk }| RunningChunk {
                index: *index,
                agent_id: self.speaker(*voice).to_owned(),
                chunk: chunk.clone(),
            })
            .collect()
    }

    fn speaker(&self, voice: u16) -> &str {
        let known = self.speakers.iter().find(|(known, _)| *known == voice);
        known.map(|(_, agent_id)| agent_id.as_str()).expect("a voice is known from its first chunk on")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_the_chunks_of_its_voice_and_leaves_the_others() {
        let mut kept = Kept::default();
        let chunk = Json::parse(r#"{"type":"x"}"#).unwrap();
        for (index, voice) in [1, 2, 1, 2, 2, 1].into_iter().enumerate() {
            kept.keep(voice, index as u32, "who", &chunk);
        }
        let bytes = kept.bytes() / 6;
        assert!(bytes > 2 * chunk.as_str().len(), "what a small chunk takes is more than what it says");
        let indexes = |kept: &Kept, from| kept.from(from).iter().map(|chunk| chunk.index).collect::<Vec<_>>();
        assert_eq!((kept.bytes(), indexes(&kept, 4)), (6 * bytes, vec![4, 5]));
        assert_eq!(kept.forget_below(1, 3), 2 * bytes);
        assert_eq!(indexes(&kept, 0), [1, 3, 4, 5]);
        assert_eq!((kept.forget_from(2, 4), kept.forget_from(2, 4)), (bytes, 0));
        assert_eq!((indexes(&kept, 0), kept.bytes()), (vec![1, 3, 5], 3 * bytes));
    }
}
