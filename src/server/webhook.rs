//! Calls of agents: a shard's [`Call`](crate::shard::Call) becomes a request, what the agent answers goes back to the shard
//! line by line, as it comes.
//!
//! One task per call, on the shard of its session. A call is ended early by its [`Stop`]; the task itself is never dropped.
//! What a line means is the shard's business, how bytes travel that of `outbound`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::echo_agent;
use super::outbound::{self, CallError, Head, Stop};
use super::world::World;
use crate::agent::{Failure, signature, webhook_url};
use crate::api::runs::delivery_id;
use crate::limits;
use crate::protocol::answer::{AnswerDecoder, Line};
use crate::session::{AgentConfig, RunId, SessionId};
use crate::shard::{Call, CallEnd, CallEvent, CallKind, Input};

/// The calls under way of a shard.
#[derive(Default)]
pub(super) struct Calls {
    stops: RefCell<HashMap<(SessionId, RunId, u16), Stop>>,
}

impl Calls {
    /// Whether none is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.stops.borrow().is_empty()
    }

    /// Ends a call early.
    pub(super) fn stop(&self, session: SessionId, run: RunId, voice: u16) {
        if let Some(stop) = self.stops.borrow().get(&(session, run, voice)) {
            stop.stop();
        }
    }
}

/// Begins a call.
pub(super) fn begin(world: &Rc<World>, mut call: Box<Call>) {
    let stop = Stop::new();
    world.calls_out.stops.borrow_mut().insert((call.session, call.run, call.voice), stop.clone());
    let world = Rc::clone(world);
    glommio::spawn_local(async move {
        let progress = Progress::new(&call);
        let failure = perform(&world, &mut call, &stop, &progress).await;
        end(&world, &call, progress, failure);
    })
    .detach();
}

async fn perform(world: &Rc<World>, call: &mut Call, stop: &Stop, progress: &Progress) -> Option<Failure> {
    // An answer may take minutes: its request's body is not kept for so long.
    let body = std::mem::take(&mut call.body);
    let call = &*call;
    let builtin = call.agent.origin_url.strip_prefix(echo_agent::SCHEME);
    // A built-in agent answers; it compacts nothing, but may name a webhook that does.
    if let Some(options) = builtin.filter(|_| call.kind == CallKind::Answer) {
        let say = |line: String| hear(world, call, stop, progress, vec![line]);
        let total = Duration::from_millis(u64::from(call.agent.total_timeout_ms));
        return echo_agent::answer(options, &body, stop, total, say).await;
    }
    let request = match request_of(world, call, body) {
        Ok(request) => request,
        Err(failure) => return Some(failure),
    };
    let refused = RefCell::new(None);
    let decoder = RefCell::new(AnswerDecoder::new(limits::ANSWER_LINE_BYTES_MAX));
    let on_head = |head: &Head| {
        progress.status.set(Some(head.status));
        if (200..300).contains(&head.status) {
            return true;
        }
        *refused.borrow_mut() = Some(Failure::of_status(head.status, head.retry_after_ms));
        false
    };
    let on_body = |bytes: &[u8]| match call.kind {
        CallKind::Compaction => progress.body.borrow_mut().extend_from_slice(bytes),
        CallKind::Answer => {
            let mut lines = Vec::new();
            decoder.borrow_mut().push(bytes, &mut lines);
            hear(world, call, stop, progress, chunks_of(lines));
        }
    };
    let result = world.outbound.post(request, stop, on_head, on_body).await;
    if call.kind == CallKind::Answer && refused.borrow().is_none() {
        let mut lines = Vec::new();
        decoder.borrow_mut().finish(&mut lines);
        hear(world, call, stop, progress, chunks_of(lines));
    }
    progress.lines_dropped.set(decoder.borrow().dropped());
    let failed = result.err().map(|error| failure_of(&error));
    refused.into_inner().or(failed)
}

/// What a call has come to so far.
struct Progress {
    started: Instant,
    first_line: std::cell::Cell<Option<Duration>>,
    status: std::cell::Cell<Option<u16>>,
    lines: std::cell::Cell<u32>,
    lines_dropped: std::cell::Cell<u64>,
    body: RefCell<Vec<u8>>,
    spoke_us: u64,
}

impl Progress {
    fn new(call: &Call) -> Self {
        Self {
            started: Instant::now(),
            first_line: Default::default(),
            status: Default::default(),
            lines: Default::default(),
            lines_dropped: Default::default(),
            body: RefCell::default(),
            spoke_us: call.spoke_us,
        }
    }
}

/// Brings lines to the shard.
fn hear(world: &Rc<World>, call: &Call, stop: &Stop, progress: &Progress, lines: Vec<String>) {
    if lines.is_empty() || stop.is_stopped() {
        return;
    }
    world.arrived();
    if progress.first_line.get().is_none() {
        progress.first_line.set(Some(progress.started.elapsed()));
        world.metrics.first_chunk_us(world.now().mono_us.saturating_sub(progress.spoke_us));
    }
    progress.lines.set(progress.lines.get() + lines.len() as u32);
    step(world, call, CallEvent::Lines(lines));
}

