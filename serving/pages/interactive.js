// Interactive: WebRTC. Pictures and sound come as they are made, the microphone goes out on the same connection, words by a
// data channel. One sound track goes out all the time: microphone and file are mixed into it.
const CONNECT_MS = 20000, HELD_MS = 30000, AGAIN_MS = 1000, ANSWER_MS = 10000, BACK_MS = 500, RELAYED_MS = 5000;

// `on` as of the stream.
export class Interactive {
  constructor(told, screen, on) {
    Object.assign(this, told, { screen, on, turn: 0, lostAt: null, cameAt: 0, latency: null, server: null, held: {}, file: null });
    this.context = new AudioContext();
    this.out = this.context.createMediaStreamDestination();
    this.mix = new AnalyserNode(this.context, { fftSize: 512 });
    this.mix.connect(this.out);
    this.heard = new Float32Array(512);
    this.timer = setInterval(() => this.measure(), 1000);
    this.connect();
  }
  async connect() {
    this.servers ??= await this.reach();
    if (this.left) return;
    const peer = this.peer = new RTCPeerConnection({ iceServers: this.servers });
    const coming = new MediaStream();
    if (this.turn) this.on.swap();
    this.screen.removeAttribute("src"); this.screen.srcObject = coming;
    peer.addTransceiver(this.out.stream.getAudioTracks()[0], { direction: "sendrecv" });
    peer.addTransceiver("video", { direction: "recvonly" });
    peer.ontrack = ({ track }) => { coming.addTrack(track); this.screen.play().catch(this.on.refused); };
    peer.onconnectionstatechange = () => {
      if (peer !== this.peer) return;
      if (peer.connectionState === "connected") { this.turn++; this.lostAt = null; this.on.begun(); if (this.file && !this.file.node) this.play(); }
      if (["failed", "disconnected"].includes(peer.connectionState)) this.again();
    };
    const channel = this.channel = peer.createDataChannel("words");
    channel.onmessage = ({ data }) => this.told(JSON.parse(data));
    channel.onclose = () => { if (peer === this.peer) this.again(); };
    try {
      await peer.setLocalDescription();
      const until = performance.now() + (this.servers.length ? RELAYED_MS : 1000); // candidates; the server mostly needs none
      while (peer.iceGatheringState !== "complete" && performance.now() < until) await new Promise((r) => setTimeout(r, 20));
      const body = JSON.stringify({ token: this.token, sdp: peer.localDescription.sdp });
      const answer = await fetch(`/api/sessions/${this.id}/webrtc`, { method: "POST", headers: { "Content-Type": "application/json" }, body, signal: AbortSignal.timeout(ANSWER_MS) });
      const said = await answer.json();
      if (peer !== this.peer) return;
      if (answer.status === 409) return this.again(); // the offer before is being answered still
      if (!answer.ok) return this.over(said.error);
      await peer.setRemoteDescription(said);
      setTimeout(() => {
        if (peer !== this.peer || peer.connectionState === "connected" || this.left) return;
        this.turn ? this.again() : this.over("No way to the server by UDP; choose the stream.");
      }, this.turn ? ANSWER_MS : CONNECT_MS);
    } catch { if (peer === this.peer) this.again(); }
  }
  // The operator's STUN and TURN servers, with credentials for this session; without an answer, none.
  async reach() {
    try {
      const answer = await fetch(`/api/sessions/${this.id}/ice`, { headers: { Authorization: `Bearer ${this.token}` }, signal: AbortSignal.timeout(ANSWER_MS) });
      return (await answer.json()).ice_servers ?? [];
    } catch { return []; }
  }
  told(message) {
    this.cameAt = this.context.currentTime;
    if (message.type === "over") return message.code === 4408 ? this.again() : this.over(message.reason);
    if (message.latency_ms !== undefined) this.server = message.latency_ms;
    if (message.type === "state") this.on.words(message);
  }
  again() {
    this.drop(); this.pause();
    if (this.left) return;
    this.lostAt ??= performance.now();
    if (performance.now() - this.lostAt > HELD_MS) return this.over("The line is lost.");
    this.on.lost();
    setTimeout(() => { if (!this.left) this.connect(); }, AGAIN_MS);
  }
  over(reason) { if (this.left) return; this.end(); this.on.ended(reason); }
  drop() { const peer = this.peer; this.peer = null; peer?.close(); }
  end() { this.left = true; clearInterval(this.timer); this.stop(); this.drop(); this.context.close(); }
  word(text) { if (this.channel?.readyState === "open") this.channel.send(text); }
  leave() {
    if (this.left) return;
    this.word("end"); this.left = true;
    setTimeout(() => this.end(), 200); // the word must be out first
  }

  // From this page to the server and back, the wait there, and what this browser holds back to play smoothly.
  async measure() {
    if (!this.peer) return;
    const told = [...(await this.peer.getStats()).values()];
    const pair = told.find((s) => s.type === "candidate-pair" && s.nominated && s.currentRoundTripTime !== undefined);
    const sound = told.find((s) => s.type === "inbound-rtp" && s.kind === "audio");
    if (!pair || !sound || this.server === null) return;
    const held = sound.jitterBufferDelay - (this.held.delay ?? 0), num = sound.jitterBufferEmittedCount - (this.held.num ?? 0);
    this.held = { delay: sound.jitterBufferDelay, num: sound.jitterBufferEmittedCount };
    if (num > 0) this.latency = 1000 * (pair.currentRoundTripTime + held / num) + this.server;
  }
  shown() {}
  get level() { this.mix.getFloatTimeDomainData(this.heard); return this.heard.reduce((most, s) => Math.max(most, Math.abs(s)), 0); }

  // Gives what ends it. Who speaks ends the file that is said.
  async microphone(stream) {
    await this.context.audioWorklet.addModule("/static/microphone.js");
    const node = this.context.createMediaStreamSource(stream), ear = new AudioWorkletNode(this.context, "microphone");
    ear.port.onmessage = ({ data }) => { if (data.speaks && this.file) this.interrupt(); };
    node.connect(this.mix); node.connect(ear);
    return () => node.disconnect();
  }
  decoded(bytes) { return this.context.decodeAudioData(bytes); }
  // To its end, or until something else is said or all of it is stopped; it stands while the line is lost.
  say(sound) {
    this.stop();
    return new Promise((done) => { this.file = { sound, at: 0, done }; this.play(); });
  }
  play() {
    const file = this.file, node = file.node = new AudioBufferSourceNode(this.context, { buffer: file.sound });
    node.connect(this.mix);
    node.onended = () => { if (this.file?.node === node) this.stop(); };
    file.began = this.context.currentTime - file.at;
    node.start(0, file.at);
  }
  // It will go on with what can't have come back by the time of the server's last word.
  pause() {
    const file = this.file, node = file?.node;
    if (!node) return;
    file.node = null; node.stop();
    file.at = Math.max(file.at, this.cameAt - file.began - (this.latency ?? BACK_MS) / 1000);
  }
  stop() { const file = this.file; this.file = null; file?.node?.stop(); file?.done(); }
  interrupt() { this.stop(); this.word("interrupt"); }
}
