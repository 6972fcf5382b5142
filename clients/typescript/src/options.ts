/** What callers may set, with its defaults. */

import type { TokenSource } from "./token.js";
import type { JsonObject } from "./types.js";
import type { WebSocketClass } from "./websocket.js";

/** The server closes a socket that was silent for 120 s; dead networks are noticed after two beats at the latest. */
export const HEARTBEAT_MS = 20_000;
/** Messages that wait to be sent: more than a person types while a train is in a tunnel. */
export const QUEUE_MAX = 100;
/** After this time whoever waits for `connect` should be told. */
export const CONNECT_TIMEOUT_MS = 15_000;

export interface CommonOptions {
  /** The identity of the connection; with a token it has to be the token's. */
  userId: string;
  /** `http(s)://host`: by default the page's own origin, outside of pages http://localhost:4000. */
  url?: string | undefined;
  /**
   * An API key or a JSON Web Token, or a function that gives a fresh one: asked at every reconnect, and when one was
   * refused.
   */
  token?: TokenSource | undefined;
  /** A WebSocket class, for runtimes that have none. Node before 22 takes the package `ws` by itself. */
  WebSocket?: WebSocketClass | undefined;
  heartbeatMs?: number | undefined;
  /** How long `connect` tries before it is rejected with `Unreachable`. Infinity is allowed. */
  connectTimeoutMs?: number | undefined;
}

export interface ClientOptions extends CommonOptions {
  /** The agent of a session that is created. */
  agentId: string;
  /** The session; without one `connect` creates it. */
  sessionId?: string | undefined;
  /** Of a session that is created. */
  title?: string | undefined;
  /** Of a session that is created. */
  metadata?: JsonObject | undefined;
  /** Messages above this seq are replayed: 0, all of them, by default; `latest` for none. */
  lastSeq?: number | "latest" | undefined;
  /** Sends that may wait; more are refused with `QueueFull`. */
  queueMax?: number | undefined;
}
