//! Every bound of the server, with its reason and the answer to "what when full".
//!
//! Bounds that an operator may set are fields of `config`; their defaults stand here.

/// Bytes of one HTTP request line. Full: 414, connection closed. RFC 9112 section 3 recommends at least 8000.
pub const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of one HTTP request head. Full: 431, connection closed. Browsers and proxies stop at 8 to 16 KiB.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines of one request. Full: 431, connection closed. Twice what browsers behind proxies send.
pub const HEADERS_MAX: usize = 100;
/// Bytes of one request body, from the original's contract (1.1). Full: 413, refused before it is buffered.
pub const BODY_BYTES_MAX: usize = 8_000_000;
/// Bytes of one WebSocket message (all fragments). Full: close 1009. Same as a body, so both ways carry the same
/// message.
pub const WS_MESSAGE_BYTES_MAX: usize = 8_000_000;
/// Fragments of one WebSocket message. Full: close 1009. Autobahn sends 65,536.
pub const WS_FRAGMENTS_MAX: usize = 131_072;
/// Bytes of one stored message as clients read it. Full: 413. Leaves room for the envelope around the largest body.
pub const MESSAGE_BYTES_MAX: usize = 8_100_000;
/// Bytes of an id given by a caller (user, agent), of a kind, of an agent's name. Full: 422. The original's column
/// width.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of an `Idempotency-Key`. Full: 422.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// A key is remembered for this many of its session's latest messages. Older: the retry is a new message.
pub const IDEMPOTENCY_WINDOW: u64 = 4096;
/// Messages of a page when the caller names no limit (contract 1.5).
pub const PAGE_MESSAGES_DEFAULT: usize = 50;
/// Messages of a page at the most (the original's scripts ask for 100,000). More: `has_more` is true.
pub const PAGE_MESSAGES_MAX: usize = 100_000;
/// Depth of arrays and objects in what a caller stores. Full: 422. Readers recurse: many stop at 128, and a message wraps it.
pub const JSON_DEPTH_MAX: usize = 100;
/// Bytes of a page at the most, so that no reply grows with the size of messages. More: `has_more` is true.
pub const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Messages in the reply of a join when the caller names no limit (contract 2.2). More: `has_more` is true.
pub const JOIN_MESSAGES_DEFAULT: usize = 100;
/// Messages in the reply of a join at the most.
pub const JOIN_MESSAGES_MAX: usize = 1000;
/// Sessions of a list page, default and largest (contract 1.4 capped at 50 without paging).
pub const PAGE_SESSIONS_DEFAULT: usize = 50;
/// See [`PAGE_SESSIONS_DEFAULT`]. More: `has_more` is true.
pub const PAGE_SESSIONS_MAX: usize = 500;
/// Entries of an inbox, most recently active first. More: the oldest are left out.
pub const INBOX_ENTRIES_MAX: usize = 500;
/// An inbox with fewer dirty entries than this waits for its interval; with as many it is sent at once (contract 5).
pub const INBOX_DIRTY_MAX: usize = 50;
/// Microseconds between two deltas of one inbox; the first after a quiet interval goes at once (contract 5).
pub const INBOX_INTERVAL_US: u64 = 1_000_000;
/// Registered agents. Full: 422. They are listed whole.
pub const AGENTS_MAX: usize = 10_000;
/// Bytes of an agent's `origin_url`, `webhook_path` or `compaction_webhook_url`. Full: 422. What HTTP servers take as
/// a target.
pub const AGENT_URL_BYTES_MAX: usize = 2048;
/// Bytes of all header names and values of an agent. Full: 422. What HTTP servers take as a head.
pub const AGENT_HEADERS_BYTES_MAX: usize = 8192;
/// Read cursors of one session. Full: 422. Any user may read; strangers must not grow a session without end.
pub const CURSORS_MAX: usize = 1_000;
/// Channels of one socket (Phoenix 1.8.9 has the same bound). Full: join error `too many channels joined`.
pub const CHANNELS_MAX: usize = 100;
/// Commands of one shard waiting for their commit. Full: 503 with `Retry-After`.
pub const PENDING_COMMITS_MAX: usize = 65_536;
/// Bytes of messages of one shard waiting for their commit. Full: 503 with `Retry-After`. A disk that syncs in 100 ms
/// takes 640 MB/s.
pub const PENDING_COMMIT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Commands of one shard waiting for a cold range or for the next segment. Full: 503 with `Retry-After`.
pub const PARKED_MAX: usize = 4_096;
/// Messages of one session. Full: 422. Counters of an idle session have 32 bits.
pub const SESSION_MESSAGES_MAX: u64 = u32::MAX as u64 - 1;
/// Idempotency keys of one shard in memory, about 64 bytes each. Full: the window that was built first is dropped; a
/// keyed append builds it again from the log.
pub const IDEMPOTENCY_KEYS_MAX: usize = 262_144;
/// Pushes that a topic keeps while a join's reply is on its way. Full: the joining channel gets a gap and joins again.
pub const JOINING_PUSHES_MAX: usize = 1_024;
/// Microseconds that a command waits for the disk before it is decided. Over: 503 with `Retry-After`. A disk that
/// takes longer is ill.
pub const PARKED_US_MAX: u64 = 10_000_000;
