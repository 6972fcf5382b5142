/**
 * Everything at once: two clients talk to an agent while their networks are cut every few events and the server is killed in
 * between. Where the cuts fall depends on the machine; what must hold does not.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { FleetLMClient } from "@fleetlm/client";
import { Proxy } from "./proxy.js";
import { Server } from "./server.js";
import { clientOf, log, seqs, text, upTo } from "./waiting.js";

const [SENDS, CUT_EVERY, KILL_EVERY, KILLS] = [20, 23, 40, 3];

/** What a client heard, and whether it may be: each message once and in order, each chunk of a run once and in order. */
function observed(client: FleetLMClient) {
  const [messages, chunks, runs, gaps] = [
    log(client, "message"),
    log(client, "chunk"),
    log(client, "run"),
    log(client, "gap"),
  ];
  const check = () => {
    assert.deepEqual(gaps.all, []);
    assert.deepEqual(seqs(messages.all), upTo(messages.all.length));
    for (const runId of new Set(chunks.all.map((chunk) => chunk.runId))) {
      const mine = chunks.all.filter((chunk) => chunk.runId === runId);
      const [first] = mine;
      assert.deepEqual(
        mine.map(({ index }) => index),
        mine.map((_, at) => first!.index! + at),
        `chunks of ${runId}`,
      );
      const shown = mine.map(({ chunk }) => chunk["delta"] ?? "").join("");
      const stored = messages.all.find(({ metadata }) => metadata["run_id"] === runId);
      const parts = (stored?.content["parts"] ?? []) as { text?: string }[];
      const whole = parts.map((part) => part.text ?? "").join("");
      if (stored) assert.ok(whole.startsWith(shown), `${shown} is the beginning of ${whole}`);
    }
  };
  return { messages, runs, check };
}

test("nothing is lost, doubled or out of order, however often networks are cut and the server is killed", async (context) => {
  const server = await Server.start(context, "--echo-chunks-per-s", "300");
  const agent = { id: "parrot", name: "Parrot", origin_url: "builtin:echo?chunks_per_s=300", debounce_window_ms: 0 };
  await server.ask("POST", "/api/agents", { agent });
  const proxies = [
    await Proxy.before(context, () => server.port),
    await Proxy.before(context, () => server.port),
  ] as const;
  const first = clientOf(context, { userId: "alice", agentId: "parrot", url: proxies[0].url });
  await first.connect();
  const { sessionId } = first;
  const second = clientOf(context, { userId: "alice", agentId: "parrot", sessionId, url: proxies[1].url });
  const heard = [observed(first), observed(second)] as const;
  await second.connect();
  let [events, kills] = [0, 0];
  let restarting = Promise.resolve();
  for (const [client, proxy] of [
    [first, proxies[0]],
    [second, proxies[1]],
  ] as const) {
    let mine = 0;
    const happened = () => {
      if (++mine % CUT_EVERY === 0) proxy.cut();
      if (++events % KILL_EVERY !== 0 || kills >= KILLS) return;
      kills += 1;
      restarting = restarting.then(() => server.down()).then(() => server.up());
    };
    client.on("chunk", happened);
    client.on("message", happened);
  }
  const words = (number: number) => `number ${number} ${"and on ".repeat(10)}`;
  const sends = upTo(SENDS).map((number) => (number % 2 ? first : second).send(text(words(number))));
  const receipts = await Promise.all(sends);
  await restarting;
  assert.equal(new Set(receipts.map(({ seq }) => seq)).size, SENDS, "each is stored once");
  // The last message is answered when its run is over, whichever way a client hears of it.
  const last = Math.max(...receipts.map(({ seq }) => seq));
  for (const { messages, check } of heard) {
    await messages.first(({ metadata }) => Number(metadata["reply_to"]) >= last);
    check();
    const own = messages.all.filter(({ senderId }) => senderId === "alice").map(({ content }) => content["text"]);
    assert.deepEqual([...own].sort(), upTo(SENDS).map(words).sort());
    const odd = own.filter((said) => Number(/\d+/.exec(String(said))) % 2 === 1);
    assert.deepEqual(
      odd,
      upTo(SENDS)
        .filter((number) => number % 2)
        .map(words),
      "in the order of the calls",
    );
  }
  assert.ok(proxies[0].taken > 2 && kills === KILLS, `${proxies[0].taken} connections, ${kills} kills`);
});
