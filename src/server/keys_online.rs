//! `fleetlm keys --url`: API keys of a server that runs, by its routes for administrators.
//!
//! Prints what `fleetlm keys` prints of a data folder. Invariant: the administrator's key goes over TLS, or stays on this machine.
//! Not here: keys of administrators, which no route makes.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use glommio::LocalExecutorBuilder;
use hyper::Method;
use serde_json::{Value, json};

use super::authority::is_safe_address;
use super::outbound::{Call, Head, Outbound, Policy, Resolver, Stop, Trust};
use super::{pacemaker, ring};
use crate::config::{KeysPlace, KeysTask, Secret};
use crate::limits;

/// Seconds in which a server has to answer: a change waits for one commit and for all shards.
const ANSWER_S: u64 = 30;

/// Does what the operator asks and prints what comes of it, a JSON object a line.
///
/// # Errors
/// When the server is not reached, or says no.
pub fn run(task: &KeysTask) -> anyhow::Result<ExitCode> {
    let place = task.place();
    let url = place.url.as_deref().context("--url names no server")?;
    if !is_safe_address(url) {
        bail!("{url}: a key is sent over https, or to this machine");
    }
    let (method, path, body) = request(task)?;
    let url = format!("{}{path}", url.trim_end_matches('/'));
    let (status, answer) = call(place, method, url, body)?;
    let answer: Value = serde_json::from_str(&answer).unwrap_or(Value::String(answer));
    if !(200..300).contains(&status) {
        bail!("the server answers {status}: {answer}");
    }
    print(answer)?;
    Ok(ExitCode::SUCCESS)
}

fn request(task: &KeysTask) -> anyhow::Result<(Method, String, Option<Value>)> {
    Ok(match task {
        KeysTask::List { .. } => (Method::GET, "/api/keys".to_owned(), None),
        KeysTask::Create { fields, .. } if fields.admin => {
            bail!("keys of administrators are made in the data folder only, while no server uses it: leave --url out")
        }
        KeysTask::Create { fields, .. } => {
            let body = json!({
                "name": fields.name, "scope": fields.scope, "namespace": fields.namespace, "user": fields.user,
            });
            (Method::POST, "/api/keys".to_owned(), Some(body))
        }
        KeysTask::Revoke { id, .. } if id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            (Method::DELETE, format!("/api/keys/{id}"), None)
        }
        KeysTask::Revoke { id, .. } => bail!("{id} is not the id of a key"),
    })
}

/// The answer's status and body.
fn call(place: &KeysPlace, method: Method, url: String, body: Option<Value>) -> anyhow::Result<(u16, String)> {
    let file = place.admin_key_file.as_deref().context("--url needs --admin-key-file, with an administrator's key")?;
    let key = Secret::of_file(file).with_context(|| format!("cannot read {}", file.display()))?;
    ring::probe()?;
    let trust = Trust::load(place.ca.as_deref())?;
    let resolver = Resolver::start().context("cannot start the resolver's threads")?;
    let call = Call {
        url,
        headers: vec![
            ("authorization".to_owned(), format!("Bearer {}", key.reveal().trim())),
            ("content-type".to_owned(), "application/json".to_owned()),
        ],
        body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
        gap_timeout: Duration::from_secs(ANSWER_S),
        total_timeout: Duration::from_secs(ANSWER_S),
        response_bytes_max: limits::KEYS_ANSWER_BYTES_MAX,
    };
    let pulse = pacemaker::start(1)?.pop().context("an executor has a pulse")?;
    let _watched = pulse.watch_this_thread();
    let executor = LocalExecutorBuilder::default()
        .preempt_timer(Duration::from_millis(limits::PREEMPT_MS))
        .make()
        .map_err(|error| anyhow!("{error}"))?;
    executor.run(async {
        pulse.attach();
        let outbound = Outbound::new(Policy { deny_private: false }, resolver, trust);
        let (status, text) = (Cell::new(0), RefCell::new(Vec::new()));
        let on_head = |head: &Head| {
            status.set(head.status);
            true
        };
        outbound
            .call(method, call, &Stop::default(), on_head, |piece| text.borrow_mut().extend_from_slice(piece))
            .await?;
        Ok((status.get(), String::from_utf8_lossy(&text.into_inner()).into_owned()))
    })
}

fn print(mut answer: Value) -> anyhow::Result<()> {
    let secret = answer["secret"].take();
    let keys = match answer["keys"].take() {
        Value::Array(keys) => keys,
        _ => vec![answer["key"].take()],
    };
    let mut out = std::io::stdout().lock();
    for mut key in keys {
        if !key.is_object() {
            bail!("that is no answer about keys: is it a FleetLM server?");
        }
        if secret.is_string() {
            key["secret"] = secret.clone();
        }
        writeln!(out, "{key}").context("cannot print")?;
    }
    out.flush().context("cannot print")
}
