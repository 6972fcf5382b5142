//! When an agent is called, and when it is called again (contract 4.3, corrected): the debounce window with its longest
//! wait, which failures are worth another attempt, and how long to wait for it. Pure: now and chance are arguments.

use crate::limits::{RETRY_AFTER_MS_MAX, RUN_ATTEMPTS_MAX};

/// Milliseconds before the second attempt; each further one waits twice as long.
const RETRY_FIRST_MS: u64 = 250;
/// Milliseconds between two attempts at the most, unless the agent asks for more.
const RETRY_MS_MAX: u64 = 5_000;

/// When to call, after a message at `spoke_us` while the first unanswered one was at `first_us`: a quiet window after
/// the last message, but no later than the longest wait after the first, so that a steady talker is answered.
pub fn due_us(first_us: u64, spoke_us: u64, window_ms: u32, max_wait_ms: u32) -> u64 {
    let quiet = spoke_us + u64::from(window_ms) * 1000;
    let latest = first_us + u64::from(max_wait_ms.max(window_ms)) * 1000;
    quiet.min(latest)
}

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A stable name, lower case with underscores.
    pub reason: &'static str,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Another attempt may go better.
    pub is_retryable: bool,
    /// The server has no room for the call now: it was not an attempt.
    pub is_ours: bool,
    /// What the agent asked for (`Retry-After`), milliseconds.
    pub retry_after_ms: Option<u64>,
    /// One sentence for people; no payload, no secret.
    pub detail: String,
}

impl Failure {
    /// A failure that no other attempt mends.
    pub fn fatal(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, status: None, is_retryable: false, is_ours: false, retry_after_ms: None, detail: detail.into() }
    }

    /// An HTTP status that is no success.
    pub fn of_status(status: u16, retry_after_ms: Option<u64>) -> Self {
        Self {
            reason: "http_status",
            status: Some(status),
            is_retryable: is_retryable_status(status),
            is_ours: false,
            retry_after_ms,
            detail: format!("the webhook answered with status {status}"),
        }
    }
}

/// Statuses of an overloaded, restarting or slow agent; every other one is the agent's last word.
fn is_retryable_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 502 | 503 | 504)
}

/// Milliseconds to wait before the next attempt after `attempt` (from 1) has failed. `None`: there is none.
///
/// Half of the wait is left to chance, so that agents that come back are not met by everybody at once.
pub fn retry_in_ms(attempt: u32, failure: &Failure, random: u64) -> Option<u64> {
    if !failure.is_retryable || attempt >= RUN_ATTEMPTS_MAX {
        return None;
    }
    let asked = failure.retry_after_ms.unwrap_or(0);
    if asked > RETRY_AFTER_MS_MAX {
        return None;
    }
    let full = (RETRY_FIRST_MS << (attempt - 1).min(16)).min(RETRY_MS_MAX);
    let waited = full / 2 + random % (full / 2 + 1);
    Some(waited.max(asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn retryable(retry_after_ms: Option<u64>) -> Failure {
        Failure::of_status(503, retry_after_ms)
    }

    #[test]
    fn a_message_restarts_the_window_but_not_the_longest_wait() {
        assert_eq!(due_us(0, 0, 500, 5_000), 500_000);
        assert_eq!(due_us(0, 400_000, 500, 5_000), 900_000);
        assert_eq!(due_us(0, 4_900_000, 500, 5_000), 5_000_000);
        assert_eq!(due_us(7, 7, 0, 5_000), 7, "no window: at once");
        assert_eq!(due_us(0, 0, 500, 0), 500_000, "the window is the least of the longest wait");
    }

    #[test]
    fn only_some_statuses_are_worth_another_attempt() {
        for status in 100..600 {
            let expected = [408, 429, 502, 503, 504].contains(&status);
            assert_eq!(Failure::of_status(status, None).is_retryable, expected, "{status}");
        }
    }

    #[test]
    fn there_are_five_attempts_and_none_after_a_fatal_failure() {
        for attempt in 1..5 {
            assert!(retry_in_ms(attempt, &retryable(None), 0).is_some());
        }
        assert_eq!(retry_in_ms(5, &retryable(None), 0), None);
        assert_eq!(retry_in_ms(1, &Failure::fatal("tls", "x"), 0), None);
    }

    #[test]
    fn an_agent_that_asks_for_time_gets_it_within_bounds() {
        assert_eq!(retry_in_ms(1, &retryable(Some(9_000)), 0), Some(9_000));
        assert_eq!(retry_in_ms(4, &retryable(Some(1)), 0), Some(1_000));
        assert_eq!(retry_in_ms(1, &retryable(Some(RETRY_AFTER_MS_MAX + 1)), 0), None);
    }

    proptest! {
        #[test]
        fn waits_grow_to_their_bound_and_half_is_chance(attempt in 1u32..5, random: u64) {
            let full = [250, 500, 1000, 2000][attempt as usize - 1];
            let waited = retry_in_ms(attempt, &retryable(None), random).unwrap();
            prop_assert!((full / 2..=full).contains(&waited));
        }

        #[test]
        fn a_call_is_due_between_the_message_and_the_longest_wait(first in 0u64..1 << 40, later in 0u64..1 << 30, window in 0u32..100_000, max in 0u32..100_000) {
            let due = due_us(first, first + later, window, max);
            prop_assert!(due <= first + u64::from(max.max(window)) * 1000);
            prop_assert!(due <= first + later + u64::from(window) * 1000);
        }
    }
}
