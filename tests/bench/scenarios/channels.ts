/**
 * A mix of 1,000 channels, all busy at the same time: each has a publisher of its own, three readers, and one message
 * in flight. Nothing can be batched but what arrives in the same turn.
 */
import { BARE, BUN, DENO_LISTENER, NODE_LISTENER, WS } from "../contenders.ts";
import { generate } from "../generate.ts";
import { checkRatio, measureEach, type Scenario } from "../scenario.ts";

/** What Deno.serve does without a server on it is the limit of the native listener. */
const CONTENDERS = [BUN, WS, BARE, DENO_LISTENER.plain, NODE_LISTENER.plain];

export const CHANNELS: Scenario = {
  name: "channels",
  summary: "1,000 channels with a publisher and three readers each",
  deadline: 60,
  run: (context) =>
    measureEach(CONTENDERS, context, async (contender, server) => {
      const { reader, publisher, name } = contender;
      const { rate, cost } = await generate(server, {
        kind: "channels",
        reader,
        publisher,
        channels: context.quick ? 100 : 1_000,
        readersPerChannel: 3,
        size: 64,
        warmUpMilliseconds: 300,
        milliseconds: context.quick ? 300 : 1_000,
      });
      const ratios = [BUN, BARE].filter((other) => other !== contender)
        .map(({ name }) => ({ label: name, name: name.split(",")[0]! }));
      return [{ label: name, value: rate, unit: "/s", cost, ratios }];
    }),
  check: (medians) => checkRatio(medians, DENO_LISTENER.plain.name, BARE.name, { least: 0.7 }),
};
