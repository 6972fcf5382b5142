//! What the server promised, checked on every message while it is measured: each number once, in order, with its content.
//!
//! A finding is a value, never a panic: the run goes on and ends with another exit code. Does not know how messages travelled.

use crate::content::Comparison;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Numbers that one reader misses and waits for; more are counted as lost at once.
const MISSING_MAX: usize = 10_000;
/// Violations that are told in full.
const EXAMPLES_MAX: usize = 10;

/// One broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Violation {
    /// A number arrived, and one before it had not.
    Gap,
    /// A number arrived a second time.
    Duplicate,
    /// A number arrived after a later one.
    Reordered,
    /// The content is not what was sent under that number.
    Altered,
    /// At the end an acknowledged number had not arrived.
    Lost,
    /// An acknowledgement named another number than the order of sends gives.
    WrongAck,
    /// What arrived could not be read at all.
    Unreadable,
    /// What arrived was never sent, or was found missing before.
    Invented,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gap => "gap",
            Self::Duplicate => "duplicate",
            Self::Reordered => "reordered",
            Self::Altered => "altered",
            Self::Lost => "lost",
            Self::WrongAck => "wrong ack",
            Self::Unreadable => "unreadable",
            Self::Invented => "invented",
        })
    }
}

/// The sum of all checks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Integrity {
    /// Messages, chunks and acknowledgements that were looked at.
    pub checked: u64,
    /// Findings by kind.
    pub violations: BTreeMap<Violation, u64>,
    /// The first findings in words.
    pub examples: Vec<String>,
}

impl Integrity {
    /// Whether every promise was kept.
    pub fn is_whole(&self) -> bool {
        self.violations.is_empty()
    }

    /// Notes a finding. `what` says where.
    pub fn report(&mut self, violation: Violation, what: impl FnOnce() -> String) {
        *self.violations.entry(violation).or_default() += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(format!("{violation}: {}", what()));
        }
    }

    /// Takes over another thread's checks.
    pub fn merge(&mut self, other: Self) {
        self.checked += other.checked;
        for (violation, count) in other.violations {
            *self.violations.entry(violation).or_default() += count;
        }
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX);
    }
}

/// One reader's view of a dense run of numbers.
#[derive(Debug)]
pub struct Sequence {
    reader: String,
    next: u64,
    missing: BTreeSet<u64>,
}

impl Sequence {
    /// A reader that expects `first` next. `reader` names it in findings.
    pub fn new(reader: impl Into<String>, first: u64) -> Self {
        Self { reader: reader.into(), next: first, missing: BTreeSet::new() }
    }

    /// The number that should arrive next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Checks the place of an arriving number.
    pub fn arrive(&mut self, number: u64, integrity: &mut Integrity) {
        integrity.checked += 1;
        if number == self.next {
            self.next += 1;
        } else if number > self.next {
            integrity.report(Violation::Gap, || format!("{}: {number} after {}", self.reader, self.next - 1));
            let room = MISSING_MAX.saturating_sub(self.missing.len());
            self.missing.extend((self.next..number).take(room));
            self.next = number + 1;
        } else if self.missing.remove(&number) {
            integrity.report(Violation::Reordered, || format!("{}: {number} after {}", self.reader, self.next - 1));
        } else {
            integrity.report(Violation::Duplicate, || format!("{}: {number} again", self.reader));
        }
    }

    /// Checks at the end that everything below `end` arrived.
    pub fn finish(self, end: u64, integrity: &mut Integrity) {
        for number in self.missing.iter().copied().filter(|number| *number < end).chain(self.next..end) {
            integrity.report(Violation::Lost, || format!("{}: {number} of {} never arrived", self.reader, end - 1));
        }
    }
}

/// One reader of a session that the generator alone writes to: message `seq` has content number `seq`.
pub struct Messages {
    sequence: Sequence,
    tag: u64,
    content_bytes: usize,
    comparison: Comparison,
}

