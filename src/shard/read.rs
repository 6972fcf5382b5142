//! Reading messages: pages forward and backward, and the page that opens a channel.
//!
//! Every read ends at the last released message: what is not durable, or durable but not yet answered and pushed, is
//! not there.

use super::park::Walk;
use super::splice::Splice;
use super::{Caller, Outcome, Page, PageFrom, Refusal, Reply, Resume, Shard, Stop};
use crate::limits::{JOIN_MESSAGES_MAX, PAGE_BYTES_MAX, PAGE_MESSAGES_MAX};
use crate::session::{Sender, SessionId};
use storage::{Lsn, Medium, Record, Slot};

/// Messages that are walked over at a time. The log remembers where every so many-th message stands, so that a block's
/// end is found at once.
const BLOCK_MESSAGES: u64 = 64;

impl<M: Medium> Shard<M> {
    pub(super) fn read_messages(&mut self, id: SessionId, from: PageFrom, limit: usize) -> Result<Outcome, Stop> {
        let slot = self.readable(id)?;
        let limit = limit.min(PAGE_MESSAGES_MAX);
        let page = match from {
            PageFrom::After(after) => self.page_after(slot, after, limit)?,
            PageFrom::Before(before) => self.page_before(slot, before, limit)?,
        };
        self.counters.read_messages_total += page.count as u64;
        Ok(Outcome::Reply(Reply::Messages(page)))
    }

    /// Subscribes the caller's shard. An `identity` has to be the session's user or agent.
    pub(super) fn join(
        &mut self,
        from: Caller,
        id: SessionId,
        identity: Option<&str>,
        after_seq: u64,
        limit: usize,
        resume: Option<Resume>,
    ) -> Result<Outcome, Stop> {
        let slot = self.readable(id)?;
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        let names = &self.catalog.names;
        let of = |identity| Sender::of(identity, names.id(entry.user), names.id(entry.agent));
        if let Some(Sender::Other(_)) = identity.map(of) {
            return Err(Refusal::Unauthorized.into());
        }
        let page = self.page_after(slot, after_seq, limit.min(JOIN_MESSAGES_MAX))?;
        self.counters.read_messages_total += page.count as u64;
        self.tails.add(slot, from.shard);
        let resumed = Box::new(self.resumed(slot, resume));
        Ok(Outcome::Reply(Reply::Joined { page, resumed }))
    }

    /// The first messages above `after`, ascending. When bytes run out it is the highest ones that are left out.
    fn page_after(&mut self, slot: Slot, after: u64, limit: usize) -> Result<Page, Stop> {
        let last = self.committed_seq(slot);
        let count = last.saturating_sub(after).min(limit as u64);
        if count == 0 {
            return Ok(Page { has_more: last > after, session_last_seq: last, ..Page::default() });
        }
        let is_first_try = !self.parked.has_walk();
        let (mut addresses, mut bytes) = match self.parked.take_walk() {
            Some(Walk::Page { addresses, bytes, .. }) => (addresses, bytes),
            _ => (Vec::new(), 0),
        };
        let page = if is_first_try {
            self.copy_up(slot, after, after + count, last, &mut addresses, &mut bytes)
        } else {
            self.walk_up(slot, after, after + count, &mut addresses, &mut bytes)
                .and_then(|()| self.splice(addresses.iter().copied(), bytes, last))
        };
        page.inspect_err(|_| self.parked.keep_walk(Walk::Page { from_seq: after, addresses, bytes }))
    }

    /// Copies the messages above `after` to a page, up to `upto` and to a page's bound in bytes, and notes where they stand: what
    /// meets a range that is not in memory goes on as a walk, or it would be copied again behind each such range.
    ///
    /// Each is looked for behind the last one first: a session that lies together is read like one piece. Where it is not, the
    /// addresses of a block are found from its end.
    fn copy_up(
        &self,
        slot: Slot,
        after: u64,
        upto: u64,
        session_last_seq: u64,
        addresses: &mut Vec<Lsn>,
        bytes: &mut usize,
    ) -> Result<Page, Stop> {
        let mut reader = self.log.reader();
        let mut page = Splice::new(upto - after);
        // The next one is at the end.
        let mut block = Vec::new();
        let mut message: Option<Record<'_>> = None;
        loop {
            let seq = message.map_or(after, |message| message.seq);
            if seq >= upto {
                break;
            }
            let room = page.payload_bytes_max();
            let near = match &message {
                Some(message) if block.is_empty() => reader.read_next(message, room)?,
                _ => None,
            };
            let next = match near {
                Some(record) => record,
                None => {
                    if block.is_empty() {
                        reader.walk_block(slot, seq, upto, &mut block)?;
                    }
                    let Some(lsn) = block.pop() else { break };
                    let Some(record) = reader.read_within(lsn, room)? else { break };
                    record
                }
            };
            addresses.push(next.lsn);
            *bytes += next.payload.len() + 1;
            page.push(&next);
            message = Some(next);
        }
        Ok(page.end(session_last_seq))
    }

