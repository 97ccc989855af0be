// One session at a time, by one of two lines: the stream, or interactive. Both take in sound and show the avatar on one screen.
import { give } from "/static/given.js";
import { Interactive } from "/static/interactive.js";
import { Stream } from "/static/stream.js";

const by = (id) => document.getElementById(id);
const screen = by("screen"), LIVE = "Live. Speak, or choose a sound file.";
const lines = { stream: Stream, interactive: Interactive };
let session = null, avatar = null, line = "stream", microphone = null, saying = "";

const say = (text, warn = false) => { by("line").textContent = text; by("line").classList.toggle("warn", warn); };
const check = (buttons, chosen) => buttons.forEach((b) => b.setAttribute("aria-checked", String(b === chosen)));

function ready(is) {
  for (const id of ["microphone", "file", "interrupt", "leave", "text", "read"]) by(id).disabled = !is;
  by("choose").setAttribute("aria-disabled", String(!is));
  by("poster").hidden = is;
  if (!is) by("still").hidden = true;
}

// A screen whose source changes is black until the next picture is there: the last one stays in its place.
function swap() {
  const still = by("still"), thaw = () => { still.hidden = true; };
  if (still.hidden && screen.videoWidth) {
    still.width = screen.videoWidth; still.height = screen.videoHeight;
    still.getContext("2d").drawImage(screen, 0, 0);
    still.hidden = false;
  }
  screen.requestVideoFrameCallback ? screen.requestVideoFrameCallback(thaw) : screen.addEventListener("playing", thaw, { once: true });
}

// What a line tells; only of the session that is shown.
const heardOf = (mine) => Object.fromEntries(Object.entries({
  begun() { ready(true); say(saying || LIVE); },
  swap,
  lost() { say("Lost the line; coming back …", true); },
  ended(reason) { stopMicrophone(); ready(false); say(reason || "The session is over.", true); session = null; },
  // Without a click a page may play no sound: then it plays without, until there is one.
  refused({ name }) { if (name === "NotAllowedError") { screen.muted = true; screen.play(); say("Click the picture to hear it.", true); } },
  words(message) {
    if (message.type !== "state") return;
    by("fps").textContent = `${message.fps.toFixed(0)} fps`;
    by("ahead").textContent = `${message.ahead_s.toFixed(1)} s`;
  },
}).map(([name, todo]) => [name, (told) => { if (mine.is === session) todo(told); }]));

// The session that this page just left may hold its place for a moment still.
async function asked(key, tries) {
  for (;;) {
    const answer = await fetch("/api/sessions", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ avatar: key }) });
    if (![429, 503].includes(answer.status) || answer.headers.get("Retry-After") > 5 || !tries--) return answer;
    await new Promise((go) => setTimeout(go, 500));
  }
}

async function open({ key, button }) {
  const tries = session ? 10 : 0;
  leave(); avatar = { key, button };
  check(document.querySelectorAll("#avatars button"), button);
  by("poster").src = `/api/avatars/${key}.jpg`; screen.muted = false; ready(false);
  const answer = await asked(key, tries);
  const told = await answer.json();
  if (!answer.ok) return say(told.error, true);
  say("Making ready …");
  const mine = {};
  session = mine.is = new lines[line](told, screen, heardOf(mine));
}

function leave() {
  stopMicrophone(); session?.leave(); session = null; saying = "";
  for (const name of ["latency", "fps", "ahead"]) by(name).textContent = "–";
}

function stopMicrophone() {
  microphone?.stream.getTracks().forEach((t) => t.stop()); microphone?.end(); microphone = null;
  by("microphone").setAttribute("aria-pressed", "false");
}
async function startMicrophone() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, channelCount: 1 } });
  microphone = { stream, end: await session.microphone(stream) };
  by("microphone").setAttribute("aria-pressed", "true");
}

async function speakFile(file) {
  say(`Reading ${file.name} …`);
  const mine = session, sound = await mine.decoded(await file.arrayBuffer());
  const told = saying = `Saying ${file.name} (${sound.duration.toFixed(1)} s) …`;
  say(told);
  await mine.say(sound);
  if (saying !== told) return; // another one is said by now
  saying = "";
  if (mine === session) say(LIVE);
}

// The server says it after what waits; a microphone would wait behind it.
async function given(path, body, name) {
  const mine = session, told = `Saying ${name} …`;
  stopMicrophone(); say(`Making ${name} ready …`);
  try {
    const { ahead_s } = await give(mine, path, body);
    if (mine !== session) return;
    say(told);
    setTimeout(() => { if (mine === session && by("line").textContent === told) say(LIVE); }, 1000 * ahead_s);
  } catch ({ message }) { if (mine === session) say(path === "sound" ? `${name}: ${message}` : message, true); }
}

let frames = 0, second = performance.now();
function each() {
  session?.shown();
  if (session?.latency) by("latency").textContent = `${Math.round(session.latency)} ms`;
  by("level").classList.toggle("on", microphone !== null);
  if (microphone && session) by("level").firstElementChild.style.width = `${Math.min(100, 140 * session.level)}%`;
  const now = performance.now();
  if (now - second > 1000) {
    const total = screen.getVideoPlaybackQuality?.().totalVideoFrames ?? 0;
    by("shown").textContent = session ? `${Math.max(0, Math.round((total - frames) * 1000 / (now - second)))} fps` : "–";
    frames = total; second = now;
  }
  requestAnimationFrame(each);
}
requestAnimationFrame(each);

by("microphone").onclick = () => microphone ? stopMicrophone() : startMicrophone().catch((e) => say(`No microphone: ${e.message}`, true));
by("file").onchange = ({ target }) => { const file = target.files[0]; if (file) speakFile(file).catch(() => given("sound", file, file.name)); target.value = ""; };
// More than the server reads at a time is not cut off but told, and not sent.
by("text").oninput = ({ target }) => {
  const most = Number(target.dataset.most), num = [...target.value.trim()].length, told = (n) => n.toLocaleString("en");
  const over = num > most ? `${told(num)} characters: at most ${told(most)} are said at a time. Shorten it, or say it in parts.` : "";
  target.setCustomValidity(over);
  by("count").textContent = over || (num ? `${told(num)} of ${told(most)} characters.` : `At most ${told(most)} characters at a time.`);
  by("count").classList.toggle("warn", Boolean(over));
};
by("say").onsubmit = (event) => { event.preventDefault(); given("say", JSON.stringify({ text: by("text").value }), "your text"); };
by("interrupt").onclick = () => { session?.interrupt(); if (by("line").textContent.startsWith("Saying")) say(LIVE); };
by("leave").onclick = () => { leave(); ready(false); say("Choose who speaks."); };
screen.onclick = () => { screen.muted = false; screen.play(); say(LIVE); };

const ways = document.querySelectorAll("#lines button");
for (const button of ways) {
  button.disabled = button.dataset.line === "interactive" && !("RTCPeerConnection" in window);
  button.onclick = () => {
    if (line === button.dataset.line) return;
    line = button.dataset.line; check(ways, button);
    if (session) open(avatar);
  };
}

const offered = await (await fetch("/api/avatars")).json();
if (offered.error) say(offered.error, true);
by("say").hidden = !offered.tts;
for (const { key, name } of offered.avatars ?? []) {
  const button = document.createElement("button"), picture = document.createElement("img"), label = document.createElement("span");
  picture.src = `/api/avatars/${key}.jpg`; picture.alt = ""; label.textContent = name; button.title = name;
  button.setAttribute("role", "radio"); button.setAttribute("aria-checked", "false");
  button.append(picture, label); button.onclick = () => open({ key, button }); by("avatars").append(button);
}
