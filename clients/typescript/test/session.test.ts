/** A session as two people see it: what is said, what streams, what was missed. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { test } from "node:test";
import { FleetLMClient } from "@fleetlm/client";
import { PACKAGE } from "./places.js";
import { Server } from "./server.js";
import { clientOf, log, seqs, text, upTo } from "./waiting.js";

test("a client as the documentation shows it sends, and sees chunks and then the message", async (context) => {
  const server = await Server.start(context, "--echo-chunks-per-s", "200");
  const client = clientOf(context, { userId: "alice", agentId: "echo", url: server.url });
  const [messages, chunks, runs, gaps] = [
    log(client, "message"),
    log(client, "chunk"),
    log(client, "run"),
    log(client, "gap"),
  ];
  await client.connect();
  assert.equal(client.status, "connected");
  assert.match(client.sessionId, /^[0-9A-Z]{26}$/);
  assert.deepEqual(await client.send({ kind: "text", content: { text: "Hello FleetLM!" } }), {
    seq: 1,
    replayed: false,
  });
  await runs.first(({ status }) => status === "finished");
  assert.deepEqual(
    messages.all.map(({ seq, senderId, kind }) => [seq, senderId, kind]),
    [
      [1, "alice", "text"],
      [2, "echo", "assistant"],
    ],
  );
  assert.deepEqual(
    chunks.all.map(({ index }) => index),
    upTo(chunks.all.length).map((index) => index - 1),
  );
  assert.ok(chunks.all.every(({ agentId, runId }) => agentId === "echo" && runId === chunks.all[0]?.runId));
  const shown = chunks.all
    .filter(({ chunk }) => chunk.type === "text-delta")
    .map(({ chunk }) => chunk["delta"])
    .join("");
  assert.equal(shown, "Hello FleetLM!");
  assert.deepEqual(messages.all[1]?.content["parts"], [{ type: "text", text: shown, state: "done" }]);
  assert.deepEqual(
    runs.all.map(({ status }) => status),
    ["started", "finished"],
  );
  assert.deepEqual([gaps.all, client.lastSeq, client.answers.length, client.run], [[], 2, 0, undefined]);
});

test("another client of the same session hears the same, and one that comes later is told what it missed", async (context) => {
  const server = await Server.start(context, "--echo-chunks-per-s", "0");
  const first = clientOf(context, { userId: "alice", agentId: "bot", url: server.url });
  await first.connect();
  const { sessionId } = first;
  const second = clientOf(context, { userId: "alice", agentId: "bot", sessionId, url: server.url });
  const heard = [log(first, "message"), log(second, "message")];
  await second.connect();
  await Promise.all(upTo(40).map((number) => (number % 2 ? first : second).send(text(`${number}`))));
  for (const messages of heard) {
    await messages.until(({ length }) => length === 40);
    assert.deepEqual(seqs(messages.all), upTo(40));
  }
  const late = clientOf(context, { userId: "alice", agentId: "bot", sessionId, lastSeq: 30, url: server.url });
  const missed = log(late, "message");
  await late.connect();
  assert.deepEqual(seqs(missed.all), upTo(40).slice(30));
  const latest = clientOf(context, { userId: "alice", agentId: "bot", sessionId, lastSeq: "latest", url: server.url });
  const none = log(latest, "message");
  await latest.connect();
  assert.deepEqual([none.all, latest.lastSeq], [[], 40]);
});

test("a replay of more pages than one is read over REST while live messages wait behind it", async (context) => {
  const server = await Server.start(context, "--durability", "memory");
  const writer = clientOf(context, { userId: "alice", agentId: "bot", url: server.url });
  await writer.connect();
  const [before, during] = [1_300, 20];
  for (let at = 0; at < before; at += 100) {
    const path = `/api/sessions/${writer.sessionId}/messages`;
    const append = (_: unknown, index: number) =>
      server.ask("POST", path, { agent_id: "bot", content: { text: `${at + index}` } });
    await Promise.all(Array.from({ length: 100 }, append));
  }
  const reader = clientOf(context, { userId: "alice", agentId: "bot", sessionId: writer.sessionId, url: server.url });
  const [messages, gaps] = [log(reader, "message"), log(reader, "gap")];
  const connected = reader.connect();
  await Promise.all(Array.from({ length: during }, (_, index) => writer.send(text(`live ${index}`))));
  await connected;
  await messages.until(({ length }) => length === before + during);
  assert.deepEqual([seqs(messages.all), gaps.all], [upTo(before + during), []]);
});

test("a program that disconnects ends at once", async (context) => {
  const server = await Server.start(context, "--echo-chunks-per-s", "0");
  const program = `
    import { FleetLMClient } from "@fleetlm/client";
    const client = new FleetLMClient({ userId: "alice", agentId: "bot", url: ${JSON.stringify(server.url)} });
    await client.connect();
    await client.inbox().connect();
    await client.send({ content: { text: "one" } });
    client.send({ content: { text: "two" } }).catch(({ name }) => console.log(name));
    client.disconnect();
    process.on("exit", () => console.log("within a beat:", performance.now() - at < 5_000));
    const at = performance.now();`;
  const words = ["--input-type=module", "--eval", program];
  const { stdout } = await promisify(execFile)(process.execPath, words, { cwd: PACKAGE });
  assert.equal(stdout, "Disconnected\nwithin a beat: true\n");
});

test("history is paged both ways", async (context) => {
  const server = await Server.start(context);
  const client = clientOf(context, { userId: "alice", agentId: "bot", url: server.url });
  await client.connect();
  for (const number of upTo(25)) await client.send(text(`${number}`));
  const last = await client.history({ limit: 10 });
  assert.deepEqual([seqs(last.messages), last.hasMore, last.lastSeq], [upTo(25).slice(15), true, 25]);
  const older = await client.history({ before: last.messages[0]!.seq, limit: 20 });
  assert.deepEqual([seqs(older.messages), older.hasMore], [upTo(15), false]);
  const newer = await client.history({ after: 20, limit: 3 });
  assert.deepEqual([seqs(newer.messages), newer.hasMore], [[21, 22, 23], true]);
  const forward: number[][] = [];
  for await (const page of client.messages({ limit: 10 })) forward.push(seqs(page));
  assert.deepEqual(forward, [upTo(10), upTo(20).slice(10), upTo(25).slice(20)]);
  const backward: number[][] = [];
  for await (const page of client.messages({ before: 13, limit: 10 })) backward.push(seqs(page));
  assert.deepEqual(backward, [upTo(12).slice(2), [1, 2]]);
});

test("sessions are renamed, read, archived and deleted for good", async (context) => {
  const server = await Server.start(context);
  const client = clientOf(context, {
    userId: "alice",
    agentId: "bot",
    title: "First",
    metadata: { topic: "x" },
    url: server.url,
  });
  const [events, reads] = [log(client, "session"), log(client, "read")];
  await client.connect();
  const created = await client.session();
  assert.deepEqual([created.title, created.metadata, created.status], ["First", { topic: "x" }, "active"]);
  assert.equal((await client.rename("Second")).title, "Second");
  await assert.rejects(client.rename(" "), { name: "TitleInvalid", status: 422, retryable: false });
  await client.send(text("one"));
  await client.send(text("two"));
  assert.equal(await client.markRead(1), 1);
  assert.equal(await client.markRead(), 2);
  assert.equal(await client.markRead(1), 2, "a cursor only goes forward");
  assert.deepEqual([await client.cursors(), reads.all.map(({ lastSeq }) => lastSeq)], [{ alice: 2 }, [1, 2, 2]]);
  await client.archive();
  assert.equal((await client.sessions.of("alice")).sessions[0]?.status, "archived");
  const pending = client.send(text("three"));
  assert.equal((await pending).seq, 3);
  await client.deleteForGood();
  await events.first(({ status }) => status === "deleted");
  assert.deepEqual(
    events.all.map(({ status }) => status),
    ["created", "renamed", "archived", "deleted"],
  );
  assert.equal(client.status, "closed");
  await assert.rejects(client.connect(), { name: "SessionNotFound" });
});

test("what the server refuses has its name, and nothing is tried again for it", async (context) => {
  const server = await Server.start(context);
  const alice = clientOf(context, { userId: "alice", agentId: "bot", url: server.url });
  await alice.connect();
  await alice.send(text("one"));
  await assert.rejects(
    alice.send(text("two"), { expectedSeq: 7 }),
    (error: { name: string; details: { current_seq: number } }) => {
      return error.name === "SeqConflict" && error.details.current_seq === 1;
    },
  );
  await alice.send(text("two"), { idempotencyKey: "k" });
  assert.deepEqual(await alice.send(text("two"), { idempotencyKey: "k" }), { seq: 2, replayed: true });
  await assert.rejects(alice.send(text("other"), { idempotencyKey: "k" }), { name: "IdempotencyMismatch" });
  await assert.rejects(alice.send({ content: "text" } as never), { name: "InvalidMessageFormat" });
  await assert.rejects(alice.stop(), { name: "RunNotFound" });
  assert.equal((await alice.send(text("three"))).seq, 3, "the queue goes on");
  const stranger = clientOf(context, {
    userId: "mallory",
    agentId: "bot",
    sessionId: alice.sessionId,
    url: server.url,
  });
  await assert.rejects(stranger.connect(), { name: "Unauthorized", retryable: false });
  const lost = clientOf(context, {
    userId: "alice",
    agentId: "bot",
    sessionId: "01K6GR2EV9Z7PSMEVVJ5M954CH",
    url: server.url,
  });
  await assert.rejects(lost.connect(), { name: "SessionNotFound" });
  assert.equal(lost.status, "closed");
  assert.throws(() => new FleetLMClient({ userId: "", agentId: "x" }), { name: "InvalidOptions" });
  assert.throws(() => new FleetLMClient({ userId: "a", agentId: "x", url: "localhost" }), { name: "InvalidOptions" });
});

test("an unreachable server is said to be after the time, and listeners come and go", async (context) => {
  const server = await Server.start(context);
  const { url } = server;
  await server.down();
  const client = clientOf(context, { userId: "alice", agentId: "bot", url, connectTimeoutMs: 300 });
  await assert.rejects(client.connect(), { name: "Unreachable", retryable: true });
  await server.up();
  const [seen, seenOnce]: [string[], string[]] = [[], []];
  const unsubscribe = client.on("message", ({ seq }) => seen.push(`${seq}`));
  client.once("message", ({ seq }) => seenOnce.push(`${seq}`));
  await client.connect();
  const second = log(client, "message");
  await client.send(text("one"));
  await second.until(({ length }) => length === 1);
  unsubscribe();
  await client.send(text("two"));
  await second.until(({ length }) => length === 2);
  assert.deepEqual([seen, seenOnce], [["1"], ["1"]]);
  client.disconnect();
  assert.equal(client.status, "closed");
  await client.connect();
  assert.equal((await client.send(text("three"))).seq, 3);
  await second.until(({ length }) => length === 3);
  assert.deepEqual(seqs(second.all), [1, 2, 3]);
});
