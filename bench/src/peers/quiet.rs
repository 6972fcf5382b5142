//! Other work on the machine: how much of it there is, and waiting until there is little.
//!
//! Figures of a machine that does something else meanwhile are not comparable, not even as ratios: contenders sleep and wake differently
//! often. So a turn waits for quiet, and one that was disturbed is repeated. What disturbed it anyway stands in its sample.

use crate::proc::cpu_s;
use anyhow::{Context, Result};
use std::fs;
use std::time::{Duration, Instant};

/// CPU seconds per second that others may use: a tenth of a core, which interrupts and kernel threads of our own disk writes come near to.
pub const FOREIGN_SHARE_MAX: f64 = 0.10;
/// How long it must have been quiet.
const LOOK: Duration = Duration::from_millis(300);

/// What has been used up to a moment.
pub struct Mark {
    at: Instant,
    all_s: f64,
    ours_s: f64,
}

impl Mark {
    /// Now.
    ///
    /// # Errors
    /// When the kernel does not account.
    pub fn now() -> Result<Self> {
        Ok(Self { at: Instant::now(), all_s: all_s()?, ours_s: cpu_s(std::process::id())? })
    }

    /// CPU seconds per second that neither this program nor anything it started has used since.
    ///
    /// # Errors
    /// As [`Mark::now`].
    pub fn foreign_share(&self) -> Result<f64> {
        let now = Self::now()?;
        let foreign = (now.all_s - self.all_s) - (now.ours_s - self.ours_s);
        Ok((foreign / (now.at - self.at).as_secs_f64()).max(0.0))
    }
}

/// Waits until others use little, for so long at the most; whether they do.
///
/// # Errors
/// As [`Mark::now`].
pub fn wait(patience: Duration) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < patience {
        let mark = Mark::now()?;
        std::thread::sleep(LOOK);
        if mark.foreign_share()? <= FOREIGN_SHARE_MAX {
            return Ok(true);
        }
    }
    Ok(false)
}

/// CPU seconds of all processes since the machine started: user, nice and system of `/proc/stat` (proc(5)).
fn all_s() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let mut fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).map(str::parse::<u64>);
    let mut next = || fields.next().and_then(Result::ok).context("/proc/stat has no sums");
    let ticks = next()? + next()? + next()?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_patience_nothing_is_waited_for() {
        assert!(!wait(Duration::ZERO).unwrap());
    }

    #[test]
    fn the_share_of_others_is_never_below_nothing() {
        assert!(Mark::now().unwrap().foreign_share().unwrap() >= 0.0);
    }
}
