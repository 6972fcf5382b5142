// Who is at the page. In open mode a name is enough; a server that requires tokens says so, and the token stays in this tab.

import { el } from "./dom.js";
import { dialog } from "./keyboard.js";
import { become, settings } from "./settings.js";

let shown;

/** Asks for the user and the token; `why` is what the server said. */
export function signIn(why) {
  if (shown?.open) return;
  const user = el("input", {
    id: "sign-in-user",
    autocomplete: "username",
    value: settings.user,
    maxlength: 255,
    required: true,
  });
  const token = el("input", {
    id: "sign-in-token",
    type: "password",
    autocomplete: "off",
    value: settings.token,
    spellcheck: "false",
    placeholder: "flk_… or a JSON Web Token",
    "aria-describedby": "sign-in-note",
  });
  const form = el(
    "form",
    { class: "form", onsubmit: (event) => (event.preventDefault(), become({ user: user.value, token: token.value })) },
    why && el("p", { class: "notice bad", role: "alert" }, `${why}. This server wants an API key or a token.`),
    el("label", { for: user.id }, "User"),
    user,
    el("label", { for: token.id }, "Token"),
    token,
    el(
      "p",
      { id: "sign-in-note", class: "muted" },
      "Needed only where the server runs with --auth required. It is kept in this tab and sent to this server only.",
    ),
    el("div", { class: "actions" }, el("button", { class: "primary" }, "Continue")),
  );
  shown = dialog("Who is there", form);
  (why ? token : user).select();
}
