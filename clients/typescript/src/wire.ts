/** The server's JSON, and how it becomes what callers see. */

import type { Chunk, InboxEntry, JsonObject, Message, Page, RunEvent, Session } from "./types.js";

export interface WireMessage {
  id: string;
  session_id: string;
  seq: number;
  sender_id: string;
  kind: string;
  content: JsonObject;
  metadata: JsonObject;
  inserted_at: string;
}

export interface WirePage {
  messages: WireMessage[];
  has_more: boolean;
  last_seq: number;
}

export interface WireChunk {
  agent_id: string;
  chunk: Chunk;
  run_id?: string;
  index?: number;
}

export interface WireRun {
  run_id: string;
  agent_id: string;
  status: "started" | "retrying" | "finished" | "stopped" | "failed";
  attempt: number;
  upto_seq: number;
  reason?: string;
  detail?: string;
  retry_in_ms?: number;
  seq?: number;
}

/** The running answer in the reply to a join. */
export interface WireRunning {
  run_id: string;
  agent_id: string;
  state: "waiting" | "calling" | "answering";
  index: number;
}

export interface WireJoined extends WirePage {
  session_id: string;
  run?: WireRunning | null;
}

export interface WireSession {
  id: string;
  user_id: string;
  agent_id: string;
  status: string;
  title?: string;
  metadata: JsonObject;
  inserted_at: string;
  updated_at: string;
}

export interface WireInbox {
  inbox: {
    session_id: string;
    agent_id: string;
    unread_count: number;
    last_activity_at: string | null;
    last_sender_id: string | null;
  }[];
}

export function messageOf(wire: WireMessage): Message {
  const { id, seq, kind, content, metadata } = wire;
  return {
    id,
    sessionId: wire.session_id,
    seq,
    senderId: wire.sender_id,
    kind,
    content,
    metadata,
    insertedAt: wire.inserted_at,
  };
}

export function pageOf(wire: WirePage): Page {
  return { messages: wire.messages.map(messageOf), hasMore: wire.has_more, lastSeq: wire.last_seq };
}

export function sessionOf(wire: WireSession): Session {
  const { id, status, metadata } = wire;
  const title = wire.title === undefined ? {} : { title: wire.title };
  const times = { insertedAt: wire.inserted_at, updatedAt: wire.updated_at };
  return { id, userId: wire.user_id, agentId: wire.agent_id, status, ...title, metadata, ...times };
}

export function inboxOf(wire: WireInbox): InboxEntry[] {
  return wire.inbox.map((entry) => ({
    sessionId: entry.session_id,
    agentId: entry.agent_id,
    unreadCount: entry.unread_count,
    lastActivityAt: entry.last_activity_at,
    lastSenderId: entry.last_sender_id,
  }));
}

export function runOf(wire: WireRun): RunEvent {
  const { attempt, status } = wire;
  const run = { runId: wire.run_id, agentId: wire.agent_id, attempt, uptoSeq: wire.upto_seq };
  const seq = wire.seq === undefined ? {} : { seq: wire.seq };
  switch (status) {
    case "started":
      return { ...run, status };
    case "retrying":
      return { ...run, status, reason: wire.reason ?? "", retryInMs: wire.retry_in_ms ?? 0 };
    case "finished":
      return { ...run, status, seq: wire.seq ?? 0 };
    case "stopped":
      return { ...run, status, ...seq };
    case "failed":
      return { ...run, status, reason: wire.reason ?? "", detail: wire.detail ?? "", ...seq };
  }
}
