// A bad case's box, in shares of the frame: drawn by a drag of mouse or finger, or moved and sized by arrows.
"use strict";
const LEAST = 0.02;
const shownOn = document.getElementById("screen");
let dragged = null;

function box() {
  const last = !feedback && task.type === "flags" && value.flags.at(-1);
  if (!last) return note("Mark a bad case first, then give it a box.");
  if (drawing) endBox();
  else {
    drawing = last; last.box = last.box || [0.35, 0.3, 0.65, 0.7];
    player.pause();
    note("Drag on the picture, or arrows move the box, Shift and arrows size it; B ends.");
    saveDraft(); draw();
  }
}

function endBox() {
  drawing = dragged = null;
  note(""); saveDraft(); draw();
}

const rounded = (corners) => corners.map((v) => Math.round(v * 1000) / 1000);

function moveBox(key, sizing) {
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key].map((d) => d * LEAST);
  let [x0, y0, x1, y1] = drawing.box;
  if (sizing) { x1 = Math.min(1, Math.max(x0 + LEAST, x1 + dx)); y1 = Math.min(1, Math.max(y0 + LEAST, y1 + dy)); }
  else { const mx = Math.min(1 - x1, Math.max(-x0, dx)), my = Math.min(1 - y1, Math.max(-y0, dy)); [x0, x1, y0, y1] = [x0 + mx, x1 + mx, y0 + my, y1 + my]; }
  drawing.box = rounded([x0, y0, x1, y1]);
  saveDraft(); drawBoxes();
}

// Where the picture lies within its side, in CSS pixels: the rest of the side is black.
function picture() {
  const side = player.sides[0], video = player.videos[0], scale = Math.min(side.clientWidth / (video.videoWidth || 1), side.clientHeight / (video.videoHeight || 1));
  const [w, h] = [video.videoWidth * scale, video.videoHeight * scale];
  return { side, w, h, x: (side.clientWidth - w) / 2, y: (side.clientHeight - h) / 2 };
}

function drawBoxes() {
  document.querySelectorAll(".box").forEach((b) => b.remove());
  shownOn.classList.toggle("drawing", Boolean(drawing));
  if (task.type !== "flags") return;
  const { side, w, h, x, y } = picture();
  for (const flag of value.flags) {
    if (!flag.box || (flag !== drawing && (player.time < flag.start_s || player.time > flag.end_s))) continue;
    const b = node("div", { className: "box" }), [x0, y0, x1, y1] = flag.box;
    Object.assign(b.style, { left: `${x + x0 * w}px`, top: `${y + y0 * h}px`, width: `${(x1 - x0) * w}px`, height: `${(y1 - y0) * h}px` });
    side.append(b);
  }
}

// The share of the frame at which a pointer is, held within it.
function pointed(event) {
  const { side, w, h, x, y } = picture(), at = side.getBoundingClientRect(), held = (v) => Math.min(1, Math.max(0, v));
  return [held((event.clientX - at.left - x) / (w || 1)), held((event.clientY - at.top - y) / (h || 1))];
}

shownOn.addEventListener("pointerdown", (event) => {
  if (!drawing || !event.isPrimary) return;
  dragged = pointed(event);
  shownOn.setPointerCapture(event.pointerId);
  event.preventDefault();
});
shownOn.addEventListener("pointermove", (event) => {
  if (!drawing || !dragged) return;
  const [x, y] = pointed(event), [x0, x1] = [dragged[0], x].sort((a, b) => a - b), [y0, y1] = [dragged[1], y].sort((a, b) => a - b);
  if (x1 - x0 < LEAST || y1 - y0 < LEAST) return;
  drawing.box = rounded([x0, y0, x1, y1]);
  drawBoxes();
});
// A drag is the whole box; a mere touch leaves it as it was, to be drawn still.
shownOn.addEventListener("pointerup", (event) => {
  if (!drawing || !dragged) return;
  const far = pointed(event).every((v, i) => Math.abs(v - dragged[i]) >= LEAST);
  dragged = null;
  if (far) endBox();
});
shownOn.addEventListener("pointercancel", () => { dragged = null; });
