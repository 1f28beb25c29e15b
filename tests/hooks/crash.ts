/** What tests of webhooks across crashes share: publishers that go on whatever happens, and a receiver that misbehaves. */
import type { Receiver } from "./receiver.ts";
import { SECRET, writeHooks } from "./receiver.ts";

/** Requests of webhooks wait so long for an answer, in seconds. */
const TIMEOUT_SECONDS = 0.4;

/** A `--hooks` file with one webhook, which gives up on a stalled request soon. */
export async function writeImpatientHook(url: string): Promise<string> {
  return await writeHooks([{ name: "all", url, secret: SECRET, timeout: TIMEOUT_SECONDS }]);
}

/** How far publishers are ahead of the receiver at most, in messages of one channel: it is to catch up in the end. */
const MAX_AHEAD = 100;

/** Publishes to a channel until told to stop, whatever the server does; keeps the newest offset that was confirmed. */
export async function publishUntil(
  url: () => string,
  channel: string,
  { confirmed, receiver, signal }: {
    readonly confirmed: Map<string, number>;
    readonly receiver: Receiver;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const isAhead = () => (confirmed.get(channel) ?? 0) - (receiver.newest.get(channel) ?? 0) > MAX_AHEAD;
  for (let i = 1; !signal.aborted; i++) {
    await receiver.until(() => signal.aborted || !isAhead());
    try {
      const response = await fetch(`${url()}/${channel}`, { method: "POST", body: `${channel} ${i}` });
      const body = await response.json();
      if (response.ok) confirmed.set(channel, body.offset);
    } catch {
      // Killed or not up yet: nothing was confirmed.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Rules that keep everything, so that no gap is to be expected. */
export async function writeRules(directory: string): Promise<string> {
  const path = `${directory}/rules.json`;
  await Deno.writeTextFile(path, JSON.stringify([{ channels: "**", history: { messages: 1_000_000 } }]));
  return path;
}

/** How a receiver misbehaved. */
export interface Misbehaviour {
  failures: number;
  redirects: number;
  stalls: number;
  /** Answers the requests that were stalled, long after the sender gave them up. */
  release(): void;
}

/** Answers badly for a share of the requests, differently each time, and leaves some without an answer. */
export function misbehave(receiver: Receiver): Misbehaviour {
  let count = 0;
  const stalled: (() => void)[] = [];
  const misbehaviour: Misbehaviour = {
    failures: 0,
    redirects: 0,
    stalls: 0,
    release() {
      for (const resolve of stalled.splice(0)) resolve();
    },
  };
  receiver.answer = async () => {
    count++;
    if (count % 7 === 3) {
      misbehaviour.failures++;
      return new Response("no", { status: 500 });
    }
    if (count % 11 === 5) {
      misbehaviour.redirects++;
      return new Response(null, { status: 302, headers: { location: "http://127.0.0.1:1/" } });
    }
    if (count % 13 === 6) {
      misbehaviour.stalls++;
      await new Promise<void>((resolve) => stalled.push(resolve));
    }
    return new Response(null, { status: 204 });
  };
  return misbehaviour;
}

export function countTo(receiver: Receiver, more: number): Promise<void> {
  const target = receiver.taken.length + more;
  return receiver.until(() => receiver.taken.length >= target);
}

/** Whether everything that was confirmed has arrived. */
export function hasAll({ newest }: Receiver, confirmed: ReadonlyMap<string, number>): boolean {
  return [...confirmed].every(([channel, offset]) => (newest.get(channel) ?? 0) >= offset);
}
