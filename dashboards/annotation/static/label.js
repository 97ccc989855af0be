// The labelling page: shows a task, takes its answer by keys or touch, has the next task ready.
"use strict";
const $ = (id) => document.getElementById(id);
const IDLE_MS = 30000;
let queue = [], player = null, next = null, task = null, value = {}, at = 0, started = {}, drawing = null, feedback = null;
// That a clip has no bad case is an answer of its own: an untouched list is none.
let clean = false;
// A claim may pass an answer on its way, and its reply would then bring the answered task back.
const sentOff = new Set();
let activeMs = 0, touched = Date.now(), ticked = Date.now();

const DRAFTS = `headroom.${who}.draft.`, draftName = (token) => DRAFTS + token;
function saveDraft() { localStorage.setItem(draftName(task.token), JSON.stringify({ value, at, started, activeMs, clean, shownMs: player.shownMs })); }
function note(text) { $("note").textContent = text; }
function node(tag, told = {}, ...inside) { const made = Object.assign(document.createElement(tag), told); made.append(...inside); return made; }

async function fill() {
  try {
    const told = await ask("/api/claim", {});
    for (const name of Object.keys(localStorage)) if (name.startsWith(DRAFTS) && !told.tasks.some((t) => draftName(t.token) === name)) localStorage.removeItem(name);
    queue = told.tasks.filter((t) => !Outbox.waits(t.token) && !sentOff.has(t.token));
  } catch (failed) { note(failed.status ? failed.message : "No connection. What you send is kept and goes out later."); }
}

async function advance() {
  const done = task && task.token;
  queue = queue.filter((t) => t.token !== done);
  if (!queue.length) { await Outbox.busy; await fill(); }
  if (!queue.length) return finished();
  show(queue[0]);
  if (queue.length < 2) await fill();
  if (queue[1] && (!next || next.token !== queue[1].token)) next = { token: queue[1].token, player: new Player(queue[1]) };
}

function finished() {
  if (player) player.pause();
  task = null;
  document.body.classList.add("finished");
  $("screen").replaceChildren(); $("questions").replaceChildren(); drawSend();
  const waits = Outbox.all().length;
  note(waits ? `${waits} answer${waits > 1 ? "s wait" : " waits"} for the connection.` : "Nothing more for you now. Thank you!");
}

function show(told) {
  if (player) player.pause();
  task = told;
  player = next && next.token === told.token ? next.player : new Player(told);
  next = null;
  const draft = JSON.parse(localStorage.getItem(draftName(task.token)) || "{}");
  value = draft.value || empty(); at = draft.at || 0; activeMs = draft.activeMs || 0; started = draft.started || {}; drawing = null; feedback = null;
  clean = Boolean(draft.clean); player.shownMs = draft.shownMs || 0;
  document.body.classList.remove("finished");
  $("about").replaceChildren(`${task.schema.name.replaceAll("_", " ")} ${task.schema.version} · `, node("a", { href: guide(), target: "_blank", textContent: "Guidelines" }));
  $("screen").className = task.clips.length > 1 ? "two" : "one";
  $("screen").replaceChildren(...player.sides);
  const spans = task.questions.some((q) => listed(q));
  $("morekeys").innerHTML = (spans ? "(once: begins, again: ends) <kbd>⌫</kbd> undo " : "") + (task.type === "flags" ? "<kbd>0</kbd> no bad case <kbd>B</kbd> box: drag, or arrows move, <kbd>Shift</kbd> sizes" : "")
    + (task.clips.length > 1 ? " <kbd>S</kbd> other sound" : "");
  note({ train: "Training: you will see the right answer.", exam: "Exam.", review: "Review: your answer decides." }[task.kind] || "");
  draw(); player.play();
}

