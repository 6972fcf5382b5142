//! `fleetlm keys`: API keys of a data folder while no server runs on it.
//!
//! It opens the directory's shard like a server would, with as many shards as the last one had, so that snapshots stay good; appends, syncs and
//! ends. A folder in use says so. This is the only way to make keys of administrators that are not in a file.

use std::io::Write;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use rand::Rng;
use storage::File;

use crate::api::Context;
use crate::api::admin::{self, KeyDraft};
use crate::api::auth::keys::KeyText;
use crate::config::{KeyFields, KeysTask};
use crate::session::KeyId;
use crate::shard::{Caller, Command, DIRECTORY_SHARD, Input, KeyCommand, Now, Output, Refusal, Reply, Shard};

/// Does what the operator asks and prints what comes of it, a JSON object a line.
///
/// # Errors
/// When the folder cannot be opened, a server's use of it included; when there is no such key; when the disk refuses.
pub fn run(task: KeysTask) -> anyhow::Result<ExitCode> {
    let (dir, command, text) = match task {
        KeysTask::List { place } => (place.data_dir, KeyCommand::List, None),
        KeysTask::Create { place, fields } => {
            let (command, text) = create(fields)?;
            (place.data_dir, command, Some(text))
        }
        KeysTask::Revoke { place, id } => {
            let id = KeyId::parse(&id).with_context(|| format!("{id} is not the id of a key"))?;
            (place.data_dir, KeyCommand::Revoke { id }, None)
        }
    };
    if !dir.is_dir() && !matches!(command, KeyCommand::Create(_)) {
        bail!("there is no data folder {}", dir.display());
    }
    let file = File::open(&dir).with_context(|| format!("cannot open the data folder {}", dir.display()))?;
    let mut directory = Directory::open(file).with_context(|| format!("cannot recover {}", dir.display()))?;
    let reply = directory.ask(Command::Keys(command))?.map_err(|refusal| anyhow!("{refusal}"))?;
    print(reply, text.as_ref())?;
    Ok(ExitCode::SUCCESS)
}

fn create(fields: KeyFields) -> anyhow::Result<(KeyCommand, KeyText)> {
    let KeyFields { name, scope, namespace, user, admin } = fields;
    let draft = KeyDraft::new(Some(name), Some(scope), Some(namespace), Some(user));
    let draft = draft.map_err(|error| anyhow!("{}", error.event_response()))?;
    let context = Context { now: now(), random: rand::rng().random(), shards: 1 };
    let (key, text) = draft.make(&context, &rand::rng().random(), admin);
    Ok((KeyCommand::Create(Box::new(key)), text))
}

fn print(reply: Reply, text: Option<&KeyText>) -> anyhow::Result<()> {
    let keys = match reply {
        Reply::Keys(keys) => keys,
        Reply::Key(key) => vec![*key],
        other => bail!("the directory answers with {other:?}"),
    };
    let mut out = std::io::stdout().lock();
    for key in keys {
        let mut shown = admin::shown(&key);
        if let Some(text) = text {
            shown["secret"] = text.reveal().into();
        }
        writeln!(out, "{shown}").context("cannot print")?;
    }
    out.flush().context("cannot print")
}

/// The directory's shard, driven by hand.
struct Directory {
    shard: Shard<File>,
}

impl Directory {
    fn open(file: File) -> anyhow::Result<Self> {
        let alone = storage::Options::default();
        let shards = storage::recover(&file, &alone)?.shards_of_snapshots().unwrap_or(alone.shards);
        let options = storage::Options { shard: DIRECTORY_SHARD.0, shards, ..alone };
        let recovered = storage::recover(&file, &options)?;
        Ok(Self { shard: Shard::open(file, &recovered, options, None)? })
    }

    /// Answers once what was appended is durable.
    fn ask(&mut self, command: Command) -> anyhow::Result<Result<Reply, Refusal>> {
        let from = Caller { shard: DIRECTORY_SHARD, token: 0 };
        let mut inputs = vec![Input::Call { from, access: None, command }];
        let mut answer = None;
        while let Some(input) = inputs.pop() {
            let mut outputs = Vec::new();
            self.shard.step(now(), input, &mut outputs);
            for output in outputs {
                match output {
                    Output::Reply { reply, .. } => answer = Some(reply),
                    // There is nobody to tell.
                    Output::Spread { reply, .. } => answer = Some(Ok(reply)),
                    Output::Sync(sync) => {
                        let result = sync.run();
                        inputs.push(Input::Synced(sync, result));
                    }
                    Output::Work(work) => inputs.push(Input::Worked(work.run())),
                    // Agents are called by the next start; nobody listens.
                    Output::Push { .. } | Output::Call(_) | Output::StopCall { .. } => {}
                }
            }
        }
        answer.context("the directory gave no answer: its log could not be synced")
    }
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    Now { unix_us, mono_us: unix_us }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(dir: &std::path::Path, command: KeyCommand) -> Reply {
        let file = File::open(dir).unwrap();
        Directory::open(file).unwrap().ask(Command::Keys(command)).unwrap().unwrap()
    }

    #[test]
    fn keys_stay_in_the_folder_from_one_call_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let fields = KeyFields {
            name: "shop".into(),
            scope: "all".into(),
            namespace: "acme".into(),
            user: "robot".into(),
            admin: true,
        };
        let (command, text) = create(fields).unwrap();
        let Reply::Key(made) = asked(dir.path(), command) else { panic!() };
        assert!(made.is_admin && text.reveal().contains(&made.id.to_string()));
        assert_eq!(asked(dir.path(), KeyCommand::List), Reply::Keys(vec![*made.clone()]));
        let Reply::Key(revoked) = asked(dir.path(), KeyCommand::Revoke { id: made.id }) else { panic!() };
        assert!(revoked.revoked_at_us.is_some());
        assert_eq!(asked(dir.path(), KeyCommand::List), Reply::Keys(vec![*revoked]));
    }
}
