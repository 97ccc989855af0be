// One or two videos on one clock: the longer leads, the other is brought back when it drifts by more than a frame.
"use strict";
const RENEW_MS = 3600000, SLOW_MS = 10000, WATCHED_MS = 3000;
class Player {
  constructor(task) {
    this.duration = task.duration_s; this.token = task.token; this.signed = this.since = Date.now();
    // Set where the server says that the clip's media are not there any more: then it is fetched no more.
    this.gone = false;
    // For how long there was a picture on the screen, of both clips where there are two.
    this.shownMs = 0;
    this.sides = task.clips.map((address, i) => {
      const side = document.createElement("div");
      side.className = "side";
      const video = document.createElement("video");
      Object.assign(video, { src: address, preload: "auto", playsInline: true, muted: i > 0 });
      side.append(video);
      // A clip that the connection failed, or whose address ended, is fetched again until it is there.
      video.addEventListener("error", () => setTimeout(() => this.renew(), this.told ? 2000 : 0));
      if (task.clips.length > 1) side.append(Object.assign(document.createElement("b"), { textContent: ["Left", "Right"][i] }));
      return side;
    });
    this.videos = this.sides.map((s) => s.firstChild);
    // One voice at a time: of two clips the one that was touched last is heard.
    this.videos.forEach((v, i) => v.addEventListener("click", () => this.hear(i)));
  }
  // Addresses end after two hours. A page that is open for longer asks for others, at half of that, and goes on where it was.
  async renew() {
    if (this.renewing) return;
    this.renewing = true;
    try {
      this.told = true;
      const { clips, gone } = await ask("/api/clips", { token: this.token });
      this.gone = gone;
      if (gone) return;
      this.signed = Date.now();
      this.videos.forEach((v, i) => {
        const at = v.currentTime, paused = v.paused;
        v.src = clips[i];
        v.currentTime = at;
        if (!paused) v.play().catch((e) => console.warn("clip does not play", e.name));
      });
    } catch (failed) {
      if (failed.status === 404) return;  // answered, or somebody else's: it is fetched no more
      this.videos.forEach((v) => { if (v.error) v.load(); });
    }
    this.renewing = false;
  }
  keepFresh() { if (Date.now() - this.signed > RENEW_MS && !this.playing) this.renew(); }
  get ready() { return this.videos.every((v) => v.readyState >= 2); }
  // Nobody judges what was not on the screen: three seconds of it, or all of a shorter clip.
  get watched() { return this.shownMs >= Math.min(WATCHED_MS, 1000 * this.duration); }
  // What there is to say while there is no picture; nothing when there is one. A seek has none for a moment.
  waits() {
    if (this.gone) return `${this.videos.length > 1 ? "A clip" : "The clip"} can't be shown: its media are gone. Press X, or the button, to give it back.`;
    if (this.ready) { this.since = 0; this.seen = true; return ""; }
    this.since = this.since || Date.now();
    const waited = Date.now() - this.since;
    if (waited >= SLOW_MS) return "Still loading. Check the connection, or load the page again: what you chose is kept. Press X, or the button, to give the clip back.";
    return this.seen && waited < 500 ? "" : "Loading the clip …";
  }
  get lead() { return this.videos.reduce((a, v) => ((v.duration || 0) > (a.duration || 0) ? v : a)); }
  // A shorter clip stands on its last frame while the other goes on, and runs again when the clock is back within it.
  within(v) { return v === this.lead || !(this.lead.currentTime >= v.duration - 0.02); }
  get time() { return Math.min(this.lead.currentTime, this.duration); }
  get playing() { return !this.lead.paused && !this.lead.ended; }
  hear(i) { this.videos.forEach((v, k) => { v.muted = k !== i; }); }
  async play() {
    if (this.lead.ended || this.time >= this.duration - 0.02) this.seek(0);
    // A browser may refuse sound before the first touch of a page; then it starts without.
    const running = this.videos.filter((v) => this.within(v));
    try { await Promise.all(running.map((v) => v.play())); } catch (refused) {
      if (refused.name !== "NotAllowedError") return;
      this.videos.forEach((v) => { v.muted = true; });
      await Promise.all(running.map((v) => v.play().catch((e) => console.warn("clip does not play", e.name))));
    }
  }
  pause() { this.videos.forEach((v) => v.pause()); }
  toggle() { if (this.playing) this.pause(); else this.play(); }
  seek(t) { const to = Math.max(0, Math.min(t, this.duration)); this.videos.forEach((v) => { v.currentTime = to; }); }
  step(frames) { this.pause(); this.seek(this.time + frames / 25); }
  align() {
    for (const v of this.videos) {
      if (v === this.lead || !this.within(v)) continue;
      if (Math.abs(v.currentTime - this.lead.currentTime) > 0.06) v.currentTime = this.lead.currentTime;
      if (this.playing && v.paused) v.play().catch((e) => console.warn("clip does not play", e.name));
    }
  }
}
