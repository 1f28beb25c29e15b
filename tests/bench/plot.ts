/** Draws the fan-out as SVG for the manual: a row for each contender, a dot for each number of messages in flight. */

/** A row of the plot. */
export interface Row {
  readonly name: string;
  /** A value for each entry of the legend, as a multiple of the unit; undefined where nothing was measured. */
  readonly values: readonly (number | undefined)[];
  /** Drawn in bold: what the plot is about. */
  readonly isOwn: boolean;
}

export interface Plot {
  readonly title: string;
  /** What 1 is. */
  readonly unit: string;
  readonly legend: readonly string[];
  readonly rows: readonly Row[];
}

const WIDTH = 856;
const LEFT = 336;
const RIGHT = 24;
const TOP = 64;
const ROW_HEIGHT = 24;
const BOTTOM = 44;

/** Readable on white and on black, and without colours by size and order. */
const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .own { font-weight: 600; }
  .axis { font-size: 12px; fill: #59636e; }
  line { stroke: #d1d9e0; }
  .span { stroke: #9198a1; stroke-width: 2; }
  .dot0 { fill: #9198a1; }
  .dot1 { fill: #0f8f83; }
  .dot2 { fill: #1f5fd0; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .axis { fill: #9198a1; }
    line { stroke: #30363d; }
    .span { stroke: #656c76; }
    .dot1 { fill: #3fc7b8; }
    .dot2 { fill: #6ba4ff; }
  }
`;

/** Draws a plot on a logarithmic axis that begins and ends at powers of ten or their halves. */
export function drawPlot({ title, unit, legend, rows }: Plot): string {
  const values = rows.flatMap((row) => row.values.filter((value) => value !== undefined));
  const ticks = chooseTicks(Math.min(...values), Math.max(...values));
  const [least = 1] = ticks;
  const most = ticks.at(-1) ?? 10;
  const x = (value: number) =>
    LEFT + (WIDTH - LEFT - RIGHT) * Math.log(value / least) / Math.log(most / least);
  const height = TOP + rows.length * ROW_HEIGHT + BOTTOM;
  const bottom = height - BOTTOM;
  const axis = ticks.map((tick) =>
    drawLine(x(tick), TOP - 8, x(tick), bottom, "") +
    drawText(x(tick), bottom + 18, `${tick}×`, "axis", "middle")
  );
  const keys = legend.map((key, i) =>
    drawDot(LEFT + i * 130, 42, i) + drawText(LEFT + 12 + i * 130, 46, key, "axis")
  );
  const body = rows.map(({ name, values, isOwn }, i) => {
    const y = TOP + (i + 0.5) * ROW_HEIGHT;
    const shown = values.map((value) => value === undefined ? undefined : x(value));
    const known = shown.filter((value) => value !== undefined);
    return drawText(LEFT - 16, y + 4, name, isOwn ? "own" : "", "end") +
      drawLine(Math.min(...known), y, Math.max(...known), y, "span") +
      shown.map((value, dot) => value === undefined ? "" : drawDot(value, y, dot)).join("");
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>${escape(title)}</title>`,
    `<style>${STYLE}</style>`,
    drawText(16, 24, title, "title"),
    ...keys,
    ...axis,
    ...body,
    drawText((LEFT + WIDTH - RIGHT) / 2, bottom + 36, unit, "axis", "middle"),
    "</svg>",
    "",
  ].join("\n");
}

/** Round numbers around a range: 1, 2 and 5 times powers of ten. */
export function chooseTicks(least: number, most: number): readonly number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(least));; power++) {
    for (const digit of [1, 2, 5]) {
      // By a division, as negative powers of ten are not exact.
      const tick = power < 0 ? digit / 10 ** -power : digit * 10 ** power;
      if (ticks.length > 0 && ticks[0]! <= least && tick <= least) ticks.length = 0;
      ticks.push(tick);
      if (tick >= most) return ticks;
    }
  }
}

function drawText(x: number, y: number, text: string, style: string, anchor = "start"): string {
  return `<text x="${round(x)}" y="${round(y)}" class="${style}" text-anchor="${anchor}">${
    escape(text)
  }</text>`;
}

function drawLine(x1: number, y1: number, x2: number, y2: number, style: string): string {
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" class="${style}"/>`;
}

function drawDot(x: number, y: number, index: number): string {
  return `<circle cx="${round(x)}" cy="${round(y)}" r="${4 + index}" class="dot${index}"/>`;
}

function round(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
