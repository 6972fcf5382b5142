/** The public face of `@fleetlm/client`. */

export type { Answer } from "./answers.js";
export { FleetLMClient } from "./client.js";
export type { Listener, Unsubscribe } from "./emitter.js";
export { FleetLMError, type ErrorName } from "./errors.js";
export { Inbox, type InboxEvents } from "./inbox.js";
export type { ClientOptions, CommonOptions } from "./options.js";
export { Parts, type Part } from "./parts.js";
export type { SendOptions } from "./sends.js";
export type { HistoryOptions, NewSession, Sessions } from "./sessions.js";
export type { TokenSource } from "./token.js";
export type {
  Chunk,
  ChunkEvent,
  ClientEvents,
  Draft,
  GapEvent,
  InboxEntry,
  JsonObject,
  Message,
  Page,
  ReadEvent,
  Receipt,
  RunEvent,
  Session,
  SessionEvent,
  Status,
  StatusEvent,
} from "./types.js";
export type { WebSocketClass } from "./websocket.js";
