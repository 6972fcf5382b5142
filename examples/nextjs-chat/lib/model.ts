/** Who answers: a mock that needs no network, or OpenAI when `OPENAI_API_KEY` is set. */

import { openai } from "@ai-sdk/openai";
import { type LanguageModel, simulateReadableStream } from "ai";

type Model = Extract<LanguageModel, { specificationVersion: "v3" }>;
type Call = Parameters<Model["doStream"]>[0];
type Part = Awaited<ReturnType<Model["doStream"]>>["stream"] extends ReadableStream<infer P> ? P : never;

/** Between two words: what a fast model takes, slow enough to be seen. */
const WORD_MS = 40;

export function model(): LanguageModel {
  return process.env.OPENAI_API_KEY ? openai(process.env.OPENAI_MODEL ?? "gpt-5-mini") : mock;
}

/** The same answer to the same words. One that is asked to `count` goes on for long enough to be stopped. */
function answerTo(said: string): string {
  if (/\bcount\b/i.test(said)) return Array.from({ length: 500 }, (_, index) => index + 1).join(" ");
  return [
    `You said: “${said}”.`,
    "I am a mock model, so this is all I know. Set OPENAI_API_KEY to talk to a real one.",
    "Reload the page while I speak: the conversation is FleetLM's, and you will not miss a word.",
  ].join(" ");
}

const mock: Model = {
  specificationVersion: "v3",
  provider: "nextjs-chat",
  modelId: "mock",
  supportedUrls: {},
  doGenerate: () => Promise.reject(new Error("the mock only streams")),
  doStream: async ({ prompt }) => ({
    stream: simulateReadableStream({ chunks: partsOf(lastSaid(prompt)), chunkDelayInMs: WORD_MS }),
  }),
};

function partsOf(said: string): Part[] {
  const words = answerTo(said).split(/(?<= )/);
  return [
    { type: "stream-start", warnings: [] },
    { type: "text-start", id: "0" },
    ...words.map((delta): Part => ({ type: "text-delta", id: "0", delta })),
    { type: "text-end", id: "0" },
    {
      type: "finish",
      finishReason: { unified: "stop", raw: undefined },
      usage: {
        inputTokens: { total: said.split(/\s+/).length, noCache: undefined, cacheRead: undefined, cacheWrite: undefined },
        outputTokens: { total: words.length, text: words.length, reasoning: undefined },
      },
    },
  ];
}

function lastSaid(prompt: Call["prompt"]): string {
  const asked = prompt.findLast(({ role }) => role === "user");
  if (asked?.role !== "user") return "";
  return asked.content.map((part) => (part.type === "text" ? part.text : "")).join("");
}
