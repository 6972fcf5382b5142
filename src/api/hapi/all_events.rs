//! What happens in all active sessions of one user, as a HAPI hub's clients hear it: `GET /api/events?all=true`.
//!
//! Invariants: from the first frame on every message of these sessions is told once, in the order of its session; a session is told of
//! before its messages. There is no id to come back with: each stream begins with a gap, behind which clients read what they show.
//!
//! Not here: what is due when (`server::all_events`); the frames of one session ([`super::events`]).

use super::events::{Resume, connected, event_head, frame, go_on, subscription_of};
use super::messages::{Parties, row_of};
use super::refused_response;
use crate::api::error::{ApiError, Kind};
use crate::api::{Context, actor};
use crate::limits::{HUB_PAGE_MESSAGES_MAX, INBOX_ENTRIES_MAX};
use crate::protocol::http::{Request, Response};
use crate::session::{Json, Namespace, SessionId};
use crate::shard::{Command, InboxEntry, PageFrom, Refusal, Reply};
use serde_json::json;
use std::collections::HashMap;

/// A stream of the events of a user's sessions.
#[derive(Debug)]
pub struct AllPlan {
    user: String,
    subscription: String,
    namespace: String,
    known: HashMap<SessionId, InboxEntry>,
}

/// Messages of a session that are to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untold {
    /// The session.
    pub session: SessionId,
    /// Those behind this one.
    pub after_seq: u64,
    /// Up to this one at least.
    pub upto_seq: u64,
}

impl AllPlan {
    /// Of a request.
    ///
    /// # Errors
    /// What is wrong with its user.
    pub(super) fn of(request: &Request, context: &Context) -> Result<Self, ApiError> {
        let user = actor::of(request)?;
        let subscription = subscription_of(context);
        Ok(Self { user, subscription, namespace: String::new(), known: HashMap::new() })
    }

    /// Whose sessions.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// What every shard is asked to begin.
    pub fn watch(&self) -> Command {
        Command::WatchInbox { user_id: self.user.clone() }
    }

    /// The first replies for a caller of `namespace`: what is there is no news. Gives the stream's head.
    ///
    /// # Errors
    /// The refusal to send instead.
    pub fn begin(&mut self, namespace: &Namespace, replies: Vec<Result<Reply, Refusal>>) -> Result<Response, Response> {
        self.namespace = namespace.name().to_owned();
        let entries = entries_of(replies).map_err(|error| refused_response(&error))?;
        self.known = entries.into_iter().map(|entry| (entry.session, entry)).collect();
        Ok(event_head())
    }

    /// `connection-changed`, the first frame, and again where messages are left out.
    pub fn connected(&self) -> Vec<u8> {
        connected(&self.namespace, &self.subscription, Resume::Gap)
    }

    /// Takes the inbox in as it is now: frames of what has changed, and what is to be told behind them.
    pub fn changed(&mut self, entries: Vec<InboxEntry>) -> (Vec<Vec<u8>>, Vec<Untold>) {
        let (mut frames, mut untold) = (Vec::new(), Vec::new());
        // In a full list one that is missing may only have been pushed out by others.
        if entries.len() < INBOX_ENTRIES_MAX {
            let present: Vec<SessionId> = entries.iter().map(|entry| entry.session).collect();
            let is_gone = |session: &SessionId| !present.contains(session);
            let gone: Vec<SessionId> = self.known.keys().copied().filter(is_gone).collect();
            for session in gone {
                self.known.remove(&session);
                frames.push(self.of_session("session-removed", session, ""));
            }
        }
        for entry in entries {
            let (session, upto_seq) = (entry.session, entry.last_seq);
            let active_at = entry.last_activity_us.map(|time_us| time_us / 1000);
            let said = json!({"active": true, "activeAt": active_at, "agentId": entry.agent_id});
            let known = self.known.get(&session);
            let after_seq = known.map_or(0, |known| known.last_seq);
            // What was read may be ahead of what was told of the session.
            let entry = InboxEntry { last_seq: upto_seq.max(after_seq), ..entry };
            let kind = match known {
                None => Some("session-added"),
                Some(known) if (InboxEntry { as_of: entry.as_of, ..known.clone() }) == entry => None,
                Some(_) => Some("session-updated"),
            };
            frames.extend(kind.map(|kind| self.of_session(kind, session, &format!(",\"data\":{said}"))));
            self.known.insert(session, entry);
            if upto_seq > after_seq {
                untold.push(Untold { session, after_seq, upto_seq });
            }
        }
        (frames, untold)
    }

