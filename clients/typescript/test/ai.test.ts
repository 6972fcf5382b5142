/** `useChat` on a session: its `Chat` as applications use it, with the real server and a webhook agent. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Chat } from "@ai-sdk/react";
import type { UIMessage } from "ai";
import type { FleetLMClient } from "@fleetlm/client";
import { FleetLMChatTransport, toUIMessages } from "@fleetlm/client/ai";
import { restOfAnswer } from "../src/rest-of-answer.js";
import { Parts, type Part } from "../src/parts.js";
import { END, Gate, START, agentOf, delta } from "./agent.js";
import { Proxy } from "./proxy.js";
import { Server } from "./server.js";
import { clientOf, log, seqs } from "./waiting.js";

const textOf = (message: UIMessage | undefined) =>
  (message?.parts ?? []).map((part) => (part.type === "text" ? part.text : "")).join("");

const chatOn = (client: FleetLMClient, messages: UIMessage[] = []) =>
  new Chat({ id: "c", messages, transport: new FleetLMChatTransport({ client }) });

test("a chat says something and shows the answer as it is stored", async (context) => {
  const server = await Server.start(context);
  const agentId = await agentOf(context, server, async (call, say) => {
    const call_ = { toolCallId: "c1", toolName: "weather" };
    say({ type: "start", messageMetadata: { model: "mock" } }, { type: "start-step" });
    say(
      { type: "reasoning-start", id: "r" },
      { type: "reasoning-delta", id: "r", delta: "Hm." },
      { type: "reasoning-end", id: "r" },
    );
    say({ type: "tool-input-available", ...call_, input: { city: "Köln" } });
    say(
      { type: "tool-output-available", toolCallId: "c1", output: { celsius: 21.5 } },
      { type: "finish-step" },
      { type: "start-step" },
    );
    say({ type: "text-start", id: "t" }, delta(`You said: ${call.messages.at(-1)?.content.text}`), {
      type: "text-end",
      id: "t",
    });
    say({ type: "source-url", sourceId: "s", url: "https://example.org" }, { type: "finish-step" }, { type: "finish" });
  });
  const client = clientOf(context, { userId: "alice", agentId, url: server.url });
  const messages = log(client, "message");
  const chat = chatOn(client);
  await chat.sendMessage({ text: "Hello" });
  assert.deepEqual([chat.status, chat.error], ["ready", undefined]);
  await messages.until(({ length }) => length === 2);
  assert.deepEqual(
    chat.messages.map(({ role }) => role),
    ["user", "assistant"],
  );
  const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown;
  assert.deepEqual(plain(chat.messages[1]!.parts), messages.all[1]!.content["parts"]);
  assert.equal(chat.messages[1]!.id, messages.all[1]!.content["id"], "the id is the stored one");
  assert.deepEqual(
    toUIMessages(messages.all).map(({ id }) => id),
    chat.messages.map(({ id }) => id),
  );
  await chat.sendMessage({ text: "Again" });
  assert.equal(textOf(chat.messages.at(-1)), "You said: Again");
});

test("to regenerate is to ask again: the session keeps both, the chat the new one", async (context) => {
  const server = await Server.start(context);
  let times = 0;
  const agentId = await agentOf(context, server, async (_, say) => say(...START, delta(`answer ${++times}`), ...END));
  const client = clientOf(context, { userId: "alice", agentId, url: server.url });
  const chat = chatOn(client);
  await chat.sendMessage({ text: "Hello" });
  const first = chat.messages[1]!;
  assert.equal(textOf(first), "answer 1");
  await chat.regenerate({ messageId: first.id });
  assert.deepEqual(chat.messages.map(textOf), ["Hello", "answer 2"]);
  const { messages } = await client.history();
  assert.deepEqual(toUIMessages(messages).map(textOf), ["Hello", "answer 1", "Hello", "answer 2"]);
  assert.equal(messages[2]!.metadata["regenerates"], first.id);
});

test("an answer that is cut off again and again, and ends while nobody is connected, is shown whole", async (context) => {
  const server = await Server.start(context);
  const words = Array.from({ length: 120 }, (_, index) => `word-${index} `);
  const gates = words.map(() => new Gate());
  const agentId = await agentOf(context, server, async (_, say) => {
    say(...START);
    for (const [index, word] of words.entries()) {
      say(delta(word));
      if (index % 40 === 30) await gates[index]!.opened;
    }
    say(...END);
  });
  const proxy = await Proxy.before(context, () => server.port);
  const client = clientOf(context, { userId: "alice", agentId, url: proxy.url });
  const witness = log(client, "message");
  const runs = log(client, "run");
  client.on("chunk", ({ chunk }) => {
    const index = words.indexOf(chunk["delta"] as string);
    if (index % 40 !== 30) return;
    if (index === 110) {
      proxy.stayCut();
      // It ends out of sight; only then is the network there again.
      void ended(server, client.sessionId).then(() => proxy.heal());
    } else proxy.cut();
    gates[index]!.open();
  });
  const chat = chatOn(client);
  await chat.sendMessage({ text: "Talk" });
  assert.deepEqual([chat.status, textOf(chat.messages[1])], ["ready", words.join("")]);
  assert.deepEqual([seqs(witness.all), runs.all.at(-1)?.status], [[1, 2], "ended"]);
});

/** The session's answer is stored, as another client sees it. */
async function ended(server: Server, sessionId: string): Promise<void> {
  for (let last = 0; last < 2;)
    last = (await server.ask<{ last_seq: number }>("GET", `/api/sessions/${sessionId}/messages`)).last_seq;
}

