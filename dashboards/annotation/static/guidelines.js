// Reading the guidelines is work: the time goes with the next answer.
"use strict";
const READ_IDLE_MS = 30000;
let readAt = Date.now(), countedAt = Date.now();
["keydown", "pointerdown", "pointermove", "wheel", "touchmove"].forEach((e) => document.addEventListener(e, () => { readAt = Date.now(); }, { passive: true }));
setInterval(() => {
  const now = Date.now(), passed = Math.min(1000, now - countedAt);
  countedAt = now;
  if (!document.hidden && now - readAt < READ_IDLE_MS) Owed.add(passed);
}, 250);
