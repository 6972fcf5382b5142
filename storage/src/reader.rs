//! Reading many records that lie near each other: what was learned of a segment serves the next record there, and the next
//! message of a key is looked for right behind the last before any pointer is followed.
//!
//! Invariant: what [`Reader::read`] and [`Reader::read_next`] give was verified, each time; a walk looks at headers only and checks
//! that each is the one that its follower named. Nothing here waits for the disk.

use crate::log::{Log, Open};
use crate::medium::{Active, Medium, View};
use crate::mmap::prefetch;
use crate::read::{ReadError, Sealed};
use crate::record::{self, Header, Record};
use crate::segment::{Layout, TABLE_LINE_BYTES, file_name};
use crate::{Key, Lsn, Slot};
use std::ops::Range;

/// How far ahead of a record a reader that goes on fetches: what the checksum of a few hundred bytes takes covers a fetch from
/// memory.
const AHEAD_BYTES: usize = 1536;
/// Fetched at once at the most. A long record is a sequence of its own.
const AHEAD_BYTES_MAX: usize = 1024;

/// A block of messages that lies over more bytes than that is interleaved with too much else to be fetched as one.
const BLOCK_BYTES_MAX: u64 = 64 << 10;

/// A segment's bytes, wherever it stands in its life.
pub(crate) struct Place<'a, M: Medium> {
    bytes: &'a [u8],
    layout: Layout,
    /// `None`: it is being written by this log, so it is in memory.
    sealed: Option<(&'a Sealed<M>, &'a M::View)>,
}

impl<M: Medium> Clone for Place<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Medium> Copy for Place<'_, M> {}

impl<'a, M: Medium> Place<'a, M> {
    pub(crate) fn of_open(open: &'a Open<M>) -> Self {
        Self { bytes: open.map.bytes(), layout: open.layout(), sealed: None }
    }

    pub(crate) fn of_sealed(sealed: &'a Sealed<M>, view: &'a M::View, layout: Layout) -> Self {
        Self { bytes: view.bytes(), layout, sealed: Some((sealed, view)) }
    }

    /// `Ok` when the range of the file is in memory.
    fn check_warm(&self, range: Range<usize>, now_us: u64) -> Result<(), ReadError> {
        match self.sealed {
            None => Ok(()),
            Some((sealed, view)) => sealed.check_warm(view, range, now_us),
        }
    }

    /// The offset in the file of the record with this address, its header in memory.
    fn locate(&self, lsn: Lsn, now_us: u64) -> Result<usize, ReadError> {
        if let Some(table) = self.layout.table {
            let end = table.start + table.lines * TABLE_LINE_BYTES;
            self.check_warm(table.start..end, now_us)?;
        }
        let at = self.layout.place(self.bytes, lsn.offset()).ok_or(ReadError::Unknown)? as usize;
        self.check_warm(at..at + record::HEADER_BYTES, now_us)?;
        Ok(at)
    }

    fn header(&self, at: usize) -> Option<Header> {
        self.bytes.get(at..).and_then(Header::decode)
    }

    /// Fetches so many bytes from `at` on, as far as the file goes.
    fn prefetch(&self, at: usize, bytes: usize) {
        prefetch(self.bytes.get(at..).map_or(&[], |tail| &tail[..bytes.min(tail.len())]));
    }

    /// The record at `at` of the file whose address is `lsn`, verified, once it is in memory.
    fn record(&self, at: usize, lsn: Lsn, now_us: u64) -> Result<Option<Record<'a>>, ReadError> {
        let Some(bytes) = self.bytes.get(at..) else { return Ok(None) };
        if self.sealed.is_some()
            && let Some(stored) = Header::decode(bytes).and_then(|header| header.stored_bytes(bytes.len()))
        {
            self.check_warm(at..at + stored, now_us)?;
        }
        Ok(record::decode_verified(bytes, lsn, self.layout.salt).ok().map(|(record, _)| record))
    }
}

/// One step of a walk along a key's messages.
pub(crate) struct Hop {
    pub(crate) prev: Lsn,
    /// Stored bytes.
    pub(crate) bytes: u64,
    /// Bytes of its payload.
    pub(crate) payload_bytes: usize,
    /// Its time.
    pub(crate) time_us: u64,
}

/// See the top of the file.
pub struct Reader<'a, M: Medium> {
    log: &'a Log<M>,
    /// The segment of the last record.
    here: Option<Place<'a, M>>,
}

impl<'a, M: Medium> Reader<'a, M> {
    pub(crate) fn new(log: &'a Log<M>) -> Self {
        Self { log, here: None }
    }

