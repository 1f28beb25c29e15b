/**
 * What the EventSource clients that people use make of an event stream: strict ones, which follow the WHATWG, and tolerant
 * ones, which take every block for a message. Each is cut off before its first message, after a keep-alive line, and across a gap.
 */
import assert from "node:assert/strict";
// @ts-types="./azure_core_sse.d.ts"
import { createSseStream } from "@azure/core-sse";
import { fetchEventSource } from "@microsoft/fetch-event-source";
import { EventSourcePolyfill } from "event-source-polyfill";
import { EventSource as NodeEventSource } from "eventsource";
// @ts-types="./eventsource_client.d.ts"
import { createEventSource } from "eventsource-client";
import { EventSourceParserStream } from "eventsource-parser/stream";
// @ts-types="./launchdarkly_eventsource.d.ts"
import LaunchDarkly from "launchdarkly-eventsource";
// @ts-types="./reconnecting_eventsource.d.ts"
import ReconnectingEventSource from "reconnecting-eventsource";
import { MessagingError } from "../../../lib/core/errors.ts";
import { startApp, type TestApp } from "../../test_app.ts";

interface Event {
  /** "message" for one without a name. */
  readonly name: string;
  readonly data: string;
}

/** Reads a URL until it is stopped, and connects again as the library or its documentation says. */
type OpenClient = (url: string, take: (event: Event) => void) => () => void;

/** What a browser's EventSource offers. */
interface EventTargetLike {
  addEventListener(name: string, listen: (event: { readonly data: string }) => void): void;
  close(): void;
}

/** Milliseconds that the stream's `retry` asks for, for clients that leave reconnecting to their user. */
const RETRY = 1_000;

/** Milliseconds after which a message is held to be lost: many times what a client waits before it reconnects. */
const DEADLINE = 20_000;

function listen(source: EventTargetLike, take: (event: Event) => void): () => void {
  for (const name of ["message", "gap"]) source.addEventListener(name, ({ data }) => take({ name, data }));
  return () => source.close();
}

/** Reads again and again with the id that `read` saw last. */
function repeat(
  url: string,
  read: (body: ReadableStream<Uint8Array<ArrayBuffer>>, id: (id: string) => void) => Promise<void>,
): () => void {
  const abort = new AbortController();
  let lastId = "";
  (async () => {
    while (!abort.signal.aborted) {
      const headers = { accept: "text/event-stream", ...(lastId === "" ? {} : { "last-event-id": lastId }) };
      const { body } = await fetch(url, { headers, signal: abort.signal });
      if (body !== null) await read(body, (id) => lastId = id);
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  })().catch(() => {});
  return () => abort.abort();
}

const CLIENTS: Readonly<Record<string, OpenClient>> = {
  "EventSource of Deno": (url, take) => listen(new EventSource(url), take),
  "eventsource of npm": (url, take) => listen(new NodeEventSource(url), take),
  "event-source-polyfill": (url, take) => listen(new EventSourcePolyfill(url), take),
  "reconnecting-eventsource": (url, take) => listen(new ReconnectingEventSource(url), take),
  "launchdarkly-eventsource": (url, take) => listen(new LaunchDarkly.EventSource(url), take),
  "eventsource-client"(url, take) {
    const source = createEventSource({
      url,
      onMessage: ({ event = "message", data }) => take({ name: event, data }),
    });
    return () => source.close();
  },
  "@microsoft/fetch-event-source"(url, take) {
    const abort = new AbortController();
    // It is made for browsers.
    Object.assign(globalThis, { window: globalThis, document: { removeEventListener() {} } });
    fetchEventSource(url, {
      signal: abort.signal,
      openWhenHidden: true,
      onmessage: ({ event, data }) => take({ name: event || "message", data }),
      onclose() {
        throw new Error("It takes the end of a stream for final unless told so");
      },
    }).catch(() => {});
    return () => abort.abort();
  },
  "eventsource-parser": (url, take) =>
    repeat(url, async (body, note) => {
      const events = body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
      for await (const { event = "message", data, id } of events) {
        if (id !== undefined) note(id);
        take({ name: event, data });
      }
    }),
  "@azure/core-sse": (url, take) =>
    repeat(url, async (body, note) => {
      for await (const { event, data, id } of createSseStream(body)) {
        // Of each event it says "" for no name and for no id.
        if (id !== "") note(id);
        take({ name: event || "message", data });
      }
    }),
  // Python's httpx-sse hands on every block once it has seen any field, and keeps the last id.
  "the rules of httpx-sse": (url, take) =>
    repeat(url, async (body, note) => {
      let [name, id, rest, data] = ["", "", "", [] as string[]];
      for await (const text of body.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) {
          if (line.startsWith("id: ")) id = line.slice(4);
          else if (line.startsWith("event: ")) name = line.slice(7);
          else if (line.startsWith("data: ")) data.push(line.slice(6));
          if (line !== "" || (id === "" && name === "" && data.length === 0)) continue;
          take({ name: name || "message", data: data.join("\n") });
          note(id);
          [name, data] = ["", []];
        }
      }
    }),
};

