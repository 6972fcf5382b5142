// Who is at the page: the user's id and the theme, which the browser keeps, and the token, which it keeps for this tab alone.

const read = (store, key, otherwise) => {
  try {
    return store().getItem(key) ?? otherwise;
  } catch {
    return otherwise; // a browser that keeps nothing
  }
};
const keep = (store, key, value) => {
  try {
    if (value) store().setItem(key, value);
    else store().removeItem(key);
  } catch {
    // it lives as long as the page
  }
};
const long = () => localStorage;
const tab = () => sessionStorage;

export const settings = {
  user: read(long, "fleetlm.user", "alice"),
  theme: read(long, "fleetlm.theme", "auto"),
  token: read(tab, "fleetlm.token", ""),
};

/** Another user, or another token: the page begins anew, so that nothing of the last one is left in it. */
export function become({ user = settings.user, token = settings.token }) {
  settings.token = token.trim();
  settings.user = userOf(settings.token) ?? (user.trim() || "alice");
  keep(long, "fleetlm.user", settings.user);
  keep(tab, "fleetlm.token", settings.token);
  location.hash = "#/chat";
  location.reload();
}

/** Automatic, light, dark, and around again. */
export function turnTheme() {
  const themes = ["auto", "light", "dark"];
  settings.theme = themes[(themes.indexOf(settings.theme) + 1) % themes.length];
  keep(long, "fleetlm.theme", settings.theme);
  document.documentElement.dataset.theme = settings.theme;
}

/** Whom a JSON Web Token is for. It is read, not trusted: the server verifies it. */
function userOf(token) {
  const part = token.split(".")[1];
  if (!part || token.startsWith("flk_")) return undefined;
  try {
    const claims = JSON.parse(atob(part.replaceAll("-", "+").replaceAll("_", "/")));
    return typeof claims.sub === "string" && claims.sub ? claims.sub : undefined;
  } catch {
    return undefined;
  }
}