const guide = () => `/guidelines/${task.schema.id}`;
const listed = (q) => q.how === "spans" || q.how === "flags";
function empty() { return Object.fromEntries(task.questions.filter((q) => q.how !== "one").map((q) => [q.name, []])); }
const answered = (q) => q.how === "flags" ? value.flags.length > 0 || clean : value[q.name] !== undefined;
function complete() { return task && task.questions.every(answered) && !Object.keys(started).length; }
// Why nothing can be sent yet; nothing when it can.
function lacks() {
  if (!task || feedback) return "";
  if (sentOff.has(task.token)) return "Sending …";
  if (!player.watched) return player.videos.length > 1 ? "Watch the clips first." : "Watch the clip first.";
  if (Object.keys(started).length) return "A span has begun: end it first.";
  if (!complete()) return task.type === "flags" ? "Mark the bad cases, or press 0: no bad case." : "Answer every question first.";
  return "";
}
function drawSend() {
  const why = lacks();
  $("send").disabled = !task || Boolean(why);
  if ($("lacks").textContent !== why) $("lacks").textContent = why;
}

function noBadCase() {
  if (feedback || task.type !== "flags" || value.flags.length || Object.keys(started).length) return;
  clean = !clean;
  saveDraft(); draw();
}

function choose(q, option) {
  if (feedback) return;
  if (q.how === "one") { value[q.name] = option.value; if (at < task.questions.length - 1 && task.questions[at] === q) at += 1; }
  else if (q.how === "many") { const had = value[q.name]; value[q.name] = had.includes(option.value) ? had.filter((v) => v !== option.value) : [...had, option.value]; }
  else span(q, option);
  saveDraft(); draw();
}

// The first press begins a span at the present frame, the second ends it; a span is one frame long at least.
function span(q, option) {
  clean = false;
  const key = q.how === "flags" ? "kind" : "label", id = `${q.name}:${option.value}`, now = player.time;
  if (started[id] === undefined) { started[id] = now; return; }
  let [from, to] = [started[id], now].sort((a, b) => a - b);
  if (to - from < 0.04) { from = Math.min(from, player.duration - 0.04); to = from + 0.04; }
  delete started[id];
  value[q.name].push({ [key]: option.value, start_s: Math.max(0, from), end_s: to, ...(key === "kind" ? { box: null } : {}) });
}

function undo() {
  const q = task.questions[at];
  if (feedback || !listed(q)) return;
  const open = Object.keys(started).filter((id) => id.startsWith(`${q.name}:`));
  if (open.length) delete started[open.at(-1)]; else value[q.name].pop();
  clean = false;
  drawing = null; saveDraft(); draw();
}

function draw() {
  $("questions").replaceChildren(...task.questions.map(question));
  drawSend();
  $("cannot").disabled = Boolean(feedback);
  $("send").firstChild.textContent = feedback ? "Go on " : "Send ";
  const marks = task.questions.filter(listed).flatMap((q) => value[q.name]);
  $("marks").replaceChildren(...marks.map((m) => { const i = node("i"); i.style.left = `${100 * m.start_s / player.duration}%`; i.style.width = `${100 * (m.end_s - m.start_s) / player.duration}%`; return i; }));
  drawBoxes();
  const here = document.querySelector(".question.at");
  if (here) here.scrollIntoView({ block: "nearest" });
}

