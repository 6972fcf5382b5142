//! Installing the contenders, by package name: Debian's packages and one of cargo's.
//!
//! The services that Debian's packages bring are not started: the comparison starts its own, with folders of its own.

use crate::servers::Contender;
use crate::servers::{DurableStreams, Missing, Mode, Nats, Postgres, Redis};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Installs what is missing and says what it does.
///
/// # Errors
/// When an installation fails.
pub fn install() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        println!("nothing is missing");
    }
    for Missing { program, install } in missing {
        println!("{program}: {install}");
        let mut words = install.split(' ');
        let mut command = Command::new(words.next().context("a command has a word")?);
        command.args(words);
        if install.starts_with("apt-get") {
            // policy-rc.d is asked before a package's service is started; RUNLEVEL=1 is the single-user mode, where none is.
            command
                .args(["-y", "--no-install-recommends"])
                .env("DEBIAN_FRONTEND", "noninteractive")
                .env("RUNLEVEL", "1");
        }
        let status = command.status().with_context(|| install.to_owned())?;
        ensure!(status.success(), "{install}: {status}");
    }
    Ok(())
}

fn missing() -> Vec<Missing> {
    let postgres = Postgres::default();
    let json = DurableStreams { mode: Mode::Json };
    let contenders: [&dyn Contender; 4] = [&json, &Redis, &Nats, &postgres];
    contenders.into_iter().filter_map(Contender::missing).collect()
}
