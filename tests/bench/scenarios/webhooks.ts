/**
 * What webhooks cost publishers: POSTs to eight channels, 32 and 256 in flight, on a server whose webhook gets every
 * message of every channel, and on one without, in turns. The target is a process of its own, beside the server's core, and answers
 * at once; before the other server has its turn, the webhook has delivered everything.
 */
import { DENO_LISTENER } from "../contenders.ts";
import { Server } from "../child.ts";
import { generate } from "../generate.ts";
import { type Figure, median, pause } from "../measure.ts";
import { DataDirectory, startRaindrops } from "../raindrops.ts";
import type { RunContext, Scenario } from "../scenario.ts";

const LOADS = [32, 256].map((inFlight) => ({ inFlight, size: 64 }));
const ROUNDS = 7;
/** Least of the rate without webhooks that is left with them. */
const LEAST_SHARE = 0.9;
const RECEIVER = new URL("../receiver.ts", import.meta.url).pathname;
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const WITHOUT = "sqlite normal, no webhook";
const WITH = "sqlite normal, webhook on every channel";
const SHARE = "share of the rate that a webhook leaves";
const formatLabel = (how: string, inFlight: number) => `${how}: ${inFlight} in flight`;

export const WEBHOOKS: Scenario = {
  name: "webhooks",
  summary: "POSTs a second with a webhook on every channel, and without",
  deadline: 180,
  run,
  check: (medians) =>
    LOADS.map(({ inFlight }) => {
      const share = medians.get(formatLabel(SHARE, inFlight))?.value ?? NaN;
      const text =
        `a webhook leaves ${share.toFixed(2)} of the rate with ${inFlight} in flight, and should ` +
        `leave ${LEAST_SHARE}`;
      return { passed: share >= LEAST_SHARE, text };
    }),
};

type Played = Awaited<ReturnType<typeof play>>;

async function run(context: RunContext): Promise<readonly Figure[]> {
  await using plainDirectory = await DataDirectory.create();
  await using hookedDirectory = await DataDirectory.create();
  await using target = await Server.startAside((port) => ({
    program: Deno.execPath(),
    args: ["run", "--no-check", "--allow-net", RECEIVER, String(port)],
  }));
  const hooks = `${hookedDirectory.path}/hooks.json`;
  const url = `http://127.0.0.1:${target.port}/`;
  await Deno.writeTextFile(hooks, JSON.stringify([{ url, secret: SECRET }]));
  const shared = { log: "sqlite normal", keepAll: true } as const;
  await using plain = await startRaindrops({ ...shared, directory: plainDirectory.path });
  await using hooked = await startRaindrops({ ...shared, directory: hookedDirectory.path, hooks });
  const rounds: { plain: Played; hooked: Played }[] = [];
  for (let round = 0; round < (context.quick ? 1 : ROUNDS); round++) {
    const without = await play(plain, context);
    rounds.push({ plain: without, hooked: await play(hooked, context) });
    await untilDelivered(hooked);
  }
  return LOADS.flatMap(({ inFlight }, i): Figure[] => [
    summarize(WITHOUT, inFlight, rounds.map((round) => round.plain[i]!)),
    summarize(WITH, inFlight, rounds.map((round) => round.hooked[i]!)),
    {
      label: formatLabel(SHARE, inFlight),
      // Each of two that were measured one after the other: other load on the machine comes and goes.
      value: median(rounds.map((round) => round.hooked[i]!.rate / round.plain[i]!.rate)),
      unit: "x",
    },
  ]);
}

function summarize(how: string, inFlight: number, results: Played): Figure {
  const costs = results.flatMap(({ cost }) => cost === undefined ? [] : [cost]);
  const of = (key: "microseconds" | "serverBusy" | "generatorBusy") => median(costs.map((cost) => cost[key]));
  return {
    label: formatLabel(how, inFlight),
    value: median(results.map(({ rate }) => rate)),
    unit: "/s",
    cost: costs.length === 0 ? undefined : {
      microseconds: of("microseconds"),
      serverBusy: of("serverBusy"),
      generatorBusy: of("generatorBusy"),
    },
  };
}

async function play(server: Server, { quick }: RunContext) {
  const { reader, poster: publisher } = DENO_LISTENER.plain;
  if (publisher === undefined) throw new TypeError("It takes no POSTs");
  const times = quick
    ? { warmUpMilliseconds: 200, milliseconds: 300 }
    : { warmUpMilliseconds: 200, milliseconds: 700 };
  return await generate(server, { kind: "post", reader, publisher, loads: LOADS, ...times });
}

/**
 * Resolves once the webhook has nothing left to deliver.
 *
 * @throws {Error} when it delivered nothing
 */
async function untilDelivered({ port }: Server): Promise<void> {
  while (true) {
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    if (/^raindrops_webhook_delivered_total 0$/m.test(metrics)) throw new Error("The webhook sent nothing");
    if (/^raindrops_webhook_waiting 0$/m.test(metrics)) return;
    await pause(50);
  }
}
