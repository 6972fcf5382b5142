//! The chunks of a team's run that no stored message covers, for those who join in the middle.
//!
//! Invariants: ascending by index; a chunk is let go with the message that it belongs to, or when nothing comes of it. So what is kept and
//! what is stored are, together, all that was shown. The indexes have holes where another voice's chunks were let go.

use super::RunningChunk;
use crate::session::Json;
use std::collections::VecDeque;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Kept {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    voice: u16,
    index: u32,
    agent_id: String,
    chunk: Json,
}

impl Kept {
    /// Bytes of the chunks.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a chunk of a voice; `index` is above all before.
    pub(super) fn keep(&mut self, voice: u16, index: u32, agent_id: &str, chunk: &Json) {
        self.bytes += chunk.as_str().len();
        self.chunks.push_back(Chunk { voice, index, agent_id: agent_id.to_owned(), chunk: chunk.clone() });
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
            self.bytes -= if goes { chunk.chunk.as_str().len() } else { 0 };
            !goes
        });
        before - self.bytes
    }

    /// Those from `index` on.
    pub(super) fn from(&self, index: u32) -> Vec<RunningChunk> {
        let unseen = self.chunks.iter().filter(|chunk| chunk.index >= index);
        unseen
            .map(|Chunk { index, agent_id, chunk, .. }| RunningChunk {
                index: *index,
                agent_id: agent_id.clone(),
                chunk: chunk.clone(),
            })
            .collect()
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
        let bytes = chunk.as_str().len();
        let indexes = |kept: &Kept, from| kept.from(from).iter().map(|chunk| chunk.index).collect::<Vec<_>>();
        assert_eq!((kept.bytes(), indexes(&kept, 4)), (6 * bytes, vec![4, 5]));
        assert_eq!(kept.forget_below(1, 3), 2 * bytes);
        assert_eq!(indexes(&kept, 0), [1, 3, 4, 5]);
        assert_eq!((kept.forget_from(2, 4), kept.forget_from(2, 4)), (bytes, 0));
        assert_eq!((indexes(&kept, 0), kept.bytes()), (vec![1, 3, 5], 3 * bytes));
    }
}
