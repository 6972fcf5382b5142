/**
 * A session as something to look at: one immutable snapshot after each change, for views that compare by identity.
 * Knows no framework; `@fleetlm/client/react` binds it to React.
 */

import type { Answer } from "./answers.js";
import type { FleetLMClient } from "./client.js";
import { type FleetLMError, asError } from "./errors.js";
import { newKey } from "./sends.js";
import type { Draft, JsonObject, Message, Receipt, RunEvent, Status } from "./types.js";

/** A message as a view shows it: stored, on its way, refused, or being written. */
export interface ViewedMessage {
  /** The same from the first time that it is shown to the last. */
  key: string;
  state: "stored" | "sending" | "failed" | "streaming";
  senderId: string;
  kind: string;
  content: JsonObject;
  metadata: JsonObject;
  /** What there is of plain text in it. */
  text: string;
  /** Of a stored one. */
  seq?: number;
  /** Of a failed one. */
  error?: FleetLMError;
}

export interface Snapshot {
  status: Status;
  /** Stored ones in order, then what is being answered, then what waits to be sent. */
  messages: readonly ViewedMessage[];
  /** The run that is under way. */
  run: RunEvent | undefined;
  /** Why there is no connection, if that will not change by itself. */
  error: FleetLMError | undefined;
  /** `loadOlder` may bring more. */
  hasOlder: boolean;
}

export class SessionStore {
  readonly client: FleetLMClient;
  readonly #listeners = new Set<() => void>();
  #stored: readonly ViewedMessage[] = [];
  #firstSeq: number | undefined;
  #waiting: readonly ViewedMessage[] = [];
  /** Keys of own messages by the seq under which they were stored. */
  readonly #keys = new Map<number, string>();
  #error: FleetLMError | undefined;
  #hasOlder = false;
  #snapshot: Snapshot | undefined;

  constructor(client: FleetLMClient) {
    this.client = client;
    client.on("message", (message) => this.#said(message));
    client.on("chunk", () => this.#changed());
    client.on("run", () => this.#changed());
    client.on("gap", (gap) => {
      if (gap.what === "rewound") this.#forget(gap.to);
    });
    client.on("error", (error) => this.#failed(error));
    client.on("status", ({ status }) => {
      if (status === "connected") this.#connected();
      this.#changed();
    });
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** The same object until something changes. */
  readonly snapshot = (): Snapshot => (this.#snapshot ??= this.#taken());

  /** Connects; a failure stands in the snapshot. */
  readonly connect = (): Promise<void> =>
    this.client.connect().catch((thrown: unknown) => {
      const error = asError(thrown, "Unreachable");
      if (error.name !== "Disconnected") this.#failed(error); // that was the view's own wish
    });

  /** Sends a text, or any message. It is shown at once, and stays as `failed` when it is refused. */
  readonly send = async (said: string | Draft): Promise<Receipt> => {
    const draft = typeof said === "string" ? { kind: "text", content: { text: said } } : said;
    const key = newKey();
    const { kind = "text", content, metadata = {} } = draft;
    const view: ViewedMessage = {
      key,
      state: "sending",
      senderId: this.client.userId,
      kind,
      content,
      metadata,
      text: textOf(content),
    };
    this.#waiting = [...this.#waiting, view];
    this.#changed();
    try {
      const receipt = await this.client.send(draft, { idempotencyKey: key });
      this.#acknowledged(key, receipt.seq);
      return receipt;
    } catch (thrown) {
      const error = asError(thrown, "Refused");
      this.#waiting = this.#waiting.map((waiting) =>
        waiting.key === key ? { ...waiting, state: "failed", error } : waiting,
      );
      this.#changed();
      throw error;
    }
  };

  /** Takes a failed message off the view. */
  readonly dismiss = (key: string): void => {
    this.#waiting = this.#waiting.filter((waiting) => waiting.key !== key || waiting.state !== "failed");
    this.#changed();
  };

  /** Reads the page before the first message. */
  readonly loadOlder = async (limit?: number): Promise<void> => {
    const before = this.#firstSeq ?? this.client.lastSeq + 1;
    const page = await this.client.history({ before, ...(limit === undefined ? {} : { limit }) });
    if ((this.#firstSeq ?? this.client.lastSeq + 1) !== before) return; // somebody else has read it
    this.#stored = [...page.messages.map((message) => this.#viewed(message)), ...this.#stored];
    this.#firstSeq = page.messages[0]?.seq ?? before;
    this.#hasOlder = page.hasMore;
    this.#changed();
  };

  #said(message: Message): void {
    this.#firstSeq ??= message.seq;
    this.#stored = [...this.#stored, this.#viewed(message)];
    this.#changed();
  }

  #connected(): void {
    this.#error = undefined;
    this.#hasOlder = (this.#firstSeq ?? this.client.lastSeq + 1) > 1;
  }

  /** The reply comes before the message, but after a reconnect perhaps behind its replay. */
  #acknowledged(key: string, seq: number): void {
    this.#waiting = this.#waiting.filter((waiting) => waiting.key !== key);
    this.#keys.set(seq, key);
    this.#stored = this.#stored.map((stored) => (stored.seq === seq ? { ...stored, key } : stored));
    this.#changed();
  }

  /** The server knows nothing above this seq any more. */
  #forget(lastSeq: number): void {
    this.#stored = this.#stored.filter(({ seq = 0 }) => seq <= lastSeq);
    if (this.#stored.length === 0) this.#firstSeq = undefined;
    this.#changed();
  }

  #failed(error: FleetLMError): void {
    this.#error = error;
    this.#changed();
  }

  #viewed({ id, seq, senderId, kind, content, metadata }: Message): ViewedMessage {
    const given = kind === "assistant" && typeof content["id"] === "string" ? content["id"] : id;
    const key = this.#keys.get(seq) ?? given;
    return { key, state: "stored", senderId, kind, content, metadata, text: textOf(content), seq };
  }

  #taken(): Snapshot {
    const messages = [...this.#stored, ...this.client.answers.map(streaming), ...this.#waiting];
    const { status, run } = this.client;
    return { status, messages, run, error: this.#error, hasOlder: this.#hasOlder };
  }

  #changed(): void {
    this.#snapshot = undefined;
    for (const listener of [...this.#listeners]) listener();
  }
}

function streaming({ id, agentId, parts, metadata, text }: Answer): ViewedMessage {
  const content = { id, role: "assistant", parts };
  return { key: id, state: "streaming", senderId: agentId, kind: "assistant", content, metadata, text };
}

function textOf(content: JsonObject): string {
  if (typeof content["text"] === "string") return content["text"];
  const parts = Array.isArray(content["parts"]) ? (content["parts"] as JsonObject[]) : [];
  return parts
    .filter((part) => part["type"] === "text")
    .map((part) => String(part["text"]))
    .join("");
}
