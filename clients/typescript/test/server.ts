/**
 * The real binary (`FLEETLM_BIN`) on a free port and a folder of its own, killed and started again on the same port.
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";

export class Server {
  readonly folder = mkdtempSync(join(tmpdir(), "fleetlm-client-"));
  #child: ChildProcess | undefined;
  #port = 0;

  /** A server that ends with the test. */
  static async start(test: TestContext, ...flags: string[]): Promise<Server> {
    const server = new Server(flags);
    test.after(() => server.#clear());
    await server.up();
    return server;
  }

  private constructor(private readonly flags: string[]) {}

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async up(): Promise<void> {
    const binary = process.env["FLEETLM_BIN"];
    assert.ok(binary, "FLEETLM_BIN names the server's binary");
    const listen = ["--listen", `127.0.0.1:${this.#port}`, "--data-dir", this.folder];
    const small = ["--shards", "2", "--unpinned", "--spin-us", "0", "--segment-bytes", "16777216"];
    // Without what the caller's own environment would tell it.
    const told = ([name]: [string, unknown]) => !name.startsWith("FLEETLM_") && name !== "PORT" && name !== "RUST_LOG";
    const env = Object.fromEntries(Object.entries(process.env).filter(told));
    const child = spawn(binary, [...listen, ...small, ...this.flags], { stdio: ["ignore", "pipe", "inherit"], env });
    this.#child = child;
    for await (const line of createInterface({ input: child.stdout })) {
      const port = /listening on https?:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1];
      if (port === undefined) continue;
      this.#port = Number(port);
      child.stdout.resume();
      return;
    }
    throw new Error("the server did not start");
  }

  /** `kill -9`, or a shutdown that drains. */
  async down(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null) return;
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
  }

  /** A request as anybody may send it. */
  async ask<T>(method: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<T> {
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await fetch(this.url + path, {
      method,
      headers: { "content-type": "application/json", ...headers },
      ...sent,
    });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
    return (text === "" ? undefined : JSON.parse(text)) as T;
  }

  async #clear(): Promise<void> {
    await this.down();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
