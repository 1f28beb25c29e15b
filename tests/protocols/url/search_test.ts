/** Finding stored messages by URL: filters, pages backwards, and exports. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { selectChannel } from "../../../lib/core/channel.ts";
import type { Hub } from "../../../lib/core/hub.ts";
import type { LogPage, LogQuery } from "../../../lib/core/log.ts";
import { openExport } from "../../../lib/protocols/url/export.ts";
import type { ReadOptions } from "../../../lib/protocols/url/read_request.ts";
import { searchBackwards } from "../../../lib/protocols/url/search.ts";
import { createMessage } from "../../fakes/message.ts";
import { startApp, type TestApp } from "../../test_app.ts";

interface Found {
  readonly messages: readonly { readonly data: unknown; readonly offset: number }[];
  readonly more?: boolean;
  readonly before?: number;
  readonly next: string;
}

async function post({ url }: TestApp, path: string, body: BodyInit, type = "text/plain"): Promise<string> {
  const headers = { "accept": "application/json", "content-type": type };
  const response = await fetch(url + path, { method: "POST", body, headers });
  assert.equal(response.status, 200);
  return (await response.json()).id;
}

async function find({ url }: TestApp, path: string): Promise<Found> {
  const response = await fetch(url + path, { headers: { accept: "application/json" } });
  const body = await response.json();
  assert.equal(response.status, 200, body.detail);
  return body;
}

async function refuse({ url }: TestApp, path: string): Promise<string> {
  const response = await fetch(url + path, { headers: { accept: "application/json" } });
  assert.equal(response.status, 400, path);
  return (await response.json()).detail;
}

function texts({ messages }: Found): unknown[] {
  return messages.map(({ data }) => data);
}

async function openFilled(): Promise<TestApp> {
  const server = await startApp();
  await post(server, "/news?name=Ada&id=ada", "It rains in Bergen");
  await post(server, "/news?name=Ben", "Sun in Oslo");
  await post(server, "/news?event=measured", '{"data":{"city":"Bergen","mm":12}}', "application/json");
  await post(server, "/news", new Uint8Array([66, 101, 114, 103, 101, 110]), "application/octet-stream");
  await post(server, "/news?name=Ada", "Caf\u0065\u0301 in BERGEN");
  return server;
}

Deno.test("?q= finds text in any case, in text and JSON, composed or not, and no bytes", async () => {
  await using server = await openFilled();
  const cases: readonly [string, readonly number[]][] = [
    ["bergen", [1, 3, 5]],
    ["Café", [5]],
    ["cafe\u0301", [5]],
    ['"mm":12', [3]],
    ["in", [1, 2, 5]],
    ["nothing", []],
    ["%", []],
  ];
  for (const [q, offsets] of cases) {
    const found = await find(server, `/news?q=${encodeURIComponent(q)}`);
    assert.deepEqual(found.messages.map(({ offset }) => offset), offsets, q);
    assert.equal(found.more, undefined);
  }
});

Deno.test("?event= and ?from= choose by event and sender, together with ?q= and ?since=", async () => {
  await using server = await openFilled();
  const cases: readonly [string, readonly number[]][] = [
    ["event=measured", [3]],
    ["from=Ada", [1, 5]],
    ["from=ada", [1]],
    ["from=Ada&q=rain", [1]],
    ["from=Ada&since=1", [5]],
    ["q=bergen&since=1&limit=1", [3]],
    ["q=bergen&limit=2", [3, 5]],
    ["q=bergen&before=5", [1, 3]],
    ["before=3", [1, 2]],
    ["before=4&limit=2", [2, 3]],
    ["before=1", []],
    ["before=99", [1, 2, 3, 4, 5]],
    ["q=&event=&from=", [1, 2, 3, 4, 5]],
  ];
  for (const [query, offsets] of cases) {
    const found = await find(server, `/news?${query}`);
    assert.deepEqual(found.messages.map(({ offset }) => offset), offsets, query);
  }
});

Deno.test("A search says where to go on, forwards and backwards, until everything is found once", async () => {
  await using server = await startApp();
  for (let i = 1; i <= 30; i++) await post(server, "/news", i % 3 === 0 ? `drop ${i}` : `line ${i}`);
  await (await fetch(`${server.url}/news?id=${await post(server, "/news", "drop 31")}`, { method: "DELETE" }))
    .text();
  const expected = Array.from({ length: 10 }, (_, i) => `drop ${3 * (i + 1)}`);
  const forwards: unknown[] = [];
  for (let since = "0";;) {
    const page = await find(server, `/news?q=drop&limit=3&since=${since}`);
    forwards.push(...texts(page));
    if (!page.more) break;
    since = page.next;
  }
  assert.deepEqual(forwards, expected);
  const backwards: unknown[] = [];
  for (let before = "";;) {
    const page = await find(server, `/news?q=drop&limit=3${before}`);
    backwards.unshift(...texts(page));
    if (!page.more) break;
    assert.ok(page.before !== undefined);
    before = `&before=${page.before}`;
  }
  assert.deepEqual(backwards, expected);
});

Deno.test("Pages before an offset hold what is stored, whatever is gone and however large messages are", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ large: fc.boolean(), gone: fc.boolean() }), { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 7 }),
      async (plan, limit) => {
        await using server = await startApp();
        const kept: number[] = [];
        for (const [i, { large, gone }] of plan.entries()) {
          const id = await post(server, "/news", large ? "x".repeat(60_000) : "y");
          if (gone) await (await fetch(`${server.url}/news?id=${id}`, { method: "DELETE" })).text();
          else kept.push(i + 1);
        }
        const seen: number[] = [];
        for (let before = plan.length + 1;;) {
          const page = await find(server, `/news?before=${before}&limit=${limit}`);
          assert.ok(page.messages.length <= limit);
          seen.unshift(...page.messages.map(({ offset }) => offset));
          if (!page.more) break;
          before = page.before!;
        }
        assert.deepEqual(seen, kept);
      },
    ),
    { numRuns: 15 },
  );
});

Deno.test("A search looks at 10,000 messages at most, and goes on from there", async () => {
  await using folder = await openRules([{ channels: "**", history: { messages: 50_000 } }]);
  await using server = await startApp("--rules", folder.path);
  const { hub } = server.app;
  const texts = ["needle", ...Array.from({ length: 12_000 }, () => "hay"), "needle"];
  await Promise.all(texts.map((text) => hub.publish({ channel: "news", payload: { kind: "text", text } })));
  const first = await find(server, "/news?q=needle");
  assert.deepEqual(first.messages.map(({ offset }) => offset), [12_002]);
  assert.equal(first.more, true);
  const second = await find(server, `/news?q=needle&before=${first.before}`);
  assert.deepEqual(second.messages.map(({ offset }) => offset), [1]);
  assert.equal(second.more, undefined);
  const forwards = await find(server, "/news?q=needle&since=earliest");
  assert.deepEqual([forwards.messages.length, forwards.more], [1, true]);
  const rest = await find(server, `/news?q=needle&since=${forwards.next}`);
  assert.deepEqual(rest.messages.map(({ offset }) => offset), [12_002]);
});

async function openRules(rules: unknown): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.makeTempFile();
  await Deno.writeTextFile(path, JSON.stringify(rules));
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path) };
}

Deno.test("A pattern is searched from the earliest on", async () => {
  await using server = await startApp();
  for (const channel of ["a/1", "b", "a/2"]) await post(server, `/${channel}`, `drop on ${channel}`);
  assert.deepEqual(texts(await find(server, "/a/*?q=drop")), ["drop on a/1", "drop on a/2"]);
  assert.deepEqual(texts(await find(server, "/a/*,b?q=drop&limit=2")), ["drop on a/1", "drop on b"]);
});

Deno.test("What cannot be searched is refused with what can", async () => {
  await using server = await startApp();
  assert.match(await refuse(server, `/news?q=${"x".repeat(201)}`), /200 characters/);
  assert.match(await refuse(server, "/news?before=soon"), /offset/);
  assert.match(await refuse(server, "/news?before=3&since=1"), /one of them/);
  assert.match(await refuse(server, "/a/*?before=3"), /one channel/);
  assert.match(await refuse(server, "/news?export=xml"), /ndjson or csv/);
  for (const choice of ["q=a", "event=e", "from=Ada", "before=2", "export=csv"]) {
    for (const kind of ["follow", "presence"]) {
      assert.match(await refuse(server, `/news?${choice}&${kind}`), /stored messages/, choice);
    }
  }
  assert.match(await refuse(server, "/news?export=csv&before=2"), /leave out before/);
  for (const choice of ["q=a", "event=e", "from=Ada"]) {
    const lobby = await fetch(`${server.url}/?${choice}`);
    assert.equal(lobby.headers.get("content-type"), "application/json", choice);
    await lobby.body?.cancel();
  }
});

Deno.test("?export= hands out all that is stored, as lines of JSON and as CSV", async () => {
  await using server = await openFilled();
  const lines = await fetch(`${server.url}/news?export=ndjson`, { headers: { accept: "text/html" } });
  assert.equal(lines.headers.get("content-type"), "application/x-ndjson");
  assert.equal(lines.headers.get("content-disposition"), 'attachment; filename="news.ndjson"');
  const { messages } = await find(server, "/news?since=earliest");
  assert.deepEqual((await lines.text()).trimEnd().split("\n").map((line) => JSON.parse(line)), messages);

  const id = await post(server, "/news?name=%3DEvil", '=1+1, "two"\nlines');
  const csv = await fetch(`${server.url}/news?export=csv&since=4&from=${encodeURIComponent("=Evil")}`);
  assert.match(csv.headers.get("content-type") ?? "", /^text\/csv/);
  const [head, ...rest] = (await csv.text()).split("\r\n");
  assert.equal(head, "channel,id,offset,time,event,from_id,from_name,from_user,data");
  const fields = rest.join("\r\n").split(",");
  assert.deepEqual(fields.slice(0, 3), ["news", id, "6"]);
  assert.equal(fields.slice(5).join(",").replace(/^[^,]*/, ""), ',\'=Evil,,"\'=1+1, ""two""\nlines"\r\n');
  assert.equal(rest.length, 2, "one record and the end of the last line");
});

