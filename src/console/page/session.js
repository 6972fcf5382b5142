// One session as this page knows it: a stretch of its log without holes, the answer that is running, and what is still to be sent.
//
// Messages are shown in the order of their seq and once; one that leaves a seq out waits until the hole has been read. What was
// sent keeps its idempotency key until it is answered, so a lost connection neither loses nor doubles it.

import { Answer } from "./answer.js";
import { get, post, query } from "./api.js";

const PAGE = 50;
/** Messages kept in memory; older ones are read again when somebody scrolls to them. */
const KEPT_MAX = 600;

export class Session extends EventTarget {
  messages = [];
  lastSeq = 0;
  /** The running answer: `{id, agent, status, attempt, reason, retryAt, answers}`. */
  run = null;
  /** What was typed and is not stored yet: `{key, text, state, error}`. */
  unsent = [];
  /** How the last run ended, if not well. */
  ending = null;
  isLoading = false;
  #socket;
  #channel;
  #early = new Map();
  #nextIndex = 0;
  #isSending = false;
  #isFilling = false;
  #isClosed = false;
  #readUpto = 0;
  #runs = 0;

  constructor(info, socket) {
    super();
    [this.info, this.#socket] = [info, socket];
  }

  get id() {
    return this.info.id;
  }

  get firstSeq() {
    return this.messages[0]?.seq ?? this.lastSeq + 1;
  }

  get hasOlder() {
    return this.firstSeq > 1;
  }

  /** Reads the newest page, then stays live. */
  async open() {
    const page = await get(`api/sessions/${this.id}/messages?${query({ before_seq: 4294967295, limit: PAGE })}`);
    if (this.#isClosed) return;
    this.messages = page.messages;
    this.lastSeq = page.last_seq;
    this.#tell("messages");
    const params = () => ({
      last_seq: this.lastSeq,
      ...(this.run?.id ? { run_id: this.run.id, index: this.#nextIndex } : { resume: true }),
    });
    this.#channel = this.#socket.channel(`session:${this.id}`, params, {
      joined: (reply) => this.#joined(reply),
      refused: (reply) => this.#tell("refused", reply),
      message: (message) => this.#take([message]),
      stream_chunk: (event) => this.#chunk(event),
      run: (event) => this.#ran(event),
      closed: () => this.#tell("gone"),
    });
  }

  close() {
    this.#isClosed = true;
    this.#channel?.leave();
  }

  /** Older messages. Gives how many came. */
  async older() {
    if (this.isLoading || !this.hasOlder) return 0;
    this.isLoading = true;
    try {
      const page = await get(`api/sessions/${this.id}/messages?${query({ before_seq: this.firstSeq, limit: PAGE })}`);
      this.messages.unshift(...page.messages);
      return page.messages.length;
    } finally {
      this.isLoading = false;
    }
  }

  send(text) {
    this.unsent.push({ key: key(), text, state: "waiting" });
    this.#tell("unsent");
    void this.#flush();
  }

  /** Sends again what was refused. */
  retry(item) {
    Object.assign(item, { state: "waiting", error: undefined });
    this.#tell("unsent");
    void this.#flush();
  }

  discard(item) {
    this.unsent = this.unsent.filter((other) => other !== item);
    this.#tell("unsent");
  }

  async stop() {
    if (!this.run) return;
    try {
      await post(`api/sessions/${this.id}/runs/${this.run.id}/stop`, {});
    } catch (error) {
      if (error.status !== 404) throw error; // it has ended meanwhile
    }
  }

  /** What has been seen. */
  read() {
    const upto = this.lastSeq;
    if (upto <= this.#readUpto || this.#channel?.state !== "joined") return;
    this.#readUpto = upto;
    this.#channel.push("read", { last_seq: upto }).catch(() => (this.#readUpto = 0));
  }

  /** Drops what lies far above, while nobody looks at it. */
  trim() {
    if (this.messages.length <= KEPT_MAX) return false;
    this.messages.splice(0, this.messages.length - KEPT_MAX / 2);
    return true;
  }

  #joined({ messages, last_seq, run, has_more }) {
    const before = this.lastSeq;
    const runs = this.#runs;
    this.#take(messages);
    if (has_more || last_seq > this.lastSeq) void this.#fill(last_seq);
    if (run) this.#resume(run);
    else if (this.run && runs === this.#runs) this.#endRun();
    this.#tell("joined", { replayed: this.lastSeq - before });
    void this.#flush();
  }

  /** Takes messages in, each once and in order. */
  #take(messages) {
    for (const message of messages) if (message.seq > this.lastSeq) this.#early.set(message.seq, message);
    const added = [];
    while (this.#early.has(this.lastSeq + 1)) {
      const message = this.#early.get(++this.lastSeq);
      this.#early.delete(message.seq);
      added.push(message);
    }
    if (this.#early.size > 0) void this.#fill(Math.max(...this.#early.keys()));
    if (added.length === 0) return;
    this.messages.push(...added);
    for (const message of added) this.#replaceAnswer(message);
    this.#dropStored();
    this.#tell("messages", { added });
  }

  /** What was sent goes when its message is there, so that nothing flickers. */
  #dropStored() {
    this.unsent = this.unsent.filter(({ state, seq }) => state !== "stored" || seq > this.lastSeq);
  }

  /** Reads what lies between the last message and `upto`. */
  async #fill(upto) {
    if (this.#isFilling) return;
    this.#isFilling = true;
    try {
      while (this.lastSeq < upto) {
        const page = await get(`api/sessions/${this.id}/messages?${query({ after_seq: this.lastSeq, limit: 500 })}`);
        if (page.messages.length === 0) return;
        const fresh = page.messages.filter(({ seq }) => seq > this.lastSeq);
        for (const message of fresh) this.#early.set(message.seq, message);
        this.#take([]);
      }
    } catch {
      // the next join asks again
    } finally {
      this.#isFilling = false;
    }
  }

  /** A durable message takes the place of the chunks it was made of. */
  #replaceAnswer(message) {
    if (this.run && message.metadata?.run_id === this.run.id) this.run.answers.delete(message.sender_id);
  }

  #resume({ run_id, agent_id, state, index }) {
    if (this.run?.id !== run_id) {
      this.#begin(run_id, agent_id);
      this.#nextIndex = index ?? 0;
    }
    if (this.run.status !== "retrying") this.run.status = state === "waiting" ? "waiting" : "started";
    this.#tell("run");
  }

