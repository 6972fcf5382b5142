// The chat: the list of sessions on the left, one of them on the right.

import { el } from "./dom.js";
import { SessionList } from "./sessions.js";
import { Thread } from "./thread.js";

const isWide = () => matchMedia("(min-width: 700px)").matches;

export class Chat {
  #list = new SessionList();
  #thread = new Thread(
    (info) => this.#list.noticed(info),
    (id) => this.#list.gone(id),
  );
  element = el("div", { class: "split chat" }, this.#list.element, this.#thread.element);

  #last;

  show(id) {
    // Whoever comes back from another view finds the session he left.
    if (!id && this.#last && isWide()) return location.replace(`#/chat/${this.#last}`);
    // Narrow screens show either the list or a session; wide ones greet with an empty composer.
    this.element.dataset.shows = id ? "detail" : "list";
    const isNew = id === undefined || id === "new" || id.startsWith("new/");
    this.#last = isNew ? undefined : id;
    this.#list.mark(id);
    void this.#thread.show(isNew ? undefined : id, id?.startsWith("new/") ? id.slice(4) : undefined);
    if ((id && isNew) || (!id && isWide())) this.#thread.compose();
  }

  search() {
    this.element.dataset.shows = "list";
    this.#list.search();
  }

  step(by) {
    this.#list.step(by);
  }

  compose() {
    this.#thread.compose();
  }

  stop() {
    return this.#thread.stop();
  }

  rename() {
    return this.#thread.rename();
  }
}
