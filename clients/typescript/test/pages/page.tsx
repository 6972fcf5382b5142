/**
 * The page of the browser test: a chat with the hook, one with `useChat`, and the client itself for what has no view.
 */

import { useChat } from "@ai-sdk/react";
import { FleetLMClient } from "@fleetlm/client";
import { FleetLMChatTransport } from "@fleetlm/client/ai";
import { useFleetLM } from "@fleetlm/client/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const asked = new URLSearchParams(location.search);
const options = {
  userId: "alice",
  agentId: asked.get("agent") ?? "echo",
  sessionId: asked.get("session") ?? undefined,
  url: asked.get("url") ?? undefined,
  token: asked.get("token") ?? undefined,
};

function Composer({ send }: { send: (text: string) => unknown }) {
  const [text, setText] = useState("");
  const submit = () => {
    void send(text);
    setText("");
  };
  return (
    <form onSubmit={(event) => (event.preventDefault(), submit())}>
      <input value={text} onChange={(event) => setText(event.target.value)} autoFocus />
    </form>
  );
}

function Session() {
  const { status, messages, send, stop, client, error } = useFleetLM(options);
  return (
    <main data-status={status} data-session={status === "connected" ? client.sessionId : ""}>
      <ol>
        {messages.map(({ key, state, text }) => (
          <li key={key} className={state}>
            {text}
          </li>
        ))}
      </ol>
      <button onClick={() => void stop()}>Stop</button>
      {error && <p role="alert">{error.name}</p>}
      <Composer send={send} />
    </main>
  );
}

const client = new FleetLMClient(options);
const transport = new FleetLMChatTransport({ client });

function Chat() {
  const { messages, sendMessage, status } = useChat({ transport });
  return (
    <main data-status={status}>
      <ol>
        {messages.map(({ id, role, parts }) => (
          <li key={id} className={role}>
            {parts.map((part) => (part.type === "text" ? part.text : "")).join("")}
          </li>
        ))}
      </ol>
      <Composer send={(text) => sendMessage({ text })} />
    </main>
  );
}

const root = document.body.appendChild(document.createElement("div"));
createRoot(root).render(asked.has("chat") ? <Chat /> : <Session />);
