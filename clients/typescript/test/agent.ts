/** An agent as a webhook: what it says, and when, is the test's. */

import { once } from "node:events";
import { type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import type { Chunk } from "@fleetlm/client";
import type { Server } from "./server.js";

export interface Call {
  session_id: string;
  messages: { seq: number; content: { text?: string } }[];
}

export type Say = (...chunks: Chunk[]) => void;

/** Answers a call; the answer ends when it returns. */
export type Script = (call: Call, say: Say, response: ServerResponse) => Promise<void>;

/** Starts and registers an agent; its id. */
export async function agentOf(
  test: TestContext,
  server: Server,
  script: Script,
  more: object = {},
  headers = {},
): Promise<string> {
  const http = createServer(async (request, response) => {
    let body = "";
    for await (const part of request.setEncoding("utf8")) body += part;
    const say: Say = (...chunks) => response.write(chunks.map((chunk) => `${JSON.stringify(chunk)}\n`).join(""));
    await script(JSON.parse(body) as Call, say, response);
    response.end();
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  test.after(() => {
    http.closeAllConnections();
    http.close();
  });
  const id = `agent-${(http.address() as AddressInfo).port}`;
  const origin_url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  await server.ask(
    "POST",
    "/api/agents",
    { agent: { id, name: id, origin_url, debounce_window_ms: 0, ...more } },
    headers,
  );
  return id;
}

export const delta = (said: string): Chunk => ({ type: "text-delta", id: "t", delta: said });
export const START: Chunk[] = [{ type: "start" }, { type: "text-start", id: "t" }];
export const END: Chunk[] = [{ type: "text-end", id: "t" }, { type: "finish" }];

/** A door that opens once. */
export class Gate {
  open: () => void = () => {};
  readonly opened = new Promise<void>((resolve) => (this.open = resolve));
}
