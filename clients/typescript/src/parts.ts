/**
 * The parts of an answer while it is written, in the AI SDK's shapes, for showing them. The stored message replaces
 * them, so this one leaves out what only a finished message needs: the input of a tool call is shown when it is whole.
 *
 * A change makes new objects of what it touches and of nothing else, so that views can compare by identity.
 */

import type { Chunk, JsonObject } from "./types.js";

export type Part = { type: string } & JsonObject;

/** Fields of a chunk that become fields of a part as they are. */
const KEPT: Record<string, readonly string[]> = {
  file: ["mediaType", "url", "providerMetadata"],
  "source-url": ["sourceId", "url", "title", "providerMetadata"],
  "source-document": ["sourceId", "mediaType", "title", "filename", "providerMetadata"],
};

export class Parts {
  parts: readonly Part[] = [];
  metadata: JsonObject = {};
  id: string | undefined;
  /** Places of open texts, open reasoning and tool calls. */
  readonly #open = new Map<string, number>();

  /** Takes a chunk. What it does not know changes nothing. */
  push(chunk: Chunk): void {
    const { type } = chunk;
    if (type === "start" && typeof chunk["messageId"] === "string") this.id = chunk["messageId"];
    if (isFields(chunk["messageMetadata"])) this.metadata = { ...this.metadata, ...chunk["messageMetadata"] };
    if (type === "start-step") return void this.#add({ type: "step-start" });
    if (type === "finish-step") return this.#closeTexts();
    const [kind, action] = type.split("-") as [string, string | undefined];
    if (kind === "text" || kind === "reasoning") return this.#text(kind, action, chunk);
    if (kind === "tool") return this.#tool(type, chunk);
    if (kind === "data") return this.#data(chunk);
    const kept = KEPT[type];
    if (kept) this.#add({ type, ...picked(chunk, kept) });
  }

  /** Whether a text or reasoning of this id takes deltas. */
  isOpen(kind: string, id: unknown): boolean {
    return this.#open.has(`${kind} ${String(id)}`);
  }

  /** The id under which the chunks of an open text or reasoning come. */
  streamOf(place: number): string | undefined {
    const key = [...this.#open].find(([name, at]) => at === place && !name.startsWith("call "))?.[0];
    return key?.slice(key.indexOf(" ") + 1);
  }

  #text(type: "text" | "reasoning", action: string | undefined, chunk: Chunk): void {
    const key = `${type} ${String(chunk["id"])}`;
    if (action === "start" || !this.#open.has(key)) {
      if (action === "end") return;
      const id = type === "reasoning" ? { id: chunk["id"] } : {};
      this.#open.set(key, this.#add({ type, ...id, text: "", state: "streaming" }));
    }
    const place = this.#open.get(key) ?? 0;
    const noted = picked(chunk, ["providerMetadata"]);
    if (action === "end") {
      this.#open.delete(key);
      return this.#change(place, { ...noted, state: "done" });
    }
    this.#change(place, { ...noted, text: String(this.parts[place]?.["text"]) + String(chunk["delta"] ?? "") });
  }

  #closeTexts(): void {
    for (const key of this.#open.keys()) if (!key.startsWith("call ")) this.#open.delete(key);
  }

  #tool(type: string, chunk: Chunk): void {
    const key = `call ${String(chunk["toolCallId"])}`;
    const name = chunk["toolName"];
    const begins = ["tool-input-start", "tool-input-available", "tool-input-error"].includes(type);
    if (begins && (type === "tool-input-start" || !this.#open.has(key))) {
      const named =
        chunk["dynamic"] === true ? { type: "dynamic-tool", toolName: name } : { type: `tool-${String(name)}` };
      this.#open.set(key, this.#add({ ...named, toolCallId: chunk["toolCallId"], state: "input-streaming" }));
    }
    const place = this.#open.get(key);
    const change = TOOL_CHANGES[type];
    if (place !== undefined && change)
      this.#change(place, { ...picked(chunk, ["providerExecuted", "title"]), ...change(chunk) });
  }

  /** Data of one type and id is one part, whose data is replaced. */
  #data(chunk: Chunk): void {
    if (chunk["transient"] === true) return;
    const id = chunk["id"];
    const place = id === undefined ? -1 : this.parts.findIndex((part) => part.type === chunk.type && part["id"] === id);
    if (place < 0) this.#add({ ...chunk });
    else this.#change(place, { data: chunk["data"] });
  }

  #add(part: Part): number {
    this.parts = [...this.parts, part];
    return this.parts.length - 1;
  }

  #change(place: number, change: JsonObject): void {
    this.parts = this.parts.map((part, at) => (at === place ? ({ ...part, ...change } as Part) : part));
  }
}

const TOOL_CHANGES: Record<string, (chunk: Chunk) => JsonObject> = {
  "tool-input-start": (chunk) => called(chunk),
  "tool-input-available": (chunk) => ({ state: "input-available", input: chunk["input"], ...called(chunk) }),
  "tool-input-error": (chunk) => ({ state: "output-error", rawInput: chunk["input"], ...picked(chunk, ["errorText"]) }),
  "tool-output-available": (chunk) => ({ state: "output-available", ...picked(chunk, ["output", "preliminary"]) }),
  "tool-output-error": (chunk) => ({ state: "output-error", ...picked(chunk, ["errorText"]) }),
  "tool-output-denied": () => ({ state: "output-denied" }),
  "tool-approval-request": (chunk) => ({ state: "approval-requested", approval: { id: chunk["approvalId"] } }),
};

function called(chunk: Chunk): JsonObject {
  const metadata = chunk["providerMetadata"];
  return metadata === undefined ? {} : { callProviderMetadata: metadata };
}

function picked(chunk: Chunk, names: readonly string[]): JsonObject {
  return Object.fromEntries(names.filter((name) => chunk[name] !== undefined).map((name) => [name, chunk[name]]));
}

function isFields(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
