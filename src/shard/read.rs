//! Reading messages: pages forward and backward, and the page that opens a channel.
//!
//! Every read ends at the last released message: what is not durable, or durable but not yet answered and pushed, is
//! not there.

use super::{Caller, Outcome, Page, PageFrom, Refusal, Reply, Shard, Stop};
use crate::limits::{JOIN_MESSAGES_MAX, PAGE_BYTES_MAX, PAGE_MESSAGES_MAX};
use crate::session::{Sender, SessionId};
use storage::{Lsn, Medium, Slot};

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

    pub(super) fn join(
        &mut self,
        from: Caller,
        id: SessionId,
        identity: &str,
        after_seq: u64,
        limit: usize,
    ) -> Result<Outcome, Stop> {
        let slot = self.readable(id)?;
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        let names = &self.catalog.names;
        if let Sender::Other(_) = Sender::of(identity, names.text(entry.user), names.text(entry.agent)) {
            return Err(Refusal::Unauthorized.into());
        }
        let page = self.page_after(slot, after_seq, limit.min(JOIN_MESSAGES_MAX))?;
        self.counters.read_messages_total += page.count as u64;
        self.tails.add(slot, from.shard);
        Ok(Outcome::Reply(Reply::Joined(page)))
    }

    /// The first messages above `after`, ascending.
    fn page_after(&mut self, slot: Slot, after: u64, limit: usize) -> Result<Page, Stop> {
        let last = self.committed_seq(slot);
        let count = last.saturating_sub(after).min(limit as u64);
        if count == 0 {
            return Ok(Page { has_more: last > after, session_last_seq: last, ..Page::default() });
        }
        // Back-pointers lead downwards: collect the addresses from the page's end to its start, then read upwards.
        let mut addresses = Vec::with_capacity(count as usize);
        let mut lsn = self.log.find(slot, after + count)?;
        for _ in 0..count {
            addresses.push(lsn);
            lsn = self.log.read(lsn)?.prev;
        }
        self.splice(addresses.into_iter().rev(), last)
    }

    /// The last messages below `before`, ascending. When bytes run out it is the lowest ones that are left out.
    fn page_before(&mut self, slot: Slot, before: u64, limit: usize) -> Result<Page, Stop> {
        let last = self.committed_seq(slot);
        let upto = before.saturating_sub(1).min(last);
        if upto == 0 || limit == 0 {
            return Ok(Page { has_more: upto > 0, session_last_seq: last, ..Page::default() });
        }
        let mut addresses = Vec::new();
        let mut lsn = self.log.find(slot, upto)?;
        let mut bytes = 0;
        for _ in 0..upto.min(limit as u64) {
            let record = self.log.read(lsn)?;
            bytes += record.payload.len() + 1;
            if bytes > PAGE_BYTES_MAX && !addresses.is_empty() {
                break;
            }
            addresses.push(lsn);
            lsn = record.prev;
        }
        let mut page = self.splice(addresses.into_iter().rev(), last)?;
        page.has_more = page.first_seq > 1;
        Ok(page)
    }

    /// Joins the messages at `addresses`, up to the bound in bytes but at least one.
    fn splice(&mut self, addresses: impl Iterator<Item = Lsn>, session_last_seq: u64) -> Result<Page, Stop> {
        let mut page = Page { session_last_seq, ..Page::default() };
        for lsn in addresses {
            let record = self.log.read(lsn)?;
            let text = std::str::from_utf8(record.payload).expect("a verified payload is the JSON that was written");
            if page.count > 0 {
                if page.joined.len() + 1 + text.len() > PAGE_BYTES_MAX {
                    break;
                }
                page.joined.push(',');
            } else {
                page.first_seq = record.seq;
            }
            page.joined.push_str(text);
            page.last_seq = record.seq;
            page.count += 1;
        }
        page.has_more = page.last_seq < session_last_seq;
        Ok(page)
    }
}
