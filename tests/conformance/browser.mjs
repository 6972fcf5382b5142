// What a browser has and Node.js has not, for the `phoenix` client: a WebSocket, an XMLHttpRequest for releases that know
// no fetch, a console that shortens nothing. Loaded before anything else.

import http from "node:http";
import WebSocket from "ws";

// The published examples use a session id that their page has.
globalThis.sessionId = process.env.SESSION_ID;
// The 1.7 releases look for their global object under this name and find none without it.
globalThis.self = globalThis;
globalThis.WebSocket = process.env.TRANSPORT === "WebSocket" ? WebSocket : undefined;

class XMLHttpRequest {
  readyState = 0;
  status = 0;
  responseText = "";
  timeout = 0;

  open(method, url) {
    this.request = http.request(url, { method });
    this.readyState = 1;
  }

  setRequestHeader(name, value) {
    this.request.setHeader(name, value);
  }

  send(body) {
    if (this.timeout) {
      this.timer = setTimeout(() => {
        this.request.destroy();
        this.ontimeout?.();
      }, this.timeout);
    }
    this.request.on("response", (response) => {
      response.setEncoding("utf8");
      response.on("data", (text) => (this.responseText += text));
      response.on("end", () => {
        clearTimeout(this.timer);
        this.status = response.statusCode;
        this.readyState = 4;
        this.onreadystatechange?.();
      });
      response.on("error", () => this.failed());
    });
    this.request.on("error", () => this.failed());
    if (body) this.request.setHeader("content-length", Buffer.byteLength(body));
    this.request.end(body ?? undefined);
  }

  abort() {
    clearTimeout(this.timer);
    this.aborted = true;
    this.request.destroy();
  }

  failed() {
    clearTimeout(this.timer);
    if (!this.aborted) this.onerror?.();
  }
}

// A browser's console shows whole values; this one shows them as JSON, each in one line.
if (process.env.CONSOLE === "JSON") {
  const shown = (word) => (typeof word === "string" ? word : JSON.stringify(word));
  console.log = console.debug = (...words) => process.stdout.write(`${words.map(shown).join(" ")}\n`);
}

if (process.env.AJAX === "XMLHttpRequest") globalThis.XMLHttpRequest = XMLHttpRequest;