const named = (q, wanted) => q.options.find((o) => o.value === wanted).label;
function question(q, i) {
  const options = node("div", { className: "options" });
  options.setAttribute("role", q.how === "one" ? "radiogroup" : "group"); options.setAttribute("aria-label", q.label);
  q.options.forEach((option, k) => {
    const chosen = q.how === "one" ? value[q.name] === option.value : q.how === "many" ? value[q.name].includes(option.value) : false;
    const button = node("button", { type: "button", tabIndex: -1 }, node("kbd", { textContent: k + 1 }), ` ${option.label === String(k + 1) ? "" : option.label}`);
    button.setAttribute("role", q.how === "one" ? "radio" : "button"); button.setAttribute(q.how === "one" ? "aria-checked" : "aria-pressed", chosen); button.setAttribute("aria-label", `${q.label}: ${option.label}`);
    if (started[`${q.name}:${option.value}`] !== undefined) button.classList.add("started");
    const truth = feedback && feedback.truth[q.name];
    if (truth !== undefined && truth !== null && (truth === option.value || (Array.isArray(truth) && truth.some((t) => (t.kind || t.label || t) === option.value)))) button.classList.add("truth");
    button.addEventListener("click", () => { at = i; choose(q, option); });
    options.append(button);
  });
  if (q.how === "flags") {
    const none = node("button", { type: "button", tabIndex: -1, disabled: Boolean(value.flags.length || Object.keys(started).length) }, node("kbd", { textContent: 0 }), " No bad case");
    none.setAttribute("aria-pressed", clean);
    if (feedback && !feedback.truth.flags.length) none.classList.add("truth");
    none.addEventListener("click", noBadCase);
    options.append(none);
  }
  const made = node("div", { className: `question${i === at ? " at" : ""}` }, node("h2", { textContent: q.label }), options);
  if (q.low || q.high) made.append(node("p", { className: "ends" }, node("span", { textContent: q.low }), node("span", { textContent: q.high })));
  if (listed(q)) made.append(tools(q, i), node("ul", { className: "spans" }, ...value[q.name].map((s) => node("li", {}, `${named(q, s.kind || s.label)} ${s.start_s.toFixed(2)} – ${s.end_s.toFixed(2)} s`, s.box ? " ▢" : ""))));
  return made;
}

// What the keys do to spans and boxes, for who has none.
function tools(q, i) {
  const tool = (label, key, act, possible) => {
    const button = node("button", { type: "button", className: "quiet", tabIndex: -1, disabled: Boolean(feedback) || !possible }, `${label} `, node("kbd", { textContent: key }));
    button.addEventListener("click", () => { at = i; act(); });
    return button;
  };
  const begun = Object.keys(started).some((id) => id.startsWith(`${q.name}:`));
  const made = node("div", { className: "tools" }, tool("Undo", "⌫", undo, begun || value[q.name].length));
  if (q.how === "flags") made.append(tool(drawing ? "End the box" : "Box", "B", box, value.flags.length));
  return made;
}

async function send() {
  if (feedback) return advance();
  if (!task || lacks()) return drawSend();
  const sent = task, training = task.kind === "train";
  // crypto.randomUUID needs HTTPS; random bytes do not.
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  sentOff.add(sent.token);
  Outbox.add({ token: sent.token, value, key, active_s: (activeMs + Owed.take()) / 1000 });
  localStorage.removeItem(draftName(sent.token));
  $("send").disabled = true;
  const going = Outbox.flush();
  if (!training) { going.then((r) => tell(r, sent.token)); await advance(); return tellVerdict(await going); }
  const reply = (await going)[sent.token];
  if (!reply || !reply.feedback) { await advance(); return tell({ [sent.token]: reply }, sent.token); }
  feedback = reply.feedback;
  // No question has a score where neither raised a flag: there is nothing to be alike in.
  const scores = Object.values(feedback.scores), mean = scores.reduce((a, b) => a + b, 0) / scores.length;
  note(scores.length ? `You agree by ${Math.round(100 * mean)} %. The right answers are ringed.` : "You agree: no bad case.");
  draw();
  // The next lease runs from now on, so that the server counts the time at the feedback.
  if (!queue.some((t) => t.token !== sent.token)) await fill();
}

function tell(replies, token) {
  const reply = replies[token];
  if (!reply && Outbox.waits(token)) note("No connection: your answer is kept and goes out later.");
  else if (reply && reply.error) { sentOff.delete(token); note(`The last answer was not taken: ${reply.error}.`); }
  else if (reply && reply.state === "late") note("The last answer came after its time; your time counts, the answer does not.");
}

