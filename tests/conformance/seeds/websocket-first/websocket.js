import { Socket } from "phoenix";

let lastSeq = 0;

const socket = new Socket("ws://localhost:4000/socket", {
  params: { user_id: "alice" }
});

socket.connect();

const channel = socket.channel(`session:${sessionId}`, { last_seq: lastSeq });

channel.join()
  .receive("ok", ({ messages }) => {
    if (messages.length > 0) {
      lastSeq = messages[messages.length - 1].seq;
    }
  })
  .receive("error", (err) => console.error("join failed", err));

channel.on("message", (msg) => {
  if (msg.kind === "assistant") {
    console.log(`${msg.sender_id} parts:`, msg.content.parts);
  } else {
    console.log(`${msg.sender_id}:`, msg.content);
  }
  lastSeq = Math.max(lastSeq, msg.seq);
});

channel.on("stream_chunk", ({ chunk, agent_id }) => {
  // Render incremental updates before the message is persisted
  console.debug(`chunk from ${agent_id}:`, chunk);
});

channel.push("send", {
  content: {
    kind: "text",
    content: { text: "Hello!" }
  }
});
