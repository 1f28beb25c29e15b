/** Posts that fall across the page as raindrops, behind nothing and in nobody's way. The channel page lets it rain. */

/** Drops in the air at once; in a downpour the rest is only in the list. */
const MAX_DROPS = 20;
/** Milliseconds between two drops. */
const PAUSE_MS = 90;
const MAX_LENGTH = 60;

export class Rainfall {
  readonly #layer: HTMLElement;
  readonly #calm = matchMedia("(prefers-reduced-motion: reduce)");
  #falling = 0;
  #count = 0;
  #next = 0;

  constructor(layer: HTMLElement) {
    this.#layer = layer;
  }

  /** Lets a text fall, if there is room and the reader likes motion. */
  letFall(text: string, hue: number): void {
    if (document.hidden || this.#calm.matches || this.#falling >= MAX_DROPS) return;
    this.#falling++;
    const now = performance.now();
    this.#next = Math.max(now, this.#next + PAUSE_MS);
    const drop = document.createElement("div");
    drop.className = "drop";
    drop.dir = "auto";
    drop.textContent = text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text;
    // Steps of the golden section spread neighbours in time far apart. The first falls through the middle: alone in the
    // corner of the page it looks like the tooltip of something.
    const share = (++this.#count * 0.618) % 1;
    drop.style.setProperty("--at", share.toFixed(3));
    drop.style.setProperty("--hue", String(hue));
    drop.style.animationDelay = `${this.#next - now}ms`;
    const end = () => {
      drop.remove();
      this.#falling--;
    };
    drop.onanimationend = end;
    drop.onanimationcancel = end;
    this.#layer.append(drop);
  }
}
