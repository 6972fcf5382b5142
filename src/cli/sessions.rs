//! `fleetlm sessions`.

use anyhow::Context;
use serde_json::{Value, json};
use std::process::ExitCode;

use super::print::{field, line, table};
use super::rest::Rest;
use crate::config::{ServerAt, SessionsTask};

/// The largest page of sessions that a server gives.
const PAGE: u64 = 500;

pub(super) fn run(at: &ServerAt, task: Option<SessionsTask>) -> anyhow::Result<ExitCode> {
    let rest = Rest::new(at)?;
    match task.unwrap_or(SessionsTask::List { user: None, limit: 50 }) {
        SessionsTask::List { user, limit } => list(&rest, user.as_deref(), limit, at.json)?,
        SessionsTask::New { user, agent, title } => {
            let session = make(&rest, &user, &agent, title.as_deref())?;
            line(&if at.json { session.to_string() } else { field(&session, "id").to_owned() })?;
        }
        SessionsTask::Rename { id, title } => {
            rest.call("PATCH", &["api", "sessions", &id], &[], Some(&json!({ "title": title })), None)?;
        }
        SessionsTask::Archive { id } => {
            rest.call("DELETE", &["api", "sessions", &id], &[], None, None)?;
        }
        SessionsTask::Delete { id, permanently: _ } => {
            rest.call("DELETE", &["api", "sessions", &id], &[("permanent", "true")], None, None)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a session and gives it.
pub(super) fn make(rest: &Rest, user: &str, agent: &str, title: Option<&str>) -> anyhow::Result<Value> {
    let mut body = json!({ "user_id": user, "agent_id": agent });
    if let Some(title) = title {
        body["title"] = title.into();
    }
    let mut answer = rest.call("POST", &["api", "sessions"], &[], Some(&body), None)?;
    Ok(answer["session"].take())
}

/// Page after page, so that a server with many sessions is asked for no more than is wanted.
fn list(rest: &Rest, user: Option<&str>, limit: u64, json: bool) -> anyhow::Result<()> {
    let mut left = if limit == 0 { u64::MAX } else { limit };
    let mut before: Option<String> = None;
    let mut rows = Vec::new();
    loop {
        let count = left.min(PAGE).to_string();
        let mut query = vec![("limit", count.as_str())];
        query.extend(user.map(|user| ("user_id", user)));
        query.extend(before.as_deref().map(|before| ("before", before)));
        let page = rest.get(&["api", "sessions"], &query)?;
        let sessions = page["sessions"].as_array().context("the server answers with something else than sessions")?;
        for session in sessions {
            if json {
                line(&session.to_string())?;
            } else {
                rows.push(
                    ["id", "user_id", "agent_id", "status", "updated_at", "title"]
                        .map(|name| field(session, name).to_owned())
                        .to_vec(),
                );
            }
        }
        left = left.saturating_sub(sessions.len() as u64);
        before = sessions.last().map(|last| field(last, "id").to_owned());
        if left == 0 || before.is_none() || page["has_more"] != true {
            break;
        }
    }
    if !json {
        table(&["ID", "USER", "AGENT", "STATUS", "UPDATED", "TITLE"], &rows)?;
    }
    Ok(())
}
