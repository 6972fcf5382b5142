//! A session's run as the log knows it: what recovery folds out of records, and what a snapshot keeps.
//!
//! Invariants: every record's effect is absolute, so that folding one twice changes nothing once the last one is folded
//! (`fold`). A run is open from its opened note to its message or its closed note; of an open one it is known which
//! chunks no message covers, by the address of the last and the first of them.

use super::fold::Reader;
use super::runs::Answering;
use crate::session::{ChunkMeta, Json, RunId};
use storage::Lsn;

/// See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FoldedRun {
    /// The first message that no ended run covers.
    pub(super) first_seq: u64,
    /// The last message that waits for an answer; 0: none does.
    pub(super) target_seq: u64,
    /// The run that was begun and not ended.
    pub(super) open: Option<OpenRun>,
}

/// A run that was begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenRun {
    /// The run.
    pub(super) run: RunId,
    /// The last message that it answers.
    pub(super) upto_seq: u64,
    /// The index of the first chunk that no message covers.
    pub(super) first_index: u32,
    /// The index of the next chunk.
    pub(super) next_index: u32,
    /// One of its messages is in the log.
    pub(super) has_answered: bool,
    first_chunk: Option<Lsn>,
    last_chunk: Option<Lsn>,
    /// The chunks from `first_index` on, once they were read.
    pub(super) chunks: Vec<Json>,
}

impl OpenRun {
    /// A run that has said nothing.
    pub(super) fn new(run: RunId, upto_seq: u64) -> Self {
        Self {
            run,
            upto_seq,
            first_index: 0,
            next_index: 0,
            has_answered: false,
            first_chunk: None,
            last_chunk: None,
            chunks: Vec::new(),
        }
    }

    /// What of a call under way stands in the log.
    pub(super) fn of_answering(answering: &Answering) -> Self {
        Self {
            first_index: answering.first_index,
            next_index: answering.next_index(),
            has_answered: answering.last_seq > 0,
            first_chunk: answering.first_chunk,
            last_chunk: answering.last_chunk,
            ..Self::new(answering.attempt.run, answering.upto_seq)
        }
    }

    /// Where its first uncovered chunk stands.
    pub(super) fn first_chunk(&self) -> Option<Lsn> {
        self.first_chunk
    }

    /// Where its last chunk stands, if there is one that no message covers.
    pub(super) fn last_chunk(&self) -> Option<Lsn> {
        self.last_chunk.filter(|_| self.next_index > self.first_index)
    }

    fn cover(&mut self) {
        self.has_answered = true;
        self.first_index = self.next_index;
        self.first_chunk = None;
    }
}

impl FoldedRun {
    /// A message at `seq` waits for an answer.
    pub(super) fn owes(&mut self, seq: u64) {
        if self.target_seq == 0 {
            self.first_seq = seq;
        }
        self.target_seq = self.target_seq.max(seq);
    }

    /// A message of a run answers every message up to `upto_seq`.
    pub(super) fn answered(&mut self, upto_seq: u64) {
        self.settle(upto_seq);
        if let Some(open) = &mut self.open {
            open.cover();
        }
    }

    /// A run began.
    pub(super) fn opened(&mut self, run: RunId, upto_seq: u64) {
        self.open = Some(OpenRun::new(run, upto_seq));
    }

    /// A chunk stands at `lsn`.
    pub(super) fn chunk(&mut self, meta: &ChunkMeta, lsn: Lsn) {
        let Some(open) = self.open.as_mut().filter(|open| open.run == meta.run) else { return };
        // Chunks before the last message may be gone from the log: the first that is there begins the next one.
        let is_first = open.has_answered && open.next_index == open.first_index;
        if is_first || meta.index <= open.first_index {
            (open.first_index, open.first_chunk) = (meta.index, Some(lsn));
        }
        open.next_index = meta.index + 1;
        open.last_chunk = Some(lsn);
    }

    /// A run ended without a message.
    pub(super) fn closed(&mut self, upto_seq: u64) {
        self.settle(upto_seq);
        self.open = None;
    }

    /// Every message up to `upto_seq` is answered or given up.
    pub(super) fn settle(&mut self, upto_seq: u64) {
        if self.target_seq <= upto_seq {
            self.target_seq = 0;
        } else {
            self.first_seq = self.first_seq.max(upto_seq + 1);
        }
    }

    /// Whether nothing is left to do but to hear of chunks.
    pub(super) fn is_idle(&self) -> bool {
        self.target_seq == 0 && self.open.as_ref().is_none_or(|open| open.next_index == open.first_index)
    }

