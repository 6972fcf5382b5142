/** Where the server is: one base for requests and sockets. */

import { FleetLMError } from "./errors.js";

export interface Address {
  /** `http(s)://host`, perhaps with a path, without a slash at its end. */
  http: string;
  /** What phoenix is given: `ws(s)://host/socket`. */
  socket: string;
}

/** The address that a caller names; without one the page's own origin, or what a server started by hand listens on. */
export function addressOf(url: string | undefined): Address {
  const named = url ?? pageOrigin() ?? "http://localhost:4000";
  if (!/^(https?|wss?):\/\/[^/]/.test(named)) {
    throw new FleetLMError("InvalidOptions", `url must begin with http:// or https://, and not be ${named}`);
  }
  const base = named.replace(/\/+$/, "");
  return { http: base.replace(/^ws/, "http"), socket: `${base.replace(/^http/, "ws")}/socket` };
}

function pageOrigin(): string | undefined {
  const origin = globalThis.location?.origin;
  return origin?.startsWith("http") ? origin : undefined; // that of a file is "null"
}
