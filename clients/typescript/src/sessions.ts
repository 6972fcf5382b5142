/** Sessions over REST: made, found, renamed, archived, deleted, and their messages page by page. */

import { type Rest, query } from "./rest.js";
import type { JsonObject, Page, Session } from "./types.js";
import { type WirePage, type WireSession, pageOf, sessionOf } from "./wire.js";

/** Messages of a page without a `limit`: the server's own default. */
export const PAGE = 50;
/** Messages of a page that is read to catch up. */
const CATCH_UP_PAGE = 1_000;

export interface NewSession {
  userId: string;
  agentId: string;
  title?: string | undefined;
  metadata?: JsonObject | undefined;
}

export interface HistoryOptions {
  /** Below this seq; behind the last message without one. */
  before?: number;
  /** Above this seq, ascending; `before` wins. */
  after?: number;
  /** 50 without one. */
  limit?: number;
}

export class Sessions {
  readonly #rest: Rest;

  constructor(rest: Rest) {
    this.#rest = rest;
  }

  async create({ userId, agentId, title, metadata }: NewSession): Promise<Session> {
    return this.#one("POST", "/api/sessions", { user_id: userId, agent_id: agentId, title, metadata });
  }

  async find(id: string): Promise<Session> {
    return this.#one("GET", path(id));
  }

  async rename(id: string, title: string): Promise<Session> {
    return this.#one("PATCH", path(id), { title });
  }

  async archive(id: string): Promise<void> {
    await this.#rest.ask("DELETE", path(id));
  }

  async deleteForGood(id: string): Promise<void> {
    await this.#rest.ask("DELETE", `${path(id)}?permanent=true`);
  }

  /** A user's sessions, newest first, below the session `before`. */
  async of(userId: string, before?: string, limit?: number): Promise<{ sessions: Session[]; hasMore: boolean }> {
    const fields = query({ user_id: userId, before, limit });
    const wire = await this.#rest.ask<{ sessions: WireSession[]; has_more: boolean }>("GET", `/api/sessions?${fields}`);
    return { sessions: wire.sessions.map(sessionOf), hasMore: wire.has_more };
  }

  /** A page of messages, ascending, on either side of a seq. */
  async page(id: string, { before, after, limit = PAGE }: HistoryOptions = {}): Promise<Page> {
    // Behind the last message: no seq is as large.
    const before_seq = before ?? (after === undefined ? Number.MAX_SAFE_INTEGER : undefined);
    const fields = before_seq === undefined ? { after_seq: after, limit } : { before_seq, limit };
    return pageOf(await this.#rest.ask<WirePage>("GET", `${path(id)}/messages?${query(fields)}`));
  }

  /** What a reader at `seq` has missed: the next page of it. */
  after(id: string, seq: number): Promise<WirePage> {
    return this.#rest.ask("GET", `${path(id)}/messages?${query({ after_seq: seq, limit: CATCH_UP_PAGE })}`);
  }

  async lastSeq(id: string): Promise<number> {
    return (await this.page(id, { limit: 1 })).lastSeq;
  }

  /** Moves a read cursor forward; where it stands now. */
  async markRead(id: string, userId: string, seq: number): Promise<number> {
    const wire = await this.#rest.ask<{ last_seq: number }>("POST", `${path(id)}/read`, {
      user_id: userId,
      last_seq: seq,
    });
    return wire.last_seq;
  }

  async cursors(id: string): Promise<Record<string, number>> {
    return (await this.#rest.ask<{ cursors: Record<string, number> }>("GET", `${path(id)}/read`)).cursors;
  }

  async stop(id: string, runId: string): Promise<void> {
    await this.#rest.ask("POST", `${path(id)}/runs/${encodeURIComponent(runId)}/stop`, {});
  }

  async #one(method: string, where: string, body?: object): Promise<Session> {
    return sessionOf((await this.#rest.ask<{ session: WireSession }>(method, where, body)).session);
  }
}

function path(id: string): string {
  return `/api/sessions/${encodeURIComponent(id)}`;
}