test("a page that is loaded anew goes on with the answer, and shows it once", async (context) => {
  const server = await Server.start(context);
  const [middle, rest] = [new Gate(), new Gate()];
  const agentId = await agentOf(context, server, async (_, say) => {
    say(...START, delta("one "), delta("two "));
    middle.open();
    await rest.opened;
    say(delta("three"), ...END);
  });
  const before = clientOf(context, { userId: "alice", agentId, url: server.url });
  void chatOn(before).sendMessage({ text: "Count" });
  await middle.opened;
  const { sessionId } = before;
  before.disconnect();
  const after = clientOf(context, { userId: "alice", agentId, sessionId, lastSeq: "latest", url: server.url });
  const chunks = log(after, "chunk");
  await after.connect();
  const chat = chatOn(after, toUIMessages((await after.history()).messages));
  await chunks.first(({ chunk }) => chunk["delta"] === "two ");
  const resumed = chat.resumeStream();
  rest.open();
  await resumed;
  assert.deepEqual(chat.messages.map(textOf), ["Count", "one two three"]);
  await chat.resumeStream();
  assert.deepEqual([chat.status, chat.messages.length], ["ready", 2], "nothing is under way any more");
});

test("to stop a chat is to stop the run, also before it has begun", async (context) => {
  const server = await Server.start(context);
  const stopped = [new Gate(), new Gate()];
  let calls = 0;
  const endless = async (
    _: unknown,
    say: (...chunks: { type: string }[]) => void,
    response: { on(name: string, then: () => void): void },
  ) => {
    const gate = stopped[calls++]!;
    response.on("close", gate.open);
    say(...START, delta("endless"));
    await gate.opened;
  };
  const agentId = await agentOf(context, server, endless as never, { debounce_window_ms: 300 });
  const client = clientOf(context, { userId: "alice", agentId, url: server.url });
  const [chunks, runs, messages] = [log(client, "chunk"), log(client, "run"), log(client, "message")];
  const chat = chatOn(client);
  const sent = chat.sendMessage({ text: "Hello" });
  await chunks.first(({ chunk }) => chunk["delta"] === "endless");
  await chat.stop();
  await sent;
  assert.equal(chat.status, "ready");
  await stopped[0]!.opened;
  await runs.first(({ status }) => status === "stopped");
  const again = chat.sendMessage({ text: "Once more" });
  await messages.first(({ content }) => content["text"] === "Once more");
  await chat.stop(); // within the debounce: no run is known yet
  await again;
  const at = runs.all.length;
  await runs.until((all) => all.slice(at).some(({ status }) => status === "stopped" || status === "failed"));
  await stopped[1]!.opened;
});

test("an agent that leaves out starts is understood as the server understands it", async (context) => {
  const server = await Server.start(context);
  const agentId = await agentOf(context, server, async (_, say) =>
    say({ type: "text-end", id: "x" }, delta("Hi "), delta("there"), { type: "finish" }),
  );
  const chat = chatOn(clientOf(context, { userId: "alice", agentId, url: server.url }));
  await chat.sendMessage({ text: "Hello" });
  assert.deepEqual([chat.status, chat.messages.map(textOf)], ["ready", ["Hello", "Hi there"]]);
});

