/**
 * What an open inspector costs: 200 busy channels of 10,200 that hold messages, with three readers each, while
 * nobody looks and while a page looks at everything it can: the plots, the table of channels, one channel's details
 * and messages, and the clients, each as often as the page asks. Both in turns on one server.
 */
import type { Server } from "../child.ts";
import { DENO_LISTENER } from "../contenders.ts";
import { generate } from "../generate.ts";
import { type Figure, median } from "../measure.ts";
import { encodeRequest, HttpConnection } from "../raw_http.ts";
import { checkRatio, measureEach, type RunContext, type Scenario } from "../scenario.ts";

const UNWATCHED = "nobody looks";
const WATCHED = "an inspector is open";
/** Most a look may cost. */
const LEAST_SHARE = 0.9;
const ROUNDS = 2;
const QUIET_CHANNELS = 10_000;
const STREAMS = ["stream", "tail?channel=quiet/0"];
/** Documents, and how often the page renews each, in milliseconds. */
const DOCUMENTS: readonly (readonly [path: string, milliseconds: number])[] = [
  ["channels?sort=rate&order=descending&limit=10", 2_000],
  ["channel?channel=quiet/0", 2_000],
  ["clients", 3_000],
];

export const INSPECTOR: Scenario = {
  name: "inspector",
  summary: "deliveries on 200 channels of 10,200, with and without an open inspector",
  deadline: 120,
  run: (context) => measureEach([DENO_LISTENER.plain], context, (_, server) => measure(server, context)),
  check: (medians) => checkRatio(medians, WATCHED, UNWATCHED, { least: LEAST_SHARE }),
};

async function measure(server: Server, { quick }: RunContext): Promise<readonly Figure[]> {
  await fill(server.port, quick ? 100 : QUIET_CHANNELS);
  const { reader, publisher } = DENO_LISTENER.plain;
  const play = () =>
    generate(server, {
      kind: "channels",
      reader,
      publisher,
      channels: quick ? 20 : 200,
      readersPerChannel: 3,
      size: 64,
      warmUpMilliseconds: 300,
      // As long as it takes to ask for everything once.
      milliseconds: quick ? 300 : 2_500,
    });
  const unwatched: Awaited<ReturnType<typeof play>>[] = [];
  const watched: Awaited<ReturnType<typeof play>>[] = [];
  for (let round = 0; round < (quick ? 1 : ROUNDS); round++) {
    unwatched.push(await play());
    await using _look = look(server.port);
    watched.push(await play());
  }
  const rate = (results: typeof watched) => median(results.map((result) => result.rate));
  return [
    { label: UNWATCHED, value: rate(unwatched), unit: "/s", cost: unwatched[0]?.cost },
    {
      label: WATCHED,
      value: rate(watched),
      unit: "/s",
      cost: watched[0]?.cost,
      ratios: [{ label: UNWATCHED, name: UNWATCHED }],
    },
  ];
}

/** Publishes a message to each of many channels. */
async function fill(port: number, channels: number): Promise<void> {
  const lanes = Array.from({ length: 32 }, async (_, lane) => {
    using connection = await HttpConnection.open(port);
    for (let i = lane; i < channels; i += 32) {
      const { status, body } = await connection.exchange(encodeRequest("POST", `/quiet/${i}`, "it rains"));
      if (status !== 200) throw new Error(`A message was not taken: ${status} ${body}`);
    }
  });
  await Promise.all(lanes);
}

/** Does what the inspector's page does, until it is disposed of. */
function look(port: number): AsyncDisposable {
  const closing = new AbortController();
  const ask = (path: string) =>
    fetch(`http://127.0.0.1:${port}/_inspect/${path}`, { signal: closing.signal });
  const follow = async (path: string) => {
    for await (const _ of (await ask(path)).body ?? []) { /* A page would draw it. */ }
  };
  const renew = async ([path, milliseconds]: typeof DOCUMENTS[number]) => {
    while (!closing.signal.aborted) {
      const response = await ask(path);
      if (!response.ok) throw new Error(`${path} was answered with ${response.status}`);
      await response.text();
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
    }
  };
  const running = Promise.allSettled([...STREAMS.map(follow), ...DOCUMENTS.map(renew)]);
  return {
    async [Symbol.asyncDispose]() {
      closing.abort();
      const failed = (await running).find((result) =>
        result.status === "rejected" && result.reason?.name !== "AbortError"
      );
      if (failed?.status === "rejected") throw failed.reason;
    },
  };
}
