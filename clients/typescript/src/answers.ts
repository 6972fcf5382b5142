/**
 * The answers that are being written: what each agent has said of its unfinished message. In a team several speak at
 * once. A stored message replaces what was shown of it, and the end of a run what is left.
 */

import { Parts, type Part } from "./parts.js";
import type { Chunk, ChunkEvent, JsonObject, Message, RunEvent } from "./types.js";

/** An unfinished answer. A new object after each chunk. */
export interface Answer {
  /** What its message will have as `content.id`, unless a later chunk names another one. */
  id: string;
  agentId: string;
  /** Absent when the agent is a client itself. */
  runId?: string;
  parts: readonly Part[];
  /** The message's metadata so far. */
  metadata: JsonObject;
  /** All its texts, joined. */
  text: string;
}

interface Speaker {
  runId: string | undefined;
  parts: Parts;
  chunks: Chunk[];
}

/** Chunks that end a message. */
const TERMINAL: ReadonlySet<string> = new Set(["finish", "abort"]);

export class Answers {
  readonly #speakers = new Map<string, Speaker>();
  #list: readonly Answer[] | undefined = [];

  /** In the order in which they were begun. The same array until something changes. */
  get list(): readonly Answer[] {
    return (this.#list ??= [...this.#speakers].map(([agentId, speaker]) => answerOf(agentId, speaker)));
  }

  /** The chunks that a run has shown of unfinished messages. */
  chunksOf(runId: string): { agentId: string; chunk: Chunk }[] {
    const said = [...this.#speakers].filter(([, speaker]) => speaker.runId === runId);
    return said.flatMap(([agentId, { chunks }]) => chunks.map((chunk) => ({ agentId, chunk })));
  }

  chunk({ agentId, runId, chunk }: ChunkEvent): void {
    const known = this.#speakers.get(agentId);
    // An agent without a run is not heard of again when it has finished: the next chunk begins a message.
    const isOver = known?.runId === undefined && TERMINAL.has(known?.chunks.at(-1)?.type ?? "");
    const speaker = known && known.runId === runId && !isOver ? known : { runId, parts: new Parts(), chunks: [] };
    speaker.parts.push(chunk);
    speaker.chunks.push(chunk);
    this.#speakers.set(agentId, speaker);
    this.#list = undefined;
  }

  message({ senderId, kind }: Message): void {
    if (kind === "assistant") this.#forget((agentId) => agentId === senderId);
  }

  /** What a run has shown and is over, or skipped, is not going to be completed. */
  run(run: RunEvent): void {
    if (run.status === "finished" || run.status === "stopped" || run.status === "failed" || run.status === "ended") {
      this.#forget((_, speaker) => speaker.runId === run.runId);
    }
    if (run.status === "started" || run.status === "resumed") {
      this.#forget((_, speaker) => speaker.runId !== undefined && speaker.runId !== run.runId);
    }
  }

  clear(): void {
    this.#forget(() => true);
  }

  #forget(which: (agentId: string, speaker: Speaker) => boolean): void {
    for (const [agentId, speaker] of [...this.#speakers]) {
      if (which(agentId, speaker)) {
        this.#speakers.delete(agentId);
        this.#list = undefined;
      }
    }
  }
}

function answerOf(agentId: string, { runId, parts }: Speaker): Answer {
  const text = parts.parts
    .filter(({ type }) => type === "text")
    .map((part) => String(part["text"]))
    .join("");
  const run = runId === undefined ? {} : { runId };
  return { id: parts.id ?? runId ?? agentId, agentId, ...run, parts: parts.parts, metadata: parts.metadata, text };
}
