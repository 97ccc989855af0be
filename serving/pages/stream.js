// The stream: fragments over a WebSocket, played by Media Source Extensions close to their live edge; sound goes back as PCM.
const HZ = 16000, EDGE_S = 0.12, LAG_S = 0.7, KEPT_S = 10;
const HELD_MS = 30000, AGAIN_MS = 1000; // the server holds a session so long for who lost the line
const SILENT_MS = 6000; // a line that was cut without a word; the server tells its clock twelve times a second
const WAITS_S = 0.3;
const BEFORE = 10; // frames of the microphone, 20 ms each, that go ahead of the one by which speech was known

class Player {
  constructor(screen, mime, refused) {
    this.screen = screen; this.refused = refused; this.queue = [];
    this.source = new MediaSource();
    screen.srcObject = null; screen.src = URL.createObjectURL(this.source);
    this.source.addEventListener("sourceopen", () => {
      if (this.buffer) return;
      this.buffer = this.source.addSourceBuffer(mime);
      this.buffer.addEventListener("updateend", () => this.next());
      this.next();
    });
  }
  push(bytes) { this.queue.push(bytes); this.next(); }
  next() {
    const screen = this.screen;
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
    if (screen.paused) screen.play().catch(this.refused);
  }
}

// `on`: words(message), begun(), lost(), swap() before the screen shows another source, ended(reason), and refused(error) of a
// browser that may play no sound yet.
export class Stream {
  constructor(told, screen, on) {
    Object.assign(this, told, { screen, on, sent: 0, times: [], due: [], level: 0, latency: null, playing: 0, file: false });
    Object.assign(this, { turn: 0, live: false, lostAt: null, lastHeard: 0, clock: { taken: 0, at: 0 } });
    this.timer = setInterval(() => { if (this.socket && performance.now() - this.cameAt > SILENT_MS) this.closed(1006); }, 500);
    this.connect();
  }
  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = this.socket = new WebSocket(`${scheme}://${location.host}/api/sessions/${this.id}`);
    this.cameAt = performance.now();
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ token: this.token }));
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      this.cameAt = performance.now();
      typeof data === "string" ? this.told(JSON.parse(data)) : this.player?.push(data);
    };
    socket.onclose = ({ code, reason }) => { if (socket === this.socket) this.closed(code, reason); };
  }
  told(message) {
    if (message.type === "begin") {
      if (!MediaSource.isTypeSupported(message.mime)) return this.over(`This browser can't play ${message.mime}.`);
      if (this.player) this.on.swap();
      this.player = new Player(this.screen, message.mime, this.on.refused);
      // Of what was sent on a line that was cut, only the server knows how much arrived.
      Object.assign(this, { due: [], times: [], sent: message.heard, clock: { taken: message.heard, at: 0 }, lostAt: null, live: true });
      this.turn++; this.on.begun();
    } else if (message.type === "clock") {
      while (this.times.length && this.times[0].sample <= message.taken) this.due.push({ at: message.at_s, sent: this.times.shift().sent });
      if (message.taken !== this.clock.taken) this.clock = { taken: message.taken, at: message.at_s };
    } else this.on.words(message);
  }
  // Samples of what was sent whose sound has come back.
  get heard() {
    const held = this.screen.buffered, end = held.length ? held.end(held.length - 1) : 0;
    return this.clock.taken - Math.round(HZ * Math.max(0, this.clock.at - end));
  }
  send(samples) {
    if (!this.live) return;
    const pcm = new Int16Array(samples.length);
    let peak = 0;
    samples.forEach((s, i) => { peak = Math.max(peak, Math.abs(s)); pcm[i] = Math.max(-1, Math.min(1, s)) * 32767; });
    this.level = peak;
    this.socket.send(pcm.buffer);
    this.sent += pcm.length;
    this.times.push({ sample: this.sent, sent: performance.now() });
    if (this.times.length > 500) this.times.shift();
  }
  word(text) { if (this.live) this.socket.send(text); }
  closed(code, reason) {
    const socket = this.socket;
    if (this.live) this.lastHeard = this.heard;
    this.socket = null; this.live = false;
    socket.close();
    if (this.left) return;
    this.lostAt ??= performance.now();
    if (![1006, 1011, 4408].includes(code)) return this.over(reason);
    if (performance.now() - this.lostAt > HELD_MS) return this.over("The line is lost.");
    this.on.lost();
    setTimeout(() => { if (!this.left) this.connect(); }, AGAIN_MS);
  }
  over(reason) { if (this.left) return; this.end(); this.on.ended(reason); }
  end() { this.left = true; this.playing++; this.live = false; clearInterval(this.timer); this.socket?.close(); }
  leave() { this.word("end"); this.end(); }

  // Each frame that is shown.
  shown() {
    let last = null;
    while (this.due.length && this.screen.currentTime >= this.due[0].at) last = this.due.shift();
    if (last) this.latency = performance.now() - last.sent;
  }
  // Gives what ends it. While a file is said the microphone is kept back, until somebody speaks: that ends the file.
  async microphone(stream) {
    const context = new AudioContext({ sampleRate: HZ }), before = [];
    await context.audioWorklet.addModule("/static/microphone.js");
    const node = new AudioWorkletNode(context, "microphone");
    node.port.onmessage = ({ data: { samples, speaks, quiet } }) => {
      if (this.file && !speaks) { before.push(samples); if (before.length > BEFORE) before.shift(); return; }
      if (this.file) { this.interrupt(); before.forEach((held) => this.send(held)); }
      before.length = 0;
      // A microphone sends all the time: what waits is caught up with in its pauses, else it would wait for good.
      if (!quiet || this.sent - this.clock.taken < WAITS_S * HZ) this.send(samples);
    };
    context.createMediaStreamSource(stream).connect(node);
    return () => context.close();
  }
  async decoded(bytes) {
    const sound = await new OfflineAudioContext(1, 1, HZ).decodeAudioData(bytes), mono = new Float32Array(sound.length);
    for (let c = 0; c < sound.numberOfChannels; c++) sound.getChannelData(c).forEach((s, i) => { mono[i] += s / sound.numberOfChannels; });
    return { duration: sound.duration, mono };
  }
  // No faster than it is said; until all of it has come back, or something else is said or all of it is stopped. It stands while
  // the line is lost, and goes on with what has not come back by then.
  async say({ mono }) {
    const mine = ++this.playing;
    let at = 0, first = this.sent, began = performance.now(), turn = this.turn;
    this.file = true;
    while (mine === this.playing) {
      if (this.live && turn !== this.turn) {
        this.word("interrupt"); // what waited at the server comes again
        at = Math.max(0, Math.min(at, this.lastHeard - first));
        first = this.sent - at; began = performance.now() - 1000 * at / HZ; turn = this.turn;
      }
      if (this.live) {
        const until = Math.min(mono.length, Math.floor(HZ * ((performance.now() - began) / 1000 + 0.2)));
        for (let part; at < until; at += part.length) this.send(part = mono.subarray(at, Math.min(at + 1600, until)));
        if (at === mono.length && this.heard >= first + at) break;
      }
      await new Promise((r) => setTimeout(r, 40));
    }
    if (mine === this.playing) this.file = false;
  }
  interrupt() { this.playing++; this.file = false; this.word("interrupt"); }
}
