//! Read cursors: where a reader stands, and what that leaves unread.

/// How many messages by others stand above a session's user's cursor.
///
/// Everything is absolute: `own_total` counts the user's messages in the whole session, `own_at_cursor` those up to the
/// cursor, so one lookup when a cursor moves is enough and folding a record twice changes nothing.
pub fn unread(last_seq: u64, cursor: u64, own_total: u32, own_at_cursor: u32) -> u64 {
    let above = last_seq.saturating_sub(cursor);
    above.saturating_sub(u64::from(own_total.saturating_sub(own_at_cursor)))
}

/// Where a reader's cursor goes when it reports `reported`: never back, never beyond the session's last message.
/// `None`: it stays.
pub fn advance(present: u64, reported: u64, last_seq: u64) -> Option<u64> {
    let wanted = reported.min(last_seq);
    (wanted > present).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cursor_never_goes_back_nor_beyond_the_last_message() {
        assert_eq!(advance(3, 2, 10), None);
        assert_eq!(advance(3, 3, 10), None);
        assert_eq!(advance(3, 7, 10), Some(7));
        assert_eq!(advance(3, 70, 10), Some(10));
        assert_eq!(advance(0, 5, 0), None);
    }

    proptest! {
        #[test]
        fn unread_counts_the_messages_of_others_above_the_cursor(own in proptest::collection::vec(any::<bool>(), 0..50), at: u64) {
            let cursor = at % (own.len() as u64 + 1);
            let count = |slice: &[bool]| slice.iter().filter(|own| **own).count() as u32;
            let brute_force = own[cursor as usize..].iter().filter(|own| !**own).count() as u64;
            prop_assert_eq!(unread(own.len() as u64, cursor, count(&own), count(&own[..cursor as usize])), brute_force);
        }
    }
}
