//! `fleetlm keys --url`: API keys of a server that runs, by its routes for administrators.
//!
//! Prints what `fleetlm keys` prints of a data folder. Not here: keys of administrators, which no route makes.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::process::ExitCode;

use super::print::line;
use super::rest::Rest;
use crate::config::{KeysTask, ServerAt};

/// Does what the operator asks and prints what comes of it, a JSON object a line.
///
/// # Errors
/// When the server is not reached, or says no.
pub fn run(task: &KeysTask) -> anyhow::Result<ExitCode> {
    let place = task.place();
    let url = place.url.clone().context("--url names no server")?;
    let file = place.admin_key_file.clone();
    let token_file = Some(file.context("--url needs --admin-key-file, with an administrator's key")?);
    let rest = Rest::new(&ServerAt { url, token_file, ca: place.ca.clone(), json: true, insecure_http: false })?;
    let keys = ["api", "keys"];
    let mut answer = match task {
        KeysTask::List { .. } => rest.get(&keys, &[])?,
        KeysTask::Create { fields, .. } if fields.admin => {
            bail!("keys of administrators are made in the data folder only, while no server uses it: leave --url out")
        }
        KeysTask::Create { fields, .. } => {
            let body = json!({
                "name": fields.name, "scope": fields.scope, "namespace": fields.namespace, "user": fields.user,
            });
            rest.call("POST", &keys, &[], Some(&body), None)?
        }
        KeysTask::Revoke { id, .. } => rest.call("DELETE", &["api", "keys", id], &[], None, None)?,
    };
    let secret = answer["secret"].take();
    let keys = match answer["keys"].take() {
        Value::Array(keys) => keys,
        _ => vec![answer["key"].take()],
    };
    for mut key in keys {
        if !key.is_object() {
            bail!("that is no answer about keys: is it a FleetLM server?");
        }
        if secret.is_string() {
            key["secret"] = secret.clone();
        }
        line(&key.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}