    /// Adds the addresses of the messages above `after`, up to `upto` and to a page's bound in bytes, to those it has.
    ///
    /// Back-pointers lead downwards, so it goes up in blocks and collects each from its end. What lies beyond the bytes
    /// is not read, but for the headers of its block.
    fn walk_up(
        &self,
        slot: Slot,
        after: u64,
        upto: u64,
        addresses: &mut Vec<Lsn>,
        bytes: &mut usize,
    ) -> Result<(), Stop> {
        loop {
            let below = after + addresses.len() as u64;
            if below >= upto {
                return Ok(());
            }
            let block_end = upto.min((below + 1).next_multiple_of(BLOCK_MESSAGES));
            let count = (block_end - below) as usize;
            let block = self.log.messages(slot, below, self.log.end(), count, PAGE_BYTES_MAX as u64)?;
            for (lsn, seq) in block.lsns.into_iter().zip(below + 1..) {
                if self.walk_over(slot, lsn, seq, addresses, bytes)?.is_none() {
                    return Ok(());
                }
            }
        }
    }

    /// Adds message `seq` at `lsn` to a walk and gives the address of the one before it. `None`: the page has no room
    /// for it.
    fn walk_over(
        &self,
        slot: Slot,
        lsn: Lsn,
        seq: u64,
        addresses: &mut Vec<Lsn>,
        bytes: &mut usize,
    ) -> Result<Option<Lsn>, Stop> {
        let message = self.log.glance(slot, lsn, seq)?;
        let grown = *bytes + message.payload_bytes + 1;
        if grown > PAGE_BYTES_MAX && !addresses.is_empty() {
            return Ok(None);
        }
        addresses.push(lsn);
        *bytes = grown;
        Ok(Some(message.prev))
    }

    /// The last messages below `before`, ascending. When bytes run out it is the lowest ones that are left out.
    pub(super) fn page_before(&mut self, slot: Slot, before: u64, limit: usize) -> Result<Page, Stop> {
        let last = self.committed_seq(slot);
        let upto = before.saturating_sub(1).min(last);
        if upto == 0 || limit == 0 {
            return Ok(Page { has_more: upto > 0, session_last_seq: last, ..Page::default() });
        }
        let (upto, mut addresses, mut bytes) = match self.parked.take_walk() {
            Some(Walk::Page { from_seq, addresses, bytes }) => (from_seq, addresses, bytes),
            _ => (upto, Vec::new(), 0),
        };
        if let Err(stop) = self.walk_down(slot, upto, upto.min(limit as u64), &mut addresses, &mut bytes) {
            self.parked.keep_walk(Walk::Page { from_seq: upto, addresses, bytes });
            return Err(stop);
        }
        let mut page = self.splice(addresses.into_iter().rev(), bytes, last)?;
        page.has_more = page.first_seq > 1;
        Ok(page)
    }

    /// Adds the addresses of messages from `upto` down, `count` of them or up to a page's bound in bytes, to those it
    /// has.
    fn walk_down(
        &self,
        slot: Slot,
        upto: u64,
        count: u64,
        addresses: &mut Vec<Lsn>,
        bytes: &mut usize,
    ) -> Result<(), Stop> {
        let mut lsn = match addresses.last() {
            Some(&lowest) => self.log.read(lowest)?.prev,
            None => self.log.find(slot, upto)?,
        };
        while (addresses.len() as u64) < count {
            let seq = upto - addresses.len() as u64;
            match self.walk_over(slot, lsn, seq, addresses, bytes)? {
                Some(prev) => lsn = prev,
                None => break,
            }
        }
        Ok(())
    }

    /// Joins the messages at `addresses`, which take `bytes`, up to the bound in bytes but at least one.
    fn splice(
        &self,
        addresses: impl ExactSizeIterator<Item = Lsn>,
        bytes: usize,
        session_last_seq: u64,
    ) -> Result<Page, Stop> {
        let mut reader = self.log.reader();
        let mut page = Splice::new(addresses.len() as u64);
        page.reserve(bytes);
        for lsn in addresses {
            let Some(record) = reader.read_within(lsn, page.payload_bytes_max())? else { break };
            page.push(&record);
        }
        Ok(page.end(session_last_seq))
    }
}
