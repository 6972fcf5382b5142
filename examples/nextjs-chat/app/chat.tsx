"use client";

/** The user's sessions at the side, and the one that is open. */

import { FleetLMClient, type Session } from "@fleetlm/client";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Conversation } from "./conversation";

export interface Who {
  url: string;
  userId: string;
  agentId: string;
}

const SESSIONS_SHOWN_MAX = 50;

export function Chat({ url, userId, agentId }: Who) {
  const { sessions } = useMemo(() => new FleetLMClient({ url, userId, agentId }), [url, userId, agentId]);
  const [list, setList] = useState<Session[]>([]);
  const [open, setOpen] = useState<string>();
  const [error, setError] = useState<string>();
  const hasBegun = useRef(false);

  const show = useCallback((id: string) => {
    history.replaceState(null, "", `?session=${encodeURIComponent(id)}`);
    setOpen(id);
  }, []);

  const reload = useCallback(async () => {
    const found = (await sessions.of(userId, undefined, SESSIONS_SHOWN_MAX)).sessions;
    const own = found.filter((session) => session.agentId === agentId);
    setList(own);
    return own;
  }, [sessions, userId, agentId]);

  const begin = useCallback(async () => {
    const session = await sessions.create({ userId, agentId });
    setList((before) => [session, ...before]);
    show(session.id);
  }, [sessions, userId, agentId, show]);

  const start = useCallback(async () => {
    setError(undefined);
    try {
      const own = await reload();
      const asked = new URLSearchParams(location.search).get("session") ?? own[0]?.id;
      if (asked) show(asked);
      else await begin();
    } catch (thrown) {
      setError(thrown instanceof Error ? thrown.message : String(thrown));
    }
  }, [reload, show, begin]);

  useEffect(() => {
    if (hasBegun.current) return; // effects run twice in development; one session is enough
    hasBegun.current = true;
    void start();
  }, [start]);

  return (
    <div className="page">
      <nav aria-label="Conversations">
        <h1>FleetLM chat</h1>
        <button className="new" onClick={() => void begin().catch((thrown) => setError(String(thrown)))}>
          New chat
        </button>
        <ul>
          {list.map(({ id, title }) => (
            <li key={id}>
              <button aria-current={id === open ? "page" : undefined} onClick={() => show(id)}>
                {title || "New conversation"}
              </button>
            </li>
          ))}
        </ul>
        <p className="user">{userId}</p>
      </nav>
      {error && (
        <p role="alert" className="banner">
          FleetLM at {url} cannot be reached: {error} <button onClick={() => void start()}>Try again</button>
        </p>
      )}
      {open && <Conversation key={open} {...{ url, userId, agentId }} sessionId={open} onTitle={() => void reload()} />}
    </div>
  );
}
