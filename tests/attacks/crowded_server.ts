/** Fills a server with what makes requests costly: very many channels, large messages, and one channel with very many. */
import assert from "node:assert/strict";
import type { ServerProcess } from "../server_process.ts";

const CHANNELS = 20_000;
/** Messages of one channel, which keeps them all. */
const LONG = 20_000;
/** Channels of large messages, which are together more than one document holds. */
const LARGE = 160;
const LARGE_TEXT = "x".repeat(60_000);

/** The rules that such a server needs. */
export const RULES = [
  { channels: "long", history: { messages: LONG } },
  { channels: "wide/*", history: { messages: 1 } },
];

/** Fills the channels `large/0` and on, `all/z0` and on, and `long`, whose last message is "the last". */
export async function crowd({ url }: ServerProcess, headers: HeadersInit = {}): Promise<void> {
  const post = async (method: string, content: unknown) => {
    const body = JSON.stringify(content);
    const answer = await fetch(`${url}/api/${method}`, { method: "POST", headers, body });
    assert.equal(answer.status, 200, await answer.text());
  };
  await post("broadcast", {
    channels: Array.from({ length: LARGE }, (_, i) => `large/${i}`),
    data: LARGE_TEXT,
  });
  for (let i = 0; i < CHANNELS; i += 5_000) {
    await post("broadcast", { channels: Array.from({ length: 5_000 }, (_, j) => `all/z${i + j}`), data: 1 });
  }
  for (let i = 0; i < LONG; i += 1_000) {
    const commands = Array.from({ length: 1_000 }, (_, j) => {
      const data = i + j === LONG - 1 ? "the last" : "x".repeat(150);
      return { publish: { channel: "long", data } };
    });
    await post("batch", { commands });
  }
}
