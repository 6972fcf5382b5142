/**
 * What is used of the package `phoenix` (1.8.16 and later), in types of our own: it brings none itself, and whoever
 * compiles against this package should not have to install somebody else's.
 */

import { Socket as Phoenix } from "phoenix";
import type { WebSocketClass } from "./websocket.js";

export interface Push {
  receive(status: "ok" | "error" | "timeout", callback: (response: unknown) => void): this;
  /** No answer is waited for any more. */
  cancelTimeout(): void;
}

export interface Channel {
  readonly state: "closed" | "errored" | "joined" | "joining" | "leaving";
  join(): Push;
  leave(): Push;
  push(event: string, payload: object, timeoutMs: number): Push;
  on(event: string, callback: (payload: unknown) => void): number;
  onClose(callback: () => void): void;
  onError(callback: (reason: unknown) => void): number;
}

export interface Socket {
  channel(topic: string, params: () => object): Channel;
  connect(): void;
  disconnect(): void;
  isConnected(): boolean;
  onOpen(callback: () => void): string;
  onClose(callback: (event: { code: number; reason: string }) => void): string;
  onError(callback: () => void): string;
}

export interface SocketOptions {
  params: object;
  transport: WebSocketClass;
  heartbeatIntervalMs: number;
  reconnectAfterMs: (tries: number) => number;
  rejoinAfterMs: (tries: number) => number;
  /** Asked at each handshake. */
  authToken?: () => string | undefined;
}

export const newSocket = (url: string, options: SocketOptions): Socket =>
  new Phoenix(url, options as object) as unknown as Socket;
