/**
 * Publishing: how many messages of 64 bytes are stored, acknowledged and delivered in a second, by log and by requests
 * in flight. Over HTTP, as many keep-alive connections as requests in flight POST to eight channels in turn, each one
 * request at a time; every answer must be a success, and the reader of each channel must get its messages once. With
 * retention as it is by default.
 *
 * A commit that is forced to the disk takes what the disk takes, however many messages it holds: group commit shows
 * in the rate with 256 in flight over the rate with 1.
 */
import { BUN, type Contender, DENO_LISTENER, NCHAN, NODE_LISTENER, WS } from "../contenders.ts";
import { generate } from "../generate.ts";
import { type Check, type Figure, median } from "../measure.ts";
import { DataDirectory, type LogKind, startRaindrops } from "../raindrops.ts";
import { checkRatio, measureEach, type RunContext, type Scenario } from "../scenario.ts";
import { formatNumber } from "../table.ts";

const LOADS = [1, 32, 256].map((inFlight) => ({ inFlight, size: 64 }));
const LEAST_GAIN = 8;
/** Of the native listener's rate, over the node listener. */
const LEAST_OF_NATIVE = 0.67;
const SYNCS = 50;

const FSYNC_LABEL = "fsync of 4 KB";
const GAIN_LABEL = "sqlite full, gain of group commit";

export const PUBLISH: Scenario = {
  name: "publish",
  summary: "POSTs a second with 1, 32 and 256 in flight, by log, and those of nchan",
  deadline: 90,
  run,
  check,
};

export const PUBLISH_SOCKET: Scenario = {
  name: "publish-socket",
  summary: "messages a second from one WebSocket to another, with 1, 32 and 256 in flight",
  deadline: 60,
  async run(context) {
    await using directory = await DataDirectory.create();
    const contenders = [
      BUN,
      WS,
      DENO_LISTENER.plain,
      NODE_LISTENER.plain,
      onSqlite("normal", directory.path),
    ];
    return await measureEach(contenders, context, async (contender, server) => {
      const { reader, publisher } = contender;
      const job = {
        kind: "fan-out",
        reader,
        publisher,
        readers: 1,
        loads: LOADS,
        ...getTimes(context),
      } as const;
      return toFigures(contender, BUN, await generate(server, job));
    });
  },
  check: () => [],
};

async function run(context: RunContext): Promise<readonly Figure[]> {
  await using normal = await DataDirectory.create();
  await using full = await DataDirectory.create();
  const contenders = [
    NCHAN,
    BUN,
    DENO_LISTENER.plain,
    NODE_LISTENER.plain,
    onSqlite("normal", normal.path),
    onSqlite("full", full.path),
  ];
  const figures = await measureEach(contenders, context, async (contender, server) => {
    const { reader, poster: publisher } = contender;
    if (publisher === undefined) throw new TypeError(`${contender.name} takes no POSTs`);
    const job = { kind: "post", reader, publisher, loads: LOADS, ...getTimes(context) } as const;
    const base = contender.name.includes("sqlite") ? DENO_LISTENER.plain : NCHAN;
    return toFigures(contender, base, await generate(server, job));
  });
  return [...figures, await measureSync(full.path), compareCommits(figures)];
}

/** Raindrops with a log in a file. */
function onSqlite(synchronous: "normal" | "full", directory: string): Contender {
  const log: LogKind = `sqlite ${synchronous}`;
  return {
    ...DENO_LISTENER.plain,
    name: `Raindrops, ${log}`,
    start: () => startRaindrops({ log, directory }),
  };
}

function getTimes({ quick }: RunContext) {
  return quick
    ? { warmUpMilliseconds: 300, milliseconds: 300 }
    : { warmUpMilliseconds: 200, milliseconds: 1_000 };
}

function toFigures(
  contender: Contender,
  base: Contender,
  results: readonly { readonly rate: number; readonly cost: Figure["cost"] }[],
): readonly Figure[] {
  return results.map(({ rate, cost }, i) => {
    const { inFlight } = LOADS[i]!;
    const ratios = contender === base ? [] : [{ label: formatLabel(base.name, inFlight), name: base.name }];
    return { label: formatLabel(contender.name, inFlight), value: rate, unit: "/s", cost, ratios };
  });
}

function formatLabel(name: string, inFlight: number): string {
  return `${name}: ${inFlight} in flight`;
}

/** Taken from one run, whose rates were measured side by side: other load on the machine comes and goes. */
function compareCommits(figures: readonly Figure[]): Figure {
  const rate = (inFlight: number) =>
    figures.find((it) => it.label === formatLabel("Raindrops, sqlite full", inFlight))?.value ?? NaN;
  return { label: GAIN_LABEL, value: rate(256) / rate(1), unit: "x" };
}

function check(medians: ReadonlyMap<string, Figure>): readonly Check[] {
  const gain = medians.get(GAIN_LABEL)?.value ?? NaN;
  const memory = formatLabel(DENO_LISTENER.plain.name, 32);
  return [
    ...checkRatio(medians, memory, formatLabel(NCHAN.name, 32), { least: 1 }),
    ...checkRatio(medians, formatLabel("Raindrops, sqlite normal", 32), memory, { least: 0.7 }),
    ...checkRatio(medians, formatLabel(NODE_LISTENER.plain.name, 32), memory, { least: LEAST_OF_NATIVE }),
    {
      passed: gain >= LEAST_GAIN,
      text: `group commit: 256 in flight publish ${formatNumber(gain)} times as much as 1 in flight at ` +
        `synchronous=full, and should ${LEAST_GAIN} times`,
    },
  ];
}

/** What the disk takes for one forced write: the least that a commit at synchronous=full can take. */
async function measureSync(directory: string): Promise<Figure> {
  const path = `${directory}/sync`;
  const times: number[] = [];
  {
    using file = await Deno.open(path, { write: true, create: true });
    const page = new Uint8Array(4_096).fill(1);
    for (let i = 0; i < SYNCS; i++) {
      file.writeSync(page);
      const start = performance.now();
      file.syncSync();
      times.push(performance.now() - start);
    }
  }
  await Deno.remove(path);
  return { label: FSYNC_LABEL, value: median(times), unit: "ms" };
}
