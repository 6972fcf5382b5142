//! What somebody thought of a message: a note beside it, never a change of it.
//!
//! Invariant: of several by one rater on one message the newest counts; the older ones stay in the log.

use serde::{Deserialize, Serialize};

/// Payload of a note of the kind [`super::kind::FEEDBACK`]. The record's key is the session, its time is that of the rating.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    /// The message.
    pub seq: u64,
    /// Who rates.
    pub rater: String,
    /// From [`Self::RATING_MIN`] to [`Self::RATING_MAX`].
    pub rating: u8,
    /// In the rater's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Feedback {
    /// The worst.
    pub const RATING_MIN: u8 = 1;
    /// The best.
    pub const RATING_MAX: u8 = 5;

    /// The payload's bytes.
    pub fn render(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of plain fields always has a JSON form")
    }

    /// Reads a payload. `None`: it is not one.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_has_its_keys_in_order_and_a_comment_only_where_there_is_one() {
        let feedback = Feedback { seq: 7, rater: "alice".into(), rating: 5, comment: None };
        assert_eq!(feedback.render(), br#"{"seq":7,"rater":"alice","rating":5}"#);
        let said = Feedback { comment: Some("good \"one\"".into()), ..feedback };
        assert_eq!(said.render(), br#"{"seq":7,"rater":"alice","rating":5,"comment":"good \"one\""}"#);
        assert_eq!(Feedback::parse(&said.render()), Some(said));
        assert_eq!(Feedback::parse(b"{}"), None);
    }
}
