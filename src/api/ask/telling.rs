//! What those who asked are told of an answer while it grows: one voice live, the others message by message.
//!
//! Invariant: all text told, in its order, is the beginning of what the answer's messages say in the order in which they are stored, and with
//! [`Telling::end`] all of it, whatever was lost on the way. Nothing that was told can be taken back, so a voice is told live only while it has
//! the floor ([`ChunkPlace::has_floor`]): nobody else can be stored before it. What another says is held until its message is stored.
//!
//! Bounds: what is held of a voice is text and tools' words of messages that its shard is still putting together or storing, so the answer's own
//! bounds are its bounds: `MESSAGE_BYTES_MAX` for a message, `RUN_CHUNK_BYTES_MAX` for all chunks, `TEAM_MEMBERS_MAX` voices. With its message,
//! and with the first chunk that is missing, it is let go.
//!
//! Not here: which run answers, how it ended, what to do about a gap.

use crate::api::view::{AskEvent, ChunkEvents, member, whole_text};
use crate::session::Json;
use crate::shard::ChunkPlace;
use std::collections::VecDeque;

/// See the top of the file.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// The next chunk.
    next_index: u32,
    voices: Vec<Voice>,
    /// Bytes of text told.
    told_bytes: usize,
    /// Bytes of text of the stored messages that were taken in.
    stored_bytes: usize,
    /// A chunk is missing: what is not told yet is told from the messages.
    is_torn: bool,
    /// A message may be missing: what is not told yet is told at the end.
    waits_for_end: bool,
    /// Nothing is told before the end.
    is_silent: bool,
}

/// One who speaks: an agent alone is one, a team has some.
#[derive(Debug, Default)]
struct Voice {
    id: String,
    chunks: ChunkEvents,
    /// Its messages of which nothing was told.
    held: VecDeque<Held>,
    /// The message that it is saying is told live.
    is_live: bool,
}

/// What the chunks of one message have said.
#[derive(Debug, Default)]
struct Held {
    events: Vec<AskEvent>,
    /// It has ended.
    is_over: bool,
}

impl Telling {
    /// The index of the next chunk.
    pub(super) fn next_index(&self) -> u32 {
        self.next_index
    }

    /// Another run answers. What was told of the one before cannot be taken back: the rest is told at the end.
    pub(super) fn begin(&mut self) {
        let (told_bytes, is_second) = (self.told_bytes, self.told_bytes > 0);
        let (is_torn, waits_for_end) = (is_second || self.is_silent, is_second || self.waits_for_end);
        *self = Self { told_bytes, is_torn, waits_for_end, is_silent: self.is_silent, ..Self::default() };
    }

    /// A message may have been missed.
    pub(super) fn miss_messages(&mut self) {
        self.waits_for_end = true;
    }

    /// What others have said before is not known: nothing more is told before the end.
    pub(super) fn be_silent(&mut self) {
        (self.waits_for_end, self.is_silent) = (true, true);
        self.tear();
    }

    fn tear(&mut self) {
        self.is_torn = true;
        self.voices.clear();
    }

    /// Takes in a chunk. One that was taken in before changes nothing.
    pub(super) fn chunk(&mut self, voice: &str, chunk: &Json, place: ChunkPlace, events: &mut Vec<AskEvent>) {
        if place.index < self.next_index {
            return;
        }
        if place.index > self.next_index {
            self.tear();
        }
        self.next_index = place.index + 1;
        if self.is_torn {
            return;
        }
        let at = self.voice(voice);
        self.voices[at].take(chunk, place.has_floor);
        if self.voices[at].is_live {
            let held = std::mem::take(&mut self.voices[at].held);
            held.into_iter().flat_map(|held| held.events).for_each(|event| self.tell(event, events));
            self.voices[at].is_live = !ends_message(chunk);
        }
    }

    fn voice(&mut self, id: &str) -> usize {
        self.voices.iter().position(|known| known.id == id).unwrap_or_else(|| {
            self.voices.push(Voice { id: id.to_owned(), ..Voice::default() });
            self.voices.len() - 1
        })
    }

    /// Takes in the answer's next message as it is stored.
    pub(super) fn message(&mut self, sender: &str, text: &str, events: &mut Vec<AskEvent>) {
        if self.waits_for_end {
            return;
        }
        if self.told_bytes <= self.stored_bytes {
            let at = self.voices.iter().position(|known| known.id == sender);
            let held = at.and_then(|at| self.voices[at].take_held(text));
            held.into_iter().flat_map(|held| held.events).for_each(|event| self.tell(event, events));
        }
        let told = self.told_bytes.saturating_sub(self.stored_bytes);
        self.stored_bytes += text.len();
        self.tell_rest(text, told, events);
    }

    /// The answer is over and its messages say this, all of them together.
    pub(super) fn end(&mut self, text: &str, events: &mut Vec<AskEvent>) {
        self.voices.clear();
        self.tell_rest(text, self.told_bytes, events);
    }

