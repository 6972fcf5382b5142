//! What one client knows of its session, and the judgement of what the server gives back.
//!
//! - A message that was acknowledged is there once, with its content, at the seq that its acknowledgement named; so is one
//!   that was read.
//! - A message that was in flight when the server died is there once or not at all. Which of the two is found out by the first
//!   read after it, and stays so; sent again with its idempotency key, it is there once.
//! - Messages stand in the order in which they were sent, and nothing else is there. seq has no holes.
//!
//! Pure. A message is named by its number among the client's sends, which its content carries; each finding about a message is
//! told once.

use crate::content::{Comparison, read_number};
use crate::verify::{Integrity, Violation};
use std::collections::BTreeSet;

/// What is known of one sent message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// No answer yet.
    InFlight,
    /// Acknowledged, or read once: it must be there.
    Stored(u64),
    /// It was in flight when the server died and was not there afterwards: it must never be.
    Absent,
}

/// The ledger of one session.
pub struct Ledger {
    /// Names the session in findings.
    session: String,
    tag: u64,
    content_bytes: usize,
    /// Message `n` is at `n - 1`.
    entries: Vec<Entry>,
    told: BTreeSet<(Violation, u64)>,
    comparison: Comparison,
}

/// One message as it was read.
struct Arrival {
    seq: u64,
    /// Its number, when the content says one and is what was sent under it.
    n: Option<u64>,
}

/// What became of the messages in flight at a kill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// They were there.
    pub stored: u64,
    /// They were not.
    pub absent: u64,
}

/// A whole session as it is read, page by page.
#[derive(Default)]
pub struct Reading {
    arrivals: Vec<Arrival>,
}

impl Reading {
    /// Messages so far.
    pub fn len(&self) -> u64 {
        self.arrivals.len() as u64
    }

    /// The last seq so far.
    pub fn last_seq(&self) -> u64 {
        self.arrivals.last().map_or(0, |arrival| arrival.seq)
    }
}

impl Ledger {
    /// Of an empty session with contents of `tag`.
    pub fn new(session: &str, tag: u64, content_bytes: usize) -> Self {
        Self {
            session: session.to_owned(),
            tag,
            content_bytes,
            entries: Vec::new(),
            told: BTreeSet::new(),
            comparison: Comparison::default(),
        }
    }

    /// The number of a new message, in flight from now on.
    pub fn send(&mut self) -> u64 {
        self.entries.push(Entry::InFlight);
        self.entries.len() as u64
    }

    /// The highest seq that is known.
    pub fn last_seq(&self) -> u64 {
        let seq = |entry: &Entry| if let Entry::Stored(seq) = entry { Some(*seq) } else { None };
        self.entries.iter().rev().find_map(seq).unwrap_or(0)
    }

    /// Numbers without an answer.
    pub fn in_flight(&self) -> Vec<u64> {
        let from_behind = self.entries.iter().enumerate().rev();
        // Answers come in order, so those without one stand at the end, but for those that are known to be absent.
        let open = from_behind.take_while(|(_, entry)| !matches!(entry, Entry::Stored(_)));
        let mut numbers: Vec<u64> =
            open.filter(|(_, entry)| **entry == Entry::InFlight).map(|(place, _)| place as u64 + 1).collect();
        numbers.reverse();
        numbers
    }

    /// Message `n` was acknowledged as `seq`, at first or when it was sent again.
    pub fn acknowledge(&mut self, n: u64, seq: u64, integrity: &mut Integrity) {
        integrity.checked += 1;
        let before = self.entries[..n as usize - 1].iter().rev().find_map(|entry| match entry {
            Entry::Stored(seq) => Some(*seq),
            Entry::InFlight | Entry::Absent => None,
        });
        let entry = &mut self.entries[n as usize - 1];
        let known = *entry;
        *entry = Entry::Stored(seq);
        match known {
            Entry::Stored(stored) if stored != seq => self.tell(Violation::WrongAck, n, integrity, || {
                format!("was stored as seq {stored}, and a retry with its key was answered with seq {seq}")
            }),
            _ if before.is_some_and(|before| before >= seq) => self.tell(Violation::WrongAck, n, integrity, || {
                format!("was acknowledged as seq {seq}, which was given out before")
            }),
            _ => {}
        }
    }

    /// Takes in one message that was read.
    pub fn read(&mut self, reading: &mut Reading, seq: u64, content: &str, integrity: &mut Integrity) {
        integrity.checked += 1;
        let n = read_number(content, self.tag).filter(|n| (1..=self.entries.len() as u64).contains(n));
        let n = n.filter(|n| self.comparison.content(content, self.tag, *n, self.content_bytes));
        if n.is_none() {
            let start: String = content.chars().take(60).collect();
            match self.stored_at(seq) {
                Some(n) => self.tell(Violation::Altered, n, integrity, || format!("(seq {seq}) is read as {start}")),
                None => {
                    self.tell(Violation::Invented, seq, integrity, || format!("at seq {seq} was never sent: {start}"))
                }
            }
        }
        let n = n.or_else(|| self.stored_at(seq));
        reading.arrivals.push(Arrival { seq, n });
    }

