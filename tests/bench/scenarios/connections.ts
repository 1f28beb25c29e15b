/**
 * What connections cost by themselves: how many open in a second, 64 at a time, and the server's memory for one that is
 * idle, over all that are open (VmRSS, some seconds after the last one).
 */
import { BUN, DENO_LISTENER, NCHAN, NODE_LISTENER, SOCKET_IO, WS } from "../contenders.ts";
import { generate } from "../generate.ts";
import type { Check, Figure } from "../measure.ts";
import { measureEach, type Scenario } from "../scenario.ts";
import { formatNumber } from "../table.ts";

const CONTENDERS = [
  BUN,
  WS,
  SOCKET_IO,
  NCHAN,
  DENO_LISTENER.plain,
  DENO_LISTENER.events,
  DENO_LISTENER.centrifuge,
  NODE_LISTENER.plain,
];
const MOST_KILOBYTES = [
  { contender: DENO_LISTENER.plain, kilobytes: 24 },
  { contender: NODE_LISTENER.plain, kilobytes: 15 },
];

export const CONNECT: Scenario = {
  name: "connect",
  summary: "connections opened in a second",
  deadline: 90,
  run: (context) =>
    measureEach(CONTENDERS, context, async (contender, server) => {
      const count = context.quick ? 500 : 3_000;
      const { rate, cost } = await generate(server, { kind: "connect", reader: contender.reader, count });
      const ratios = contender === WS ? [] : [{ label: WS.name, name: "ws" }];
      return [{ label: contender.name, value: rate, unit: "/s", cost, ratios }];
    }),
  check: () => [],
};

export const IDLE: Scenario = {
  name: "idle",
  summary: "memory for each of 10,000 idle connections",
  deadline: 150,
  run: (context) =>
    measureEach(CONTENDERS, context, async (contender, server) => {
      const { bytesPerConnection } = await generate(server, {
        kind: "idle",
        reader: contender.reader,
        count: context.quick ? 1_000 : 10_000,
        settleMilliseconds: context.quick ? 500 : 2_000,
      });
      return [{ label: contender.name, value: bytesPerConnection / 1024, unit: "KB" }];
    }),
  check,
};

function check(medians: ReadonlyMap<string, Figure>): readonly Check[] {
  return MOST_KILOBYTES.flatMap(({ contender: { name }, kilobytes }) => {
    const value = medians.get(name)?.value;
    if (value === undefined) return [];
    const text = `${name}: ${
      formatNumber(value)
    } KB for an idle connection, and should be at most ${kilobytes}`;
    return [{ passed: value <= kilobytes, text }];
  });
}
