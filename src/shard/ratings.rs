//! Feedback: what somebody thought of an answer. A note beside the message, which stays as it is.
//!
//! Invariants: only answers are rated; of one rater's ratings of one message the newest counts; what a session was rated takes memory
//! in rated sessions alone, and its comments take none.

use super::catalog::Rating;
use super::commit::Effect;
use super::{Caller, Now, Outcome, RatingRow, Refusal, Reply, Shard, Stop, bounded_name};
use crate::limits::{FEEDBACK_COMMENT_BYTES_MAX, RATINGS_MAX};
use crate::session::{Feedback, MessageMeta, Namespace, RunPart, Sender, SessionId, kind};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use storage::{Medium, Record, Slot};

impl<M: Medium> Shard<M> {
    pub(super) fn rate(
        &mut self,
        now: Now,
        from: Caller,
        namespace: &Namespace,
        id: SessionId,
        feedback: &Feedback,
    ) -> Result<Outcome, Stop> {
        let slot = self.readable(id)?;
        self.check_not_deleting(slot)?;
        check(feedback)?;
        let seq = self.check_answer(slot, feedback.seq)?;
        let name = namespace.scoped(&feedback.rater);
        let ratings = self.catalog.entry(slot).expect("a readable session has an entry").ratings();
        let known = self.catalog.names.find(&name);
        let is_new = !ratings.iter().any(|rating| (rating.seq, Some(rating.rater)) == (seq, known));
        if is_new && ratings.len() + self.commits.of(slot).notes as usize >= RATINGS_MAX {
            return Err(Refusal::Full { what: "the session's table of ratings", max: RATINGS_MAX }.into());
        }
        let (note, _) = self.append_note(now, id, kind::FEEDBACK, 0, &feedback.render())?;
        let rater = self.catalog.names.intern(&name);
        let rating = Rating { seq, rater, rating: feedback.rating, note };
        self.commits.push(note, from, Effect::Rated { slot, rating });
        Ok(Outcome::Later)
    }

    pub(super) fn commit_rating(&mut self, slot: Slot, rating: Rating) -> Reply {
        self.catalog.entry_mut(slot).expect("a session with a pending note has an entry").rate(rating);
        Reply::Done
    }

    /// All ratings of a session, by message and rater.
    pub(super) fn read_ratings(&mut self, id: SessionId) -> Result<Outcome, Stop> {
        let slot = self.readable(id)?;
        let entry = self.catalog.entry(slot).expect("a readable session has an entry");
        let notes: Vec<_> = entry.ratings().iter().map(|rating| rating.note).collect();
        let (mut rows, mut is_cold) = (Vec::with_capacity(notes.len()), false);
        for note in notes {
            match self.log.read(note).map_err(Stop::from) {
                Ok(record) => {
                    let feedback = Feedback::parse(record.payload).expect("a verified rating is what was written");
                    rows.push(RatingRow { feedback, time_us: record.time_us });
                }
                Err(Stop::Cold(cold)) => {
                    self.parked.want(self.now.mono_us, cold); // and go on: all cold ones are warmed at once
                    is_cold = true;
                }
                Err(stop) => return Err(stop),
            }
        }
        if is_cold {
            return Err(Stop::Park);
        }
        rows.sort_by(|a, b| (a.feedback.seq, &a.feedback.rater).cmp(&(b.feedback.seq, &b.feedback.rater)));
        Ok(Outcome::Reply(Reply::Ratings(rows)))
    }

    /// Whether message `seq` is there and is an answer.
    fn check_answer(&self, slot: Slot, seq: u64) -> Result<u32, Stop> {
        if seq == 0 || seq > self.committed_seq(slot) {
            return Err(Refusal::MessageNotFound.into());
        }
        let record = self.log.read(self.log.find(slot, seq)?)?;
        match u32::try_from(seq) {
            Ok(seq) if is_answer(&record) => Ok(seq),
            Ok(_) => Err(Refusal::NotAnAnswer.into()),
            Err(_) => Err(Refusal::MessageNotFound.into()), // limits::SESSION_MESSAGES_MAX has 32 bits
        }
    }
}

/// An agent wrote it, a run made it, or its author called it an answer.
fn is_answer(record: &Record<'_>) -> bool {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        kind: Cow<'a, str>,
    }
    let meta = MessageMeta::decode(record.flags, record.meta).expect("a verified message's meta is what was written");
    let is_of_run = !matches!(meta.run, RunPart::None | RunPart::Owes);
    let is_called_one = || serde_json::from_slice::<Kind<'_>>(record.payload).is_ok_and(|it| it.kind == "assistant");
    meta.sender == Sender::Agent || is_of_run || is_called_one()
}

/// Ratings stand in notes for good, so they are bounded here, whatever the api lets through.
fn check(feedback: &Feedback) -> Result<(), Refusal> {
    bounded_name("rater", &feedback.rater)?;
    let invalid = |field: &str, text: String| Refusal::InvalidFields(BTreeMap::from([(field.to_owned(), vec![text])]));
    let (min, max) = (Feedback::RATING_MIN, Feedback::RATING_MAX);
    if !(min..=max).contains(&feedback.rating) {
        return Err(invalid("rating", format!("should be a whole number from {min} to {max}")));
    }
    if feedback.comment.as_ref().is_some_and(|comment| comment.len() > FEEDBACK_COMMENT_BYTES_MAX) {
        return Err(invalid("comment", format!("should be at most {FEEDBACK_COMMENT_BYTES_MAX} bytes")));
    }
    Ok(())
}
