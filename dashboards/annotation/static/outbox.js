// Answers on their way. Each lies in the browser's storage until the server has it, and carries a key of its own, so that
// one that is sent again after a lost reply is still one answer.
"use strict";
const [csrf, who] = ["csrf", "who"].map((name) => document.querySelector(`meta[name=${name}]`).content);

async function ask(path, told) {
  const reply = await fetch(path, { method: "POST", headers: { "content-type": "application/json", "x-csrf": csrf }, body: JSON.stringify(told) });
  if (reply.status === 401) { location.href = "/sign-in"; throw new Error("signed out"); }
  // Signed in anew elsewhere: this page's token is over. Loaded again it has another, and nothing is lost.
  if (reply.status === 403 && Date.now() - Number(sessionStorage.reloaded || 0) > 60000) {
    sessionStorage.reloaded = Date.now();
    location.reload();
    throw new Error("loading again");
  }
  const text = await reply.json();
  if (!reply.ok) throw Object.assign(new Error(text.error || "refused"), { status: reply.status });
  return text;
}

// Time at work that no answer has told yet, as over training's feedback or the guidelines, in ms: it goes with the next one.
const Owed = {
  name: `headroom.${who}.owed`,
  get ms() { return Number(localStorage.getItem(this.name)) || 0; },
  add(ms) { localStorage.setItem(this.name, this.ms + ms); },
  take() { const ms = this.ms; localStorage.removeItem(this.name); return ms; },
};

const Outbox = {
  name: `headroom.${who}.outbox`,
  busy: null,
  all() { return JSON.parse(localStorage.getItem(this.name) || "[]"); },
  keep(list) { localStorage.setItem(this.name, JSON.stringify(list)); },
  add(answer) { this.keep([...this.all(), answer]); },
  drop(token) { this.keep(this.all().filter((a) => a.token !== token)); },
  waits(token) { return this.all().some((a) => a.token === token); },
  // Sends what waits, oldest first; gives the replies by token. Only what the server has, or will never take, is dropped: one
  // that can't be reached, or knows this page no more, leaves the rest waiting.
  flush() {
    this.busy = this.busy || this.sendAll().finally(() => { this.busy = null; });
    return this.busy;
  },
  async sendAll() {
    const replies = {};
    for (const answer of this.all()) {
      try {
        replies[answer.token] = await ask("/api/submit", answer);
        this.drop(answer.token);
      } catch (failed) {
        if (![404, 422].includes(failed.status)) return replies;
        replies[answer.token] = { error: failed.message };
        this.drop(answer.token);
      }
    }
    return replies;
  },
};