    /// The replies to who watches again are the whole inbox too.
    ///
    /// # Errors
    /// A refusal of a shard.
    pub fn again(&mut self, replies: Vec<Result<Reply, Refusal>>) -> Result<(Vec<Vec<u8>>, Vec<Untold>), ApiError> {
        Ok(self.changed(entries_of(replies)?))
    }

    /// Where the telling begins, and whether messages are left out.
    pub fn go_on(untold: &Untold) -> (u64, Resume) {
        go_on(untold.after_seq, untold.upto_seq)
    }

    /// The next messages of a session.
    pub fn read_on(session: SessionId, after_seq: u64) -> Command {
        Command::ReadMessages { session, from: PageFrom::After(after_seq), limit: HUB_PAGE_MESSAGES_MAX }
    }

    /// The session is told up to there.
    pub fn told(&mut self, session: SessionId, seq: u64) {
        if let Some(known) = self.known.get_mut(&session) {
            known.last_seq = known.last_seq.max(seq);
        }
    }

    /// `message-received`. Nothing for what is no message.
    pub fn message(&self, session: SessionId, json: &Json) -> Vec<u8> {
        let agent_id = self.known.get(&session).map_or("", |entry| &entry.agent_id);
        let parties = Parties::between(&self.user, agent_id);
        let Some(row) = row_of(session, &parties, json) else { return Vec::new() };
        self.of_session("message-received", session, &format!(",\"message\":{row}"))
    }

    /// `heartbeat`.
    pub fn heartbeat(&self, unix_us: u64) -> Vec<u8> {
        frame(&self.namespace, None, "heartbeat", &format!("\"data\":{{\"timestamp\":{}}}", unix_us / 1000))
    }

    fn of_session(&self, kind: &str, session: SessionId, more: &str) -> Vec<u8> {
        frame(&self.namespace, None, kind, &format!("\"sessionId\":\"{session}\"{more}"))
    }
}

/// One refusal refuses the whole: a list with holes would look complete.
fn entries_of(replies: Vec<Result<Reply, Refusal>>) -> Result<Vec<InboxEntry>, ApiError> {
    let mut all = Vec::new();
    for reply in replies {
        match reply? {
            Reply::Inbox { entries } => all.extend(entries),
            _ => return Err(Kind::Internal.into()),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(session: u64, last_seq: u64) -> InboxEntry {
        InboxEntry {
            session: SessionId::from_parts(session, 0),
            agent_id: "bot".into(),
            unread_count: last_seq,
            last_activity_us: Some(last_seq * 1_000),
            last_sender_id: None,
            last_seq,
            gone: false,
            as_of: last_seq,
        }
    }

    #[test]
    fn changes_are_told_by_kind_and_messages_from_where_they_were_told() {
        let (user, subscription, namespace) = ("alice".to_owned(), String::new(), String::new());
        let mut plan = AllPlan { user, subscription, namespace, known: HashMap::new() };
        let replies =
            vec![Ok(Reply::Inbox { entries: vec![entry(1, 5)] }), Ok(Reply::Inbox { entries: vec![entry(2, 0)] })];
        plan.begin(&Namespace::default(), replies).unwrap();
        let mut changed = |entries: Vec<InboxEntry>| {
            let (frames, untold) = plan.changed(entries);
            let kind = |frame: Vec<u8>| String::from_utf8(frame).unwrap().split('"').nth(3).unwrap().to_owned();
            let kinds: Vec<String> = frames.into_iter().map(kind).collect();
            (kinds, untold.into_iter().map(|untold| (untold.after_seq, untold.upto_seq)).collect::<Vec<_>>())
        };
        assert_eq!(changed(vec![entry(1, 5), entry(2, 0)]), (vec![], vec![]));
        let (kinds, untold) = changed(vec![entry(1, 7), entry(2, 0), entry(3, 1)]);
        assert_eq!((kinds, untold), (vec!["session-updated".into(), "session-added".into()], vec![(5, 7), (0, 1)]));
        assert_eq!(changed(vec![entry(1, 7), entry(3, 1)]), (vec!["session-removed".into()], vec![]));
        assert!(plan.begin(&Namespace::default(), vec![Err(Refusal::Overloaded)]).is_err());
    }
}
