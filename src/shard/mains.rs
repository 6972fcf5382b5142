//! Which generation of a main session is the living one.
//!
//! Invariants: a generation that was deleted never comes back, whatever restarts, snapshots and other numbers of shards lie between:
//! deleted notes are kept for ever, and snapshots that stand for them name the generations. Only main sessions that were
//! deleted take memory here, about 40 bytes each.

use crate::session::SessionId;
use hashbrown::HashMap;
use serde::Deserialize;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Mains {
    /// By the base of their ids: the first generation that was never deleted.
    living: HashMap<SessionId, u16>,
}

impl Mains {
    /// The living generation of a main session. `None`: every one was deleted.
    pub(super) fn living(&self, main: SessionId) -> Option<SessionId> {
        let generation = self.living.get(&main.base()).copied().unwrap_or(0);
        (generation < u16::MAX).then(|| main.at_generation(generation))
    }

    /// A session was deleted, a main one or another.
    pub(super) fn deleted(&mut self, session: SessionId) {
        if session.is_main() {
            self.raise(session.base(), session.generation().saturating_add(1));
        }
    }

    /// Keeps what `is_owned` says.
    pub(super) fn retain(&mut self, is_owned: impl Fn(SessionId) -> bool) {
        self.living.retain(|&base, _| is_owned(base));
    }

    /// Adds itself to the JSON object in `out`, or begins one; nothing when there is nothing to say.
    pub(super) fn to_snapshot(&self, out: &mut Vec<u8>) {
        if self.living.is_empty() {
            return;
        }
        let mut living: Vec<(String, u16)> = self.living.iter().map(|(base, &next)| (base.to_string(), next)).collect();
        living.sort_unstable();
        let begun = out.pop().is_some(); // the object's end
        out.extend_from_slice(if begun { b",\"mains\":" } else { b"{\"mains\":" });
        serde_json::to_writer(&mut *out, &living)
            .expect("texts and numbers have a JSON form and a Vec takes every byte");
        out.push(b'}');
    }

    /// Takes in what [`Self::to_snapshot`] wrote. `None`: the bytes are not that.
    pub(super) fn fold_snapshot(&mut self, state: &[u8]) -> Option<()> {
        #[derive(Deserialize)]
        struct Part {
            #[serde(default)]
            mains: Vec<(String, u16)>,
        }
        for (base, next) in serde_json::from_slice::<Part>(state).ok()?.mains {
            self.raise(SessionId::parse(&base)?, next);
        }
        Some(())
    }

    fn raise(&mut self, base: SessionId, next: u16) {
        let living = self.living.entry(base).or_default();
        *living = next.max(*living);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::main_id;

    #[test]
    fn a_generation_that_was_deleted_is_followed_by_the_next() {
        let (mut mains, main) = (Mains::default(), main_id("", "alice", "bot"));
        assert_eq!(mains.living(main), Some(main));
        mains.deleted(main);
        mains.deleted(main); // a record may be folded twice
        mains.deleted(SessionId::from(7));
        assert_eq!(mains.living(main), Some(main.at_generation(1)));
        assert_eq!(mains.living(main.at_generation(9)), Some(main.at_generation(1)));
        mains.deleted(main.at_generation(u16::MAX - 1));
        assert_eq!(mains.living(main), None);
    }

    #[test]
    fn a_snapshot_takes_it_along_beside_what_else_stands_there() {
        let (mut mains, main) = (Mains::default(), main_id("", "alice", "bot"));
        let mut empty = Vec::new();
        mains.to_snapshot(&mut empty);
        assert!(empty.is_empty());
        mains.deleted(main);
        let (mut alone, mut beside) = (Vec::new(), br#"{"as_of_us":5,"agents":[]}"#.to_vec());
        mains.to_snapshot(&mut alone);
        mains.to_snapshot(&mut beside);
        assert_eq!(String::from_utf8(alone.clone()).unwrap(), format!(r#"{{"mains":[["{main}",1]]}}"#));
        assert_eq!(
            String::from_utf8(beside.clone()).unwrap(),
            format!(r#"{{"as_of_us":5,"agents":[],"mains":[["{main}",1]]}}"#)
        );
        for state in [alone, beside] {
            let mut folded = Mains::default();
            folded.fold_snapshot(&state).unwrap();
            assert_eq!(folded.living(main), Some(main.at_generation(1)));
        }
        assert_eq!(Mains::default().fold_snapshot(br#"{"as_of_us":5,"agents":[]}"#), Some(()));
        assert_eq!(Mains::default().fold_snapshot(b"x"), None);
    }
}