// How an exam ended, before what the page says anyhow.
function tellVerdict(replies) {
  const told = Object.values(replies).map((r) => r.verdict).find(Boolean);
  if (!told) return;
  const failure = `failure ${told.failures} of ${told.max_failures}`;
  const after = told.closed ? `This was ${failure}: these tasks are closed to you until an administrator reinstates you.` : `Calibration begins anew (${failure}).`;
  note(`${told.passed ? "Exam passed." : `${told.why[0].toUpperCase()}${told.why.slice(1)}. ${after}`} ${$("note").textContent}`);
}

document.addEventListener("keydown", (event) => {
  touched = Date.now();
  if (!task || $("report").open || event.ctrlKey || event.metaKey || event.altKey) return;
  const k = event.key, q = task.questions[at], arrow = k.startsWith("Arrow");
  if ((k === "Enter" || k === " ") && event.target.closest("a, header button")) return;
  if (drawing && arrow) moveBox(k, event.shiftKey);
  else if (k === " ") player.toggle();
  else if (k === ",") player.step(-1);
  else if (k === ".") player.step(1);
  else if (k === "ArrowLeft") player.seek(player.time - 1);
  else if (k === "ArrowRight") player.seek(player.time + 1);
  else if (k === "r" || k === "R") { player.seek(0); player.play(); }
  else if ((k === "s" || k === "S") && player.videos.length > 1) player.hear(player.videos[0].muted ? 0 : 1);
  else if (k === "ArrowUp") { at = Math.max(0, at - 1); draw(); }
  else if (k === "ArrowDown") { at = Math.min(task.questions.length - 1, at + 1); draw(); }
  else if (k === "Backspace") undo();
  else if (k === "g" || k === "G") open(guide());
  else if (k === "x" || k === "X") Report.open();
  else if (k === "Enter") { if (event.repeat) return; send(); }
  else if (k === "b" || k === "B") box();
  else if (k === "0") noBadCase();
  else if (/^[1-9]$/.test(k) && q.options[k - 1]) choose(q, q.options[k - 1]);
  else return;
  event.preventDefault();
});
["pointerdown", "pointermove"].forEach((e) => document.addEventListener(e, () => { touched = Date.now(); }));
$("send").addEventListener("click", send);
$("play").addEventListener("click", () => { if (player) player.toggle(); });
$("line").addEventListener("click", (e) => { if (player) player.seek(player.duration * (e.offsetX / $("line").clientWidth)); });

// Time counts while the page is seen, and the person did something in the last 30 s or the clip plays.
setInterval(() => {
  const now = Date.now(), passed = Math.min(1000, now - ticked);
  ticked = now;
  if (!task || !player) return;
  if (!document.hidden && (now - touched < IDLE_MS || player.playing)) {
    // What comes after the answer, as training's feedback, goes with the next.
    if (sentOff.has(task.token)) Owed.add(passed); else activeMs += passed;
  }
  if (!document.hidden && player.ready) player.shownMs += passed;
  drawSend();
  player.align();
  const waits = player.waits();
  if ($("loading").textContent !== waits) $("loading").textContent = waits;
  $("head").style.left = `${100 * player.time / player.duration}%`;
  $("clock").textContent = `${player.time.toFixed(2)} / ${player.duration.toFixed(1)} s`;
  $("play").textContent = player.playing ? "❚❚" : "▶";
  if (task.type === "flags") drawBoxes();
}, 100);
setInterval(() => {
  for (const p of [player, next && next.player]) if (p && task) p.keepFresh();
  for (const t of queue) if (!Outbox.waits(t.token)) ask("/api/keep", { token: t.token }).catch((failed) => { if (failed.status === 404 && task && t.token === task.token) note("This clip's time is over; what you send may come too late."); });
}, 30000);
setInterval(() => { if (Outbox.all().length) Outbox.flush().then(async (r) => { if (!task && Object.keys(r).length) await advance(); tellVerdict(r); }); }, 5000);
addEventListener("online", () => Outbox.flush().then((r) => { if (!feedback) note(""); tellVerdict(r); }));
Outbox.flush().then(async (r) => { await advance(); tellVerdict(r); });
