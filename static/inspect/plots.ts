/** The live plots: one card each, with its numbers in words, which is what a screen reader gets. */
import uPlot from "uplot";
import { create, setText } from "./elements.ts";
import { alignSamples, findLonely } from "./plot_data.ts";
import { formatBytes, formatCount, formatMilliseconds, formatShort } from "./format.ts";

export interface Percentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** One second of the server, as `/_inspect/stream` tells it. */
export interface Sample {
  readonly time: number;
  readonly connections: number;
  readonly published: number;
  readonly delivered: number;
  readonly latency?: Percentiles;
  readonly lag?: Percentiles;
  readonly memory: number;
  readonly heap: number;
}

export interface Totals {
  readonly published: number;
  readonly delivered: number;
  readonly connections: Readonly<Record<string, { readonly open: number; readonly opened: number }>>;
}

interface PlotKind {
  readonly id: string;
  readonly title: string;
  /** Label and value of each line. */
  readonly lines: readonly (readonly [string, (sample: Sample) => number | undefined])[];
  format(value: number): string;
  /** Between the marks of the axis, where those of decimal numbers would not do. */
  readonly steps?: number[];
  /** What stands below the newest value. */
  describe?(totals: Totals): string;
}

/** 1, 2, 5, 10 and so on: half a connection would be nonsense. */
const WHOLE_STEPS = Array.from({ length: 10 }, (_, i) => [1, 2, 5].map((digit) => digit * 10 ** i)).flat();

const KINDS: readonly PlotKind[] = [
  {
    id: "connections",
    title: "Connections",
    lines: [["open", ({ connections }) => connections]],
    steps: WHOLE_STEPS,
    format: formatCount,
    describe({ connections }) {
      const open = Object.entries(connections).filter(([, count]) => count.open > 0);
      return open.map(([protocol, count]) => `${formatCount(count.open)} ${protocol}`).join(", ") || "nobody";
    },
  },
  {
    id: "published",
    title: "Messages in, a second",
    lines: [["in", ({ published }) => published]],
    steps: WHOLE_STEPS,
    format: formatShort,
    describe: ({ published }) => `${formatCount(published)} in all`,
  },
  {
    id: "delivered",
    title: "Deliveries a second",
    lines: [["out", ({ delivered }) => delivered]],
    steps: WHOLE_STEPS,
    format: formatShort,
    describe: ({ delivered }) => `${formatCount(delivered)} in all`,
  },
  {
    id: "latency",
    title: "Publish to delivery",
    lines: [
      ["median", ({ latency }) => latency?.p50],
      ["90 %", ({ latency }) => latency?.p90],
      ["99 %", ({ latency }) => latency?.p99],
    ],
    format: formatMilliseconds,
  },
  {
    id: "lag",
    title: "Event-loop lag",
    lines: [["median", ({ lag }) => lag?.p50], ["99 %", ({ lag }) => lag?.p99]],
    format: formatMilliseconds,
  },
  {
    id: "memory",
    title: "Memory",
    lines: [["JavaScript", ({ heap }) => heap], ["all", ({ memory }) => memory]],
    format: formatBytes,
    steps: Array.from({ length: 20 }, (_, i) => 2 ** (16 + i)),
  },
];

const WINDOW_SECONDS = 300;
const HEIGHT = 120;

export class Plots {
  readonly #cards: readonly Card[];
  #samples: Sample[] = [];

