/** What goes wrong outside: the server dies, the network is cut, there is no room, the server drains. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { END, Gate, START, agentOf, delta } from "./agent.js";
import { Proxy } from "./proxy.js";
import { Server } from "./server.js";
import { clientOf, log, seqs, text, upTo } from "./waiting.js";

const said = (messages: readonly { content: object }[]) =>
  messages.map(({ content }) => (content as { text: string }).text);

test("every send is stored once and in order though the server is killed again and again", async (context) => {
  const server = await Server.start(context, "--echo-chunks-per-s", "0");
  const [sends, kills] = [60, 3];
  const client = clientOf(context, { userId: "alice", agentId: "bot", url: server.url });
  await client.connect();
  const witness = clientOf(context, { userId: "alice", agentId: "bot", sessionId: client.sessionId, url: server.url });
  await witness.connect();
  const heard = [log(client, "message"), log(witness, "message")];
  const gaps = [log(client, "gap"), log(witness, "gap")];
  const acked: number[] = [];
  const work = (async () => {
    const receipts = upTo(sends).map(async (number) => {
      const { seq } = await client.send(text(`${number}`));
      acked.push(seq);
    });
    await Promise.all(receipts);
  })();
  for (const kill of upTo(kills)) {
    await heard[0]!.until(({ length }) => length >= (kill * sends) / (kills + 2));
    await server.down();
    await server.up();
  }
  await work;
  for (const messages of heard) {
    await messages.until(({ length }) => length >= sends);
    assert.deepEqual([seqs(messages.all), said(messages.all)], [upTo(sends), upTo(sends).map(String)]);
  }
  assert.deepEqual(acked, upTo(sends), "acknowledged in the order of the sends");
  assert.deepEqual(
    gaps.flatMap(({ all }) => all),
    [],
  );
});

test("an answer whose readers are cut off in the middle has no chunk missing and none twice", async (context) => {
  const server = await Server.start(context);
  const words = upTo(300).map((number) => `word-${number} `);
  const reached = new Map([...words.keys()].map((index) => [index, new Gate()]));
  // The agent waits for the reader at every 50th word, so that each cut is in the middle of what follows.
  const agentId = await agentOf(context, server, async (_, say) => {
    say(...START);
    for (const [index, word] of words.entries()) {
      say(delta(word));
      if (index % 50 === 25) await reached.get(index)!.opened;
    }
    say(...END);
  });
  const proxy = await Proxy.before(context, () => server.port);
  const client = clientOf(context, { userId: "alice", agentId, url: proxy.url });
  const [messages, chunks, runs, gaps] = [
    log(client, "message"),
    log(client, "chunk"),
    log(client, "run"),
    log(client, "gap"),
  ];
  let cuts = 0;
  client.on("chunk", ({ chunk }) => {
    const index = words.indexOf(chunk["delta"] as string);
    if (index % 50 !== 25) return;
    cuts += 1;
    proxy.cut();
    reached.get(index)!.open(); // the answer goes on while nobody listens
  });
  await client.connect();
  await client.send(text("Talk to me"));
  await messages.until(({ length }) => length === 2);
  await runs.first(({ status }) => status === "finished" || status === "ended");
  assert.equal(cuts, 6);
  assert.deepEqual(gaps.all, []);
  assert.deepEqual(
    chunks.all.map(({ index }) => index),
    chunks.all.map((_, index) => index),
    "each once and in order",
  );
  const shown = chunks.all.map(({ chunk }) => chunk["delta"] ?? "").join("");
  assert.ok(
    words.join("").startsWith(shown) && chunks.all.length > 275,
    "what was shown is the beginning of the whole",
  );
  assert.deepEqual(messages.all[1]!.content["parts"], [{ type: "text", text: words.join(""), state: "done" }]);
  assert.deepEqual(client.answers, []);
});

test("a client that comes in the middle of an answer is shown it from its beginning, then live", async (context) => {
  const server = await Server.start(context);
  const [middle, rest] = [new Gate(), new Gate()];
  const agentId = await agentOf(context, server, async (_, say) => {
    say(...START, delta("one "), delta("two "));
    middle.open();
    await rest.opened;
    say(delta("three"), ...END);
  });
  const first = clientOf(context, { userId: "alice", agentId, url: server.url });
  await first.connect();
  const seen = log(first, "chunk");
  await first.send(text("Hi"));
  await middle.opened;
  await seen.first(({ chunk }) => chunk["delta"] === "two ");
  assert.deepEqual(
    first.answers.map((answer) => answer.text),
    ["one two "],
  );
  const late = clientOf(context, { userId: "alice", agentId, sessionId: first.sessionId, url: server.url });
  const [chunks, runs] = [log(late, "chunk"), log(late, "run")];
  await late.connect();
  await chunks.until(({ length }) => length === 4);
  assert.deepEqual(
    late.answers.map((answer) => answer.text),
    ["one two "],
  );
  rest.open();
  await runs.first(({ status }) => status === "finished");
  assert.deepEqual(
    chunks.all.map(({ index }) => index),
    [0, 1, 2, 3, 4, 5, 6],
  );
  assert.deepEqual(
    runs.all.map(({ status }) => status),
    ["resumed", "finished"],
  );
});

test("a run is stopped for everybody, a run that fails says why, and one that is tried again says so", async (context) => {
  const server = await Server.start(context);
  const agentId = await agentOf(context, server, async (call, say, response) => {
    const asked = call.messages.at(-1)?.content.text;
    if (asked === "fail") return void response.writeHead(400);
    if (asked === "retry" && !response.req.headers["x-fleetlm-attempt"]?.includes("2"))
      return void response.writeHead(503);
    say(...START, delta("endless "));
    if (asked === "stop") await new Promise((resolve) => response.on("close", resolve));
    else say(...END);
  });
  const client = clientOf(context, { userId: "alice", agentId, url: server.url });
  const [runs, chunks, messages] = [log(client, "run"), log(client, "chunk"), log(client, "message")];
  await client.connect();
  await client.send(text("stop"));
  await chunks.first(({ chunk }) => chunk["delta"] === "endless ");
  await client.stop();
  const stopped = await runs.first(({ status }) => status === "stopped");
  assert.equal(chunks.all.at(-1)?.chunk.type, "abort");
  assert.equal(stopped.status === "stopped" && stopped.seq, 2);
  assert.equal(messages.all[1]?.metadata["termination"], "abort");
  await client.send(text("fail"));
  const failed = await runs.first(({ status }) => status === "failed");
  assert.deepEqual(failed.status === "failed" && [failed.reason, failed.uptoSeq], ["http_status", 3]);
  await client.send(text("retry"));
  await runs.first(({ status }) => status === "finished");
  const states = ["started", "stopped", "started", "failed", "started", "retrying", "finished"];
  assert.deepEqual(
    runs.all.map(({ status }) => status),
    states,
  );
});

test("a queue that is full refuses by name, and what it holds is sent in order when the way is open", async (context) => {
  const server = await Server.start(context);
  const proxy = await Proxy.before(context, () => server.port);
  const client = clientOf(context, { userId: "alice", agentId: "bot", url: proxy.url, queueMax: 5 });
  const statuses = log(client, "status");
  await client.connect();
  proxy.stayCut();
  await statuses.first(({ status }) => status === "reconnecting");
  const held = upTo(5).map((number) => client.send(text(`${number}`)));
  assert.equal(client.queued, 5);
  await assert.rejects(client.send(text("6")), { name: "QueueFull", retryable: true });
  proxy.heal();
  assert.deepEqual(
    (await Promise.all(held)).map(({ seq }) => seq),
    upTo(5),
  );
  assert.deepEqual(said((await client.history()).messages), upTo(5).map(String));
  proxy.stayCut();
  const late = client.send(text("late"));
  client.disconnect();
  await assert.rejects(late, { name: "Disconnected", retryable: true });
});

test("a message that is too large for the server is refused, and those behind it are sent", async (context) => {
  const server = await Server.start(context, "--body-bytes-max", "100000");
  const client = clientOf(context, { userId: "alice", agentId: "bot", url: server.url });
  await client.connect();
  const [large, small] = [client.send(text("x".repeat(200_000))), client.send(text("small"))];
  await assert.rejects(large, { name: "MessageTooLarge", retryable: false });
  assert.equal((await small).seq, 1);
});

test("a server that drains says so, and its clients come back to its successor", async (context) => {
  const server = await Server.start(context);
  const client = clientOf(context, { userId: "alice", agentId: "bot", url: server.url });
  const [draining, statuses] = [log(client, "draining"), log(client, "status")];
  await client.connect();
  await client.send(text("before"));
  await server.down("SIGTERM");
  await draining.until(({ length }) => length === 1);
  const after = client.send(text("after"));
  await server.up();
  assert.equal((await after).seq, 2);
  const seen = statuses.all.map(({ status }) => status).filter((status, at, all) => status !== all[at - 1]);
  assert.deepEqual(seen, ["connecting", "connected", "reconnecting", "connected"]);
});

test("a server that has forgotten messages makes the client say so and go on from there", async (context) => {
  const server = await Server.start(context);
  const client = clientOf(context, { userId: "alice", agentId: "bot", url: server.url, lastSeq: 10 });
  const [gaps, messages] = [log(client, "gap"), log(client, "message")];
  await client.connect();
  assert.deepEqual(gaps.all, [{ what: "rewound", from: 10, to: 0 }]);
  await client.send(text("one"));
  await messages.until(({ length }) => length === 1);
});

test("a network that is dead without a word is noticed by the heartbeat", async (context) => {
  const server = await Server.start(context);
  const proxy = await Proxy.before(context, () => server.port);
  const client = clientOf(context, { userId: "alice", agentId: "bot", url: proxy.url, heartbeatMs: 100 });
  const statuses = log(client, "status");
  await client.connect();
  proxy.freeze();
  const sent = client.send(text("into the void"));
  const noticed = await statuses.first(({ status }) => status === "reconnecting");
  assert.match(noticed.reason ?? "", /heartbeat/);
  proxy.heal();
  assert.equal((await sent).seq, 1);
});

test("an answer that a crash has cut off is kept, or begun anew, as its agent wants it", async (context) => {
  for (const on_crash of ["abort", "retry"]) {
    const server = await Server.start(context);
    let calls = 0;
    const agentId = await agentOf(
      context,
      server,
      async (_, say, response) => {
        calls += 1;
        say(...START, delta(`attempt ${calls}`));
        if (calls === 1) await new Promise((resolve) => response.on("close", resolve));
        else say(...END);
      },
      { on_crash },
    );
    const client = clientOf(context, { userId: "alice", agentId, url: server.url });
    const [chunks, runs, messages] = [log(client, "chunk"), log(client, "run"), log(client, "message")];
    await client.connect();
    await client.send(text("Hello"));
    const first = await chunks.first(({ chunk }) => chunk["delta"] === "attempt 1");
    await server.down();
    assert.equal(client.answers[0]?.text, "attempt 1");
    await server.up();
    const ended = await runs.first((run) => run.runId === first.runId && run.status === "ended");
    assert.equal(ended.status === "ended" && ended.seq, on_crash === "abort" ? 2 : undefined);
    await messages.until(({ length }) => length === 2);
    const parts = messages.all[1]!.content["parts"] as { text: string }[];
    assert.equal(parts.map((part) => part.text).join(""), on_crash === "abort" ? "attempt 1" : "attempt 2");
    assert.equal(messages.all[1]!.metadata["recovered"], on_crash === "abort" ? true : undefined);
    await server.down();
  }
});

test("a session that was deleted while nobody was connected ends the client by name", async (context) => {
  const server = await Server.start(context);
  const proxy = await Proxy.before(context, () => server.port);
  const client = clientOf(context, { userId: "alice", agentId: "bot", url: proxy.url });
  const [errors, statuses] = [log(client, "error"), log(client, "status")];
  await client.connect();
  proxy.stayCut();
  await statuses.first(({ status }) => status === "reconnecting");
  const sent = client.send(text("too late"));
  await server.ask("DELETE", `/api/sessions/${client.sessionId}?permanent=true`);
  proxy.heal();
  await assert.rejects(sent, { name: "SessionNotFound" });
  assert.deepEqual([errors.all.map(({ name }) => name), client.status], [["SessionNotFound"], "closed"]);
});
