/** Publishers that schedule one message after another, whatever servers do, and know what was confirmed. */
import assert from "node:assert/strict";

export class Planner {
  readonly channels: readonly string[];
  /** What was confirmed, by its text, with its channel. */
  readonly confirmed = new Map<string, string>();
  readonly #stop = new AbortController();
  readonly #running: readonly Promise<void>[];
  #waiting: (() => void)[] = [];

  constructor(channels: readonly string[], url: (channel: string) => string) {
    this.channels = channels;
    this.#running = channels.map((channel) => this.#run(channel, url));
  }

  /** Resolves once so many more were confirmed. */
  async more(count: number): Promise<void> {
    const target = this.confirmed.size + count;
    while (this.confirmed.size < target) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  /** Asserts that all that was confirmed was published, and nothing twice. */
  check(texts: readonly string[]): void {
    assert.equal(new Set(texts).size, texts.length, "nothing is published twice");
    const published = new Set(texts);
    assert.deepEqual([...this.confirmed.keys()].filter((text) => !published.has(text)), []);
  }

  async #run(channel: string, url: (channel: string) => string): Promise<void> {
    for (let i = 1; !this.#stop.signal.aborted; i++) {
      const text = `${channel} ${i}`;
      try {
        const delay = (i * 37 % 500) / 1_000;
        const response = await fetch(`${url(channel)}/${channel}?delay=${delay}`, {
          method: "POST",
          body: text,
        });
        await response.body?.cancel();
        if (response.status === 202) this.confirmed.set(text, channel);
        for (const resolve of this.#waiting.splice(0)) resolve();
      } catch {
        // Killed or not up yet: nothing was confirmed.
      }
      // While a node is waited for, there is no use in ever more messages.
      await pause(5);
    }
  }
}

/** Passes between looks at what a server says: it has other work to do. */
export function pause(milliseconds = 20): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Resolves once a server says that nothing is scheduled any more. */
export async function untilNothingScheduled(url: string): Promise<void> {
  while ((await (await fetch(`${url}/_scheduled`)).json()).count > 0) await pause();
}

/** The texts of all that is stored. */
export async function readTexts(url: string, channels: readonly string[]): Promise<string[]> {
  const texts: string[] = [];
  for (const channel of channels) {
    let since = "earliest";
    for (let more = true; more;) {
      const response = await fetch(`${url}/${channel}?since=${since}`, {
        headers: { accept: "application/json" },
      });
      const page = await response.json();
      for (const { data } of page.messages) texts.push(data);
      since = page.next;
      more = page.more === true;
    }
  }
  return texts;
}
