// Asks once more before something is done that cannot be taken back. What undoes nothing has the focus, so that a second press of the
// same key does no harm.

import { el, write } from "./dom.js";
import { dialog } from "./keyboard.js";

/** Does `act` if `verb` is pressed; a refusal is told in the dialog, which stays. */
export function confirm({ title, words, verb, act }) {
  const refused = el("p", { class: "notice bad", role: "alert", hidden: true });
  const go = el("button", { type: "button", class: "danger" }, verb);
  const cancel = el("button", { type: "button", onclick: () => box.close() }, "Cancel");
  go.addEventListener("click", async () => {
    go.disabled = cancel.disabled = true;
    try {
      await act();
      box.close();
    } catch (refusal) {
      // Who has closed it meanwhile has taken nothing back, and is told all the same.
      if (!box.open) (document.body.append(box), box.showModal());
      write(refused, refusal.message);
      refused.hidden = false;
      go.disabled = cancel.disabled = false;
      go.focus();
    }
  });
  const box = dialog(title, el("div", { class: "form" }, el("p", {}, words), refused, el("div", { class: "actions" }, cancel, go)));
  cancel.focus();
}
