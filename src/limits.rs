//! Every bound of the server, with its reason and the answer to "what when full".
//!
//! Bounds that an operator may set are fields of `config`; their defaults stand here.

/// Bytes of one HTTP request line. Full: 414, connection closed. RFC 9112 section 3 recommends at least 8000.
pub const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of one HTTP request head. Full: 431, connection closed. Browsers and proxies stop at 8 to 16 KiB.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines of one request. Full: 431, connection closed. Twice what browsers behind proxies send.
pub const HEADERS_MAX: usize = 100;
/// Bytes of one request body, from the original's contract (1.1), and of one WebSocket message (all fragments), so that
/// both ways carry the same message. Full: 413, refused before it is buffered; close 1009.
pub const BODY_BYTES_MAX: usize = 8_000_000;
/// Fragments of one WebSocket message. Full: close 1009. Autobahn sends 65,536.
pub const WS_FRAGMENTS_MAX: usize = 131_072;
/// Bytes of one stored message as clients read it. Full: 413. Leaves room for the envelope around the largest body.
pub const MESSAGE_BYTES_MAX: usize = 8_100_000;
/// Bytes of an id given by a caller (user, agent), of a kind, of an agent's name. Full: 422. The original's column
/// width.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of the name of a namespace. Full: the name is not one. That of a DNS label, so that tenants can be host names.
pub const NAMESPACE_BYTES_MAX: usize = 63;
/// Bytes of an `Idempotency-Key`. Full: 422.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// A key is remembered for this many of its session's latest messages. Older: the retry is a new message. A retry comes seconds after its
/// first try; and a window is built again by reading it, which must not take the longer the older a session is.
pub const IDEMPOTENCY_WINDOW: u64 = 4096;
/// Messages behind a question among which its answer is looked for, and as many again behind the answer's first for the rest of it. Further:
/// it is not known how the question stands. As far as a retry of the question is known to be one, so that no retry misses its answer.
pub const ANSWER_WITHIN: u64 = IDEMPOTENCY_WINDOW;
/// Messages of a page when the caller names no limit (contract 1.5).
pub const PAGE_MESSAGES_DEFAULT: usize = 50;
/// Messages of a page at the most (the original's scripts ask for 100,000). More: `has_more` is true.
pub const PAGE_MESSAGES_MAX: usize = 100_000;
/// Messages of a page in the HAPI API when the client names no limit (seed 004).
pub const HUB_PAGE_MESSAGES_DEFAULT: usize = 50;
/// The same at the most (seed 004). More: `hasMore` is true.
pub const HUB_PAGE_MESSAGES_MAX: usize = 200;
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
/// Registered agents of one namespace but the default one, which is the operator's own. Full: 422. A tenth of all, so that no tenant takes what
/// the others need.
pub const NAMESPACE_AGENTS_MAX: usize = 1_000;
/// Bytes of an agent's `origin_url`, `webhook_path` or `compaction_webhook_url`. Full: 422. What HTTP servers take as
/// a target.
pub const AGENT_URL_BYTES_MAX: usize = 2048;
/// Bytes of all header names and values of an agent. Full: 422. What HTTP servers take as a head.
pub const AGENT_HEADERS_BYTES_MAX: usize = 8192;
/// Bytes of an agent's `secret`. Full: 422. Longer keys add nothing: HMAC hashes what is above 64.
pub const AGENT_SECRET_BYTES_MAX: usize = 1024;
/// Bytes of an agent's `description`, and of all its `keywords`. Full: 422. A page; every message without an agent is held
/// against it.
pub const AGENT_ABOUT_BYTES_MAX: usize = 4_096;
/// Members of a team. Full: 422. Each of them is a call for every question.
pub const TEAM_MEMBERS_MAX: usize = 16;
/// Rounds of a debate. More: 422. Each of them is a call of every member, one after the other.
pub const TEAM_ROUNDS_MAX: u32 = 4;
/// Words of a message that are looked at to choose an agent or a team's mode. More: the rest is not looked at.
pub const ROUTED_WORDS_MAX: usize = 2_000;
/// Agents that may share a word by which one of them is chosen. More: the word calls for none of them, and is passed over. So the work for a
/// message does not grow with the number of agents.
pub const ROUTED_SHARED_MAX: usize = 100;
/// Sessions of a user whose cursors one turn of a shard moves to the end. More: the rest is asked for again, behind what others want meanwhile.
pub const MARKED_SESSIONS_MAX: usize = 1_000;
/// Sessions with something unread that one turn of a shard looks into for a user's oldest unread messages. More: those that have been quiet for
/// longest are looked into, and the others when there is nothing unread in these.
pub const UNREAD_SESSIONS_MAX: usize = 1_000;
/// Characters of one member's sentence in the digest of a team. More: it is cut, with an ellipsis.
pub const DIGEST_SENTENCE_CHARS_MAX: usize = 280;
/// Attempts of one run. Full: the run has failed, and its clients are told.
pub const RUN_ATTEMPTS_MAX: u32 = 5;
/// Milliseconds of `Retry-After` that a run waits at the most. More: the run has failed; the user has left the page.
pub const RETRY_AFTER_MS_MAX: u64 = 120_000;
/// Calls of agents that one shard has under way. Full: further runs wait until one ends.
pub const CALLS_MAX: usize = 4_096;
/// Messages of one answer. Full: the answer ends there, and the run has failed as `answer_too_large`. Agents send one, some a
/// handful.
pub const RUN_MESSAGES_MAX: usize = 100;
/// Bytes of the chunks of one running answer, all voices of a team together, kept for clients that join in the middle. Full: the answer is ended with what was
/// produced, and the run has failed as `answer_too_large`.
pub const RUN_CHUNK_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of the chunks of all running answers of one shard. Full: the answer that meets it is ended with what was produced, and
/// its run has failed as `overloaded`.
pub const RUNS_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Last deliveries of an agent that one shard remembers for `GET /api/agents/:id/deliveries`. Full: the oldest is forgotten.
pub const DELIVERIES_MAX: usize = 50;
/// Agents whose deliveries one shard remembers. Full: those of the agent that was called first are forgotten.
pub const DELIVERIES_AGENTS_MAX: usize = 1_000;
/// Bytes of one streamed answer. Full: the call is ended, the run has failed with what was produced. Twice what is kept of its
/// chunks, for what is dropped and for the stream's own syntax.
pub const ANSWER_STREAM_BYTES_MAX: u64 = 2 * RUN_CHUNK_BYTES_MAX as u64;
/// Bytes of what a compaction webhook answers. Full: the compaction has failed, the agent gets the plain window.
pub const COMPACTED_BYTES_MAX: usize = 1024 * 1024;
/// Read cursors of one session. Full: 422. Any user may read; strangers must not grow a session without end.
pub const CURSORS_MAX: usize = 1_000;
/// Channels of one socket (Phoenix 1.8.9 has the same bound). Full: join error `too many channels joined`.
pub const CHANNELS_MAX: usize = 100;
/// Commands of one shard waiting for their commit. Full: 503 with `Retry-After`.
pub const PENDING_COMMITS_MAX: usize = 65_536;
/// Unsent bytes of one connection. Full: the connection is closed and counted; its client returns with its cursor.
pub const OUTBOX_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that the kernel may hold unsent for a socket (`SO_SNDBUF`): it is the hidden queue behind the outbox.
pub const SOCKET_SEND_BUFFER_BYTES: usize = 256 * 1024;
/// Events of one socket that wait for their reply. Full: the socket is not read until some are answered.
pub const SOCKET_IN_FLIGHT_MAX: usize = 1024;
/// Unsent bytes above which a socket is not read: a client that does not read its replies gets no more of them made.
pub const SOCKET_READ_PAUSE_BYTES: usize = 128 * 1024;
/// Bytes that one connection reads and handles before others get their turn.
pub const READ_BYTES_PER_TURN: usize = 64 * 1024;
/// Seconds after which a silent socket is closed (contract 2.1: 120 s).
pub const SOCKET_IDLE_S: u64 = 120;
/// Seconds after which an HTTP connection without a request is closed; above the 60 s that proxies keep theirs.
pub const HTTP_IDLE_S: u64 = 75;
/// Seconds in which a request must have arrived whole. Over: 408. Against slow senders.
pub const REQUEST_S: u64 = 30;
/// Seconds in which a client must take a response. Over: the connection is closed.
pub const RESPONSE_S: u64 = 60;
/// Seconds that a shutdown waits for connections.
pub const DRAIN_S: u64 = 10;
/// Pieces a second in which the built-in agent answers: the speed of a fast reader.
pub const ECHO_CHUNKS_PER_S: u32 = 20;
/// Seconds that a poll waits for messages (contract 3.8).
pub const LONG_POLL_S: u64 = 10;
/// Seconds after which a long-poll session that nobody polls is gone (contract 3.8).
pub const LONG_POLL_IDLE_S: u64 = 15;
/// Messages that wait for the next poll. Full: the long-poll session is closed.
pub const LONG_POLL_MESSAGES_MAX: usize = 4096;
/// Long-poll sessions of one shard. Full: status 500 in the body, which phoenix.js tries again.
pub const LONG_POLL_SESSIONS_MAX: usize = 16_384;
/// Commands on their way to one other shard. Full: 503 with `Retry-After`.
pub const MAILBOX_COMMANDS_MAX: usize = 16_384;
/// Events on their way to one other shard. Full: pushes are dropped and their topics told of the gap; replies are bounded by
/// the commands that asked for them.
pub const MAILBOX_EVENTS_MAX: usize = 65_536;
/// Bytes of a segment file: a second or two to scan, few files, seconds to minutes between rolls.
pub const SEGMENT_BYTES: u32 = 128 * 1024 * 1024;
/// The smallest segment: must hold the largest message.
pub const SEGMENT_BYTES_MIN: u32 = 16 * 1024 * 1024;
/// The largest segment: offsets are 32 bits.
pub const SEGMENT_BYTES_MAX: u32 = 1024 * 1024 * 1024;
/// Connections that may wait to be accepted. Full: the kernel refuses them.
pub const ACCEPT_BACKLOG: i32 = 4096;
/// Seconds that sent bytes may stay unacknowledged by a peer (`TCP_USER_TIMEOUT`): then it is gone.
pub const UNANSWERED_S: u64 = 30;
/// Milliseconds of a shard's heartbeat. It drives deadlines, and it is the pulse by which the pacemaker knows that a shard is awake.
pub const HEARTBEAT_MS: u64 = 10;
/// Milliseconds after which a busy shard turns to its sockets, timers and mail. Below 1 ms glommio can park with runnable
/// tasks; its own default of 100 ms delays a hop to a busy shard by as much.
pub const PREEMPT_MS: u64 = 1;
/// Microseconds that a turn goes on taking in what arrives before it is settled. Longer: fewer and larger syncs, later answers. Over:
/// what has come is settled, the rest is the next turn's.
pub const TURN_US_MAX: u64 = 500;
/// Entries of a shard's rings, where the limit of locked memory allows. Full: submissions wait for the reactor's turn.
pub const RING_DEPTH: usize = 1024;
/// Entries of a shard's rings at the least.
pub const RING_DEPTH_MIN: usize = 64;
/// Locked memory that a shard's three rings take per entry: 8 MiB were measured to carry four shards of 1024 and not eight.
pub const RING_BYTES_PER_ENTRY: u64 = 2048;
/// Bytes that glommio registers for direct I/O, which this server does not use: its minimum.
pub const RING_MEMORY_BYTES: usize = 64 * 1024;
/// Pieces of blocking disk work that one shard has under way.
pub const DISK_WORKS_MAX: usize = 2;
/// Bytes of messages of one shard waiting for their commit. Full: 503 with `Retry-After`. A disk that syncs in 100 ms
/// takes 640 MB/s.
pub const PENDING_COMMIT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Commands of one shard waiting for a cold range or for the next segment. Full: 503 with `Retry-After`.
pub const PARKED_MAX: usize = 4_096;
/// Parked commands of one shard that remember how far they had come: up to half a megabyte each, and a timeline's 64 bytes for each
/// session of its user. Full: the others begin
/// their walk again each time, which costs time only.
pub const PARKED_WALKS_MAX: usize = 64;
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
/// Bytes of one line, or of one server-sent event, of an agent's answer. Full: it is dropped whole and counted, and decoding goes on
/// behind it. The largest chunks are files as data URLs: an image model's 1024x1024 PNG has 1 to 3 MB, which base64 makes a
/// third longer.
pub const ANSWER_LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one answer's content and metadata as they are stored. Full: the answer ends with what it has. As much as a person may send, with
/// the same room for the envelope.
pub const ANSWER_BYTES_MAX: usize = BODY_BYTES_MAX;
/// Bytes of one answer's merged metadata. Full: the answer ends with what it has. Each merge goes through all of it.
pub const ANSWER_METADATA_BYTES_MAX: usize = 64 * 1024;
/// Parts of one answer, and so also its open texts and calls of tools. Full: the answer ends with what it has. Clients render each.
pub const ANSWER_PARTS_MAX: usize = 10_000;
/// Depth of arrays and objects in one chunk of an answer. Full: the chunk is dropped and counted. Leaves room for the message
/// that takes it over: content, its parts, one part and its approval.
pub const CHUNK_DEPTH_MAX: usize = JSON_DEPTH_MAX - 3;
/// Seconds for finding a webhook's address, connecting and the TLS handshake. Over: the call fails and may be tried again. A
/// host that answers takes milliseconds.
pub const WEBHOOK_CONNECT_S: u64 = 5;
/// Bytes of a webhook's response head. Full: the response is not valid. Four times what servers send.
pub const WEBHOOK_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes read from a webhook at once, through a buffer that the shard's connections share.
pub const WEBHOOK_READ_BYTES: usize = 16 * 1024;
/// Open connections of one shard to webhooks, about 10 KiB each. Full: an idle one is closed; else the call waits, and
/// is no attempt.
pub const WEBHOOK_CONNECTIONS_MAX: usize = 8_192;
/// Open connections of one shard to one origin: as many as calls, for most servers have one agent. Full: the call waits, and is no
/// attempt.
pub const WEBHOOK_ORIGIN_CONNECTIONS_MAX: usize = CALLS_MAX;
/// Idle connections of one shard to webhooks. Full: a connection is closed after its call.
pub const WEBHOOK_IDLE_MAX: usize = 256;
/// Idle connections of one shard to one origin. Full: a connection is closed after its call.
pub const WEBHOOK_ORIGIN_IDLE_MAX: usize = 32;
/// Seconds that a connection to a webhook waits for its next call; fewer where the webhook says so. Over: it is closed.
pub const WEBHOOK_IDLE_S: u64 = 30;
/// Addresses of one host that are tried. More: they are not. Two families, two each.
pub const WEBHOOK_ADDRESSES_MAX: usize = 4;
/// TLS handshakes of one shard that run at a time: a burst of them would hold everybody else up. Full: the next one waits.
pub const TLS_HANDSHAKES_MAX: usize = 8;
/// Milliseconds after which a TLS handshake no longer counts as running: it waits for its peer, and silent peers must not keep
/// others from connecting.
pub const TLS_HANDSHAKE_PLACE_MS: u64 = 250;
/// Seconds of a client's TLS handshake. Over: the connection is closed. A slow phone takes two or three; nothing is owed to one
/// who has not yet said whom he wants.
pub const TLS_HANDSHAKE_S: u64 = 10;
/// Steps of clients' TLS handshakes that one shard computes before those who are connected get their turn: each up to a millisecond
/// with an RSA key, a tenth of that with P-256. Full: the next ones wait for theirs.
pub const TLS_HANDSHAKE_STEPS_MAX: usize = 4;
/// Threads of the process that ask the system's resolver, which blocks.
pub const RESOLVER_THREADS: usize = 4;
/// Names that wait for those threads. Full: the call fails and may be tried again.
pub const RESOLVER_QUESTIONS_MAX: usize = 1_024;
/// Names whose addresses one shard remembers. Full: the one that would be forgotten next goes.
pub const RESOLVED_NAMES_MAX: usize = 1_024;
/// Seconds for which a name's addresses are remembered: what load balancers that move by DNS count on.
pub const RESOLVED_S: u64 = 30;
/// Seconds for which it is remembered that a name has no address.
pub const UNRESOLVED_S: u64 = 2;
/// Bytes of a session's title. Full: 422. The width of a list.
pub const TITLE_BYTES_MAX: usize = 255;
/// Ratings of one session. Full: 422. Any user may rate; strangers must not grow a session without end.
pub const RATINGS_MAX: usize = 1_000;
/// Bytes of the comment of a rating. Full: 422 or 400, as the dialect has it. A page.
pub const FEEDBACK_COMMENT_BYTES_MAX: usize = 4 * 1024;
/// Messages from the latest on that a user's timeline over all sessions shows. Beyond: no rows, and the exact total; that of one session
/// goes back to its beginning.
pub const TIMELINE_ROWS_MAX: usize = 10_000;
/// Sessions from the most recently active on that a list of rows shows. Beyond: no rows, and the exact total. Each row of the others is
/// read and thrown away; `GET /api/sessions` lists without end.
pub const SESSION_ROWS_MAX: usize = 2_000;
/// Rows of a page of a chat dialect (AI Teammate and AgenFleet: 200). More: the limit is lowered to it, and the answer says so
/// where it can.
pub const CHAT_ROWS_MAX: usize = 200;
/// Steps of a request that asks shards more than once: twice what looking up, acting and looking again take. Full: it is answered with 500,
/// for a flow that has not ended by then is a mistake of ours.
pub const FLOW_STEPS_MAX: usize = 8;
/// Seconds that somebody who asked waits for the answer. Over: 504; the message stands and its run goes on.
pub const ASK_S: u64 = 300;
/// Asks of one WebSocket that wait for their turn. Full: the socket is not read until one is answered.
pub const ASKS_QUEUED_MAX: usize = 16;
/// Seconds of silence behind which a stream of events says that it is still there. Proxies close what is silent for 30 to 60 s.
pub const SSE_QUIET_S: u64 = 15;
/// Bytes of text in one event of a stream. More: several events. Small enough to travel in one go, for readers that carry nothing over.
pub const SSE_TEXT_BYTES_MAX: usize = 8 * 1024;
/// Messages that a client of a session's events may have missed and is sent. More: it is told of a gap, and reads pages instead.
pub const EVENTS_BEHIND_MAX: u64 = 10_000;
/// Seconds behind the last event at which a stream of a session's events sends a heartbeat: what the clients of a hub count on.
pub const EVENTS_HEARTBEAT_S: u64 = 30;
/// Files that a session claims: a conversation has a handful. Full: 400.
pub const BLOBS_MAX: usize = 256;
/// Bytes of a file (the hub's bound). More: 413.
pub const BLOB_BYTES_MAX: usize = 50 * 1024 * 1024;
/// Bytes of an upload's body: [`BLOB_BYTES_MAX`] in base64 and some for its name. More: 413, before it is read.
pub const UPLOAD_BODY_BYTES_MAX: usize = BLOB_BYTES_MAX / 3 * 4 + 1024 * 1024;
/// Uploads of one shard whose bodies are read or written at a time; each holds its body and its bytes. Full: 503.
pub const UPLOADS_MAX: usize = 4;
/// Seconds in which the body of an upload over `--body-bytes-max` has to arrive: 50 MiB at 2 Mbit/s. Over: 408.
pub const UPLOAD_S: u64 = 300;
/// Files of one shard that are fetched at a time, a piece and a descriptor each. Full: 503. A slow reader has its place for
/// [`RESPONSE_S`] behind its last byte.
pub const DOWNLOADS_MAX: usize = 256;
/// Bytes of a file that are read at a time for who fetches it: what a socket takes at once.
pub const BLOB_PIECE_BYTES: usize = 64 * 1024;
/// Seconds for which a file stays that nobody claims: far longer than anybody takes from the upload's end to its claim.
pub const BLOB_GRACE_S: u64 = 3_600;
/// Seconds between two looks for such files.
pub const BLOB_SWEEP_S: u64 = 3_600;
/// Seconds between two pings of a WebSocket whose client need not speak: four of them within [`SOCKET_IDLE_S`].
pub const SOCKET_PING_S: u64 = 30;
/// Bytes of a token. Over: 401, nothing of it is decoded. Identity providers stay below 4 KiB, so that tokens fit into cookies.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Tokens of one shard that were verified and are remembered, a kilobyte each at the most usual. Full: the oldest goes, and is verified again
/// if it comes again.
pub const TOKENS_CACHED_MAX: usize = 4_096;
/// Seconds by which the clocks of who signs tokens and of this server may differ.
pub const TOKEN_LEEWAY_S: u64 = 30;
/// Seconds that a token which this server gives is good for. Over: the client asks for another one. What HAPI's tokens last.
pub const TOKEN_LIFE_S: u64 = 4 * 60 * 60;
/// Bytes of the secret that signs tokens, at least: as many as its hash has (RFC 7518 section 3.2).
pub const JWT_SECRET_BYTES_MIN: usize = 32;
/// Bytes of a set of public keys. Over: it is not taken. Certificate chains included, sets have a few kilobytes.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;
/// Members of a set of public keys. Over: it is not taken. Issuers have two or three, while keys change.
pub const JWKS_KEYS_MAX: usize = 64;
/// Keys that are tried for one token. More: the others are not. Whoever verifies with several of a kind names them by `kid`; a stranger's
/// token must not cost more than four signatures.
pub const JWK_TRIES_MAX: usize = 4;
/// Seconds after which a set of public keys is fetched again. Issuers announce a key hours before they use it.
pub const JWKS_FRESH_S: u64 = 600;
/// Seconds between two requests for a set of public keys at the least, however many tokens name a key that is not known.
pub const JWKS_PAUSE_S: u64 = 60;
/// Seconds that fetching a set of public keys may take. Over: the last one stays.
pub const JWKS_FETCH_S: u64 = 10;
/// Principals or addresses whose rate is remembered, of the process and for each limit. Full: idle ones are forgotten, which changes nothing
/// for them; if all are busy, the one with the most left.
pub const RATE_KEYS_MAX: usize = 65_536;
/// API keys that open something. Full: no further one is made. Each shard knows all of them, 200 bytes each.
pub const KEYS_MAX: usize = 10_000;
/// The same of one namespace but the default one. Full: no further one is made there.
pub const NAMESPACE_KEYS_MAX: usize = 1_000;
/// Revoked API keys. They are remembered: notes of keys are folded in any order, and one that was forgotten could come to life again. Full: no
/// further key is made, or it could not be revoked. Each shard knows all of them, 20 MB in all.
pub const KEYS_REVOKED_MAX: usize = 100_000;
/// The same of one namespace but the default one. Full: no further one is made there. Three changed every day for nine years.
pub const NAMESPACE_KEYS_REVOKED_MAX: usize = 10_000;
/// Segments in one answer about the storage, unless the request says otherwise: what a screen shows.
pub const PAGE_SEGMENTS_DEFAULT: usize = 100;
/// Segments in one answer about the storage. More: `has_more`. 300 bytes each; a look at each one's file takes a microsecond.
pub const PAGE_SEGMENTS_MAX: usize = 1_000;
/// Snapshots in one answer about the storage, the latest starts' first. More: they are counted. A shard has one or two.
pub const SNAPSHOTS_SHOWN_MAX: usize = 1_024;
/// Seconds between two looks at how much room the file system of the data folder has.
pub const DISK_LOOK_S: u64 = 1;
/// Files of sessions that are weighed for an answer about the storage. More: the answer says that it is not all. A moment of a helper thread.
pub const BLOBS_WEIGHED_MAX: u64 = 100_000;
/// Seconds for which their weight is remembered.
pub const BLOBS_WEIGHED_S: u64 = 60;
