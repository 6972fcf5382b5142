//! What Prometheus reads: one set of series per shard, so that no two shards touch the same number.
//!
//! Names of the original (contract 1.7) are kept where the thing still exists; durations are in milliseconds as there.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::api::storage::Room;
use crate::shard::{ShardId, ShardStatus};

/// Milliseconds of the original's append histogram, with finer steps below: an append here takes a fraction of one.
const APPEND_MS: [f64; 15] =
    [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 150.0, 200.0, 500.0, 1000.0, 2000.0];
/// Milliseconds of a call of an agent: the original's.
const WEBHOOK_MS: [f64; 9] = [50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0];
/// Milliseconds from a user's message to the first chunk of its answer: the original's, with finer steps below.
const FIRST_CHUNK_MS: [f64; 13] =
    [10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 1500.0, 2000.0, 3000.0, 5000.0, 10_000.0];
/// Milliseconds of a sync.
const SYNC_MS: [f64; 12] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 200.0, 1000.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ShardLabel {
    shard: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResponseLabels {
    shard: u16,
    class: StatusClass,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    shard: u16,
    result: CallResult,
}

/// How a call of an agent ended.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
enum CallResult {
    Success,
    Failure,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CloseLabels {
    shard: u16,
    reason: CloseReason,
}

/// The hundreds of an HTTP status.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub(super) enum StatusClass {
    Success,
    ClientError,
    ServerError,
}

/// Why the server ended a connection of its own accord.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub(super) enum CloseReason {
    SlowReader,
    Idle,
    SlowRequest,
    Malformed,
    TooMany,
    Drain,
    Handshake,
    Expired,
}

/// The families, shared by all shards, and the registry that renders them.
pub struct Metrics {
    registry: Registry,
    responses: Family<ResponseLabels, Counter>,
    closes: Family<CloseLabels, Counter>,
    counters: Vec<(Which, Family<ShardLabel, Counter>)>,
    gauges: Vec<(Level, Family<ShardLabel, Gauge>)>,
    append_ms: Family<ShardLabel, Histogram>,
    sync_ms: Family<ShardLabel, Histogram>,
    webhook_ms: Family<CallLabels, Histogram>,
    first_chunk_ms: Family<ShardLabel, Histogram>,
    /// Of the whole server: bytes free and in total.
    room: [Gauge; 2],
}

/// Things that only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Requests,
    Connections,
    SocketsOpened,
    SocketMessagesIn,
    Deliveries,
    CommandsMailed,
    MailRefused,
    PushesDropped,
    Syncs,
    SyncFailures,
    Appended,
    Replayed,
    MessagesRead,
    RunsStarted,
    RunsFinished,
    RunsFailed,
    RunsStopped,
    RunRetries,
    RunsRecovered,
    StreamChunks,
    StreamLinesDropped,
    StreamFinalized,
    WebhookCalls,
    FirstChunks,
    Compactions,
    CompactionsFailed,
    TlsHandshakes,
    Ratings,
}

/// Things that rise and fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    ConnectionsOpen,
    SocketsOpen,
    LongPollsOpen,
    Sessions,
    PendingCommits,
    Subscriptions,
    LogBytes,
    Segments,
    CorruptRecords,
    Poisoned,
    DiskFull,
    RunsOpen,
    CallsOpen,
    RunsBytes,
    WebhookConnections,
    Ready,
}

