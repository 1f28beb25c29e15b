/**
 * Worker threads, with the whole machine for everybody: nothing is pinned, and the load generator takes its share of the
 * same cores. Beside one worker and peers as they are shipped, which use one core, and `ws` in a cluster of as many processes.
 */
import {
  BUN,
  type Contender,
  createRaindrops,
  createWsCluster,
  NCHAN,
  NODE_LISTENER,
  WS_FRAMED,
} from "../contenders.ts";
import { countCores } from "../child.ts";
import { generate } from "../generate.ts";
import { type Check, type Figure, readMemory } from "../measure.ts";
import { checkRatio, measureEach, type RunContext, type Scenario } from "../scenario.ts";

const READERS = 1_000;
const FAN_OUT_LOADS = [1, 16].map((inFlight) => ({ inFlight, size: 64 }));
const POST_LOADS = [32, 256].map((inFlight) => ({ inFlight, size: 64 }));
/** Milliseconds by which one message may be later. */
const MOST_DELAY = 0.1;

const ONE = createRaindrops("deno").plain;
const TWO = createRaindrops("deno", 2).plain;
const TWO_NODE = createRaindrops("node", 2).plain;

export const WORKERS: Scenario = {
  name: "workers",
  summary: "fan-out, POSTs and one message with workers, nothing pinned, the whole machine for everybody",
  deadline: 180,
  isPinned: false,
  run,
  check,
};

async function run(context: RunContext): Promise<readonly Figure[]> {
  const cores = countCores();
  const all = cores > 2 ? [createRaindrops("deno", cores).plain] : [];
  const contenders = [BUN, WS_FRAMED, createWsCluster(cores), NCHAN, ONE, TWO, ...all];
  contenders.push(NODE_LISTENER.plain, TWO_NODE);
  return await measureEach(contenders, context, async (contender, server) => {
    const figures = await measureFanOut(context, contender, server);
    if (contender.poster !== undefined) figures.push(...await measurePosts(context, contender, server));
    figures.push(...await measureLatency(context, contender, server));
    const memory = readMemory(server.pid);
    if (contender === ONE || contender === TWO) {
      figures.push({ label: `${contender.name}: memory`, value: memory?.now ?? NaN, unit: "MB" });
    }
    return figures;
  });
}

type Target = Parameters<typeof generate>[0];

async function measureFanOut(
  context: RunContext,
  contender: Contender,
  server: Target,
): Promise<Figure[]> {
  const { reader, publisher } = contender;
  const loads = FAN_OUT_LOADS;
  const job = { kind: "fan-out", reader, publisher, readers: READERS, loads, ...getTimes(context) } as const;
  return toFigures(contender, "fan-out", loads, await generate(server, job));
}

async function measurePosts(context: RunContext, contender: Contender, server: Target): Promise<Figure[]> {
  const { reader, poster } = contender;
  if (poster === undefined) return [];
  const loads = POST_LOADS;
  const job = { kind: "post", reader, publisher: poster, loads, ...getTimes(context) } as const;
  return toFigures(contender, "POST", loads, await generate(server, job));
}

async function measureLatency(
  context: RunContext,
  { name, reader, publisher }: Contender,
  server: Target,
): Promise<Figure[]> {
  const { p50, p99 } = await generate(server, {
    kind: "latency",
    reader,
    publisher,
    readers: 1,
    perSecond: 200,
    size: 64,
    warmUpMilliseconds: 300,
    milliseconds: context.quick ? 500 : 2_000,
  });
  return [
    { label: `${name}: one message, p50`, value: p50, unit: "ms" },
    { label: `${name}: one message, p99`, value: p99, unit: "ms" },
  ];
}

function getTimes({ quick }: RunContext) {
  return quick
    ? { warmUpMilliseconds: 100, milliseconds: 200 }
    : { warmUpMilliseconds: 300, milliseconds: 1_000 };
}

function toFigures(
  { name }: Contender,
  what: string,
  loads: readonly { readonly inFlight: number }[],
  results: readonly { readonly rate: number; readonly cost: Figure["cost"] }[],
): Figure[] {
  return results.map(({ rate, cost }, i) => {
    const { inFlight } = loads[i]!;
    const ratios = [BUN, ONE].filter((other) => other.name !== name)
      .map((other) => ({
        label: formatLabel(other.name, what, inFlight),
        name: other === BUN ? "Bun" : "one worker",
      }));
    return { label: formatLabel(name, what, inFlight), value: rate, unit: "/s", cost, ratios };
  });
}

function formatLabel(name: string, what: string, inFlight: number): string {
  return `${name}: ${what}, ${inFlight} in flight`;
}

function check(medians: ReadonlyMap<string, Figure>): readonly Check[] {
  const compare = (what: string, inFlight: number, other: Contender, least: number) =>
    checkRatio(
      medians,
      formatLabel(TWO.name, what, inFlight),
      formatLabel(other.name, what, inFlight),
      { least },
    );
  const [one, two] = [ONE, TWO].map(({ name }) => medians.get(`${name}: one message, p50`)?.value ?? NaN);
  const delay = two! - one!;
  return [
    ...compare("fan-out", 1, BUN, 1),
    ...compare("fan-out", 1, ONE, 1.3),
    ...compare("POST", 256, ONE, 1.3),
    {
      passed: delay <= MOST_DELAY,
      text:
        `one message with 2 workers: ${
          Math.round(delay * 1_000)
        } us later at p50 than with one, and should be ` +
        `at most ${MOST_DELAY * 1_000}`,
    },
  ];
}
