"use client";

/** One session, live: what was said, the answer as it is written, and a line to write in. */

import { useFleetLM } from "@fleetlm/client/react";
import { type FormEvent, type KeyboardEvent, useEffect, useRef, useState } from "react";
import type { Who } from "./chat";

const TITLE_CHARS_MAX = 48;

interface Props extends Who {
  sessionId: string;
  /** The session has got its title. */
  onTitle: () => void;
}

export function Conversation({ url, userId, agentId, sessionId, onTitle }: Props) {
  const { status, messages, run, error, send, dismiss, stop, client } = useFleetLM({ url, userId, agentId, sessionId });
  const [text, setText] = useState("");
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    void end.current?.scrollIntoView({ block: "end" }); // newer browsers answer with a promise, which is no clean-up
  }, [messages]);

  const say = async (said: string) => {
    const isFirst = messages.length === 0;
    try {
      await send(said);
    } catch {
      return; // the message stays, marked as failed
    }
    if (!isFirst) return;
    await client.rename(said.slice(0, TITLE_CHARS_MAX)).catch(() => {}); // a title is no promise
    onTitle();
  };
  const submit = (event?: FormEvent) => {
    event?.preventDefault();
    const said = text.trim();
    if (!said) return;
    setText("");
    void say(said);
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    submit();
  };
  const isThinking = run !== undefined && !messages.some(({ state }) => state === "streaming");

  return (
    <main data-status={status} data-session={sessionId}>
      {status === "reconnecting" && (
        <p role="status" className="banner">
          The connection is lost. Coming back; what you write is sent then.
        </p>
      )}
      {error && (
        <p role="alert" className="banner">
          {error.message}
        </p>
      )}
      <section aria-label="Messages" aria-live="polite" className="messages">
        {messages.length === 0 && status === "connected" && <p className="empty">What would you like to talk about?</p>}
        {messages.map(({ key, state, senderId, text: said, metadata }) => (
          <article key={key} className={senderId === userId ? "own" : "agent"} data-state={state}>
            <p>{said}</p>
            {metadata["termination"] === "abort" && <small>stopped</small>}
            {state === "sending" && <small>sending</small>}
            {state === "failed" && (
              <small>
                not sent{" "}
                <button onClick={() => (dismiss(key), void say(said))}>Send again</button>
                <button onClick={() => dismiss(key)}>Discard</button>
              </small>
            )}
          </article>
        ))}
        {isThinking && (
          <p role="status" className="thinking">
            Thinking
          </p>
        )}
        <div ref={end} />
      </section>
      <form onSubmit={submit}>
        <textarea
          aria-label="Message"
          placeholder="Write a message"
          rows={1}
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={onKey}
          autoFocus
        />
        {run ? (
          <button type="button" className="stop" onClick={() => void stop().catch(() => {})}>
            Stop
          </button>
        ) : (
          <button type="submit" disabled={!text.trim()}>
            Send
          </button>
        )}
      </form>
    </main>
  );
}
