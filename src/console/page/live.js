// The live side of the page: one socket for each user that is looked at, and the inbox of the page's own.

import { Socket } from "./socket.js";
import { settings } from "./settings.js";

const sockets = new Map();

/** The socket of this user, which is opened when first asked for. */
export function socketOf(user) {
  let socket = sockets.get(user);
  if (!socket) {
    sockets.set(user, (socket = new Socket(user)));
    socket.addEventListener("state", () => connection.dispatchEvent(new Event("state")));
  }
  return socket;
}

/** Hears of every change of a connection; `own` is the one of the page's user. */
export const connection = new (class extends EventTarget {
  get own() {
    return socketOf(settings.user);
  }
})();

for (const event of ["online", "focus"]) {
  addEventListener(event, () => sockets.forEach((socket) => socket.hurry()));
}

/** What its user has not read, by session, as the server last told it. */
class Inbox extends EventTarget {
  entries = [];
  isKnown = false;
  error = undefined;

  start() {
    connection.own.channel(`inbox:${settings.user}`, () => ({}), {
      joined: ({ inbox }) => this.#take(inbox),
      inbox_delta: ({ inbox }) => this.#take(inbox),
      refused: ({ reason }) => this.#refused(reason),
    });
  }

  of(id) {
    return this.entries.find(({ session_id }) => session_id === id);
  }

  get unread() {
    return this.entries.reduce((sum, { unread_count }) => sum + unread_count, 0);
  }

  #take(entries) {
    [this.entries, this.isKnown, this.error] = [entries, true, undefined];
    this.dispatchEvent(new Event("change"));
  }

  #refused(reason) {
    this.error = reason;
    this.dispatchEvent(new Event("change"));
  }
}

export const inbox = new Inbox();
