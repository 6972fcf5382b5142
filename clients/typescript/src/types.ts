/** What callers see: camelCase, and every state of the protocol as a type of its own. */

import type { FleetLMError } from "./errors.js";

export type JsonObject = { [name: string]: unknown };

/** One durable message of a session. `seq` counts from 1 without holes. */
export interface Message {
  id: string;
  sessionId: string;
  seq: number;
  senderId: string;
  kind: string;
  content: JsonObject;
  metadata: JsonObject;
  /** RFC 3339, UTC. */
  insertedAt: string;
}

/** What is sent. */
export interface Draft {
  /** `text` without one. */
  kind?: string;
  content: JsonObject;
  metadata?: JsonObject;
}

/** What a send comes to. */
export interface Receipt {
  seq: number;
  /** The server had it already: an earlier attempt was stored and its answer lost. */
  replayed: boolean;
}

/** A piece of an answer, as the AI SDK's UI message stream defines them. */
export type Chunk = { type: string } & JsonObject;

/** A chunk and its place. An agent that is a client itself streams without a run. */
export interface ChunkEvent {
  chunk: Chunk;
  agentId: string;
  runId?: string;
  /** Place within the run, from 0. */
  index?: number;
}

interface RunOf {
  runId: string;
  agentId: string;
}

interface ServerRun extends RunOf {
  attempt: number;
  /** The last message that the run answers. */
  uptoSeq: number;
}

/** What became of an agent's run. */
export type RunEvent =
  | (ServerRun & { status: "started" })
  | (ServerRun & { status: "retrying"; reason: string; retryInMs: number })
  | (ServerRun & { status: "finished"; seq: number })
  | (ServerRun & { status: "stopped"; seq?: number })
  | (ServerRun & { status: "failed"; reason: string; detail: string; seq?: number })
  /** Said by a join: it is under way, and its chunks follow from `index` on. */
  | (RunOf & { status: "resumed"; state: "waiting" | "calling" | "answering"; index: number })
  /** It ended while the connection was away. What was kept of it, the last being `seq`, came before this event. */
  | (RunOf & { status: "ended"; seq?: number });

/** A place where the stream cannot be continued seamlessly. None of them is expected of a healthy server. */
export type GapEvent =
  /** Messages from `from` to `to` were not pushed; they are being read, and come next. */
  | { what: "messages"; from: number; to: number }
  /**
   * The server has forgotten messages that this client has seen: it was restored from a backup. `lastSeq` goes back.
   */
  | { what: "rewound"; from: number; to: number }
  /** Chunks `from` to before `to` of a run will not be shown; the message that they made was. */
  | { what: "chunks"; runId: string; from: number; to: number };

export type Status = "idle" | "connecting" | "connected" | "reconnecting" | "closed";

export interface StatusEvent {
  status: Status;
  /** Why, where there is a reason. */
  reason?: string;
  /** Milliseconds to the next attempt, while reconnecting. */
  retryInMs?: number;
}

/** A session. */
export interface Session {
  id: string;
  userId: string;
  agentId: string;
  status: string;
  title?: string;
  metadata: JsonObject;
  insertedAt: string;
  updatedAt: string;
}

/** What happened to the session itself, as far as this client knows. */
export type SessionEvent =
  { status: "created" | "renamed" | "archived"; session: Session } | { status: "deleted"; sessionId: string };

export interface ReadEvent {
  userId: string;
  /** Where the read cursor stands now. */
  lastSeq: number;
}

/** A page of messages, ascending. */
export interface Page {
  messages: Message[];
  /** There are more in the direction of reading. */
  hasMore: boolean;
  /** The session's last seq. */
  lastSeq: number;
}

export interface InboxEntry {
  sessionId: string;
  agentId: string;
  unreadCount: number;
  lastActivityAt: string | null;
  lastSenderId: string | null;
}

/** The events of a client. */
export interface ClientEvents {
  /** A durable message, each once and in order. */
  message: Message;
  /** A live piece of an answer, each once and in order. */
  chunk: ChunkEvent;
  run: RunEvent;
  gap: GapEvent;
  status: StatusEvent;
  /** The server shuts down; the client comes back by itself. */
  draining: { reason: string };
  session: SessionEvent;
  read: ReadEvent;
  /** What has ended the client, or belongs to no call: a refused connection, a token that cannot be had. */
  error: FleetLMError;
}
