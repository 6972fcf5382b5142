// The Phoenix Channels wire, version 2: one WebSocket for a user, channels on it that join again by themselves after a loss.
//
// A push is sent only while its channel is joined and is answered or fails; nothing is sent again here, for only who pushes knows
// whether it may be.

import { address } from "./api.js";
import { settings } from "./settings.js";

const HEARTBEAT_MS = 20_000;
const PUSH_MS = 15_000;
/** Waits before another try, the last one again and again. */
const WAITS_MS = [200, 500, 1000, 2000, 5000];

export class Socket extends EventTarget {
  /** `offline` before the first connection, then `online` or `lost`. */
  state = "offline";
  /** When the next try is made, in ms since 1970. */
  retryAt = 0;
  #user;
  #ws;
  #ref = 0;
  #tries = 0;
  #timer;
  #beat;
  #isAnswered = true;
  #replies = new Map();
  #channels = new Map();
  #isClosed = false;

  constructor(user) {
    super();
    this.#user = user;
    this.#connect();
  }

  channel(topic, params, events) {
    const channel = new Channel(this, topic, params, events);
    this.#channels.set(topic, channel);
    if (this.state === "online") channel.join();
    return channel;
  }

  forget(channel) {
    if (this.#channels.get(channel.topic) === channel) this.#channels.delete(channel.topic);
  }

  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    this.#ws?.close(1000);
    this.#fail("closed");
  }

  /** Tries at once; for when the network or the reader is back. */
  hurry() {
    if (this.state === "online" || this.#isClosed || this.#ws?.readyState === WebSocket.CONNECTING) return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  /** Sends and gives the reply's response, or throws it. */
  request(joinRef, topic, event, payload, ref = this.ref()) {
    return new Promise((resolve, reject) => {
      if (this.#ws?.readyState !== WebSocket.OPEN) return reject({ reason: "lost" });
      const timer = setTimeout(() => this.#settle(ref, "error", { reason: "timeout" }), PUSH_MS);
      this.#replies.set(ref, { resolve, reject, timer });
      this.#ws.send(JSON.stringify([joinRef, ref, topic, event, payload]));
    });
  }

  /** Sends and waits for nothing. */
  tell(joinRef, topic, event, payload) {
    if (this.#ws?.readyState === WebSocket.OPEN)
      this.#ws.send(JSON.stringify([joinRef, this.ref(), topic, event, payload]));
  }

  ref() {
    return String(++this.#ref);
  }

  #connect() {
    const url = address("socket/websocket");
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams({ user_id: this.#user, vsn: "2.0.0" });
    const token =
      settings.token &&
      `base64url.bearer.phx.${btoa(settings.token).replaceAll("=", "").replaceAll("+", "-").replaceAll("/", "_")}`;
    const ws = new WebSocket(url, token ? ["phoenix", token] : []);
    this.#ws = ws;
    ws.onopen = () => this.#opened();
    ws.onmessage = ({ data }) => this.#heard(JSON.parse(data));
    ws.onclose = ({ code, reason }) => this.#ws === ws && this.#lost(code, reason);
  }

  #opened() {
    this.#tries = 0;
    this.#isAnswered = true;
    this.#beat = setInterval(() => this.#heartbeat(), HEARTBEAT_MS);
    this.#turn("online");
    for (const channel of this.#channels.values()) channel.join();
  }

  #heartbeat() {
    if (!this.#isAnswered) return this.#ws.close(3000, "no answer");
    this.#isAnswered = false;
    this.request(null, "phoenix", "heartbeat", {}).then(
      () => (this.#isAnswered = true),
      () => {},
    );
  }

  #lost(code, reason) {
    clearInterval(this.#beat);
    if (this.#isClosed) return;
    this.#fail("lost");
    const wait = WAITS_MS[Math.min(this.#tries++, WAITS_MS.length - 1)];
    this.retryAt = Date.now() + wait;
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.why = { code, reason };
    this.#turn("lost");
  }

  #turn(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  #fail(reason) {
    for (const channel of this.#channels.values()) channel.lost();
    for (const ref of [...this.#replies.keys()]) this.#settle(ref, "error", { reason });
  }

  #settle(ref, status, response) {
    const reply = this.#replies.get(ref);
    if (!reply) return;
    clearTimeout(reply.timer);
    this.#replies.delete(ref);
    (status === "ok" ? reply.resolve : reply.reject)(response);
  }

  #heard([joinRef, ref, topic, event, payload]) {
    if (event === "phx_reply") return this.#settle(ref, payload.status, payload.response);
    const channel = this.#channels.get(topic);
    if (channel && (joinRef === null || joinRef === channel.joinRef)) channel.heard(event, payload);
  }
}

class Channel {
  /** `joining`, `joined`, `lost` or `refused`. */
  state = "lost";
  joinRef;
  #socket;
  #params;
  #events;
  #early = [];
  #timer;

  constructor(socket, topic, params, events) {
    this.topic = topic;
    [this.#socket, this.#params, this.#events] = [socket, params, events];
  }

  /** Joins with what the parameters are now. What arrives before the reply has been taken in waits. */
  async join() {
    clearTimeout(this.#timer);
    this.state = "joining";
    const ref = (this.joinRef = this.#socket.ref());
    try {
      const response = await this.#socket.request(ref, this.topic, "phx_join", this.#params(), ref);
      if (this.joinRef !== ref) return;
      this.state = "joined";
      this.#events.joined?.(response);
      for (const [event, payload] of this.#early.splice(0)) this.heard(event, payload);
    } catch (error) {
      if (this.joinRef !== ref || error.reason === "lost" || error.reason === "closed") return;
      this.state = "refused";
      this.#events.refused?.(error);
    }
  }

  heard(event, payload) {
    if (this.state === "joining") this.#early.push([event, payload]);
    else if (event === "phx_error") this.#again();
    else if (event === "phx_close") this.#closed();
    else this.#events[event]?.(payload);
  }

  push(event, payload) {
    if (this.state !== "joined") return Promise.reject({ reason: "lost" });
    return this.#socket.request(this.joinRef, this.topic, event, payload);
  }

  leave() {
    clearTimeout(this.#timer);
    if (this.state === "joined" || this.state === "joining")
      this.#socket.tell(this.joinRef, this.topic, "phx_leave", {});
    this.joinRef = undefined;
    this.#socket.forget(this);
  }

  lost() {
    clearTimeout(this.#timer);
    this.#early.length = 0;
    if (this.state !== "refused") this.state = "lost";
  }

  #again() {
    this.state = "lost";
    this.#timer = setTimeout(() => this.#socket.state === "online" && this.join(), WAITS_MS[0]);
  }

  #closed() {
    this.state = "lost";
    this.#events.closed?.();
  }
}
