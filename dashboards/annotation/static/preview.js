// The labelling page for who designs a schema: its one task is in the page, calls to the server are answered here, and nothing
// can be sent. Loaded before the page's own scripts.
"use strict";
(() => {
  const told = JSON.parse(document.querySelector("meta[name=task]").content);
  const answer = (status, body) => new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
  window.fetch = async (path) => {
    if (path === "/api/claim") return answer(200, { tasks: [told] });
    if (path === "/api/keep") return answer(200, { expires_in_s: 1800 });
    if (path === "/api/clips") return told.clips[0] ? answer(200, { clips: told.clips, gone: false }) : answer(404, { error: "no clip" });
    return answer(503, { error: "this is a preview: nothing is sent" });
  };
  // What stands in a disabled fieldset stays disabled whatever the page's own script says.
  for (const id of ["send", "cannot"]) {
    const button = document.getElementById(id);
    if (!button) continue;
    const fence = Object.assign(document.createElement("fieldset"), { disabled: true, className: "fence" });
    button.replaceWith(fence);
    fence.append(button);
  }
  const say = document.getElementById("preview");
  document.getElementById("note").after(say);
  say.hidden = false;
  const guide = document.getElementById("guide");
  addEventListener("click", (event) => {
    if (!event.target.closest("#about a")) return;
    event.preventDefault();
    guide.showModal();
  }, true);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const held = ["Enter", "g", "G", "x", "X"].includes(event.key), on = event.target.closest("a, button");
    if (!guide.open && !(held && !(event.key === "Enter" && on && on.id !== "send"))) return;
    event.stopImmediatePropagation();
    if (guide.open) return;
    event.preventDefault();
    if (event.key === "g" || event.key === "G") guide.showModal();
  }, true);
})();