    fn tell_rest(&mut self, text: &str, told_bytes: usize, events: &mut Vec<AskEvent>) {
        if let Some(rest) = text.get(told_bytes..).filter(|rest| !rest.is_empty()) {
            self.tell(AskEvent::Text(rest.to_owned()), events);
        }
    }

    fn tell(&mut self, event: AskEvent, events: &mut Vec<AskEvent>) {
        self.told_bytes += event_bytes(&event);
        events.push(event);
    }
}

impl Voice {
    /// Holds what a chunk says. With the floor all that is held is to be told, unless a message before it is not stored yet: then both wait
    /// for that.
    fn take(&mut self, chunk: &Json, has_floor: bool) {
        if self.held.back().is_none_or(|last| last.is_over) {
            self.held.push_back(Held::default());
        }
        let event = self.chunks.take(chunk.as_str());
        self.is_live |= has_floor && self.held.len() == 1;
        let last = self.held.back_mut().expect("one was put there if there was none");
        last.events.extend(event);
        last.is_over = ends_message(chunk);
    }

    /// What is held of the message that says this. What is held before it was never stored.
    fn take_held(&mut self, text: &str) -> Option<Held> {
        while let Some(held) = self.held.pop_front() {
            let said: String = held.events.iter().filter_map(text_of).collect();
            // What is not over is of a later one, if anything is held of this one at all.
            if held.is_over && text.starts_with(&said) {
                return Some(held);
            }
            if !held.is_over {
                self.held.push_front(held);
                return None;
            }
        }
        None
    }
}

fn text_of(event: &AskEvent) -> Option<&str> {
    if let AskEvent::Text(text) = event { Some(text) } else { None }
}

fn event_bytes(event: &AskEvent) -> usize {
    text_of(event).map_or(0, str::len)
}

