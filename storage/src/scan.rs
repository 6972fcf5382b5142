//! Finding the records of a segment's bytes: with checksums and past damage, or quickly where they were verified before.
//!
//! The scan reports facts (runs of records that verify, and what stopped each); what they mean is decided in `recovery`.

use crate::record::{self, Header, Invalid, Record};
use crate::segment::{Layout, SEGMENT_HEADER_BYTES};
use crate::{Kind, Lsn};

/// What stands where a run of valid records stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The seal.
    Seal,
    /// The end of the file.
    FileEnd,
    /// Zeros where the length of a record would be.
    Blank,
    /// Bytes that are not a record of this place.
    Bad,
}

/// Records that verify and follow each other, and what stands behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) records: u64,
    pub(crate) messages: u64,
    /// The greatest durable mark in it.
    pub(crate) durable: Lsn,
    pub(crate) stop: At,
}

/// All that verifies in a segment. There is at least one run; the first starts behind the header and may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) runs: Vec<Run>,
    /// Behind the last byte that is not zero.
    pub(crate) used: u32,
}

/// Verifies a segment that is not packed, up to its seal, looking for more records behind whatever does not verify.
pub(crate) fn scan(bytes: &[u8], number: u32, salt: u64) -> Scan {
    let mut runs = Vec::new();
    let mut from = SEGMENT_HEADER_BYTES;
    loop {
        let run = run(bytes, number, salt, from);
        let (stop, to) = (run.stop, run.to);
        runs.push(run);
        if matches!(stop, At::Seal | At::FileEnd) {
            break;
        }
        match resync(bytes, number, salt, to + record::ALIGN as u32) {
            Some(next) => from = next,
            None => break,
        }
    }
    let used = match runs.last().expect("pushed above") {
        run if run.stop == At::Blank || run.stop == At::Bad => used(bytes, run.to),
        run => run.to,
    };
    Scan { runs, used }
}

/// The records from `from` on, as long as they verify.
fn run(bytes: &[u8], number: u32, salt: u64, from: u32) -> Run {
    let mut run = Run { from, to: from, records: 0, messages: 0, durable: Lsn::NONE, stop: At::FileEnd };
    while (run.to as usize) + record::ALIGN <= bytes.len() {
        match record::decode_verified(&bytes[run.to as usize..], Lsn::new(number, run.to), salt) {
            Ok((record, _)) if record.kind == Kind::SEAL => {
                run.durable = run.durable.max(record.durable);
                run.stop = At::Seal;
                return run;
            }
            Ok((record, stored)) => {
                run.durable = run.durable.max(record.durable);
                run.records += 1;
                run.messages += u64::from(record.is_message());
                run.to += stored as u32;
            }
            Err(invalid) => {
                // The rest of the file may be too short for a header: then its first bytes say whether it is blank.
                let blank = invalid == Invalid::Blank && bytes[run.to as usize..][..8].iter().all(|byte| *byte == 0);
                run.stop = if blank { At::Blank } else { At::Bad };
                return run;
            }
        }
    }
    run
}

/// The next place from `from` on where a record verifies. Blank pages are skipped whole: most of a tail is blank.
fn resync(bytes: &[u8], number: u32, salt: u64, from: u32) -> Option<u32> {
    let mut at = from as usize;
    while at + record::HEADER_BYTES <= bytes.len() {
        if at.is_multiple_of(4096) && is_blank(&bytes[at..(at + 4096).min(bytes.len())]) {
            at += 4096;
            continue;
        }
        let lsn = Lsn::new(number, at as u32);
        if is_plausible(&bytes[at..], lsn) && record::decode_verified(&bytes[at..], lsn, salt).is_ok() {
            return Some(at as u32);
        }
        at += record::ALIGN;
    }
    None
}

/// Cheap facts about a header, so that the checksum of megabytes is not taken at every eighth byte of damage.
fn is_plausible(bytes: &[u8], lsn: Lsn) -> bool {
    bytes[12..16] == [0; 4]
        && Header::decode(bytes).is_some_and(|header| {
            header.stored_bytes(bytes.len()).is_some()
                && header.kind.0 != 0
                && header.prev < lsn
                && header.durable <= lsn
                && header.meta_len as usize <= record::META_BYTES_MAX
        })
}

fn is_blank(bytes: &[u8]) -> bool {
    // Words of 16 bytes: the compiler makes wide compares of it.
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// Behind the last byte from `from` on that is not zero.
fn used(bytes: &[u8], from: u32) -> u32 {
    let mut end = bytes.len();
    while end > from as usize {
        let start = (end - 1) / 4096 * 4096;
        let start = start.max(from as usize);
        if let Some(last) = bytes[start..end].iter().rposition(|byte| *byte != 0) {
            return (start + last + 1) as u32;
        }
        end = start;
    }
    from
}

/// Calls `visit` with each record of a verified segment in order, from offset `from` on, without checksums. Holes are
/// ranges of offsets that did not verify.
pub(crate) fn walk<'a>(
    bytes: &'a [u8],
    layout: &Layout,
    holes: &[(u32, u32)],
    from: u32,
    visit: &mut dyn FnMut(Record<'a>),
) {
    match layout.table {
        Some(table) => {
            for (old, present) in (0..table.lines).map(|line| table.line(bytes, line)) {
                let is_hole = holes.iter().any(|(start, end)| (*start..*end).contains(&old));
                if old < from || is_hole {
                    continue;
                }
                if let Some(Ok((record, _))) =
                    bytes.get(present as usize..).map(|tail| record::decode(tail, Lsn::new(layout.number, old)))
                {
                    visit(record);
                }
            }
        }
        None => walk_plain(bytes, layout, holes, from, visit),
    }
}

fn walk_plain<'a>(
    bytes: &'a [u8],
    layout: &Layout,
    holes: &[(u32, u32)],
    from: u32,
    visit: &mut dyn FnMut(Record<'a>),
) {
    let mut at = SEGMENT_HEADER_BYTES;
    let mut holes = holes.iter();
    let mut hole = holes.next();
    // A fold that starts inside the segment starts at a record, so the walk may begin there.
    if from > at {
        at = from;
        while hole.is_some_and(|(_, end)| *end <= at) {
            hole = holes.next();
        }
    }
    while at < layout.end {
        if let Some((start, end)) = hole
            && at >= *start
        {
            at = at.max(*end);
            hole = holes.next();
            continue;
        }
        let Ok((record, stored)) = record::decode(&bytes[at as usize..], Lsn::new(layout.number, at)) else { return };
        visit(record);
        at += stored as u32;
    }
}