    /// Reads and verifies one record, durable or not.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read(&mut self, lsn: Lsn) -> Result<Record<'a>, ReadError> {
        let place = self.place(lsn.segment())?;
        let at = place.locate(lsn, self.log.now_us)?;
        let record = place.record(at, lsn, self.log.now_us)?;
        record.ok_or_else(|| self.log.corrupt(lsn.segment(), at as u32))
    }

    /// As [`Reader::read`], unless its payload is longer than that: `None`, and it was not looked at further.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_within(&mut self, lsn: Lsn, payload_bytes_max: usize) -> Result<Option<Record<'a>>, ReadError> {
        let place = self.place(lsn.segment())?;
        let at = place.locate(lsn, self.log.now_us)?;
        if place.header(at).is_some_and(|header| header.payload_bytes() > payload_bytes_max) {
            return Ok(None);
        }
        self.read(lsn).map(Some)
    }

    /// Reads and verifies the message that follows `message` in its key, if it is its neighbour in the log and its payload is no
    /// longer than that. `None`: it is not, or there is none, or it does not verify; its address tells which.
    ///
    /// # Errors
    /// [`ReadError::Cold`] alone.
    pub fn read_next(
        &mut self,
        message: &Record<'_>,
        payload_bytes_max: usize,
    ) -> Result<Option<Record<'a>>, ReadError> {
        let (segment, now_us) = (message.lsn.segment(), self.log.now_us);
        // A rewritten segment keeps addresses, but not who is whose neighbour.
        let near = self.here.filter(|place| place.layout.number == segment && place.layout.table.is_none());
        let Some(place) = near else { return Ok(None) };
        let offset = message.lsn.offset() + message.stored_bytes();
        let at = offset as usize;
        // Whose it is, is not known yet: a neighbour that is not in memory is not waited for.
        let header_range = at..at + record::HEADER_BYTES;
        if offset >= place.layout.end || place.check_warm(header_range, now_us).is_err() {
            return Ok(None);
        }
        let follows = |header: &Header| {
            header.key == message.key
                && header.seq == message.seq + 1
                && header.prev == message.lsn
                && header.payload_bytes() <= payload_bytes_max
        };
        let Some(header) = place.header(at).filter(follows) else { return Ok(None) };
        // The processor follows a sequence by itself, but not from one page of memory to the next.
        place.prefetch(at + AHEAD_BYTES, (header.len as usize).min(AHEAD_BYTES_MAX));
        place.record(at, Lsn::new(segment, offset), now_us)
    }

    /// Adds the addresses of the messages of `slot` from `after + 1` on, as far as the next one that the index knows and no
    /// further than `upto`: the last of them first.
    ///
    /// # Errors
    /// As [`Log::read`]. [`ReadError::Unknown`] when there are no such messages.
    pub fn walk_block(&mut self, slot: Slot, after: u64, upto: u64, lsns: &mut Vec<Lsn>) -> Result<(), ReadError> {
        let key = self.log.key(slot);
        let (mut seq, mut lsn) = self.log.known_from(slot, after + 1)?;
        self.prefetch_block(slot, after, upto.min(seq), (seq, lsn))?;
        while !lsn.is_none() {
            let hop = self.hop(key, lsn, seq)?;
            if seq <= upto {
                lsns.push(lsn);
            }
            if seq <= after + 1 {
                return Ok(());
            }
            (seq, lsn) = (seq - 1, hop.prev);
        }
        Err(ReadError::Unknown)
    }

    /// Fetches the messages above `after` up to `upto`, which end with a message that is known, where they are likely to lie: each
    /// hop of the walk would have to wait for memory otherwise, one after the other. A guess; nothing rests on it.
    fn prefetch_block(&mut self, slot: Slot, after: u64, upto: u64, end: (u64, Lsn)) -> Result<(), ReadError> {
        let place = self.place(end.1.segment())?;
        let (start_seq, start) = self.log.known_below(slot, after + 1);
        let span = end.1.0.saturating_sub(start.0);
        if start.segment() != end.1.segment()
            || place.layout.table.is_some()
            || span > BLOCK_BYTES_MAX
            || end.0 <= start_seq
        {
            return Ok(());
        }
        let place_of = |seq: u64| start.offset() as usize + (span * (seq - start_seq) / (end.0 - start_seq)) as usize;
        let (from, to) = (place_of(after + 1), place_of(upto + 1));
        place.prefetch(from, to.saturating_sub(from));
        Ok(())
    }

    /// Looks at the header of message `seq` of `key`, without its checksum unless it is not that message.
    pub(crate) fn hop(&mut self, key: Key, lsn: Lsn, seq: u64) -> Result<Hop, ReadError> {
        let place = self.place(lsn.segment())?;
        let at = place.locate(lsn, self.log.now_us)?;
        if let Some(header) = place.header(at)
            && header.key == key
            && header.seq == seq
            && header.prev < lsn
            && let Some(stored) = header.stored_bytes(place.bytes.len() - at)
        {
            let (bytes, payload_bytes) = (stored as u64, header.payload_bytes());
            return Ok(Hop { prev: header.prev, bytes, payload_bytes, time_us: header.time_us });
        }
        self.read(lsn)?;
        // It verifies and is another record: whoever pointed here is damaged, or the addresses between them were lost.
        Err(self.log.corrupt(lsn.segment(), at as u32))
    }

    /// Sees to it that `bytes` of the record at `lsn` are in memory.
    pub(crate) fn check_warm(&mut self, lsn: Lsn, bytes: u64) -> Result<(), ReadError> {
        let place = self.place(lsn.segment())?;
        let at = place.locate(lsn, self.log.now_us)?;
        place.check_warm(at..at + bytes as usize, self.log.now_us)
    }

    fn place(&mut self, segment: u32) -> Result<Place<'a, M>, ReadError> {
        if let Some(place) = self.here.filter(|place| place.layout.number == segment) {
            return Ok(place);
        }
        let place = self.log.place(segment)?;
        self.here = Some(place);
        Ok(place)
    }
}

impl<M: Medium> Log<M> {
    /// For reading many records.
    pub fn reader(&self) -> Reader<'_, M> {
        Reader::new(self)
    }

    fn place(&self, number: u32) -> Result<Place<'_, M>, ReadError> {
        let mut open = self.closing.iter().chain(&self.active);
        if let Some(open) = open.find(|open| open.header.number == number) {
            return Ok(Place::of_open(open));
        }
        let Some(sealed) = self.sealed.get(&number) else {
            let file = file_name(number);
            let known = self.status.corrupt.iter().find(|corruption| corruption.file == file);
            return Err(known.map_or(ReadError::Unknown, |corruption| ReadError::Corrupt(corruption.clone())));
        };
        let view = sealed.view(&self.medium)?;
        let layout = sealed.view_layout(view, self.now_us)?.ok_or_else(|| self.corrupt(number, 0))?;
        Ok(Place::of_sealed(sealed, view, layout))
    }
}