/// Whether a message ends with this chunk.
fn ends_message(chunk: &Json) -> bool {
    let kind = member(chunk.as_str(), "type").and_then(whole_text);
    matches!(kind.as_deref(), Some("finish" | "abort"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::RunId;
    use proptest::prelude::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn delta(text: &str) -> Json {
        json(&format!(r#"{{"type":"text-delta","id":"0","delta":"{text}"}}"#))
    }

    fn finish() -> Json {
        json(r#"{"type":"finish"}"#)
    }

    /// A telling and all that it has told.
    #[derive(Default)]
    struct Rig {
        telling: Telling,
        events: Vec<AskEvent>,
        next_index: u32,
    }

    impl Rig {
        fn chunk(&mut self, voice: &str, chunk: &Json, has_floor: bool) {
            let place = ChunkPlace { run: RunId::from(1), index: self.next_index, has_floor };
            self.next_index += 1;
            self.telling.chunk(voice, chunk, place, &mut self.events);
        }

        fn message(&mut self, sender: &str, text: &str) {
            self.telling.message(sender, text, &mut self.events);
        }

        fn text(&self) -> String {
            self.events.iter().filter_map(text_of).collect()
        }
    }

    #[test]
    fn the_last_who_speaks_is_live_once_the_others_are_stored() {
        let mut rig = Rig::default();
        rig.chunk("ann", &delta("a"), false);
        rig.chunk("ben", &delta("b1"), false);
        rig.chunk("ann", &finish(), false);
        assert_eq!(rig.text(), "");
        rig.message("ann", "a");
        assert_eq!(rig.text(), "a");
        rig.chunk("ben", &delta("b2"), true);
        assert_eq!(rig.text(), "ab1b2");
        rig.chunk("ben", &delta("b3"), true);
        rig.chunk("ben", &finish(), true);
        assert_eq!(rig.text(), "ab1b2b3");
        rig.message("ben", "b1b2b3");
        rig.chunk("team", &delta("sum"), true);
        assert_eq!(rig.text(), "ab1b2b3sum");
    }

    #[test]
    fn the_tools_of_a_held_message_are_told_with_it() {
        let call = json(r#"{"type":"tool-input-available","toolCallId":"c","toolName":"t","input":{}}"#);
        let mut rig = Rig::default();
        rig.chunk("ben", &delta("b"), false);
        rig.chunk("ann", &delta("a"), false);
        rig.chunk("ann", &call, false);
        rig.chunk("ann", &finish(), false);
        rig.message("ann", "a");
        let tool = AskEvent::ToolStart { tool: "t".into(), args: Json::empty_object() };
        assert_eq!(rig.events, [AskEvent::Text("a".into()), tool]);
    }

    #[test]
    fn a_held_message_that_was_never_stored_is_not_told() {
        let mut rig = Rig::default();
        rig.chunk("ann", &delta("too long"), false);
        rig.chunk("ann", &finish(), false);
        rig.chunk("ann", &delta("a"), false);
        rig.chunk("ann", &finish(), false);
        rig.message("ben", "b");
        rig.message("ann", "a");
        rig.chunk("ann", &delta("c"), true);
        assert_eq!(rig.text(), "bac");
    }

    #[test]
    fn what_a_missing_chunk_took_comes_with_its_message() {
        let mut rig = Rig::default();
        rig.chunk("bot", &delta("a"), true);
        rig.next_index += 1;
        rig.chunk("bot", &delta("c"), true);
        assert_eq!(rig.text(), "a");
        rig.message("bot", "abc");
        assert_eq!(rig.text(), "abc");
    }

    /// Somebody who speaks in a step: what its messages say, piece by piece.
    type Words = Vec<Vec<u8>>;

    /// A run of a team as a shard goes through it, and an ask that hears it.
    #[derive(Default)]
    struct World {
        rig: Rig,
        /// Appended and not stored: sender and text.
        uncommitted: VecDeque<(usize, String)>,
        stored: String,
        pieces: u32,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Luck {
        Heard,
        /// The chunk is lost, and nobody notices but by the next index.
        ChunkLost,
        /// What is next is lost, and the session is watched again.
        Gap,
    }

    impl World {
        /// All of a step is said in the order that `picks` says, and stored.
        fn step(&mut self, voices: &[Words], picks: &mut impl Iterator<Item = (u8, Luck)>) {
            let mut left: Vec<VecDeque<Option<u8>>> = voices.iter().map(script).collect();
            let mut said = vec![String::new(); voices.len()];
            while !self.uncommitted.is_empty() || left.iter().any(|left| !left.is_empty()) {
                let (pick, luck) = picks.next().expect("there is always another");
                let pick = usize::from(pick) % (voices.len() + 1);
                if pick == voices.len() {
                    self.store(luck);
                } else if let Some(piece) = left[pick].pop_front() {
                    self.say(pick, piece, &mut said[pick], luck, has_floor(pick, &left, &self.uncommitted));
                }
                let everything = self.uncommitted.iter().fold(self.stored.clone(), |all, (_, text)| all + text);
                let told = self.rig.text();
                let is_prefix =
                    (0..voices.len()).any(|voice| format!("{everything}{}", said[voice]).starts_with(&told));
                assert!(is_prefix, "told {told:?} of {everything:?} and {said:?}");
            }
        }

        fn say(&mut self, voice: usize, piece: Option<u8>, said: &mut String, luck: Luck, has_floor: bool) {
            let chunk = match piece {
                None => finish(),
                Some(length) => {
                    self.pieces += 1;
                    let text = format!("{}.", self.pieces).repeat(usize::from(length));
                    said.push_str(&text);
                    delta(&text)
                }
            };
            match luck {
                Luck::Heard => self.rig.chunk(&voice.to_string(), &chunk, has_floor),
                Luck::ChunkLost => self.rig.next_index += 1,
                Luck::Gap => {
                    self.rig.next_index += 1;
                    self.rig.telling.be_silent();
                }
            }
            if piece.is_none() {
                self.uncommitted.push_back((voice, std::mem::take(said)));
            }
        }

        fn store(&mut self, luck: Luck) {
            let Some((voice, text)) = self.uncommitted.pop_front() else { return };
            self.stored.push_str(&text);
            match luck {
                Luck::Gap => self.rig.telling.be_silent(),
                Luck::Heard | Luck::ChunkLost => self.rig.message(&voice.to_string(), &text),
            }
        }
    }

    /// The pieces of all messages, `None` at each one's end.
    fn script(words: &Words) -> VecDeque<Option<u8>> {
        words.iter().flat_map(|message| message.iter().copied().map(Some).chain([None])).collect()
    }

    /// As the shard says it, of the chunk that was just taken from `left`.
    fn has_floor(voice: usize, left: &[VecDeque<Option<u8>>], uncommitted: &VecDeque<(usize, String)>) -> bool {
        left.iter().enumerate().all(|(other, left)| other == voice || left.is_empty())
            && uncommitted.iter().all(|(other, _)| *other == voice)
    }

    fn any_step() -> impl Strategy<Value = Vec<Words>> {
        let message = prop::collection::vec(0..3u8, 0..4);
        prop::collection::vec(prop::collection::vec(message, 0..3), 1..4)
    }

    fn any_luck() -> impl Strategy<Value = Luck> {
        prop_oneof![20 => Just(Luck::Heard), 1 => Just(Luck::ChunkLost), 1 => Just(Luck::Gap)]
    }

    proptest! {
        #[test]
        fn what_is_told_of_any_number_of_voices_is_what_their_messages_say_as_they_are_stored(
            steps in prop::collection::vec(any_step(), 1..4),
            picks in prop::collection::vec((any::<u8>(), any_luck()), 1..200),
            is_lucky: bool,
        ) {
            let mut world = World::default();
            let fair = (0..=u8::MAX).map(|pick| (pick, Luck::Heard)); // so that everything is said some time
            let mut picks = picks.into_iter().chain(fair.cycle());
            let mut picks = picks.by_ref().map(|(pick, luck)| (pick, if is_lucky { Luck::Heard } else { luck }));
            for step in &steps {
                world.step(step, &mut picks);
            }
            let stored = world.stored.clone();
            if is_lucky {
                prop_assert_eq!(world.rig.text(), stored.clone(), "nothing waits for the end");
            }
            world.rig.telling.end(&stored, &mut world.rig.events);
            prop_assert_eq!(world.rig.text(), stored);
        }
    }
}