    /// The message that is known to stand at `seq`. Each seq has one number, and some numbers have none: it is `seq` or a
    /// little beyond.
    fn stored_at(&self, seq: u64) -> Option<u64> {
        let from = usize::try_from(seq).ok()?.checked_sub(1)?;
        let stored = |entry: &Entry| if let Entry::Stored(seq) = entry { Some(*seq) } else { None };
        let (place, found) = self
            .entries
            .iter()
            .enumerate()
            .skip(from)
            .find_map(|(place, entry)| Some((place, stored(entry)?)).filter(|(_, found)| *found >= seq))?;
        (found == seq).then_some(place as u64 + 1)
    }

    /// Judges a whole session. What was in flight is then known to be stored or, unless it `is_retried`, absent for ever.
    pub fn judge(&mut self, reading: Reading, is_retried: bool, integrity: &mut Integrity) -> Resolved {
        let mut found: Vec<Option<u64>> = vec![None; self.entries.len()];
        let (mut last_n, mut last_seq) = (0, 0);
        for Arrival { seq, n } in &reading.arrivals {
            if *seq != last_seq + 1 {
                self.tell(Violation::Gap, *seq, integrity, || format!("at seq {seq} follows seq {last_seq}"));
            }
            last_seq = *seq;
            let Some(n) = *n else { continue };
            if let Some(first) = found[n as usize - 1] {
                self.tell(Violation::Duplicate, n, integrity, || {
                    format!("is there twice, as seq {first} and as seq {seq}")
                });
                continue;
            }
            found[n as usize - 1] = Some(*seq);
            if n < last_n {
                self.tell(Violation::Reordered, n, integrity, || format!("(seq {seq}) stands behind message {last_n}"));
            }
            last_n = last_n.max(n);
        }
        self.settle(&found, is_retried, integrity)
    }

    fn settle(&mut self, found: &[Option<u64>], is_retried: bool, integrity: &mut Integrity) -> Resolved {
        let mut resolved = Resolved::default();
        let mut moved = None;
        for (place, found) in found.iter().enumerate() {
            let n = place as u64 + 1;
            match (self.entries[place], *found) {
                (Entry::Stored(seq), None) => {
                    self.tell(Violation::Lost, n, integrity, || format!("(seq {seq}) was acknowledged, and is gone"));
                }
                (Entry::Stored(seq), Some(read)) if seq != read => moved = moved.or(Some((n, seq, read))),
                (Entry::Stored(_), Some(_)) | (Entry::Absent, None) => {}
                (Entry::Absent, Some(seq)) => {
                    self.tell(Violation::Invented, n, integrity, || {
                        format!("was not there after a kill, and now is, as seq {seq}")
                    });
                }
                (Entry::InFlight, Some(seq)) => {
                    resolved.stored += 1;
                    self.entries[place] = Entry::Stored(seq);
                }
                (Entry::InFlight, None) => {
                    resolved.absent += 1;
                    if !is_retried {
                        self.entries[place] = Entry::Absent;
                    }
                }
            }
        }
        // One message that goes moves all behind it: the first of them says enough.
        if let Some((n, seq, read)) = moved {
            self.tell(Violation::WrongAck, n, integrity, || {
                format!("was acknowledged as seq {seq} and is read as seq {read}")
            });
        }
        resolved
    }

