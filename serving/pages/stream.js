// The stream: fragments over a WebSocket, played by Media Source Extensions close to their live edge; sound goes back as PCM.
const HZ = 16000, EDGE_S = 0.12, LAG_S = 0.7, KEPT_S = 10;

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

// `on`: words(message), begun(), lost(), ended(reason), and refused(error) of a browser that may play no sound yet.
export class Stream {
  constructor(told, screen, on) {
    Object.assign(this, told, { screen, on, sent: 0, times: [], due: [], tries: 0, level: 0, latency: null, playing: 0 });
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
      if (!MediaSource.isTypeSupported(message.mime)) { this.left = true; this.socket.close(); return this.on.ended(`This browser can't play ${message.mime}.`); }
      this.player = new Player(this.screen, message.mime, this.on.refused); this.due = []; this.tries = 0; this.on.begun();
    } else if (message.type === "clock") {
      while (this.times.length && this.times[0].sample <= message.taken) this.due.push({ at: message.at_s, sent: this.times.shift().sent });
    } else this.on.words(message);
  }
  send(samples) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    const pcm = new Int16Array(samples.length);
    let peak = 0;
    samples.forEach((s, i) => { peak = Math.max(peak, Math.abs(s)); pcm[i] = Math.max(-1, Math.min(1, s)) * 32767; });
    this.level = peak;
    this.socket.send(pcm.buffer);
    this.sent += pcm.length;
    this.times.push({ sample: this.sent, sent: performance.now() });
    if (this.times.length > 500) this.times.shift();
  }
  word(text) { if (this.socket.readyState === WebSocket.OPEN) this.socket.send(text); }
  closed(code, reason) {
    if (this.left) return;
    if ([1006, 4408].includes(code) && this.tries++ < 5) { this.on.lost(); this.times = []; setTimeout(() => this.connect(), 500 * this.tries); return; }
    this.on.ended(reason);
  }
  leave() { this.left = true; this.playing++; this.word("end"); this.socket.close(); }

  // Each frame that is shown.
  shown() {
    let last = null;
    while (this.due.length && this.screen.currentTime >= this.due[0].at) last = this.due.shift();
    if (last) this.latency = performance.now() - last.sent;
  }
  // Gives what ends it.
  async microphone(stream) {
    const context = new AudioContext({ sampleRate: HZ });
    await context.audioWorklet.addModule("/static/microphone.js");
    const node = new AudioWorkletNode(context, "microphone");
    node.port.onmessage = ({ data }) => this.send(data);
    context.createMediaStreamSource(stream).connect(node);
    return () => context.close();
  }
  async decoded(bytes) {
    const sound = await new OfflineAudioContext(1, 1, HZ).decodeAudioData(bytes), mono = new Float32Array(sound.length);
    for (let c = 0; c < sound.numberOfChannels; c++) sound.getChannelData(c).forEach((s, i) => { mono[i] += s / sound.numberOfChannels; });
    return { duration: sound.duration, mono };
  }
  // No faster than it is said; to its end, or until something else is said or all of it is stopped.
  async say({ mono }) {
    const mine = ++this.playing, began = performance.now();
    for (let at = 0; at < mono.length && mine === this.playing;) {
      const wanted = Math.min(mono.length, HZ * ((performance.now() - began) / 1000 + 0.2));
      for (; at < wanted; at += 1600) this.send(mono.subarray(at, Math.min(at + 1600, wanted)));
      await new Promise((r) => setTimeout(r, 40));
    }
  }
  interrupt() { this.playing++; this.word("interrupt"); }
}
