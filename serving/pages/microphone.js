// Hands the microphone's samples over, 20 ms at a time, and says whether somebody speaks, or it is quiet. A context at 16 kHz needs no resampling.
const QUIET = 0.008, ABOVE = 4, RISE = 1.005; // -42 dB; 12 dB over what is always there, which is told anew at 2 dB a second
const FRAMES = 3; // 60 ms: no click

class Microphone extends AudioWorkletProcessor {
  constructor() { super(); this.held = new Float32Array(Math.round(sampleRate / 50)); this.filled = this.loud = 0; this.floor = 1; }
  process(inputs) {
    const heard = inputs[0][0];
    if (!heard) return true;
    for (const sample of heard) {
      this.held[this.filled++] = sample;
      if (this.filled === this.held.length) { this.tell(this.held.slice()); this.filled = 0; }
    }
    return true;
  }
  tell(samples) {
    const level = Math.sqrt(samples.reduce((sum, s) => sum + s * s, 0) / samples.length);
    this.floor = Math.min(level, RISE * Math.max(this.floor, 1e-4));
    this.loud = level > Math.max(QUIET, ABOVE * this.floor) ? this.loud + 1 : 0;
    this.port.postMessage({ samples, speaks: this.loud >= FRAMES, quiet: level < QUIET });
  }
}
registerProcessor("microphone", Microphone);
