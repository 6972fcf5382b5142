/**
 * What is missing of an answer that ended while nobody was connected: the chunks that lead from what was shown to the
 * message that was stored.
 */

import type { Part, Parts } from "./parts.js";
import type { Chunk, JsonObject } from "./types.js";

/** Chunks after which a reader of `shown` has these parts; without a terminal one. */
export function restOfAnswer(shown: Parts, stored: readonly Part[]): Chunk[] {
  return stored.flatMap((part, place) => {
    const before = shown.parts[place];
    if (part.type === "text" || part.type === "reasoning")
      return restOfText(part, before, shown.streamOf(place), place);
    if ("toolCallId" in part) return restOfCall(part, before);
    if (before !== undefined) return [];
    return [part.type === "step-start" ? { type: "start-step" } : { ...part }];
  });
}

function restOfText(part: Part, before: Part | undefined, open: string | undefined, place: number): Chunk[] {
  if (before !== undefined && open === undefined) return [];
  const id = open ?? `rest-${place}`;
  const begun = String(before?.["text"] ?? "");
  const metadata = part["providerMetadata"] === undefined ? {} : { providerMetadata: part["providerMetadata"] };
  return [
    ...(before === undefined ? [{ type: `${part.type}-start`, id }] : []),
    { type: `${part.type}-delta`, id, delta: String(part["text"] ?? "").slice(begun.length) },
    { type: `${part.type}-end`, id, ...metadata },
  ];
}

function restOfCall(part: Part, before: Part | undefined): Chunk[] {
  if (before?.["state"] === part["state"]) return [];
  const isDynamic = part.type === "dynamic-tool";
  const toolName = isDynamic ? part["toolName"] : part.type.slice("tool-".length);
  const call: JsonObject = { toolCallId: part["toolCallId"], ...(isDynamic ? { dynamic: true } : {}) };
  const { input, output, errorText } = part as JsonObject;
  const chunks: Chunk[] = [];
  const isNew = before === undefined || before["state"] === "input-streaming";
  if (isNew && part["state"] !== "input-streaming")
    chunks.push({ type: "tool-input-available", ...call, toolName, input });
  if (part["state"] === "output-available") chunks.push({ type: "tool-output-available", ...call, output });
  if (part["state"] === "output-error")
    chunks.push({ type: "tool-output-error", ...call, errorText: String(errorText ?? "") });
  if (part["state"] === "output-denied") chunks.push({ type: "tool-output-denied", toolCallId: part["toolCallId"] });
  return chunks;
}
