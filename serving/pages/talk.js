// One session at a time: sound out, fragments in, played by Media Source Extensions close to their live edge.
const HZ = 16000, AHEAD_S = 4, EDGE_S = 0.12, LAG_S = 0.7, KEPT_S = 10;
const by = (id) => document.getElementById(id);
const screen = by("screen");
let session = null;

const say = (text, warn = false) => { by("line").textContent = text; by("line").classList.toggle("warn", warn); };

class Player {
  constructor(mime) {
    this.queue = [];
    this.source = new MediaSource();
    screen.src = URL.createObjectURL(this.source);
    this.source.addEventListener("sourceopen", () => {
      if (this.buffer) return;
      this.buffer = this.source.addSourceBuffer(mime);
      this.buffer.addEventListener("updateend", () => this.next());
      this.next();
    });
  }
  push(bytes) { this.queue.push(bytes); this.next(); }
  next() {
    if (!this.buffer || this.buffer.updating || this.source.readyState !== "open") return;
    const held = screen.buffered;
    if (held.length) {
      const first = held.start(0), end = held.end(held.length - 1);
      // Always near the edge: what came late is skipped, not caught up with slowly.
      if (screen.currentTime < first || end - screen.currentTime > LAG_S) screen.currentTime = Math.max(first, end - EDGE_S);
      if (screen.currentTime - first > 2 * KEPT_S) return this.buffer.remove(0, screen.currentTime - KEPT_S);
    }
    if (!this.queue.length) return;
    const size = this.queue.reduce((sum, b) => sum + b.byteLength, 0), all = new Uint8Array(size);
    let at = 0;
    for (const b of this.queue.splice(0)) { all.set(new Uint8Array(b), at); at += b.byteLength; }
    this.buffer.appendBuffer(all);
    // Without a click a page may play no sound: then it plays without, until there is one.
    if (screen.paused) screen.play().catch(({ name }) => { if (name === "NotAllowedError") { screen.muted = true; say("Click the picture to hear it.", true); } });
  }
}

class Session {
  constructor(told) {
    Object.assign(this, told);
    this.sent = 0; this.times = []; this.due = []; this.ahead = 0; this.tries = 0;
    this.connect();
  }
  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/api/sessions/${this.id}`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.socket.send(JSON.stringify({ token: this.token }));
    this.socket.onmessage = ({ data }) => typeof data === "string" ? this.told(JSON.parse(data)) : this.player?.push(data);
    this.socket.onclose = ({ code, reason }) => this.closed(code, reason);
  }
  told(message) {
    if (message.type === "begin") {
      if (!MediaSource.isTypeSupported(message.mime)) return say(`This browser can't play ${message.mime}.`, true);
      this.player = new Player(message.mime); this.due = []; this.tries = 0; this.ready?.(); ready(true); say("Live. Speak, or choose a sound file.");
    } else if (message.type === "clock") {
      while (this.times.length && this.times[0].sample <= message.taken) this.due.push({ at: message.at_s, sent: this.times.shift().sent });
    } else if (message.type === "state") {
      this.ahead = message.ahead_s;
      by("fps").textContent = `${message.fps.toFixed(0)} fps`;
      by("ahead").textContent = `${message.ahead_s.toFixed(1)} s`;
    }
  }
  send(samples) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    const pcm = new Int16Array(samples.length);
    let peak = 0;
    samples.forEach((s, i) => { peak = Math.max(peak, Math.abs(s)); pcm[i] = Math.max(-1, Math.min(1, s)) * 32767; });
    by("level").firstElementChild.style.width = `${Math.min(100, 140 * peak)}%`;
    this.socket.send(pcm.buffer);
    this.sent += pcm.length;
    if (this.live) this.times.push({ sample: this.sent, sent: performance.now() });
    if (this.times.length > 500) this.times.shift();
  }
  word(text) { if (this.socket.readyState === WebSocket.OPEN) this.socket.send(text); }
  closed(code, reason) {
    if (this.left) return;
    if ([1006, 4408].includes(code) && this.tries++ < 5) { say("Lost the line; coming back …", true); this.times = []; setTimeout(() => this.connect(), 500 * this.tries); return; }
    ready(false); say(reason || "The session is over.", true); session = null;
  }
  leave() { this.left = true; this.word("end"); this.socket.close(); stopMicrophone(); }
}

