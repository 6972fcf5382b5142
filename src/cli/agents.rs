//! `fleetlm agents`.

use anyhow::Context;
use serde_json::{Value, json};
use std::process::ExitCode;

use super::print::{field, line, table};
use super::rest::Rest;
use crate::config::{AgentsTask, ServerAt};

pub(super) fn run(at: &ServerAt, task: Option<AgentsTask>) -> anyhow::Result<ExitCode> {
    let rest = Rest::new(at)?;
    match task.unwrap_or(AgentsTask::List) {
        AgentsTask::List => rows(&rest.get(&["api", "agents"], &[])?["agents"], at.json, AGENT)?,
        AgentsTask::Add { id, origin_url, name, webhook_path } => {
            let mut agent = json!({ "id": id, "name": name.as_ref().unwrap_or(&id), "origin_url": origin_url });
            if let Some(path) = webhook_path {
                agent["webhook_path"] = path.into();
            }
            let answer = rest.call("POST", &["api", "agents"], &[], Some(&json!({ "agent": agent })), None)?;
            if at.json {
                line(&answer["agent"].to_string())?;
            }
        }
        AgentsTask::Enable { id } => {
            let body = json!({ "agent": { "status": "enabled" } });
            rest.call("PATCH", &["api", "agents", &id], &[], Some(&body), None)?;
        }
        AgentsTask::Disable { id } => {
            rest.call("DELETE", &["api", "agents", &id], &[], None, None)?;
        }
        AgentsTask::Deliveries { id } => {
            let answer = rest.get(&["api", "agents", &id, "deliveries"], &[])?;
            rows(&answer["deliveries"], at.json, DELIVERY)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Heads of columns and the fields in them.
type Columns = &'static [(&'static str, &'static str)];

const AGENT: Columns = &[("ID", "id"), ("NAME", "name"), ("STATUS", "status"), ("CALLED AT", "origin_url")];
const DELIVERY: Columns = &[
    ("ENDED AT", "ended_at"),
    ("SESSION", "session_id"),
    ("STATUS", "status"),
    ("ATTEMPT", "attempt"),
    ("MS", "duration_ms"),
    ("ERROR", "error"),
];

fn rows(list: &Value, json: bool, columns: Columns) -> anyhow::Result<()> {
    let list = list.as_array().context("the server answers with something else than a list")?;
    if json {
        return Ok(list.iter().try_for_each(|row| line(&row.to_string()))?);
    }
    let cell = |row: &Value, name: &str| match &row[name] {
        Value::Null => "-".to_owned(),
        Value::String(_) => field(row, name).to_owned(),
        other => other.to_string(),
    };
    let rows: Vec<Vec<String>> =
        list.iter().map(|row| columns.iter().map(|(_, name)| cell(row, name)).collect()).collect();
    Ok(table(&columns.iter().map(|(head, _)| *head).collect::<Vec<_>>(), &rows)?)
}