async function send(server: TestApp, method: string, body?: string): Promise<void> {
  const response = await fetch(`${server.url}/news`, { method, ...(body === undefined ? {} : { body }) });
  await response.body?.cancel();
}

/** Resolves once a number of readers have been let in, the cut ones included. */
async function waitForReaders({ logger }: TestApp, count: number): Promise<void> {
  const connected = () => logger.entries.filter(({ event }) => event === "client connected").length;
  while (connected() < count) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Resolves once every reader who came in before this call has been sent a line that keeps the connection alive. */
async function waitForKeepAlive({ url }: TestApp): Promise<void> {
  const response = await fetch(`${url}/news`, { headers: { accept: "text/event-stream" } });
  let text = "";
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.includes("\n: ")) return;
  }
}

function cutAll({ app: { hub } }: TestApp): void {
  for (const client of [...hub.clients]) client.end(new MessagingError("log_unavailable", "cut"));
}

/** Cuts a client off before its first message, after a keep-alive line, and across a gap. */
async function checkClient(openClient: OpenClient): Promise<void> {
  await using server = await startApp("--keep-alive", "1");
  await send(server, "POST", "before");
  const events: Event[] = [];
  let wake = () => {};
  const stop = openClient(`${server.url}/news`, (event) => {
    events.push(event);
    wake();
  });
  const until = async (data: string) => {
    const deadline = AbortSignal.timeout(DEADLINE);
    deadline.onabort = () => wake();
    while (!events.some((event) => event.data === data)) {
      assert.ok(!deadline.aborted, `it gets "${data}"; so far: ${JSON.stringify(events)}`);
      await new Promise<void>((resolve) => wake = resolve);
    }
    deadline.onabort = null;
  };
  try {
    await waitForReaders(server, 1);
    cutAll(server);
    await send(server, "POST", "while away");
    await until("while away");
    await send(server, "POST", "live");
    await until("live");
    await waitForKeepAlive(server);
    cutAll(server);
    await send(server, "POST", "lost");
    await send(server, "DELETE");
    await send(server, "POST", "left");
    await until("left");
    cutAll(server);
    await send(server, "POST", "last");
    await until("last");
  } finally {
    stop();
  }
  assert.deepEqual(events.filter(({ data }) => data === ""), [], "nobody gets an empty message");
  const messages = events.filter(({ name }) => name === "message").map(({ data }) => data);
  assert.deepEqual(messages, ["while away", "live", "left", "last"]);
  const others = events.filter(({ name }) => name !== "message");
  for (const { data } of others) assert.equal(typeof JSON.parse(data), "object");
  assert.equal(others.filter(({ name }) => name === "gap").length, 1, "a gap is told once");
}

// The libraries leave timers of their own behind.
const unsanitized = { sanitizeOps: false, sanitizeResources: false, sanitizeExit: false };

Deno.test({
  name:
    "no client library gets an empty message or misses one: at the opening, between messages and across a gap",
  ...unsanitized,
  async fn(t) {
    // Side by side, as most of the time goes into waiting to reconnect.
    await Promise.all(
      Object.entries(CLIENTS).map(([name, openClient]) =>
        t.step({ name, ...unsanitized, fn: () => checkClient(openClient) })
      ),
    );
  },
});