function ready(is) {
  for (const id of ["microphone", "file", "interrupt", "leave"]) by(id).disabled = !is;
  by("choose").setAttribute("aria-disabled", String(!is));
  by("poster").hidden = is;
}

async function open(key, button) {
  session?.leave(); session = null;
  document.querySelectorAll("#avatars button").forEach((b) => b.setAttribute("aria-checked", String(b === button)));
  by("poster").src = `/api/avatars/${key}.jpg`; screen.muted = false; ready(false);
  const answer = await fetch("/api/sessions", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ avatar: key }) });
  const told = await answer.json();
  if (!answer.ok) return say(told.error, true);
  say("Making ready …"); session = new Session(told);
}

let microphone = null;
function stopMicrophone() {
  microphone?.stream.getTracks().forEach((t) => t.stop()); microphone?.context.close(); microphone = null;
  by("microphone").setAttribute("aria-pressed", "false"); by("level").classList.remove("on");
  if (session) session.live = false;
}
async function startMicrophone() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, channelCount: 1 } });
  const context = new AudioContext({ sampleRate: HZ });
  await context.audioWorklet.addModule("/static/microphone.js");
  const node = new AudioWorkletNode(context, "microphone");
  node.port.onmessage = ({ data }) => session?.send(data);
  context.createMediaStreamSource(stream).connect(node);
  microphone = { stream, context }; session.live = true;
  by("microphone").setAttribute("aria-pressed", "true"); by("level").classList.add("on");
}

async function speakFile(file) {
  const mine = session, reader = new OfflineAudioContext(1, 1, HZ);
  const sound = await reader.decodeAudioData(await file.arrayBuffer());
  const mono = new Float32Array(sound.length);
  for (let c = 0; c < sound.numberOfChannels; c++) sound.getChannelData(c).forEach((s, i) => { mono[i] += s / sound.numberOfChannels; });
  mine.live = true; mine.stop = false;
  say(`Saying ${file.name} (${sound.duration.toFixed(1)} s) …`);
  let at = 0;
  const began = performance.now();
  while (at < mono.length && mine === session && !mine.stop) {
    const wanted = Math.min(mono.length, HZ * ((performance.now() - began) / 1000 + 0.2));
    for (; at < wanted; at += 1600) mine.send(mono.subarray(at, Math.min(at + 1600, wanted)));
    await new Promise((r) => setTimeout(r, 40));
  }
  if (mine === session) { say("Live. Speak, or choose a sound file."); if (!microphone) mine.live = false; }
}

let frames = 0, second = performance.now();
function each() {
  if (session?.due.length) {
    let last = null;
    while (session.due.length && screen.currentTime >= session.due[0].at) last = session.due.shift();
    if (last) by("latency").textContent = `${Math.round(performance.now() - last.sent)} ms`;
  }
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
by("file").onchange = ({ target }) => { if (target.files[0]) speakFile(target.files[0]).catch(() => say("That file holds no sound this browser can read.", true)); target.value = ""; };
by("interrupt").onclick = () => { if (session) session.stop = true; session?.word("interrupt"); };
by("leave").onclick = () => { session?.leave(); session = null; ready(false); say("Choose who speaks."); };
screen.onclick = () => { screen.muted = false; screen.play(); say("Live. Speak, or choose a sound file."); };

const offered = await (await fetch("/api/avatars")).json();
if (offered.error) say(offered.error, true);
for (const { key, name } of offered.avatars ?? []) {
  const button = document.createElement("button"), picture = document.createElement("img"), label = document.createElement("span");
  picture.src = `/api/avatars/${key}.jpg`; picture.alt = ""; label.textContent = name; button.title = name;
  button.setAttribute("role", "radio"); button.setAttribute("aria-checked", "false");
  button.append(picture, label); button.onclick = () => open(key, button); by("avatars").append(button);
}
