// Hands the microphone's samples over, 20 ms at a time; the context runs at 16 kHz, so nothing needs resampling.
class Microphone extends AudioWorkletProcessor {
  constructor() { super(); this.held = new Float32Array(320); this.filled = 0; }
  process(inputs) {
    const heard = inputs[0][0];
    if (!heard) return true;
    for (const sample of heard) {
      this.held[this.filled++] = sample;
      if (this.filled === this.held.length) { this.port.postMessage(this.held.slice()); this.filled = 0; }
    }
    return true;
  }
}
registerProcessor("microphone", Microphone);