    fn tell(&mut self, violation: Violation, n: u64, integrity: &mut Integrity, what: impl FnOnce() -> String) {
        if self.told.insert((violation, n)) {
            integrity.report(violation, || format!("{}: message {n} {}", self.session, what()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::write_content;

    const TAG: u64 = 5;

    fn content(n: u64) -> String {
        let mut out = Vec::new();
        write_content(&mut out, TAG, n, 80);
        String::from_utf8(out).unwrap()
    }

    /// Five acknowledged messages, and two in flight.
    fn ledger() -> Ledger {
        let (mut ledger, mut integrity) = (Ledger::new("session:S", TAG, 80), Integrity::default());
        (1..=7).for_each(|n| assert_eq!(ledger.send(), n));
        (1..=5).for_each(|n| ledger.acknowledge(n, n, &mut integrity));
        assert!(integrity.is_whole());
        assert_eq!((ledger.in_flight(), ledger.last_seq()), (vec![6, 7], 5));
        ledger
    }

    fn judge(
        ledger: &mut Ledger,
        messages: &[(u64, u64)],
        is_retried: bool,
    ) -> (Vec<(Violation, u64)>, Vec<String>, Resolved) {
        let messages: Vec<_> = messages.iter().map(|(seq, n)| (*seq, content(*n))).collect();
        judge_contents(ledger, &messages, is_retried)
    }

    fn judge_contents(
        ledger: &mut Ledger,
        messages: &[(u64, String)],
        is_retried: bool,
    ) -> (Vec<(Violation, u64)>, Vec<String>, Resolved) {
        let (mut reading, mut integrity) = (Reading::default(), Integrity::default());
        messages.iter().for_each(|(seq, content)| ledger.read(&mut reading, *seq, content, &mut integrity));
        let resolved = ledger.judge(reading, is_retried, &mut integrity);
        (integrity.violations.into_iter().collect(), integrity.examples, resolved)
    }

    const WHOLE: [(u64, u64); 5] = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)];

    #[test]
    fn what_was_in_flight_may_be_there_or_not() {
        for (there, stored) in [(vec![], 0), (vec![(6, 6)], 1), (vec![(6, 6), (7, 7)], 2)] {
            let messages = [&WHOLE[..], &there].concat();
            let (violations, _, resolved) = judge(&mut ledger(), &messages, false);
            assert_eq!((violations, resolved), (vec![], Resolved { stored, absent: 2 - stored }));
        }
    }

    #[test]
    fn what_was_absent_once_must_stay_away_and_what_was_read_once_must_stay() {
        let mut ledger = ledger();
        judge(&mut ledger, &[&WHOLE[..], &[(6, 6)]].concat(), false);
        let (violations, ..) = judge(&mut ledger, &[&WHOLE[..], &[(6, 6), (7, 7)]].concat(), false);
        assert_eq!(violations, [(Violation::Invented, 1)]);
        let (violations, ..) = judge(&mut ledger, &WHOLE, false);
        assert_eq!(violations, [(Violation::Lost, 1)]);
    }

    #[test]
    fn one_acknowledged_message_that_is_gone_is_named_once() {
        let mut ledger = ledger();
        let hole = [(1, 1), (2, 2), (4, 4), (5, 5)];
        let (violations, examples, _) = judge(&mut ledger, &hole, false);
        assert_eq!(violations, [(Violation::Gap, 1), (Violation::Lost, 1)]);
        assert!(
            examples
                .iter()
                .any(|example| example == "lost: session:S: message 3 (seq 3) was acknowledged, and is gone")
        );
        assert_eq!(judge(&mut ledger, &hole, false).0, [], "and not again at the next read");
    }

    #[test]
    fn a_server_that_closes_the_hole_is_caught_too() {
        let (violations, examples, _) = judge(&mut ledger(), &[(1, 1), (2, 2), (3, 4), (4, 5)], false);
        assert_eq!(violations, [(Violation::Lost, 1), (Violation::WrongAck, 1)], "{examples:?}");
    }

    #[test]
    fn a_lost_last_message_and_a_lost_session_are_found() {
        assert_eq!(judge(&mut ledger(), &WHOLE[..4], false).0, [(Violation::Lost, 1)]);
        assert_eq!(judge(&mut ledger(), &[], false).0, [(Violation::Lost, 5)]);
    }

    #[test]
    fn duplicates_altered_swapped_and_foreign_messages_are_found() {
        let extra = |message| [&WHOLE[..], &[message]].concat();
        assert_eq!(judge(&mut ledger(), &extra((6, 4)), false).0, [(Violation::Duplicate, 1)]);
        assert_eq!(judge(&mut ledger(), &extra((6, 99)), false).0, [(Violation::Invented, 1)]);
        let swapped = [(1, 1), (2, 3), (3, 2), (4, 4), (5, 5)];
        let (violations, ..) = judge(&mut ledger(), &swapped, false);
        assert_eq!(violations, [(Violation::Reordered, 1), (Violation::WrongAck, 1)]);
        let mut altered: Vec<_> = WHOLE.iter().map(|(seq, n)| (*seq, content(*n))).collect();
        altered[2].1 = altered[2].1.replace('.', ":");
        let (violations, examples, _) = judge_contents(&mut ledger(), &altered, false);
        assert_eq!(violations, [(Violation::Altered, 1)]);
        assert!(examples[0].starts_with("altered: session:S: message 3 (seq 3) is read as"), "{examples:?}");
    }

    #[test]
    fn a_retry_with_its_key_must_be_there_exactly_once() {
        let mut ledger = ledger();
        let mut integrity = Integrity::default();
        judge(&mut ledger, &[&WHOLE[..], &[(6, 6)]].concat(), true);
        assert_eq!(ledger.in_flight(), [7], "absent, and still wanted");
        ledger.acknowledge(6, 6, &mut integrity);
        ledger.acknowledge(7, 7, &mut integrity);
        assert!(integrity.is_whole());
        let both = [&WHOLE[..], &[(6, 6), (7, 7)]].concat();
        assert_eq!(judge(&mut ledger, &both, true).0, []);
        assert_eq!(judge(&mut ledger, &[&both[..], &[(8, 6)]].concat(), true).0, [(Violation::Duplicate, 1)]);
        ledger.acknowledge(7, 9, &mut integrity);
        assert_eq!(integrity.violations[&Violation::WrongAck], 1);
    }

    #[test]
    fn a_seq_that_is_given_out_twice_is_found() {
        let (mut ledger, mut integrity) = (ledger(), Integrity::default());
        ledger.acknowledge(6, 5, &mut integrity);
        assert_eq!(integrity.violations[&Violation::WrongAck], 1);
    }
}