Deno.test("An export ends while others go on publishing, takes a limit, and frees its connection", async () => {
  await using server = await startApp();
  for (let i = 1; i <= 600; i++) await post(server, "/news", `line ${i}`);
  const before = server.app.connectionCount;
  const response = await fetch(`${server.url}/news?export=ndjson`);
  for (let i = 601; i <= 610; i++) await post(server, "/news", `line ${i}`);
  const lines = (await response.text()).trimEnd().split("\n");
  assert.equal(lines.length, 600);
  assert.equal(
    (await (await fetch(`${server.url}/news?export=ndjson&limit=300`)).text()).trimEnd().split("\n").length,
    300,
  );
  const head = await fetch(`${server.url}/news?export=csv`, { method: "HEAD" });
  assert.equal(head.headers.get("content-disposition"), 'attachment; filename="news.csv"');
  assert.equal(server.app.connectionCount, before);
});

Deno.test("Search and export are for those who may read history", async () => {
  const secret = `RAINDROPS_TOKEN_SECRET=${"s".repeat(32)}`;
  await using server = await startApp("RAINDROPS_API_KEYS=a-key-of-enough-letters", secret);
  for (const query of ["q=a", "before=2", "export=csv"]) {
    const path = `${server.url}/news?${query}`;
    const denied = await fetch(path, { headers: { accept: "application/json" } });
    await denied.body?.cancel();
    assert.equal(denied.status, 401, query);
    const headers = { "accept": "application/json", "x-api-key": "a-key-of-enough-letters" };
    const allowed = await fetch(path, { headers });
    await allowed.body?.cancel();
    assert.equal(allowed.status, 200, query);
  }
});

