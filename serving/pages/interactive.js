// Interactive: WebRTC. Pictures and sound come as they are made, the microphone goes out on the same connection, words by a
// data channel. One sound track goes out all the time: microphone and file are mixed into it.
const CONNECT_MS = 20000, TRIES = 5;

// `on` as of the stream.
export class Interactive {
  constructor(told, screen, on) {
    Object.assign(this, told, { screen, on, tries: 0, latency: null, server: null, held: {} });
    this.context = new AudioContext();
    this.out = this.context.createMediaStreamDestination();
    this.mix = new AnalyserNode(this.context, { fftSize: 512 });
    this.mix.connect(this.out);
    this.heard = new Float32Array(512);
    this.timer = setInterval(() => this.measure(), 1000);
    this.connect();
  }
  async connect() {
    const peer = this.peer = new RTCPeerConnection();
    const coming = new MediaStream();
    this.screen.removeAttribute("src"); this.screen.srcObject = coming;
    peer.addTransceiver(this.out.stream.getAudioTracks()[0], { direction: "sendrecv" });
    peer.addTransceiver("video", { direction: "recvonly" });
    peer.ontrack = ({ track }) => { coming.addTrack(track); this.screen.play().catch(this.on.refused); };
    peer.onconnectionstatechange = () => {
      if (peer !== this.peer) return;
      if (peer.connectionState === "connected") { this.tries = 0; this.on.begun(); }
      if (["failed", "disconnected"].includes(peer.connectionState)) this.again();
    };
    const channel = this.channel = peer.createDataChannel("words");
    channel.onmessage = ({ data }) => this.told(JSON.parse(data));
    channel.onclose = () => { if (peer === this.peer) this.again(); };
    try {
      await peer.setLocalDescription();
      const until = performance.now() + 1000; // candidates; the server mostly needs none
      while (peer.iceGatheringState !== "complete" && performance.now() < until) await new Promise((r) => setTimeout(r, 20));
      const body = JSON.stringify({ token: this.token, sdp: peer.localDescription.sdp });
      const answer = await fetch(`/api/sessions/${this.id}/webrtc`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
      const said = await answer.json();
      if (peer !== this.peer) return;
      if (!answer.ok) return this.over(said.error);
      await peer.setRemoteDescription(said);
      setTimeout(() => { if (peer === this.peer && peer.connectionState !== "connected" && !this.left) this.over("No way to the server by UDP; choose the stream."); }, CONNECT_MS);
    } catch { this.again(); }
  }
  told(message) {
    if (message.type === "over") return message.code === 4408 ? this.again() : this.over(message.reason);
    if (message.latency_ms !== undefined) this.server = message.latency_ms;
    if (message.type === "state") this.on.words(message);
  }
  again() {
    this.drop();
    if (this.left) return;
    if (this.tries++ >= TRIES) return this.over("The line is lost.");
    this.on.lost();
    setTimeout(() => { if (!this.left) this.connect(); }, 500 * this.tries);
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

  // Gives what ends it.
  async microphone(stream) {
    const node = this.context.createMediaStreamSource(stream);
    node.connect(this.mix);
    return () => node.disconnect();
  }
  decoded(bytes) { return this.context.decodeAudioData(bytes); }
  // To its end, or until something else is said or all of it is stopped.
  say(sound) {
    this.stop();
    const node = this.node = new AudioBufferSourceNode(this.context, { buffer: sound });
    node.connect(this.mix);
    return new Promise((done) => { node.onended = done; node.start(); });
  }
  stop() { this.node?.stop(); this.node = null; }
  interrupt() { this.stop(); this.word("interrupt"); }
}
