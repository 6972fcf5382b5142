/**
 * Node.js has a WebSocket of its own from version 22 on, and in 20 behind a flag: it fails in other ways than that of
 * `ws`.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { PACKAGE } from "./places.js";

const skip = typeof globalThis.WebSocket === "function" ? "all tests run with it" : false;

test("what holds with the package ws holds with the runtime's own WebSocket", { skip }, () => {
  const files = ["session", "tokens", "inbox"].map((name) => join(PACKAGE, `build/test/${name}.test.js`));
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { status, stdout } = spawnSync(process.execPath, ["--experimental-websocket", "--test", ...files], { env });
  assert.equal(status, 0, String(stdout));
});