    /// The bytes for a snapshot.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.first_seq, self.target_seq] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(self.open.as_ref().map_or(0, |open| 1 + u8::from(open.has_answered)));
        let Some(open) = &self.open else { return };
        out.extend_from_slice(&open.run.to_u128().to_le_bytes());
        out.extend_from_slice(&open.upto_seq.to_le_bytes());
        for number in [open.first_index, open.next_index] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for address in [open.first_chunk, open.last_chunk] {
            out.extend_from_slice(&address.map_or(ChunkMeta::NO_PREV, |lsn| lsn.0).to_le_bytes());
        }
    }

    /// Reads [`Self::encode`]'s bytes. `None`: they are not that.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let (first_seq, target_seq) = (reader.u64()?, reader.u64()?);
        let open = match reader.take::<1>()? {
            [0] => None,
            [open] => Some(OpenRun { has_answered: open == 2, ..decode_open(reader)? }),
        };
        Some(Self { first_seq, target_seq, open })
    }
}

fn decode_open(reader: &mut Reader<'_>) -> Option<OpenRun> {
    let run = RunId::from(u128::from_le_bytes(reader.take::<16>()?));
    let upto_seq = reader.u64()?;
    let (first_index, next_index) = (reader.u32()?, reader.u32()?);
    let mut address = || reader.u64().map(|lsn| (lsn != ChunkMeta::NO_PREV).then_some(Lsn(lsn)));
    let (first_chunk, last_chunk) = (address()?, address()?);
    Some(OpenRun { first_index, next_index, first_chunk, last_chunk, ..OpenRun::new(run, upto_seq) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(n: u128) -> RunId {
        RunId::from(n)
    }

    fn chunk(n: u128, index: u32) -> ChunkMeta {
        ChunkMeta { run: run(n), index, prev: ChunkMeta::NO_PREV }
    }

    #[test]
    fn a_session_owes_from_its_first_unanswered_message_to_its_last() {
        let mut folded = FoldedRun::default();
        assert!(folded.is_idle());
        (3..6).for_each(|seq| folded.owes(seq));
        assert_eq!((folded.first_seq, folded.target_seq, folded.is_idle()), (3, 5, false));
        folded.answered(4);
        assert_eq!((folded.first_seq, folded.target_seq), (5, 5));
        folded.closed(5);
        assert!(folded.is_idle());
    }

    #[test]
    fn chunks_belong_to_the_open_run_until_a_message_covers_them() {
        let mut folded = FoldedRun::default();
        folded.owes(1);
        folded.opened(run(1), 1);
        folded.chunk(&chunk(1, 0), Lsn(10));
        folded.chunk(&chunk(2, 7), Lsn(11));
        folded.chunk(&chunk(1, 1), Lsn(12));
        let open = folded.open.clone().unwrap();
        assert_eq!((open.next_index, open.first_chunk(), open.last_chunk()), (2, Some(Lsn(10)), Some(Lsn(12))));
        folded.answered(1);
        assert!(folded.is_idle());
        assert_eq!(folded.open.as_ref().unwrap().last_chunk(), None);
        folded.chunk(&chunk(1, 2), Lsn(13));
        assert!(!folded.is_idle(), "a second message of the same run is under way");
        assert_eq!(folded.open.unwrap().first_chunk(), Some(Lsn(13)));
    }

    #[test]
    fn a_second_message_is_put_together_although_the_chunks_of_the_first_are_gone() {
        let mut folded = FoldedRun::default();
        folded.owes(1);
        folded.opened(run(1), 1);
        folded.answered(1);
        folded.chunk(&chunk(1, 7), Lsn(13));
        folded.chunk(&chunk(1, 8), Lsn(14));
        let open = folded.open.unwrap();
        assert_eq!((open.first_index, open.next_index, open.first_chunk()), (7, 9, Some(Lsn(13))));
        assert!(open.has_answered);
    }

    #[test]
    fn folding_everything_twice_gives_the_same() {
        let fold = |folded: &mut FoldedRun| {
            folded.owes(1);
            folded.opened(run(1), 1);
            folded.chunk(&chunk(1, 0), Lsn(10));
            folded.answered(1);
            folded.owes(3);
            folded.opened(run(2), 3);
            folded.chunk(&chunk(2, 0), Lsn(20));
        };
        let mut once = FoldedRun::default();
        fold(&mut once);
        let mut twice = once.clone();
        fold(&mut twice);
        assert_eq!(once, twice);
    }

    #[test]
    fn a_snapshot_reads_back_as_it_was_written_and_nothing_shorter_does() {
        let mut folded = FoldedRun::default();
        folded.owes(2);
        for step in 0..4 {
            let mut bytes = Vec::new();
            folded.encode(&mut bytes);
            assert_eq!(FoldedRun::decode(&mut Reader(&bytes)), Some(folded.clone()));
            assert!((0..bytes.len()).all(|length| FoldedRun::decode(&mut Reader(&bytes[..length])).is_none()));
            match step {
                0 => folded.opened(run(9), 2),
                1 => folded.answered(1),
                _ => folded.chunk(&chunk(9, 0), Lsn(5)),
            }
        }
    }
}
