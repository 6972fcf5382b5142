/**
 * Every way in which a call fails, by the names of the server's own table (`docs/errors.md`) and a few of the client's
 * own. The server says a text over HTTP and a word on a channel; both lead to the name.
 */

/** name, text over HTTP, word on a channel ("" where there is none). A test holds it against the server's table. */
export const SERVER_ERRORS = [
  ["SessionNotFound", "Session not found", "not found"],
  ["RunNotFound", "Run not found", "run not found"],
  ["Unauthorized", "Not a participant of the session", "unauthorized"],
  ["Forbidden", "Forbidden", "forbidden"],
  ["SeqConflict", "expected_seq does not match", "seq conflict"],
  ["IdempotencyMismatch", "The idempotency key was used with another request", "idempotency mismatch"],
  ["MessageTooLarge", "The message is too large", "message too large"],
  ["Overloaded", "Overloaded", "overloaded"],
  ["DiskFull", "The disk is full", "disk full"],
  ["LogPoisoned", "The log takes no more appends", "log poisoned"],
  ["Corrupt", "Stored data is corrupt", "corrupt"],
  ["NameTooLong", "", "name too long"],
  ["NestedTooDeep", "", "nested too deeply"],
  ["Full", "", "full"],
  ["IdempotencyKeyInvalid", "idempotency_key must be a string of 1 to 255 bytes", "idempotency_key invalid"],
  ["ExpectedSeqInvalid", "expected_seq must be a non-negative integer", "expected_seq invalid"],
  ["TitleInvalid", "title must be a string of 1 to 255 bytes that is not blank", ""],
  ["MetadataInvalid", "metadata must be a map", ""],
  ["UserIdInvalid", "user_id must be a non-empty string", ""],
  ["AgentIdInvalid", "agent_id must be a non-empty string", ""],
  ["BeforeInvalid", "before must be a session id", ""],
  ["Internal", "Internal Server Error", "internal error"],
  ["Unauthenticated", "Not authenticated", "unauthenticated"],
  ["TokenInvalid", "Invalid token", "invalid token"],
  ["TokenRejected", "The token is not for this", "token rejected"],
  ["TokenExpired", "Token expired", "token expired"],
  ["RateLimited", "Too many requests", "rate limited"],
  ["Draining", "The server shuts down", "draining"],
  ["BodyTooLarge", "Request Entity Too Large", ""],
  ["NotFound", "Not Found", ""],
  ["UnmatchedTopic", "", "unmatched topic"],
  ["JoinCrashed", "", "join crashed"],
  ["TooManyChannels", "", "too many channels joined"],
  ["UnknownEvent", "", "unknown event"],
  ["PayloadInvalid", "", "invalid payload"],
  ["InvalidMessageFormat", "", "invalid_message_format"],
] as const;

/** The client's own. */
export type ClientErrorName =
  /** The queue of sends holds `queueMax` already. */
  | "QueueFull"
  /** The client was disconnected before the call was answered. A send may have been stored. */
  | "Disconnected"
  /** No connection within `connectTimeoutMs`, or a request that reached nobody. */
  | "Unreachable"
  /** The server did not answer in time. */
  | "TimedOut"
  /** The callback that gives tokens failed. */
  | "TokenUnavailable"
  /** This runtime has no WebSocket and the package `ws` is not installed. */
  | "WebSocketMissing"
  /** Options or arguments with which nothing can be done. */
  | "InvalidOptions"
  /** An answer that was being shown was given up by a crash; another one may be under way. */
  | "Interrupted"
  /** Something that this server's agents do otherwise. */
  | "Unsupported"
  /** The server said no in words that this version does not know: see `message`. */
  | "Refused";

export type ErrorName = (typeof SERVER_ERRORS)[number][0] | ClientErrorName;

/** Those that may succeed later, as the server's table has it. */
const RETRYABLE: ReadonlySet<ErrorName> = new Set([
  "Overloaded",
  "DiskFull",
  "RateLimited",
  "Draining",
  "QueueFull",
  "Disconnected",
  "Unreachable",
  "TimedOut",
  "TokenUnavailable",
  "Interrupted",
]);

interface Facts {
  /** The HTTP status, where there was one. */
  status?: number | undefined;
  retryable?: boolean | undefined;
  retryAfterMs?: number | undefined;
  /** What else the server said, such as `current_seq`. */
  details?: unknown;
  cause?: unknown;
}

export class FleetLMError extends Error {
  override readonly name: ErrorName;
  readonly status: number | undefined;
  /** The same call may succeed later. */
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly details: unknown;

  constructor(name: ErrorName, message: string, facts: Facts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = name;
    this.status = facts.status;
    this.retryAfterMs = facts.retryAfterMs;
    this.retryable = facts.retryable ?? (RETRYABLE.has(name) || facts.retryAfterMs !== undefined);
    this.details = facts.details;
  }
}

/** The error of an HTTP answer. */
export function refusedOverHttp(status: number, body: unknown, retryAfter: string | null): FleetLMError {
  const text = textOf(body) ?? `HTTP ${status}`;
  const known = SERVER_ERRORS.find(([, http]) => http !== "" && http === text);
  const seconds = retryAfter === null ? NaN : Number(retryAfter);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : undefined;
  // 502, 503, 504 without a text of the server's come from a proxy before it.
  const retryable = known === undefined && [502, 503, 504].includes(status) ? true : undefined;
  return new FleetLMError(known?.[0] ?? "Refused", text, { status, retryable, retryAfterMs, details: body });
}

/** The error of a channel's reply: a refused join has a `reason`, a refused event an `error`. */
export function refusedOnChannel(response: unknown): FleetLMError {
  const fields = isObject(response) ? response : {};
  const word = String(fields["error"] ?? fields["reason"] ?? "refused");
  const known = SERVER_ERRORS.find(([, , channel]) => channel !== "" && channel === word);
  const told = fields["retry_after_ms"];
  const details = typeof fields["details"] === "string" ? `${word}: ${fields["details"]}` : word;
  return new FleetLMError(known?.[0] ?? "Refused", details, {
    retryAfterMs: typeof told === "number" ? told : undefined,
    details: response,
  });
}

/** A token is missing, used up or not the right one: another one may be. */
export function isAboutToken(error: FleetLMError): boolean {
  return (
    ["Unauthenticated", "TokenInvalid", "TokenRejected", "TokenExpired"].includes(error.name) || error.status === 401
  );
}

/** Whatever was thrown, as an error of ours. */
export function asError(thrown: unknown, otherwise: ErrorName): FleetLMError {
  if (thrown instanceof FleetLMError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new FleetLMError(otherwise, message, { cause: thrown });
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The text in one of the three bodies that errors have. */
function textOf(body: unknown): string | undefined {
  if (!isObject(body)) return undefined;
  if (typeof body["error"] === "string") return body["error"];
  const errors = body["errors"];
  if (!isObject(errors)) return undefined;
  if (typeof errors["detail"] === "string") return errors["detail"];
  return Object.entries(errors)
    .map(([field, texts]) => `${field}: ${[texts].flat().join(", ")}`)
    .join("; ");
}