  #begin(id, agent) {
    this.run = { id, agent, status: "started", attempt: 1, answers: new Map() };
    this.ending = null;
    this.#nextIndex = 0;
    this.#runs++;
  }

  #chunk({ agent_id, chunk, run_id, index }) {
    if (run_id !== undefined) {
      if (this.run?.id !== run_id) this.#begin(run_id, agent_id);
      if (index < this.#nextIndex) return;
      this.#nextIndex = index + 1;
    } else if (!this.run) {
      this.#begin(undefined, agent_id); // an agent that is a client of the channel: its chunks have no run
    }
    const { answers } = this.run;
    let answer = answers.get(agent_id);
    if (!answer || (answer.isOver && chunk.type === "start")) answers.set(agent_id, (answer = new Answer(agent_id)));
    this.run.status = "started";
    this.#tell("chunk", { answer, part: answer.take(chunk) });
  }

  #ran(event) {
    const { run_id, agent_id, status, attempt, reason, detail, retry_in_ms } = event;
    if (status === "started" || status === "retrying") {
      if (this.run?.id !== run_id) this.#begin(run_id, agent_id);
      const retryAt = status === "retrying" ? Date.now() + retry_in_ms : undefined;
      Object.assign(this.run, { status, attempt, reason, retryAt });
    } else {
      this.ending = status === "finished" ? null : { status, reason, detail, agent: agent_id, at: this.lastSeq };
      this.#endRun();
    }
    this.#tell("run");
  }

  #endRun() {
    this.run = null;
    this.#nextIndex = 0;
    this.#tell("run");
  }

  /** Sends what waits, one after the other, as long as the channel lives. */
  async #flush() {
    if (this.#isSending || this.#channel?.state !== "joined") return;
    this.#isSending = true;
    let item;
    try {
      while ((item = this.unsent.find(({ state }) => state === "waiting"))) await this.#deliver(item);
    } catch {
      // the next join goes on with the same key; where the connection still stands, a later try
      setTimeout(() => void this.#flush(), 1000);
    } finally {
      this.#isSending = false;
    }
  }

  async #deliver(item) {
    try {
      const { seq } = await this.#channel.push("send", {
        content: { content: { text: item.text } },
        idempotency_key: item.key,
      });
      Object.assign(item, { state: "stored", seq });
      this.#dropStored();
      this.#tell("sent", { item });
    } catch (error) {
      if (["lost", "closed", "timeout"].includes(error.reason)) throw error;
      const wait = error.retry_after_ms ?? (error.error === "rate limited" ? 1000 : undefined);
      Object.assign(item, { state: "refused", error: error.error ?? error.reason ?? "refused" });
      if (wait !== undefined) setTimeout(() => this.retry(item), wait);
      this.#tell("unsent");
    }
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** 128 random bits. `crypto.randomUUID` exists on secure origins only. */
export const key = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
