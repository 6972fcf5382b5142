// The message that the AI SDK's own client makes of chunks, as JSON keeps it.

import { createRequire } from "node:module";
import { readUIMessageStream } from "ai";

export const version = createRequire(import.meta.url)("ai/package.json").version;

export async function reduced(chunks) {
  const stream = new ReadableStream({
    start(controller) {
      // A data chunk at the end makes the reducer show what the last chunk did.
      [...chunks, { type: "data-last", data: 0 }].forEach((chunk) => controller.enqueue(structuredClone(chunk)));
      controller.close();
    },
  });
  // As a chat's client reads an answer: one that is given the message keeps what came before its `start`.
  const id = chunks.find(({ type, messageId }) => type === "start" && messageId)?.messageId;
  let message = id && { id, role: "assistant", parts: [] };
  const onError = (error) => {
    throw error;
  };
  for await (message of readUIMessageStream({ message, stream, terminateOnError: true, onError }));
  const { parts, ...rest } = JSON.parse(JSON.stringify(message));
  return { ...rest, parts: parts.slice(0, -1) };
}
