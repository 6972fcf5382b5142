// Before anything is drawn, so that nothing flashes: the theme that was chosen last.
try {
  document.documentElement.dataset.theme = localStorage.getItem("fleetlm.theme") ?? "auto";
} catch {
  document.documentElement.dataset.theme = "auto";
}
