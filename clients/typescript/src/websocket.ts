/** The WebSocket of this runtime. Node has one of its own from version 22 on; before that the package `ws` is used. */

import { FleetLMError } from "./errors.js";

/** What phoenix needs of a WebSocket: the browsers' class, that of `ws`, or one like them. */
export type WebSocketClass = new (url: string, protocols?: string | string[]) => object;

export async function webSocketClass(given: WebSocketClass | undefined): Promise<WebSocketClass> {
  if (given) return given;
  if (typeof globalThis.WebSocket === "function") return globalThis.WebSocket;
  // In a variable, so that bundlers for browsers leave it alone.
  const name = "ws";
  try {
    const module = (await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as { default: WebSocketClass };
    return module.default;
  } catch (cause) {
    const hint = "this runtime has no WebSocket: install the package `ws`, or pass the option WebSocket";
    throw new FleetLMError("WebSocketMissing", hint, { cause });
  }
}
