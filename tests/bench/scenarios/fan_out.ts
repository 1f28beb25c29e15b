/**
 * Fan-out: messages from one WebSocket to all readers of a channel, the log in memory. In flight is what was published
 * and has not been received by all; as soon as all have a message, the next one is published. Each reader checks that
 * it gets every message once and in order. The clock runs until the last of them has everything; a delivery is one
 * message to one reader.
 */
import {
  BUN,
  type Contender,
  DENO_LISTENER,
  NCHAN,
  NCHAN_EVENTS,
  NODE_LISTENER,
  SOCKET_IO,
  WS,
  WS_FRAMED,
} from "../contenders.ts";
import { generate } from "../generate.ts";
import type { Load } from "../generator/job.ts";
import type { Check, Figure } from "../measure.ts";
import { drawPlot } from "../plot.ts";
import { checkRatio, measureEach, type RunContext, type Scenario } from "../scenario.ts";
import { formatNumber } from "../table.ts";

export const READERS = 1_000;
export const LOADS: readonly Load[] = [1, 16, 128].map((inFlight) => ({ inFlight, size: 64 }));
const CONTENDERS = [
  BUN,
  WS,
  WS_FRAMED,
  SOCKET_IO,
  NCHAN,
  NCHAN_EVENTS,
  DENO_LISTENER.plain,
  DENO_LISTENER.centrifuge,
  DENO_LISTENER.pusher,
  DENO_LISTENER.lines,
  DENO_LISTENER.events,
  NODE_LISTENER.plain,
  NODE_LISTENER.centrifuge,
  NODE_LISTENER.pusher,
];

const MATRIX_CONTENDERS = [
  BUN,
  WS_FRAMED,
  NCHAN,
  DENO_LISTENER.plain,
  DENO_LISTENER.centrifuge,
  NODE_LISTENER.plain,
];
const MATRIX_READERS = [100, 5_000];
const MATRIX_SIZES = [64, 1_024];

export const FAN_OUT: Scenario = {
  name: "fan-out",
  summary: "64 bytes to 1,000 readers with 1, 16 and 128 messages in flight: Raindrops and all peers",
  deadline: 180,
  run: (context) => measureFanOut(context, CONTENDERS, READERS, LOADS),
  check,
};

export const FAN_OUT_MATRIX: Scenario = {
  name: "fan-out-matrix",
  summary:
    "64 bytes and 1 KB to 100 and 5,000 readers with 1, 16 and 128 in flight: Raindrops, Bun, ws, nchan",
  deadline: 240,
  async run(context) {
    const loads = MATRIX_SIZES.flatMap((size) => LOADS.map((load) => ({ ...load, size })));
    const figures: Figure[] = [];
    for (const readers of MATRIX_READERS) {
      figures.push(...await measureFanOut(context, MATRIX_CONTENDERS, readers, loads));
    }
    return figures;
  },
  check: () => [],
};

/** The plot of the manual, as SVG: all rates as multiples of Bun's with one message in flight. */
export function drawFanOut(medians: ReadonlyMap<string, Figure>): string {
  const read = (contender: Contender, load: Load) =>
    medians.get(formatLabel(contender, READERS, load))?.value;
  const unit = read(BUN, LOADS[0]!);
  if (unit === undefined) throw new Error("There is no plot without the scenario fan-out and Bun");
  const rows = CONTENDERS.map((contender) => ({
    name: contender.name,
    isOwn: contender.name.startsWith("Raindrops"),
    values: LOADS.map((load) => {
      const rate = read(contender, load);
      return rate === undefined ? undefined : rate / unit;
    }),
  }));
  return drawPlot({
    title: `Deliveries a second, 64 bytes to ${formatNumber(READERS)} readers, server on one core`,
    unit: "Bun's publish with one message in flight = 1×",
    legend: LOADS.map(({ inFlight }) => `${inFlight} in flight`),
    rows: rows.filter(({ values }) => values.some((value) => value !== undefined)),
  });
}

/** Measures each contender; the ratios are to one of them. */
export function measureFanOut(
  context: RunContext,
  contenders: readonly Contender[],
  readers: number,
  loads: readonly Load[],
  standard: Contender = BUN,
): Promise<readonly Figure[]> {
  return measureEach(contenders, context, async (contender, server) => {
    const { reader, publisher } = contender;
    const [warmUpMilliseconds, milliseconds] = context.quick ? [100, 200] : [200, 600];
    const job = {
      kind: "fan-out",
      reader,
      publisher,
      readers,
      loads,
      warmUpMilliseconds,
      milliseconds,
    } as const;
    const results = await generate(server, job);
    return results.map(({ rate, cost }, i) => ({
      label: formatLabel(contender, readers, loads[i]!),
      value: rate,
      unit: "/s" as const,
      cost,
      ratios: contender === standard
        ? []
        : [{ label: formatLabel(standard, readers, loads[i]!), name: standard.name.split(",")[0]! }],
    }));
  });
}

/** The label of one figure of fan-out. */
export function formatLabel({ name }: Contender, readers: number, { inFlight, size }: Load): string {
  return `${name}: ${formatNumber(readers)} x ${size} B, ${inFlight} in flight`;
}

function check(medians: ReadonlyMap<string, Figure>): readonly Check[] {
  const compare = (contender: Contender, peer: Contender, inFlight: number, least: number) => {
    const load = { inFlight, size: 64 };
    const labels = [contender, peer].map((each) => formatLabel(each, READERS, load));
    return checkRatio(medians, labels[0]!, labels[1]!, { least });
  };
  return [
    ...compare(DENO_LISTENER.plain, BUN, 1, 0.9),
    ...compare(DENO_LISTENER.plain, WS, 1, 1.2),
    ...compare(NODE_LISTENER.plain, BUN, 16, 1),
    ...compare(NODE_LISTENER.plain, BUN, 128, 1.5),
    ...compare(DENO_LISTENER.centrifuge, BUN, 128, 1),
    ...compare(DENO_LISTENER.lines, BUN, 128, 0.8),
    ...compare(DENO_LISTENER.events, BUN, 128, 0.5),
  ];
}
