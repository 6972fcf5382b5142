//! The time of a turn: read once per event from outside, asked for as often as one likes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::shard::Now;

/// See the top of the file.
pub(super) struct Clock {
    started: Instant,
    now: Cell<Now>,
    date: RefCell<(u64, Rc<str>)>,
}

impl Default for Clock {
    fn default() -> Self {
        let clock = Self {
            started: Instant::now(),
            now: Cell::new(Now { unix_us: 0, mono_us: 0 }),
            date: RefCell::new((0, http_date(0).into())),
        };
        clock.read();
        clock
    }
}

impl Clock {
    /// The time of this turn.
    pub(super) fn now(&self) -> Now {
        self.now.get()
    }

    /// Reads the clocks.
    pub(super) fn read(&self) {
        let unix_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let mono_us = self.started.elapsed().as_micros() as u64;
        self.now.set(Now { unix_us, mono_us });
    }

    /// The value of a `date` header, made once a second.
    pub(super) fn http_date(&self) -> Rc<str> {
        let second = self.now().unix_us / 1_000_000;
        let mut date = self.date.borrow_mut();
        if date.0 != second {
            *date = (second, http_date(second).into());
        }
        Rc::clone(&date.1)
    }
}

/// An IMF-fixdate (RFC 9110, 5.6.7).
fn http_date(unix_s: u64) -> String {
    let stamp = jiff::Timestamp::from_second(i64::try_from(unix_s).unwrap_or(0)).unwrap_or_default();
    stamp.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_header_has_the_form_of_the_standard() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
