/** This page's own figures: images/s, percentiles, and the mean time of each stage. */

const STAGES = ["network", "parse", "decode", "queue", "infer"];
const REMEMBERED = 1000;
const FEWEST = { rate: 2, p50: 2, p95: 20 }; // with fewer photos these figures mean nothing

export class Figures {
  constructor() {
    this._count = 0;
    this._busyMs = 0;
    this._busySinceMs = null;
    this._recent = [];
  }

  /** Time counts towards images/s only while there is work. */
  setBusy(busy) {
    const nowMs = performance.now();
    if (busy && this._busySinceMs === null) this._busySinceMs = nowMs;
    if (!busy && this._busySinceMs !== null) {
      this._busyMs += nowMs - this._busySinceMs;
      this._busySinceMs = null;
    }
  }

  add({ durationMs, stagesMs }) {
    const inServiceMs = Object.values(stagesMs).reduce((sum, ms) => sum + ms, 0);
    const networkMs = Math.max(0, durationMs - inServiceMs);
    this._count += 1;
    this._recent.push({ durationMs, stagesMs: { ...stagesMs, network: networkMs } });
    if (this._recent.length > REMEMBERED) this._recent.shift();
  }

  show() {
    const durations = this._recent.map(({ durationMs }) => durationMs).sort((a, b) => a - b);
    write("count", this._count.toLocaleString());
    this._writeFrom("rate", () => this._ratePerS().toFixed(1));
    this._writeFrom("p50", () => formatMs(percentile(durations, 0.5)));
    this._writeFrom("p95", () => formatMs(percentile(durations, 0.95)));
    for (const stage of STAGES) this._showStage(stage);
  }

  _writeFrom(id, describe) {
    write(id, this._count < FEWEST[id] ? "–" : describe());
  }

  _ratePerS() {
    const runningMs = this._busySinceMs === null ? 0 : performance.now() - this._busySinceMs;
    return (1000 * this._count) / (this._busyMs + runningMs);
  }

  _showStage(stage) {
    const sumMs = this._recent.reduce((sum, { stagesMs }) => sum + (stagesMs[stage] ?? 0), 0);
    const meanMs = sumMs / this._recent.length;
    document.querySelector(`#stages [data-stage=${stage}] dd`).textContent = formatMs(meanMs);
    document.querySelector(`#stack [data-stage=${stage}]`).style.flexGrow = meanMs || 0;
  }
}

function percentile(sorted, share) {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

function formatMs(ms) {
  return Number.isFinite(ms) ? `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` : "–";
}

function write(id, text) {
  document.getElementById(id).textContent = text;
}