Deno.test("No field of CSV begins with what a spreadsheet takes for a formula, whatever is before it", async () => {
  await using server = await startApp();
  const signs = ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"];
  const starts = ["", " ", "\t", "\r", "\n", "\u00a0", "\u3000", "\ufeff", " \r\n\t "];
  const texts = signs.flatMap((sign) => starts.map((start) => `${start}${sign}1+1`));
  for (const text of texts) await post(server, "/news", text);
  const csv = await (await fetch(`${server.url}/news?export=csv`)).text();
  for (const text of texts) {
    assert.ok(csv.includes(`,'${text}\r\n`) || csv.includes(`,"'${text}"\r\n`), JSON.stringify(text));
  }
  await post(server, "/plain", " a=1");
  assert.ok((await (await fetch(`${server.url}/plain?export=csv`)).text()).includes(", a=1\r\n"));
});

Deno.test("An export that finds nothing leaves others their turn between its pages", async () => {
  let reads = 0;
  const hub = {
    top: { epoch: "e", sequence: 1_000 },
    read: (): Promise<LogPage> =>
      Promise.resolve({
        kind: "complete",
        messages: [createMessage("x", { offset: ++reads, sequence: reads })],
        position: { epoch: "e", offset: 100 },
        more: reads < 100,
        next: { kind: "id", epoch: "e", sequence: reads },
      }),
  } as Pick<Hub, "read" | "top"> as Hub;
  let turns = 0;
  const count = () => {
    turns++;
    if (reads < 100) setImmediate(count);
  };
  setImmediate(count);
  const options = { selector: selectChannel("news"), filter: { text: "nothing" } } as ReadOptions;
  assert.equal(await openExport(hub, "ndjson", options, { release() {} }).text(), "");
  assert.ok(turns > 90, `${turns} turns`);
});

Deno.test("A search through offsets that have expired ends after a bounded number of them, and goes on", async () => {
  let reads = 0;
  const hub = {
    read({ after, limit }: LogQuery): Promise<LogPage> {
      reads++;
      const messages = after.kind === "offset" && after.offset === 0 || after.kind === "earliest"
        ? [createMessage("old", { offset: 1, sequence: 1 })].slice(0, limit)
        : [];
      const position = { epoch: "e", offset: 1_000_000 };
      return Promise.resolve({
        kind: "complete",
        messages,
        position,
        more: false,
        next: { kind: "id", epoch: "e", sequence: 1_000_000 },
      });
    },
  } as Pick<Hub, "read"> as Hub;
  const search = { filter: { text: "old" }, limit: 10, maxBytes: 1_000 };
  let found = await searchBackwards(hub, "news", search);
  assert.deepEqual([found.messages.length, found.more, reads < 500], [0, true, true]);
  for (let i = 0; i < 20 && found.more; i++) found = await searchBackwards(hub, "news", search, found.before);
  assert.deepEqual([found.messages.length, found.more], [1, false]);
});
