//! How many files and sockets this program, and a server that it starts, may have open.
//!
//! The soft limit is raised to the hard one at the start. A run that needs more says so before it begins, and not at
//! socket 1,021.

use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open beside the connections of a scenario: rings, files, the server's output.
const OTHERS: u64 = 200;
/// The kernel's default of fs.nr_open.
const NR_OPEN: u64 = 1 << 20;

/// Raises the limit, and checks that `connections` fit.
///
/// # Errors
/// When the hard limit is too low and we may not raise it; only root may.
pub fn allow(connections: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    // No limit is none; the kernel's own, fs.nr_open, is a million by default.
    let hard = limit.maximum.unwrap_or(NR_OPEN);
    let wanted = hard.max(needed(connections).min(NR_OPEN));
    for allowed in [wanted, hard] {
        let raised = Rlimit { current: Some(allowed), maximum: limit.maximum.map(|_| allowed) };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            break;
        }
    }
    check(connections, getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

fn needed(connections: usize) -> u64 {
    connections as u64 + OTHERS
}

fn check(connections: usize, current: u64) -> Result<()> {
    let needed = needed(connections);
    if current < needed {
        bail!(
            "{connections} connections need {needed} open files, and {current} are allowed: raise the limit (ulimit -Hn {needed}, as root, or of this container)"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said_with_numbers() {
        assert!(check(800, 1_000).is_ok());
        let error = check(801, 1_000).unwrap_err().to_string();
        assert!(error.contains("801") && error.contains("1001") && error.contains("ulimit"), "{error}");
        assert!(allow(10).is_ok());
    }
}