const COUNTERS: [(Which, &str, &str); 28] = [
    (Which::Requests, "fleetlm_http_requests", "HTTP requests"),
    (Which::Connections, "fleetlm_connections_accepted", "TCP connections accepted"),
    (Which::SocketsOpened, "fleetlm_sockets_opened", "WebSocket and long-poll sockets opened"),
    (Which::SocketMessagesIn, "fleetlm_socket_messages_received", "Channel messages received"),
    (Which::Deliveries, "fleetlm_deliveries", "Events brought to a subscriber"),
    (Which::CommandsMailed, "fleetlm_mailbox_commands", "Commands mailed to another shard"),
    (Which::MailRefused, "fleetlm_mailbox_refused", "Commands refused because a mailbox was full"),
    (
        Which::PushesDropped,
        "fleetlm_pushes_dropped",
        "Pushes dropped because a mailbox was full; their topics were told",
    ),
    (Which::Syncs, "fleetlm_syncs", "fdatasync calls"),
    (Which::SyncFailures, "fleetlm_sync_failures", "fdatasync calls that failed"),
    (Which::Appended, "fleetlm_messages_appended", "Messages appended"),
    (Which::Replayed, "fleetlm_messages_deduplicated", "Appends answered from an earlier one with the same key"),
    (Which::MessagesRead, "fleetlm_messages_read", "Messages read in pages and joins"),
    (Which::RunsStarted, "fleetlm_agent_runs_started", "Runs whose agent was called"),
    (Which::RunsFinished, "fleetlm_agent_runs_finished", "Runs that ended with what their agent wanted to say"),
    (Which::RunsFailed, "fleetlm_agent_dispatch_drops", "Runs that failed for good; their clients were told"),
    (Which::RunsStopped, "fleetlm_agent_runs_stopped", "Runs that somebody stopped"),
    (Which::RunRetries, "fleetlm_agent_dispatch_retries", "Attempts after the first of a run"),
    (
        Which::RunsRecovered,
        "fleetlm_agent_runs_recovered",
        "Runs that a crash had cut off and that were taken up again",
    ),
    (Which::StreamChunks, "fleetlm_agent_stream_chunks", "Chunks of answers"),
    (Which::StreamLinesDropped, "fleetlm_agent_stream_lines_dropped", "Lines of answers that were no chunks"),
    (Which::StreamFinalized, "fleetlm_agent_stream_finalized", "Messages made of chunks"),
    (Which::WebhookCalls, "fleetlm_agent_webhook", "Calls of agents that have ended"),
    (Which::FirstChunks, "fleetlm_agent_ttft", "Calls of agents that said something"),
    (Which::Compactions, "fleetlm_agent_compactions", "Sessions compacted"),
    (
        Which::CompactionsFailed,
        "fleetlm_agent_compactions_failed",
        "Compactions that failed; the agent got the plain window",
    ),
    (Which::TlsHandshakes, "fleetlm_tls_handshakes", "TLS handshakes of clients that came to their end"),
    (Which::Ratings, "fleetlm_feedback", "Ratings of answers, changed ones included"),
];

const GAUGES: [(Level, &str, &str); 16] = [
    (Level::ConnectionsOpen, "fleetlm_connections_open", "Open TCP connections"),
    (Level::SocketsOpen, "fleetlm_sockets_open", "Open WebSockets"),
    (Level::LongPollsOpen, "fleetlm_long_polls_open", "Open long-poll sessions"),
    (Level::Sessions, "fleetlm_sessions", "Sessions that exist"),
    (Level::PendingCommits, "fleetlm_pending_commits", "Replies and pushes that wait for their commit"),
    (Level::Subscriptions, "fleetlm_subscriptions", "Subscriptions of shards to sessions"),
    (Level::LogBytes, "fleetlm_log_bytes", "Bytes of the log that hold records"),
    (Level::Segments, "fleetlm_log_segments", "Segment files"),
    (Level::CorruptRecords, "fleetlm_log_corruptions", "Places in the log that do not verify"),
    (Level::Poisoned, "fleetlm_log_poisoned", "1 when the log takes no more appends"),
    (Level::DiskFull, "fleetlm_disk_full", "1 when the last segment could not be prepared for want of room"),
    (Level::RunsOpen, "fleetlm_agent_runs_open", "Runs that wait, are being called or answer"),
    (Level::CallsOpen, "fleetlm_agent_calls_open", "Calls of agents under way"),
    (Level::RunsBytes, "fleetlm_agent_runs_bytes", "Bytes of the chunks of running answers"),
    (Level::WebhookConnections, "fleetlm_webhook_connections_open", "Open connections to webhooks, idle ones included"),
    (Level::Ready, "fleetlm_ready", "1 while nothing keeps the shard from being ready"),
];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let responses = Family::default();
        registry.register("fleetlm_http_responses", "HTTP responses by class", responses.clone());
        let closes = Family::default();
        registry.register("fleetlm_connections_closed", "Connections closed by the server", closes.clone());
        let mut counters = Vec::new();
        for (which, name, text) in COUNTERS {
            let family = Family::default();
            registry.register(name, text, family.clone());
            counters.push((which, family));
        }
        let mut gauges = Vec::new();
        for (level, name, text) in GAUGES {
            let family = Family::default();
            registry.register(name, text, family.clone());
            gauges.push((level, family));
        }
        let append_ms = Family::new_with_constructor((|| Histogram::new(APPEND_MS)) as fn() -> Histogram);
        let text = "Time from an append's arrival on its shard's connection to its acknowledgement";
        registry.register("fleetlm_session_append_duration", text, append_ms.clone());
        let sync_ms = Family::new_with_constructor((|| Histogram::new(SYNC_MS)) as fn() -> Histogram);
        registry.register("fleetlm_sync_duration", "Time of one fdatasync", sync_ms.clone());
        let webhook_ms = Family::new_with_constructor((|| Histogram::new(WEBHOOK_MS)) as fn() -> Histogram);
        registry.register("fleetlm_agent_webhook_duration", "Time of one call of an agent", webhook_ms.clone());
        let first_chunk_ms = Family::new_with_constructor((|| Histogram::new(FIRST_CHUNK_MS)) as fn() -> Histogram);
        let text = "Time from a user's message to the first chunk of its answer";
        registry.register("fleetlm_agent_ttft_duration", text, first_chunk_ms.clone());
        let room = <[Gauge; 2]>::default();
        let text = "Bytes that the server may still write to the file system of its data folder";
        registry.register("fleetlm_disk_free_bytes", text, room[0].clone());
        registry.register("fleetlm_disk_size_bytes", "Bytes of the file system of the data folder", room[1].clone());
        Self { registry, responses, closes, counters, gauges, append_ms, sync_ms, webhook_ms, first_chunk_ms, room }
    }
}

