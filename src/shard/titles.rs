//! Titles: what people call a session. They stand in notes alone, so that a session with one takes no more memory than its address.
//!
//! Invariant: the last note wins. What the reply to another change of the session says of the title is what held when that change
//! was decided.

use super::commit::{Effect, Facts};
use super::{Caller, Now, Outcome, Refusal, Reply, Shard, Stop};
use crate::limits::TITLE_BYTES_MAX;
use crate::session::{SessionId, SessionRenamed, kind};
use std::collections::BTreeMap;
use storage::{Lsn, Medium, Slot};

impl<M: Medium> Shard<M> {
    pub(super) fn rename_session(
        &mut self,
        now: Now,
        from: Caller,
        id: SessionId,
        title: &str,
    ) -> Result<Outcome, Stop> {
        let slot = self.readable(id)?;
        self.check_not_deleting(slot)?;
        bounded_title(title)?;
        let facts = Facts { title: Some(title.to_owned()), ..self.facts(slot)? };
        let payload = SessionRenamed { title: title.into() }.render();
        let (note, _) = self.append_note(now, id, kind::SESSION_RENAMED, 0, &payload)?;
        self.commits.push(note, from, Effect::Renamed { slot, note, facts, time_us: now.unix_us });
        Ok(Outcome::Later)
    }

    pub(super) fn commit_rename(&mut self, slot: Slot, note: Lsn, facts: &Facts, time_us: u64) -> Reply {
        let entry = self.catalog.entry_mut(slot).expect("a session with a pending note has an entry");
        entry.rename(note, time_us);
        Reply::Session { json: self.session_json(slot, facts) }
    }

    /// The title in a renamed note.
    pub(super) fn renamed_title(&self, note: Lsn) -> Result<String, Stop> {
        let record = self.log.read(note)?;
        let note = SessionRenamed::parse(record.payload).expect("a verified renamed note is what was written");
        Ok(note.title.into_owned())
    }
}

/// Titles are shown in lists: they are short, and there is something to see.
pub(super) fn bounded_title(title: &str) -> Result<(), Refusal> {
    if !title.trim().is_empty() && title.len() <= TITLE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("should have 1 to {TITLE_BYTES_MAX} bytes and not be blank");
    Err(Refusal::InvalidFields(BTreeMap::from([("title".to_owned(), vec![message])])))
}
