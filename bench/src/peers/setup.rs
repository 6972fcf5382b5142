//! Installing the contenders, by package name: Debian's packages and one of cargo's.
//!
//! The comparison starts servers of its own, on free ports and with folders of their own. Where a service manager runs, Debian's packages start
//! theirs, too; they do no harm but stand in the way of a quiet machine, so this says how to stop them.

use crate::servers::{Contender, DurableStreams, Missing, Mode, Nats, Postgres, Redis};
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
        return Ok(());
    }
    for Missing { program, install } in missing {
        println!("{program}: {install}");
        let mut words = install.split(' ');
        let mut command = Command::new(words.next().context("a command has a word")?);
        command.args(words);
        if install.starts_with("apt-get") {
            command.args(["-y", "--no-install-recommends"]).env("DEBIAN_FRONTEND", "noninteractive");
        }
        let status = command.status().with_context(|| install.to_owned())?;
        ensure!(status.success(), "{install}: {status}");
    }
    println!(
        "services that Debian has started may be stopped: systemctl disable --now redis-server nats-server postgresql"
    );
    Ok(())
}

fn missing() -> Vec<Missing> {
    let postgres = Postgres::default();
    let json = DurableStreams { mode: Mode::Json };
    let contenders: [&dyn Contender; 4] = [&json, &Redis, &Nats, &postgres];
    contenders.into_iter().filter_map(Contender::missing).collect()
}