  constructor(section: HTMLElement) {
    this.#cards = KINDS.map((kind) => new Card(kind));
    section.replaceChildren(...this.#cards.map(({ element }) => element));
    // Plots are drawn in colours, which they do not look up again by themselves.
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => {
      for (const card of this.#cards) card.draw(this.#samples);
    };
    dark.onchange = redraw;
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    new ResizeObserver(() => {
      for (const card of this.#cards) card.resize();
    }).observe(section);
  }

  /** Starts over with the samples of a server that was found again. */
  clear(): void {
    this.#samples = [];
  }

  show(samples: readonly Sample[], totals: Totals): void {
    this.#samples.push(...samples);
    const oldest = (this.#samples.at(-1)?.time ?? 0) - WINDOW_SECONDS * 1_000;
    this.#samples = this.#samples.filter(({ time }) => time >= oldest);
    if (document.hidden) return;
    for (const card of this.#cards) card.show(this.#samples, totals);
  }
}

class Card {
  readonly element: HTMLElement;
  readonly #kind: PlotKind;
  readonly #value = create("p", "value");
  readonly #note = create("p", "note");
  readonly #drawing = create("div", "drawing");
  #plot: uPlot | undefined;

  constructor(kind: PlotKind) {
    this.#kind = kind;
    this.#drawing.ariaHidden = "true";
    this.#value.id = `${kind.id}-value`;
    this.#note.id = `${kind.id}-note`;
    this.element = create(
      "figure",
      "plot sheet",
      create("h2", "", kind.title),
      this.#value,
      this.#note,
      this.#drawing,
    );
  }

  show(samples: readonly Sample[], totals: Totals): void {
    const { lines, format, describe } = this.#kind;
    const values = lines.map(([, value]) => {
      // Latencies are there only when something was published: the newest that is known stands.
      const known = samples.findLast((sample) => value(sample) !== undefined);
      return known === undefined ? "–" : format(value(known) ?? 0);
    });
    setText(this.#value, values.at(-1) ?? "");
    if (describe !== undefined) setText(this.#note, describe(totals));
    else {
      const words = lines.map(([label], i) => i < lines.length - 1 ? `${label} ${values[i]}` : label)
        .reverse();
      const count = this.#note.children.length;
      for (let i = count; i < words.length; i++) {
        this.#note.append(create("span", `line-${words.length - i}`));
      }
      words.forEach((word, i) => setText(this.#note.children[i]!, word));
    }
    if (this.#plot === undefined) this.draw(samples);
    else this.#plot.setData(alignSamples(samples, this.#kind.lines.map(([, value]) => value)));
  }

  /** Draws anew, in the colours of the moment. */
  draw(samples: readonly Sample[]): void {
    this.#plot?.destroy();
    const style = getComputedStyle(this.#drawing);
    // What a name stands for at this moment is told of properties that use it.
    const colour = (name: string) => {
      this.#drawing.style.color = `var(${name})`;
      return style.color;
    };
    const colours = ["--plot-1", "--plot-2", "--plot-3"].map(colour);
    const { lines, format, steps } = this.#kind;
    const grid = { stroke: colour("--line"), width: 1 };
    const font = `12px ${style.fontFamily}`;
    this.#plot = new uPlot(
      {
        width: this.#width,
        height: HEIGHT,
        padding: [8, 4, 8, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { range: (_, __, newest) => [newest - WINDOW_SECONDS, newest] },
          // The floor is always in sight, and so is one of what is measured: a flat line must not look like mountains.
          y: { range: (_, __, highest) => [0, Math.max(highest * 1.15, 1)] },
        },
        series: [
          {},
          ...lines.map(([label], i) => ({
            label,
            stroke: colours[lines.length === 1 ? 0 : i]!,
            width: 1.5,
            // A second alone between others of which nothing is known makes no line, but is there.
            points: {
              show: true,
              size: 3,
              stroke: colours[i]!,
              fill: colours[i]!,
              filter: ({ data }: uPlot, i: number) => findLonely(data[i] ?? []),
            },
            ...(lines.length === 1 ? { fill: `color-mix(in srgb, ${colours[0]} 15%, transparent)` } : {}),
          })),
        ],
        axes: [
          { show: false },
          {
            stroke: colour("--soft"),
            font,
            size: 62,
            gap: 6,
            space: 36,
            grid,
            ticks: { show: false },
            ...(steps === undefined ? {} : { incrs: steps }),
            values: (_, ticks) => ticks.map(format),
          },
        ],
      },
      alignSamples(samples, this.#kind.lines.map(([, value]) => value)),
      this.#drawing,
    );
  }

  resize(): void {
    this.#plot?.setSize({ width: this.#width, height: HEIGHT });
  }

  get #width(): number {
    return Math.max(160, this.#drawing.clientWidth);
  }
}
