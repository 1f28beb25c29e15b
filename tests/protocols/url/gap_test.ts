/**
 * Gaps, over every protocol of a channel's URL: each hands over an id from which resuming misses nothing that is left and
 * tells of no gap again, whatever was lost.
 */
import assert from "node:assert/strict";
import { readLines } from "../../read_lines.ts";
import { startApp, type TestApp } from "../../test_app.ts";
import { TestSocket } from "../../test_socket.ts";

/** What a reader saw from a position on: the id a gap named, and the first `count` messages. */
interface Seen {
  readonly resume: string | undefined;
  readonly data: readonly string[];
}

type Reader = (server: TestApp, channel: string, since: string, count: number) => Promise<Seen>;

const READERS: Readonly<Record<string, Reader>> = {
  async "plain WebSocket"({ socketUrl }, channel, since, count) {
    await using socket = await TestSocket.open(`${socketUrl}/${channel}?since=${since}`);
    const data: string[] = [];
    const closed = socket.closed.then(({ code, reason }) => ({ code, reason }));
    while (true) {
      const next = socket.next();
      const first = await Promise.race([closed, next]);
      if (typeof first !== "string" && "code" in first) {
        assert.equal(first.code, 4410);
        next.catch(() => {});
        return { resume: /since=(\S+)$/.exec(first.reason)?.[1], data };
      }
      data.push(String(first));
      if (data.length > count) return { resume: undefined, data: data.slice(0, -1) };
    }
  },
  async "event stream"({ url }, channel, since, count) {
    await using stream = await readLines(`${url}/${channel}`, {
      accept: "text/event-stream",
      "last-event-id": since,
    });
    const data: string[] = [];
    let [resume, id, event]: (string | undefined)[] = [];
    while (data.length <= count) {
      const [line = ""] = await stream.take(1);
      if (line.startsWith("event: ")) event = line.slice(7);
      if (line.startsWith("id: ")) id = line.slice(4);
      if (line.startsWith("data: ") && event === undefined) data.push(line.slice(6));
      if (line !== "") continue;
      if (event === "gap") resume = id;
      event = undefined;
    }
    return { resume, data: data.slice(0, count) };
  },
  async "line stream"({ url }, channel, since, count) {
    await using stream = await readLines(`${url}/${channel}?follow&since=${since}`);
    const data: string[] = [];
    let resume: string | undefined;
    while (data.length <= count) {
      const [line = ""] = await stream.take(1);
      if (line === "") continue;
      const message = JSON.parse(line);
      if (message.type === "gap") resume = message.id;
      else data.push(message.data);
    }
    return { resume, data: data.slice(0, count) };
  },
  async document({ url }, channel, since) {
    const page = await (await fetch(`${url}/${channel}?since=${since}`)).json();
    const data = page.messages.map((message: { data: string }) => message.data);
    return { resume: page.gap === undefined ? undefined : page.next, data };
  },
};

async function post(server: TestApp, path: string, body: string): Promise<string> {
  const headers = { accept: "application/json" };
  return (await (await fetch(`${server.url}/${path}`, { method: "POST", body, headers })).json()).id;
}

async function clear({ url }: TestApp, channel: string): Promise<void> {
  await (await fetch(`${url}/${channel}`, { method: "DELETE" })).body?.cancel();
}

/** The channel that loses messages, and another one. */
interface Names {
  readonly news: string;
  readonly other: string;
}

/** What befell a channel that had messages, each with the number of them that are left. */
const LOSSES: Readonly<Record<string, (server: TestApp, names: Names) => Promise<number>>> = {
  async "some left"(server, { news }) {
    await clear(server, news);
    for (const text of ["1", "2"]) await post(server, news, text);
    return 2;
  },
  async "none left"(server, { news }) {
    await clear(server, news);
    return 0;
  },
  async "others busy"(server, { news, other }) {
    await clear(server, news);
    await post(server, other, "x");
    await post(server, news, "1");
    await post(server, other, "y");
    return 1;
  },
  // No id of a message lies behind the one that is left and before those that are gone.
  async "an older one of a list left"(server, { news }) {
    await clear(server, news);
    return 1;
  },
  async "older and newer ones of a list left"(server, { news, other }) {
    await clear(server, news);
    await post(server, other, "2");
    await post(server, news, "3");
    return 3;
  },
};

for (const engine of ["memory:", "sqlite:"]) {
  Deno.test(`A gap names where to go on, over every protocol of a channel's URL (${engine})`, async (test) => {
    const directory = await Deno.makeTempDir();
    try {
      const place = engine === "memory:" ? engine : `${engine}${directory}/log.db`;
      // One server for all: each loss has channels of its own.
      await using server = await startApp("--engine", place);
      let count = 0;
      for (const protocol of Object.keys(READERS)) {
        for (const loss of Object.keys(LOSSES)) {
          for (const origin of ["its own", "a lost"] as const) {
            const names: Names = { news: `news/${++count}`, other: `other/${count}` };
            await test.step(
              `In a ${protocol}, ${loss}, from ${origin} id`,
              () => checkGap(server, names, protocol, loss, origin),
            );
          }
        }
      }
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
}

async function checkGap(
  server: TestApp,
  names: Names,
  protocol: string,
  loss: string,
  origin: "its own" | "a lost",
): Promise<void> {
  const [read, lose] = [READERS[protocol]!, LOSSES[loss]!];
  const first = await post(server, names.news, "gone");
  await post(server, names.other, "1");
  await post(server, names.news, "gone too");
  const path = loss.includes(" list ") ? `${names.news},${names.other}` : names.news;
  const left = await lose(server, names);
  const expected = Array.from({ length: left }, (_, i) => `${i + 1}`);
  // A last message, by which a reader of nothing knows that nothing came before.
  const seen = read(server, path, origin === "its own" ? first : "lost-7", left);
  if (protocol !== "document") await waitForReader(server, path);
  if (protocol !== "document") await post(server, names.news, "last");
  const { resume, data } = await seen;
  assert.ok(resume !== undefined, "the gap is told, with an id");
  if (protocol !== "plain WebSocket") assert.deepEqual(data, expected);
  const again = await read(server, path, resume, protocol === "document" ? 0 : left);
  assert.equal(again.resume, undefined, "the same gap is not told twice");
  if (protocol !== "document") {
    assert.deepEqual(again.data, expected, "nothing that is left is missed");
  }
}

/** Resolves once a reader of a path was let in, or has gone again. */
async function waitForReader({ logger }: TestApp, path: string): Promise<void> {
  const channel = path.replace(",", " ");
  while (!logger.find("client connected").some((fields) => fields.channel === channel)) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
