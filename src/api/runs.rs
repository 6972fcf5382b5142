//! Runs as clients see them: the `run` event, chunks with their place, the running answer in a join's reply, the last
//! deliveries of an agent.

use super::params;
use crate::session::{Json, RunId, SessionId, rfc3339};
use crate::shard::{CallKind, CallReport, ChunkPlace, Resume, Resumed, RunEvent, RunStatus, RunningChunk};
use serde::Serialize;
use serde_json::value::RawValue;

/// Which chunks a join asks for: `resume: true`, or what it has by `run_id` and `index`. Lenient, as joins are.
pub(super) fn resume(resume: Option<&RawValue>, run_id: Option<&RawValue>, index: Option<&RawValue>) -> Option<Resume> {
    let run = run_id.and_then(params::text).and_then(|id| RunId::parse(&id));
    let index = index.and_then(params::positive).map_or(0, |index| u32::try_from(index).unwrap_or(u32::MAX));
    match run {
        Some(run) => Some(Resume::From { run, index }),
        None => resume.is_some_and(|raw| matches!(raw.get(), "true" | "\"true\"")).then_some(Resume::All),
    }
}

/// The payload of `stream_chunk`: the seeds' two keys, and where the chunk stands in its run.
pub(super) fn stream_chunk(agent_id: &str, chunk: &Json, place: Option<ChunkPlace>) -> String {
    let agent_id = text(agent_id);
    let place = place.map(|ChunkPlace { run, index, .. }| format!(",\"run_id\":\"{run}\",\"index\":{index}"));
    format!("{{\"agent_id\":{agent_id},\"chunk\":{}{}}}", chunk.as_str(), place.unwrap_or_default())
}

#[derive(Serialize)]
struct RenderedEvent<'a> {
    run_id: String,
    agent_id: &'a str,
    status: &'static str,
    attempt: u32,
    upto_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

/// The payload of `run`.
pub(super) fn event(event: &RunEvent) -> String {
    let RunEvent { run, agent_id, attempt, upto_seq, status } = event;
    let mut rendered = RenderedEvent {
        run_id: run.to_string(),
        agent_id,
        status: "started",
        attempt: *attempt,
        upto_seq: *upto_seq,
        reason: None,
        detail: None,
        retry_in_ms: None,
        seq: None,
    };
    match status {
        RunStatus::Started => {}
        RunStatus::Retrying { reason, retry_in_ms } => {
            (rendered.status, rendered.reason, rendered.retry_in_ms) = ("retrying", Some(*reason), Some(*retry_in_ms));
        }
        RunStatus::Finished { seq } => (rendered.status, rendered.seq) = ("finished", Some(*seq)),
        RunStatus::Stopped { seq } => (rendered.status, rendered.seq) = ("stopped", *seq),
        RunStatus::Failed { reason, detail, seq } => {
            (rendered.status, rendered.reason, rendered.detail, rendered.seq) =
                ("failed", Some(*reason), Some(detail.as_str()), *seq);
        }
    }
    serde_json::to_string(&rendered).expect("plain fields always serialise")
}

/// The value of `run` in the reply to a join that resumes: null, or what runs.
pub(super) fn running(resumed: &Resumed) -> String {
    match &resumed.running {
        None => "null".to_owned(),
        Some(running) => format!(
            "{{\"run_id\":\"{}\",\"agent_id\":{},\"state\":\"{}\",\"index\":{}}}",
            resumed.run,
            text(&running.agent_id),
            running.state,
            running.first_index
        ),
    }
}

/// The events behind that reply: the chunks that the client has not seen.
pub fn missed_chunks(session: SessionId, resumed: &Resumed) -> Vec<crate::shard::Push> {
    let Some(running) = &resumed.running else { return Vec::new() };
    let place = |index| Some(ChunkPlace { run: resumed.run, index, has_floor: false });
    let chunk = |chunk: &RunningChunk| crate::shard::Push::Chunk {
        session,
        agent_id: chunk.agent_id.clone(),
        chunk: chunk.chunk.clone(),
        place: place(chunk.index),
    };
    running.chunks.iter().map(chunk).collect()
}

#[derive(Serialize)]
struct RenderedReport<'a> {
    delivery_id: String,
    session_id: String,
    run_id: String,
    attempt: u32,
    kind: &'static str,
    ended_at: String,
    duration_ms: f64,
    first_chunk_ms: Option<f64>,
    status: Option<u16>,
    chunks: u32,
    lines_dropped: u64,
    error: Option<&'a str>,
    detail: Option<&'a str>,
}

/// The body of `GET /api/agents/:id/deliveries`: the latest calls of all shards, latest first.
pub(super) fn deliveries(mut reports: Vec<CallReport>, limit: usize) -> String {
    reports.sort_by_key(|report| std::cmp::Reverse(report.ended_at_us));
    reports.truncate(limit);
    let ms = |us: u64| us as f64 / 1000.0;
    let rendered: Vec<_> = reports
        .iter()
        .map(|report| RenderedReport {
            delivery_id: delivery_id(report.run, report.voice, report.attempt),
            session_id: report.session.to_string(),
            run_id: report.run.to_string(),
            attempt: report.attempt,
            kind: match report.kind {
                CallKind::Answer => "answer",
                CallKind::Compaction => "compaction",
            },
            ended_at: rfc3339(report.ended_at_us),
            duration_ms: ms(report.duration_us),
            first_chunk_ms: report.first_line_us.map(ms),
            status: report.status,
            chunks: report.chunks,
            lines_dropped: report.lines_dropped,
            error: report.failure.as_ref().map(|(reason, _)| *reason),
            detail: report.failure.as_ref().map(|(_, detail)| detail.as_str()),
        })
        .collect();
    serde_json::json!({ "deliveries": rendered }).to_string()
}

/// The name of one call, which also stands in its request's headers. A team's run has several calls under way, each with its voice.
pub fn delivery_id(run: RunId, voice: u16, attempt: u32) -> String {
    match voice {
        0 => format!("{run}-{attempt}"),
        voice => format!("{run}.{voice}-{attempt}"),
    }
}

fn text(text: &str) -> String {
    serde_json::to_string(text).expect("a string always serialises")
}
