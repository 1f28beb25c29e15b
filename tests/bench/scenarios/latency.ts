/**
 * Latency at a moderate rate: 300 messages of 64 bytes a second to 100 readers, published when they are due, whatever
 * has become of earlier ones, and timed from then on (no coordinated omission).
 */
import { BUN, DENO_LISTENER, NCHAN, NODE_LISTENER, SOCKET_IO, WS } from "../contenders.ts";
import { generate } from "../generate.ts";
import { checkRatio, measureEach, type Scenario } from "../scenario.ts";

const CONTENDERS = [
  BUN,
  WS,
  SOCKET_IO,
  NCHAN,
  DENO_LISTENER.plain,
  DENO_LISTENER.centrifuge,
  DENO_LISTENER.events,
  NODE_LISTENER.plain,
];

export const LATENCY: Scenario = {
  name: "latency",
  summary: "percentiles at 300 messages a second to 100 readers",
  deadline: 90,
  run: (context) =>
    measureEach(CONTENDERS, context, async ({ name, reader, publisher }, server) => {
      const result = await generate(server, {
        kind: "latency",
        reader,
        publisher,
        readers: 100,
        perSecond: 300,
        size: 64,
        warmUpMilliseconds: 1_000,
        milliseconds: context.quick ? 500 : 4_000,
      });
      return (["p50", "p99", "p999"] as const).map((key) => ({
        label: `${name}: ${key === "p999" ? "p99.9" : key}`,
        value: result[key],
        unit: "ms" as const,
        cost: key === "p50" ? result.cost : undefined,
        ratios: name === WS.name
          ? []
          : [{ label: `${WS.name}: ${key === "p999" ? "p99.9" : key}`, name: "ws" }],
      }));
    }),
  check: (medians) =>
    [DENO_LISTENER.plain, NODE_LISTENER.plain].flatMap(({ name }) =>
      checkRatio(medians, `${name}: p99`, `${WS.name}: p99`, { most: 1 })
    ),
};
