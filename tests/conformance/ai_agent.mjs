// An agent as it is written with the AI SDK: `streamText` on a mock model of the SDK's own test kit, answering in each of
// the ways its readers know. Prints its address; holds its answers at a gate so that a test can look at them half-done.
//
//   POST /response  `toUIMessageStreamResponse`                   POST /go/SESSION       opens the gate once
//   POST /stream    `createUIMessageStreamResponse`, with data    GET  /said/SESSION     the chunks of its last answer
//   POST /lines     JSON lines                                    GET  /stopped/SESSION  answers when an answer was cut off
//   POST /long      `toUIMessageStreamResponse`, 300 words        POST /reduce           what the SDK makes of chunks

import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import http from "node:http";
import { Readable, pipeline } from "node:stream";
import {
  convertToModelMessages,
  createUIMessageStream,
  createUIMessageStreamResponse,
  jsonSchema,
  stepCountIs,
  streamText,
  tool,
  validateUIMessages,
} from "ai";
import { MockLanguageModelV3, simulateReadableStream } from "ai/test";
import { reduced } from "./reducer.mjs";

const { SECRET } = process.env;

// What tests wait for and what they are told, by session.
class Session {
  opened = 0;
  waiting = [];
  said = undefined;
  stopped = new Promise((resolve) => (this.stop = resolve));

  passed() {
    return new Promise((resolve) => (this.opened > 0 ? resolve(this.opened--) : this.waiting.push(resolve)));
  }

  open() {
    if (this.waiting.length > 0) this.waiting.shift()();
    else this.opened++;
  }
}

const sessions = new Map();

function sessionOf(id) {
  if (!sessions.has(id)) sessions.set(id, new Session());
  return sessions.get(id);
}

// The model: it thinks, asks for the weather, and then says which roles it was shown and what the user said last.
const usage = { inputTokens: { total: 3, noCache: 3 }, outputTokens: { total: 5, text: 5 } };
const finish = (reason) => ({ type: "finish", finishReason: { unified: reason, raw: reason }, usage });

const asking = [
  { type: "stream-start", warnings: [] },
  { type: "reasoning-start", id: "r", providerMetadata: { mock: { effort: "low" } } },
  { type: "reasoning-delta", id: "r", delta: "They greet me. " },
  { type: "reasoning-delta", id: "r", delta: "I tell the weather." },
  { type: "reasoning-end", id: "r", providerMetadata: { mock: { signature: "s" } } },
  { type: "tool-input-start", id: "call-1", toolName: "weather" },
  ...['{"ci', 'ty": "Köl', 'n", "days": [1, 2', "]}"].map((delta) => ({ type: "tool-input-delta", id: "call-1", delta })),
  { type: "tool-input-end", id: "call-1" },
  { type: "tool-call", toolCallId: "call-1", toolName: "weather", input: '{"city": "Köln", "days": [1, 2]}' },
  finish("tool-calls"),
];

const telling = (text) => [
  { type: "stream-start", warnings: [] },
  { type: "text-start", id: "t" },
  ...text.split(/(?= )/).map((delta) => ({ type: "text-delta", id: "t", delta })),
  { type: "text-end", id: "t" },
  { type: "source", sourceType: "url", id: "s", url: "https://example.org/weather", title: "Weather" },
  { type: "file", mediaType: "text/plain", data: "aGk=" },
  finish("stop"),
];

function talking(prompt) {
  if (prompt.at(-1).role === "user") return asking;
  const asked = prompt.findLast((message) => message.role === "user").content[0].text;
  return telling(`${prompt.map((message) => message.role).join(" ")}: "${asked}" 21.5\u00a0°C 😀\n`);
}

const HOLD = { type: "hold" };
const word = (text) => ({ type: "text-delta", id: "t", delta: `${text} ` });
const words = Array.from({ length: 300 }, (_, index) => word(`word-${index}`));
const long = [
  { type: "stream-start", warnings: [] },
  { type: "text-start", id: "t" },
  ...words.slice(0, 25),
  HOLD,
  ...words.slice(25),
  word("almost"),
  HOLD,
  word("done"),
  { type: "text-end", id: "t" },
  finish("stop"),
];

function model(session, chunksFor) {
  const held = {
    transform: async (chunk, controller) => (chunk === HOLD ? session.passed() : controller.enqueue(chunk)),
  };
  const stream = (chunks) => simulateReadableStream({ chunks, chunkDelayInMs: 1 }).pipeThrough(new TransformStream(held));
  return new MockLanguageModelV3({ doStream: async ({ prompt }) => ({ stream: stream(chunksFor(prompt)) }) });
}