impl Messages {
    /// A reader that expects `first` next, of a session with contents of `tag`.
    pub fn new(reader: impl Into<String>, first: u64, tag: u64, content_bytes: usize) -> Self {
        Self { sequence: Sequence::new(reader, first), tag, content_bytes, comparison: Comparison::default() }
    }

    /// The seq that should arrive next.
    pub fn next(&self) -> u64 {
        self.sequence.next()
    }

    /// Checks an arriving message.
    pub fn arrive(&mut self, seq: u64, content: &str, integrity: &mut Integrity) {
        self.sequence.arrive(seq, integrity);
        if !self.comparison.content(content, self.tag, seq, self.content_bytes) {
            integrity.report(Violation::Altered, || {
                let start: String = content.chars().take(60).collect();
                format!("{}: content of {seq} is {start}", self.sequence.reader)
            });
        }
    }

    /// Checks at the end that every seq below `end` arrived.
    pub fn finish(self, end: u64, integrity: &mut Integrity) {
        self.sequence.finish(end, integrity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::write_content;

    const TAG: u64 = 77;

    fn content(n: u64) -> String {
        let mut out = Vec::new();
        write_content(&mut out, TAG, n, 80);
        String::from_utf8(out).unwrap()
    }

    fn read(arrivals: &[(u64, String)], end: u64) -> Vec<(Violation, u64)> {
        let mut integrity = Integrity::default();
        let mut messages = Messages::new("reader", 1, TAG, 80);
        for (seq, content) in arrivals {
            messages.arrive(*seq, content, &mut integrity);
        }
        messages.finish(end, &mut integrity);
        assert_eq!(integrity.is_whole(), integrity.violations.is_empty());
        integrity.violations.into_iter().collect()
    }

    fn arrivals(seqs: &[u64]) -> Vec<(u64, String)> {
        seqs.iter().map(|seq| (*seq, content(*seq))).collect()
    }

    #[test]
    fn a_faithful_server_has_no_findings() {
        assert_eq!(read(&arrivals(&[1, 2, 3]), 4), []);
    }

    #[test]
    fn a_dropped_message_in_the_middle_is_a_gap_and_a_loss() {
        assert_eq!(read(&arrivals(&[1, 3]), 4), [(Violation::Gap, 1), (Violation::Lost, 1)]);
    }

    #[test]
    fn a_dropped_message_at_the_end_is_a_loss() {
        assert_eq!(read(&arrivals(&[1, 2]), 4), [(Violation::Lost, 1)]);
        assert_eq!(read(&[], 4), [(Violation::Lost, 3)]);
    }

    #[test]
    fn a_duplicated_message_is_found() {
        assert_eq!(read(&arrivals(&[1, 2, 2, 3]), 4), [(Violation::Duplicate, 1)]);
        assert_eq!(read(&arrivals(&[1, 2, 1, 3]), 4), [(Violation::Duplicate, 1)]);
    }

    #[test]
    fn reordered_messages_are_found_and_not_called_lost() {
        assert_eq!(read(&arrivals(&[1, 3, 2]), 4), [(Violation::Gap, 1), (Violation::Reordered, 1)]);
    }

    #[test]
    fn an_altered_or_swapped_content_is_found() {
        let altered = content(2).replace('.', ":");
        assert_eq!(read(&[(1, content(1)), (2, altered)], 3), [(Violation::Altered, 1)]);
        assert_eq!(read(&[(1, content(2)), (2, content(1))], 3), [(Violation::Altered, 2)]);
    }

    #[test]
    fn findings_of_threads_add_up_and_examples_stay_few() {
        let mut total = Integrity::default();
        for _ in 0..3 {
            let mut one = Integrity::default();
            (0..7).for_each(|n| one.report(Violation::Lost, || n.to_string()));
            total.merge(one);
        }
        assert_eq!(total.violations[&Violation::Lost], 21);
        assert_eq!(total.examples.len(), EXAMPLES_MAX);
    }
}
