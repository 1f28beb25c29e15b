/** Publishers and readers that do not give up: what tests set upon servers that crash, restart and are cut off. */
import assert from "node:assert/strict";

/** Where they find the server, or whatever answers in its place. */
export interface Place {
  /** Without a slash at the end. */
  readonly url: string;
  /** Resolves when it is worth another try. */
  ready(): Promise<void>;
}

/** What the last messages of a test begin with: readers read up to them. */
export const END = "end";

export interface Stored {
  readonly channel: string;
  readonly id: string;
  readonly offset: number;
  readonly data: string;
}

/** Publishes one message, as often as it takes until it is acknowledged. */
export async function publish(place: Place, channel: string, data: string): Promise<Stored> {
  while (true) {
    await place.ready();
    try {
      const response = await fetch(`${place.url}/${channel}`, {
        method: "POST",
        body: data,
        headers: { "idempotency-key": data },
      });
      const { id, offset } = await response.json();
      if (response.ok) return { channel, id, offset, data };
    } catch (error) {
      // The connection broke, or was never made: nobody knows whether the message is stored.
      if (!(error instanceof TypeError)) throw error;
    }
  }
}

/** What a reader saw: ids and texts in order of arrival, and how often it was told of a gap. */
export interface Seen {
  readonly messages: { id: string; data: string }[];
  gaps: number;
}

/** Reads lines of a stream, and connects again whenever it breaks, until `read` says that it has seen the end. */
async function follow(
  place: Place,
  path: () => string,
  headers: () => Record<string, string>,
  read: (line: string) => boolean,
): Promise<void> {
  while (true) {
    await place.ready();
    const abort = new AbortController();
    try {
      const response = await fetch(place.url + path(), { headers: headers(), signal: abort.signal });
      if (!response.ok) {
        await response.body?.cancel();
        continue;
      }
      let unfinished = "";
      for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
        const lines = (unfinished + text).split("\n");
        unfinished = lines.pop() ?? "";
        // A line that was cut off by the crash is not read: its message comes again.
        if (lines.some(read)) return;
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    } finally {
      abort.abort();
    }
  }
}

/** An EventSource by the book: remembers the last id of a whole event and sends it when it reconnects. */
export async function readEvents(place: Place, path: string, ends: number): Promise<Seen> {
  const seen: Seen = { messages: [], gaps: 0 };
  let lastEventId = "";
  let event = { id: "", name: "", data: "" };
  const headers = () => ({
    accept: "text/event-stream",
    ...(lastEventId === "" ? {} : { "last-event-id": lastEventId }),
  });
  await follow(
    place,
    () => {
      event = { id: "", name: "", data: "" };
      return path;
    },
    headers,
    (line) => {
      if (line.startsWith("id: ")) event.id = line.slice(4);
      else if (line.startsWith("event: ")) event.name = line.slice(7);
      else if (line.startsWith("data: ")) event.data = line.slice(6);
      else if (line === "") {
        if (event.id !== "") lastEventId = event.id;
        if (event.name === "gap") seen.gaps++;
        else if (event.name === "" && event.data !== "") {
          seen.messages.push({ id: event.id, data: event.data });
        }
        if (event.data.startsWith(END)) ends--;
        event = { id: "", name: "", data: "" };
      }
      return ends === 0;
    },
  );
  return seen;
}

/** A follower that resumes with the id of the last line it has read. */
export async function readLines(place: Place, path: string, ends: number): Promise<Seen> {
  const seen: Seen = { messages: [], gaps: 0 };
  let since = "earliest";
  await follow(place, () => `${path}?follow&since=${since}`, () => ({}), (line) => {
    if (line === "") return false;
    const message = JSON.parse(line);
    if (message.type === "gap") seen.gaps++;
    else {
      since = message.id;
      seen.messages.push({ id: message.id, data: message.data });
      if (message.data.startsWith(END)) ends--;
    }
    return ends === 0;
  });
  return seen;
}

/** All that is stored under a path, page by page. */
export async function readStored(place: Place, path: string): Promise<Stored[]> {
  const stored: Stored[] = [];
  for (let since = "earliest", more = true; more;) {
    const response = await fetch(`${place.url}${path}?since=${since}`, {
      headers: { accept: "application/json" },
    });
    const page = await response.json();
    assert.equal(page.gap, undefined);
    stored.push(...page.messages);
    more = page.more === true;
    since = page.next;
  }
  return stored;
}