const weather = (session) =>
  tool({
    description: "Tells the weather.",
    inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" }, days: { type: "array" } } }),
    execute: async ({ city }) => {
      await session.passed();
      return { city, celsius: 21.5, wind: null, list: [] };
    },
  });

// The history as the SDK wants it: what was persisted is a UI message by its own rules.
const user = ({ content }) => ({ role: "user", parts: [{ type: "text", text: content.text }] });
const remembered = (message) => ({ id: `${message.seq}`, ...(message.kind === "assistant" ? message.content : user(message)) });

async function answerTo(call, chunksFor, abortSignal) {
  const session = sessionOf(call.session_id);
  const history = await validateUIMessages({ messages: call.messages.map(remembered) });
  const tools = { weather: weather(session) };
  const messages = await convertToModelMessages(history, { tools });
  return streamText({ model: model(session, chunksFor), messages, tools, stopWhen: stepCountIs(2), abortSignal });
}

async function listed(stream) {
  let text = "";
  for await (const part of stream) text += part;
  const lines = text.split("\n\n").filter((line) => line !== "");
  assert.equal(lines.pop(), "data: [DONE]");
  return lines.map((line) => JSON.parse(line.slice("data: ".length)));
}

const messageMetadata = ({ part }) => {
  if (part.type === "start") return { model: { name: "mock", options: null } };
  return part.type === "finish" ? { model: { tokens: part.totalUsage.totalTokens } } : undefined;
};

function respond(result, session) {
  const consumeSseStream = ({ stream }) => void (session.said = listed(stream));
  const generateMessageId = () => `msg-${randomUUID()}`;
  return result.toUIMessageStreamResponse({ generateMessageId, messageMetadata, sendSources: true, consumeSseStream });
}

function respondWithData(result, session) {
  const execute = async ({ writer }) => {
    writer.write({ type: "data-progress", id: "p", data: { percent: 0 } });
    writer.write({ type: "data-note", data: "nobody keeps this", transient: true });
    for await (const chunk of result.toUIMessageStream({ sendFinish: false })) writer.write(chunk);
    writer.write({ type: "data-progress", id: "p", data: { percent: 100, left: null } });
    writer.write({ type: "finish", finishReason: "stop" });
  };
  const consumeSseStream = ({ stream }) => void (session.said = listed(stream));
  return createUIMessageStreamResponse({ stream: createUIMessageStream({ execute }), consumeSseStream });
}

async function writeLines(result, res) {
  const said = [];
  res.writeHead(200, { "content-type": "application/json" });
  for await (const chunk of result.toUIMessageStream({ messageMetadata })) {
    said.push(chunk);
    res.write(JSON.stringify(chunk) + "\n");
  }
  res.end();
  return said;
}

function send(response, res) {
  res.writeHead(response.status, Object.fromEntries(response.headers));
  pipeline(Readable.fromWeb(response.body), res, () => {});
}

function verify(headers, body) {
  const signed = `${headers["x-fleetlm-timestamp"]}.${body}`;
  const signature = createHmac("sha256", SECRET).update(signed).digest("hex");
  assert.equal(headers["x-fleetlm-signature"], `v1=${signature}`);
}

async function serve(req, res) {
  let body = "";
  for await (const part of req.setEncoding("utf8")) body += part;
  const [, name, id] = req.url.split("/");
  const json = (value) => res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
  if (name === "go") return json(sessionOf(id).open() ?? {});
  if (name === "said") return json(await sessionOf(id).said);
  if (name === "stopped") return json(await sessionOf(id).stopped);
  if (name === "reduce") return json(await reduced(JSON.parse(body)));
  verify(req.headers, body);
  const call = JSON.parse(body);
  const session = sessionOf(call.session_id);
  const abort = new AbortController();
  abort.signal.addEventListener("abort", () => session.stop({}));
  res.on("close", () => res.writableFinished || abort.abort());
  const result = await answerTo(call, name === "long" ? () => long : talking, abort.signal);
  if (name === "lines") session.said = writeLines(result, res);
  else send(name === "stream" ? respondWithData(result, session) : respond(result, session), res);
}

const server = http.createServer((req, res) => {
  serve(req, res).catch((error) => {
    console.log(`FAILED ${req.url}`, error);
    if (!res.headersSent) res.writeHead(500);
    res.end(String(error));
  });
});
server.listen(0, "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