test("a run that fails, an agent that never answers and a refused message are errors of the chat", async (context) => {
  const server = await Server.start(context);
  const agentId = await agentOf(context, server, async (_, __, response) => void response.writeHead(400));
  const failing = chatOn(clientOf(context, { userId: "alice", agentId, url: server.url }));
  await failing.sendMessage({ text: "Hello" });
  assert.deepEqual([failing.status, failing.error?.message.split(":")[0]], ["error", "http_status"]);
  const lonely = clientOf(context, { userId: "alice", agentId: "nobody", url: server.url });
  const waiting = new Chat({ transport: new FleetLMChatTransport({ client: lonely, beginsWithinMs: 100 }) });
  await waiting.sendMessage({ text: "Hello" });
  assert.equal(waiting.error?.name, "TimedOut");
  const transport = new FleetLMChatTransport({ client: lonely, draft: () => ({ content: "no object" }) as never });
  const refused = new Chat({ transport });
  await refused.sendMessage({ text: "Hello" });
  assert.equal(refused.error?.name, "InvalidMessageFormat");
});

test("an answer that a crash has made begin anew is an error, and resuming shows the new one", async (context) => {
  const server = await Server.start(context);
  let calls = 0;
  const rest = new Gate();
  const agentId = await agentOf(
    context,
    server,
    async (_, say, response) => {
      calls += 1;
      say(...START, delta(`attempt ${calls} `));
      if (calls === 1) return void (await new Promise((resolve) => response.on("close", resolve)));
      await rest.opened;
      say(delta("done"), ...END);
    },
    { on_crash: "retry" },
  );
  const client = clientOf(context, { userId: "alice", agentId, url: server.url });
  const chunks = log(client, "chunk");
  const chat = chatOn(client);
  const sent = chat.sendMessage({ text: "Hello" });
  await chunks.first(({ chunk }) => chunk["delta"] === "attempt 1 ");
  await server.down();
  await server.up();
  await sent;
  assert.equal(chat.error?.name, "Interrupted");
  await chunks.first(({ chunk }) => chunk["delta"] === "attempt 2 ");
  const resumed = chat.resumeStream();
  rest.open();
  await resumed;
  assert.deepEqual([chat.status, textOf(chat.messages.at(-1))], ["ready", "attempt 2 done"]);
});

test("what a team says is one message of the chat, whoever speaks at the same time", async (context) => {
  const server = await Server.start(context);
  const members = await Promise.all(
    ["first", "second"].map((name) =>
      agentOf(context, server, async (_, say) => say(...START, delta(`The ${name} `), delta("speaks. "), ...END)),
    ),
  );
  await server.ask("POST", "/api/agents", {
    agent: { id: "team", name: "Team", origin_url: "", debounce_window_ms: 0, team: { members, mode: "parallel" } },
  });
  const client = clientOf(context, { userId: "alice", agentId: "team", url: server.url });
  const [messages, gaps] = [log(client, "message"), log(client, "gap")];
  const chat = chatOn(client);
  await chat.sendMessage({ text: "Hello" });
  assert.deepEqual([chat.status, chat.messages.length, gaps.all], ["ready", 2, []]);
  await messages.until(({ length }) => length === 4);
  const said = textOf(chat.messages[1]);
  for (const { senderId, content } of messages.all.slice(1)) {
    const whole = (content["parts"] as { text: string }[]).map((part) => part.text).join("");
    assert.ok(said.includes(whole), `${senderId}: ${whole} in ${said}`);
  }
});

test("what is missing of any answer, cut anywhere, leads to its stored parts", () => {
  const chunks = [
    { type: "start-step" },
    { type: "reasoning-start", id: "r" },
    { type: "reasoning-delta", id: "r", delta: "Hm" },
    { type: "reasoning-end", id: "r" },
    { type: "tool-input-start", toolCallId: "c", toolName: "weather" },
    { type: "tool-input-available", toolCallId: "c", toolName: "weather", input: 1 },
    { type: "tool-output-available", toolCallId: "c", output: 2 },
    { type: "finish-step" },
    { type: "start-step" },
    { type: "text-start", id: "t" },
    { type: "text-delta", id: "t", delta: "Hel" },
    { type: "text-delta", id: "t", delta: "lo" },
    { type: "text-end", id: "t" },
    { type: "source-url", sourceId: "s", url: "u" },
    { type: "data-x", id: "d", data: 1 },
  ];
  const whole = new Parts();
  for (const chunk of chunks) whole.push(chunk);
  const ids = (parts: readonly Part[]) =>
    parts.map((part) => ({ ...part, ...(part.type === "reasoning" ? { id: "" } : {}) }));
  for (const cut of [...chunks.keys(), chunks.length]) {
    const shown = new Parts();
    for (const chunk of chunks.slice(0, cut)) shown.push(chunk);
    for (const chunk of restOfAnswer(shown, whole.parts)) shown.push(chunk);
    assert.deepEqual(ids(shown.parts), ids(whole.parts), `cut before ${cut}`);
  }
});