fn end(world: &Rc<World>, call: &Call, progress: Progress, failure: Option<Failure>) {
    world.calls_out.stops.borrow_mut().remove(&(call.session, call.run, call.voice));
    let duration_us = progress.started.elapsed().as_micros() as u64;
    // A call that the shard ended early is no news: the shard says why.
    let failed = failure.as_ref().filter(|failure| failure.reason != CallError::Stopped.reason());
    world.metrics.called_us(duration_us, failed.is_none());
    if let Some(failure) = failed {
        tracing::warn!(
            agent = call.agent.id(),
            session = %call.session,
            run = %call.run,
            attempt = call.attempt,
            reason = failure.reason,
            "a call failed: {}",
            failure.detail
        );
    }
    let event = CallEvent::Ended(CallEnd {
        failure,
        status: progress.status.get(),
        lines: progress.lines.get(),
        lines_dropped: progress.lines_dropped.get(),
        duration_us,
        first_line_us: progress.first_line.get().map(|after| after.as_micros() as u64),
        body: progress.body.into_inner(),
    });
    world.arrived();
    step(world, call, event);
}

fn step(world: &Rc<World>, call: &Call, event: CallEvent) {
    let Call { session, run, voice, attempt, .. } = *call;
    world.take(Input::Called { session, run, voice, attempt, event });
}

fn chunks_of(lines: Vec<Line>) -> Vec<String> {
    let chunk = |line| match line {
        Line::Chunk(text) => Some(text),
        Line::Done => None,
    };
    lines.into_iter().filter_map(chunk).collect()
}

fn failure_of(error: &CallError) -> Failure {
    Failure {
        reason: error.reason(),
        status: None,
        is_retryable: error.is_retryable(),
        is_ours: matches!(error, CallError::TooManyConnections),
        retry_after_ms: None,
        detail: error.to_string(),
    }
}

/// The request of a call (contract 4.4): the agent's own headers, then ours, which nobody can forge by registration.
fn request_of(world: &World, call: &Call, body: Vec<u8>) -> Result<outbound::Call, Failure> {
    let agent = &*call.agent;
    let url = match (call.kind, &agent.compaction_webhook_url) {
        (CallKind::Compaction, Some(url)) => url.clone(),
        _ => webhook_url(&agent.origin_url, &agent.webhook_path)
            .map_err(|error| Failure::fatal("invalid_url", error.to_string()))?,
    };
    let response_bytes_max = match call.kind {
        CallKind::Answer => limits::ANSWER_STREAM_BYTES_MAX,
        CallKind::Compaction => limits::COMPACTED_BYTES_MAX as u64,
    };
    Ok(outbound::Call {
        url,
        headers: headers_of(agent, call, &body, world.now().unix_us / 1_000_000),
        body,
        gap_timeout: Duration::from_millis(u64::from(agent.timeout_ms)),
        total_timeout: Duration::from_millis(u64::from(agent.total_timeout_ms)),
        response_bytes_max,
    })
}

fn headers_of(agent: &AgentConfig, call: &Call, body: &[u8], timestamp_s: u64) -> Vec<(String, String)> {
    let is_ours = |name: &str| name.starts_with("x-fleetlm-");
    let own = agent.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut headers: Vec<(String, String)> = own.filter(|(name, _)| !is_ours(name)).collect();
    let has = |headers: &[(String, String)], name: &str| headers.iter().any(|(known, _)| known == name);
    for (name, value) in [("content-type", "application/json"), ("accept", "application/json, text/event-stream")] {
        if !has(&headers, name) {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    let mut ours = vec![
        ("x-fleetlm-delivery", delivery_id(call.run, call.voice, call.attempt)),
        ("x-fleetlm-run", call.run.to_string()),
        ("x-fleetlm-attempt", call.attempt.to_string()),
        ("x-fleetlm-timestamp", timestamp_s.to_string()),
    ];
    if let Some(secret) = &agent.secret {
        ours.push(("x-fleetlm-signature", format!("v1={}", signature(secret, timestamp_s, body))));
    }
    headers.extend(ours.into_iter().map(|(name, value)| (name.to_owned(), value)));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Json;

    fn call(fields: &str) -> Call {
        let json = Json::parse(&format!(r#"{{"id":"a","name":"A","origin_url":"http://a",{fields}}}"#)).unwrap();
        Call {
            session: SessionId::from(1),
            run: RunId::from(2),
            voice: 0,
            attempt: 3,
            kind: CallKind::Answer,
            agent: Box::new(AgentConfig::create(&json, 5).unwrap()),
            body: b"{}".to_vec(),
            spoke_us: 0,
        }
    }

    fn headers(fields: &str) -> Vec<(String, String)> {
        let call = call(fields);
        headers_of(&call.agent, &call, &call.body, 1_761_216_480)
    }

    fn values<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
        headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    #[test]
    fn a_call_names_its_delivery_run_and_attempt_and_is_signed_when_there_is_a_secret() {
        let plain = headers(r#""headers":{}"#);
        let run = RunId::from(2);
        assert_eq!(values(&plain, "x-fleetlm-delivery"), [format!("{run}-3")]);
        assert_eq!(values(&plain, "x-fleetlm-run"), [run.to_string()]);
        assert_eq!(values(&plain, "x-fleetlm-attempt"), ["3"]);
        assert_eq!(values(&plain, "content-type"), ["application/json"]);
        assert!(values(&plain, "x-fleetlm-signature").is_empty());
        let signed = headers(r#""secret":"s3cret""#);
        let expected = format!("v1={}", signature("s3cret", 1_761_216_480, b"{}"));
        assert_eq!(values(&signed, "x-fleetlm-signature"), [expected]);
    }

    #[test]
    fn an_agents_headers_are_sent_as_given_and_cannot_be_taken_for_ours() {
        let headers = headers(
            r#""headers":{"Authorization":"Bearer k","X-FleetLM-Signature":"v1=forged","Content-Type":"application/x"}"#,
        );
        assert_eq!(values(&headers, "authorization"), ["Bearer k"]);
        assert_eq!(values(&headers, "content-type"), ["application/x"]);
        assert!(values(&headers, "x-fleetlm-signature").is_empty());
    }
}
