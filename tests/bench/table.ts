/** Lays the medians out as the one table that the benchmark prints. */
import type { Figure } from "./measure.ts";

const HEADINGS = [
  "scenario",
  "runs",
  "case",
  "median",
  "CPU us/op",
  "server",
  "generator",
  "ratios",
] as const;

/** Columns of words. */
const LEFT: ReadonlySet<string> = new Set(["scenario", "case", "ratios"]);

/** Formats the medians of all scenarios: name, number of runs, figures by label. */
export function formatTable(
  scenarios: readonly {
    readonly name: string;
    readonly runs: number;
    readonly medians: ReadonlyMap<string, Figure>;
  }[],
): string {
  const rows = scenarios.flatMap(({ name, runs, medians }) =>
    Array.from(medians.values(), (figure) => [name, String(runs), ...formatRow(figure, medians)])
  );
  const widths = HEADINGS.map((heading, i) =>
    Math.max(heading.length, ...rows.map((row) => row[i]?.length ?? 0))
  );
  // Words to the left, numbers to the right.
  const formatLine = (cells: readonly string[]) =>
    cells.map((cell, i) =>
      LEFT.has(HEADINGS[i]!) ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)
    )
      .join("  ").trimEnd();
  return [
    formatLine(HEADINGS),
    formatLine(widths.map((width) => "-".repeat(width))),
    ...rows.map(formatLine),
  ].join("\n");
}

function formatRow(figure: Figure, medians: ReadonlyMap<string, Figure>): readonly string[] {
  const { label, value, unit, cost, ratios = [] } = figure;
  const shown = ratios.map((ratio) => {
    const other = medians.get(ratio.label)?.value;
    return other === undefined ? "" : `${formatRatio(value / other)} of ${ratio.name}`;
  });
  return [
    label,
    `${formatNumber(value)}${unit === "/s" ? "" : " "}${unit}`,
    cost === undefined ? "" : formatNumber(cost.microseconds),
    cost === undefined ? "" : formatShare(cost.serverBusy),
    cost === undefined ? "" : formatShare(cost.generatorBusy),
    shown.join(", "),
  ];
}

/** Three digits or more: `0.123`, `12.3`, `123`, `12,345`. */
export function formatNumber(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function formatRatio(value: number): string {
  return value.toFixed(value >= 10 ? 1 : 2);
}

function formatShare(share: number): string {
  return `${Math.round(share * 100)} %`;
}
