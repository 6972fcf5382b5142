/** What an application's users download. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { PACKAGE } from "./places.js";

/**
 * Bytes of a minified module that takes this from the package, as they go over the wire, and whether phoenix is in it.
 */
async function bundled(line: string): Promise<{ gzipBytes: number; hasPhoenix: boolean; external: boolean }> {
  const stdin = { contents: line, resolveDir: PACKAGE };
  const built = await build({
    stdin,
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    external: ["react", "ai"],
    metafile: true,
  });
  const inputs = Object.entries(Object.values(built.metafile.outputs)[0]!.inputs).filter(
    ([, { bytesInOutput }]) => bytesInOutput > 0,
  );
  const hasPhoenix = inputs.some(([path]) => path.includes("phoenix"));
  return {
    gzipBytes: gzipSync(built.outputFiles[0]!.contents).length,
    hasPhoenix,
    external: built.outputFiles[0]!.text.includes('"ws"'),
  };
}

test("the client is small, half of it is phoenix, and its sub-paths add little", async () => {
  const whole = await bundled('export { FleetLMClient } from "@fleetlm/client"');
  console.log(`the client with phoenix: ${whole.gzipBytes} bytes gzipped`);
  assert.ok(whole.hasPhoenix && whole.gzipBytes < 18_000, `${whole.gzipBytes} bytes`);
  const ai = await bundled('export { FleetLMChatTransport } from "@fleetlm/client/ai"');
  const react = await bundled('export { useFleetLM } from "@fleetlm/client/react"');
  console.log(`with the transport: ${ai.gzipBytes}; with the hook: ${react.gzipBytes}`);
  assert.ok(ai.gzipBytes - whole.gzipBytes < 4_000 && react.gzipBytes - whole.gzipBytes < 3_000);
});

test("the lock names no registry, and what is published is what is built", () => {
  const lock = readFileSync(join(PACKAGE, "package-lock.json"), "utf8");
  assert.ok(!lock.includes('"resolved"'), "omit-lockfile-registry-resolved stands in .npmrc");
  const npm = ["pack", "--dry-run", "--json", "--ignore-scripts", "--loglevel=error"];
  const [packed] = JSON.parse(execFileSync("npm", npm, { cwd: PACKAGE, encoding: "utf8" })) as {
    files: { path: string }[];
  }[];
  const others = packed!.files
    .map(({ path }) => path)
    .filter((path) => !/^(dist\/[\w-]+(\.d)?\.[jt]s|package\.json|README\.md|LICENSE)$/.test(path));
  assert.deepEqual(others, []);
  const types = readdirSync(join(PACKAGE, "dist")).filter(
    (name) => name.endsWith(".d.ts") && !["ai.d.ts", "react.d.ts"].includes(name),
  );
  const foreign = types.filter((name) => /from "[^.]/.test(readFileSync(join(PACKAGE, "dist", name), "utf8")));
  assert.deepEqual(foreign, [], "types that need nobody else's");
});

test("what is not used is not bundled", async () => {
  const { gzipBytes, hasPhoenix } = await bundled('export { FleetLMError } from "@fleetlm/client"');
  assert.ok(!hasPhoenix && gzipBytes < 1_000, `${gzipBytes} bytes`);
});