impl Metrics {
    /// What the file system of the data folder has.
    pub(super) fn set_room(&self, room: Room) {
        for (gauge, bytes) in self.room.iter().zip([room.free, room.size]) {
            gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// All series in Prometheus' text format, version 0.0.4.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing into a String does not fail");
        prometheus_text(&text)
    }

    /// The series of one shard.
    pub(super) fn of_shard(self: &Arc<Self>, shard: ShardId) -> ShardMetrics {
        let label = ShardLabel { shard: shard.0 };
        let response = |class| self.responses.get_or_create_owned(&ResponseLabels { shard: shard.0, class });
        ShardMetrics {
            counters: self.counters.iter().map(|(_, family)| family.get_or_create_owned(&label)).collect(),
            gauges: self.gauges.iter().map(|(_, family)| family.get_or_create_owned(&label)).collect(),
            responses: [
                response(StatusClass::Success),
                response(StatusClass::ClientError),
                response(StatusClass::ServerError),
            ],
            append_ms: self.append_ms.get_or_create_owned(&label),
            sync_ms: self.sync_ms.get_or_create_owned(&label),
            first_chunk_ms: self.first_chunk_ms.get_or_create_owned(&label),
            webhook_ms: [CallResult::Success, CallResult::Failure]
                .map(|result| self.webhook_ms.get_or_create_owned(&CallLabels { shard: label.shard, result })),
            all: Arc::clone(self),
            shard,
        }
    }
}

/// The registry writes OpenMetrics, where the `HELP` and `TYPE` of a counter lack the `_total` of its samples and a mark ends the page. In
/// the format that the answer names, a counter's samples would have neither help nor type then.
fn prometheus_text(open_metrics: &str) -> String {
    let counter = |line: &'_ str| Some(line.strip_prefix("# TYPE ")?.strip_suffix(" counter")?.to_owned());
    let counters: HashSet<String> = open_metrics.lines().filter_map(counter).collect();
    let mut text = String::with_capacity(open_metrics.len() + 16 * counters.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(said)) if counters.contains(name) => {
                text.extend(["# ", what, " ", name, "_total ", said]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// One shard's handles on its own series.
pub(super) struct ShardMetrics {
    counters: Vec<Counter<u64, AtomicU64>>,
    gauges: Vec<Gauge>,
    responses: [Counter<u64, AtomicU64>; 3],
    append_ms: Histogram,
    sync_ms: Histogram,
    first_chunk_ms: Histogram,
    /// Of calls that succeeded, and of those that failed.
    webhook_ms: [Histogram; 2],
    all: Arc<Metrics>,
    shard: ShardId,
}

impl ShardMetrics {
    pub(super) fn count(&self, which: Which) {
        self.add(which, 1);
    }

    pub(super) fn add(&self, which: Which, amount: u64) {
        self.counters[which as usize].inc_by(amount);
    }

    pub(super) fn set(&self, level: Level, value: u64) {
        self.gauges[level as usize].set(i64::try_from(value).unwrap_or(i64::MAX));
    }

    pub(super) fn rise(&self, level: Level) {
        self.gauges[level as usize].inc();
    }

    pub(super) fn fall(&self, level: Level) {
        self.gauges[level as usize].dec();
    }

    pub(super) fn responded(&self, status: u16) {
        let class = match status {
            0..400 => 0,
            400..500 => 1,
            _ => 2,
        };
        self.responses[class].inc();
    }

    pub(super) fn closed(&self, reason: CloseReason) {
        self.all.closes.get_or_create(&CloseLabels { shard: self.shard.0, reason }).inc();
    }

    pub(super) fn appended_us(&self, micros: u64) {
        self.append_ms.observe(micros as f64 / 1000.0);
    }

    pub(super) fn synced_us(&self, micros: u64) {
        self.sync_ms.observe(micros as f64 / 1000.0);
    }

    pub(super) fn called_us(&self, micros: u64, is_success: bool) {
        self.count(Which::WebhookCalls);
        self.webhook_ms[usize::from(!is_success)].observe(micros as f64 / 1000.0);
    }

    pub(super) fn first_chunk_us(&self, micros: u64) {
        self.count(Which::FirstChunks);
        self.first_chunk_ms.observe(micros as f64 / 1000.0);
    }

    /// Takes over what the shard says of itself; its totals count from the start of the process.
    pub(super) fn take_over(&self, status: &ShardStatus) {
        self.set(Level::Sessions, status.sessions);
        self.set(Level::PendingCommits, status.pending_commits);
        self.set(Level::Subscriptions, status.subscriptions);
        self.set(Level::LogBytes, status.log_bytes);
        self.set(Level::Segments, status.segments);
        self.set(Level::CorruptRecords, status.corrupt.len() as u64);
        self.set(Level::Poisoned, u64::from(status.poisoned));
        self.set(Level::DiskFull, u64::from(status.disk_full));
        self.set(Level::RunsOpen, status.runs_open);
        self.set(Level::CallsOpen, status.calls_open);
        self.set(Level::RunsBytes, status.runs_bytes);
        let runs = &status.runs;
        for (which, total) in [
            (Which::Appended, status.appended_total),
            (Which::Replayed, status.replayed_total),
            (Which::MessagesRead, status.read_messages_total),
            (Which::RunsStarted, runs.started),
            (Which::RunsFinished, runs.finished),
            (Which::RunsFailed, runs.failed),
            (Which::RunsStopped, runs.stopped),
            (Which::RunRetries, runs.retries),
            (Which::RunsRecovered, runs.recovered),
            (Which::StreamChunks, runs.chunks),
            (Which::StreamLinesDropped, runs.lines_dropped),
            (Which::StreamFinalized, runs.messages),
            (Which::Compactions, runs.compactions),
            (Which::CompactionsFailed, runs.compactions_failed),
        ] {
            let counter = &self.counters[which as usize];
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    pub(super) fn set_room(&self, room: Room) {
        self.all.set_room(room);
    }

    pub(super) fn render(&self) -> String {
        self.all.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_indexed_by_their_enums() {
        assert!(COUNTERS.iter().enumerate().all(|(place, (which, ..))| *which as usize == place));
        assert!(GAUGES.iter().enumerate().all(|(place, (level, ..))| *level as usize == place));
    }

    #[test]
    fn what_a_shard_counts_is_rendered_with_its_label() {
        let all = Arc::new(Metrics::default());
        let shard = all.of_shard(ShardId(3));
        shard.count(Which::Requests);
        shard.responded(404);
        shard.closed(CloseReason::SlowReader);
        shard.appended_us(250);
        shard.take_over(&ShardStatus { appended_total: 7, poisoned: true, ..ShardStatus::default() });
        shard.take_over(&ShardStatus { appended_total: 9, poisoned: true, ..ShardStatus::default() });
        shard.set_room(Room { free: 5, size: u64::MAX });
        let text = shard.render();
        for line in [
            "fleetlm_http_requests_total{shard=\"3\"} 1",
            "fleetlm_http_responses_total{shard=\"3\",class=\"ClientError\"} 1",
            "fleetlm_connections_closed_total{shard=\"3\",reason=\"SlowReader\"} 1",
            "fleetlm_session_append_duration_bucket{le=\"0.5\",shard=\"3\"} 1",
            "fleetlm_messages_appended_total{shard=\"3\"} 9",
            "fleetlm_log_poisoned{shard=\"3\"} 1",
            "fleetlm_disk_free_bytes 5",
            "fleetlm_disk_size_bytes 9223372036854775807",
            "# HELP fleetlm_http_requests_total HTTP requests.",
            "# TYPE fleetlm_http_requests_total counter",
            "# TYPE fleetlm_log_poisoned gauge",
            "# TYPE fleetlm_session_append_duration histogram",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("# EOF"), "that is OpenMetrics");
    }
}
