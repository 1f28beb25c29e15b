/**
 * The worst inputs of each kind that limits let in: bodies, targets and frames. `loop_test.ts` sends them everywhere, by
 * strangers, users and subscribers.
 */

export const MEGABYTE = 1024 * 1024;

/** Fills a body up to a mebibyte. */
function fill(start: string, item: (i: number) => string, end: string): string {
  const parts = [start];
  let size = start.length + end.length;
  for (let i = 0;; i++) {
    const part = item(i);
    if (size + part.length > MEGABYTE) break;
    size += part.length;
    parts.push(part);
  }
  return parts.join("") + end;
}

export interface Body {
  readonly type: string;
  readonly body: string;
}

const JSON_TYPE = "application/json";
const FORM_TYPE = "application/x-www-form-urlencoded";
const numbers = fill("[1.0", () => ",1", "]");
const keys = fill('{"a":1', (i) => `,"${i.toString(36)}":1`, "}");

/** The worst bodies that parsers are known for. */
export const BODIES: Readonly<Record<string, Body>> = {
  "small numbers and an inexact one": { type: JSON_TYPE, body: numbers },
  "the same as data": { type: JSON_TYPE, body: `{"data":${numbers.slice(0, -10)}]}` },
  "the same as the data of emulation": {
    type: JSON_TYPE,
    body: `{"session":"a","node":"b","data":${numbers.slice(0, -60)}]}`,
  },
  "members without end": { type: JSON_TYPE, body: keys },
  "members without end beside data": { type: JSON_TYPE, body: `{"data":1,${keys.slice(1, -12)}}` },
  "names in escapes": { type: JSON_TYPE, body: fill('{"data":1', (i) => `,"\\u0061${i}":1`, "}") },
  "a text in escapes": { type: JSON_TYPE, body: fill('{"data":"', () => "\\u00e9", '"}') },
  "brackets": { type: JSON_TYPE, body: "[".repeat(MEGABYTE) },
  "shallow brackets": { type: JSON_TYPE, body: fill("[[]", () => ",[[[[[]]]]]", "]") },
  "objects": { type: JSON_TYPE, body: fill('{"commands":[{}', () => ',{"a":{}}', "]}") },
  "names": { type: JSON_TYPE, body: fill('{"channels":["a"', () => ',"a"', "]}") },
  "white space": { type: JSON_TYPE, body: fill("[", () => "\n", "1]") },
  "a long number": { type: JSON_TYPE, body: "9".repeat(MEGABYTE) },
  "fields without end": { type: FORM_TYPE, body: fill("data=1", (i) => `&${i.toString(36)}=1`, "") },
  "fields in escapes": { type: FORM_TYPE, body: fill("data=1", () => "&%61=%41", "") },
  "percent signs": { type: FORM_TYPE, body: fill("data=", () => "%", "") },
  "ampersands": { type: FORM_TYPE, body: "&".repeat(MEGABYTE) },
};

/** The longest targets that listeners take, of lists and patterns. */
const list = (name: (i: number) => string, count: number) =>
  Array.from({ length: count }, (_, i) => name(i)).join(",");
export const TARGETS: Readonly<Record<string, string>> = {
  "a list of names": `/${list((i) => `all/z${i}`, 1_000)}`,
  "a list beyond the limit": `/${list((i) => `z${i}`, 6_000)}`,
  "a list of patterns": `/${list((i) => `*/${i}/**`, 1_000)}`,
  "patterns that match everything": `/${list((i) => `${"*/".repeat(i % 3)}**`, 1_000)},all/*`,
  "all channels": "/**",
  "large messages": "/large/*",
  "percent signs": `/${"%61".repeat(5_000)}`,
  "parameters": `/?${list((i) => `a${i}=1`, 2_000).replaceAll(",", "&")}`,
  "a long position": `/all/z1?since=${"1".repeat(30_000)}`,
};

/** A conversation on a WebSocket: what it opens with, what the server answers that with, and what then arrives at once. */
export interface Conversation {
  readonly path: string;
  readonly headers?: string;
  readonly opening?: { readonly frame: string | Uint8Array; readonly answer: string };
  readonly frames: readonly (string | Uint8Array)[];
}

const centrifuge = (frame: string): Conversation => ({
  path: "/connection/websocket",
  opening: { frame: '{"id":1,"connect":{}}', answer: '"connect"' },
  frames: [frame],
});

const lines = (count: number, line: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => line(i)).join("\n");

const pusher = (...frames: string[]): Conversation => ({
  path: "/app/key1?protocol=7&client=test",
  // What it is greeted with may have come with the handshake.
  opening: { frame: '{"event":"pusher:ping"}', answer: "pusher:pong" },
  frames,
});

const digits = "[1.0" + ",1".repeat(20_000) + "]";

/** An MQTT packet (MQTT 5.0 section 2.1): the first byte, the remaining length and the rest. */
function packet(first: number, rest: readonly number[] | Uint8Array): Uint8Array {
  const length: number[] = [];
  for (let left = rest.length;; left >>= 7) {
    length.push(left > 127 ? (left & 127) | 128 : left);
    if (left <= 127) break;
  }
  return new Uint8Array([first, ...length, ...rest]);
}

const text = (value: string) => [value.length >> 8, value.length & 255, ...new TextEncoder().encode(value)];

function repeat(bytes: Uint8Array, most: number): Uint8Array {
  const count = Math.floor(most / bytes.length);
  const all = new Uint8Array(count * bytes.length);
  for (let i = 0; i < count; i++) all.set(bytes, i * bytes.length);
  return all;
}

const mqtt = (...frames: Uint8Array[]): Conversation => ({
  path: "/mqtt",
  headers: "Sec-WebSocket-Protocol: mqtt\r\n",
  opening: {
    // CONNECT of MQTT 5.0 with a clean start, a keep-alive of 60 s, no properties and no client id.
    frame: packet(0x10, [...text("MQTT"), 5, 2, 0, 60, 0, 0, 0]),
    answer: "\u0000",
  },
  frames,
});

/** User properties (section 3.3.2.3.7) of so many bytes. */
const userProperties = (bytes: number) => {
  const all = repeat(new Uint8Array([0x26, ...text("a"), ...text("b")]), bytes);
  return [(all.length & 127) | 128, ((all.length >> 7) & 127) | 128, all.length >> 14, ...all];
};

/** Frames of the largest size that each protocol takes, and what comes in numbers. */
export const CONVERSATIONS: Readonly<Record<string, Conversation>> = {
  "numbers as data": centrifuge(
    `{"id":2,"publish":{"channel":"a","data":${"[1.0" + ",1".repeat(32_000)}]}}`,
  ),
  "escapes as data": centrifuge(
    `{"id":2,"publish":{"channel":"a","data":"${"\\u0001".repeat(75_000)}"}}`,
  ),
  "more numbers as data": centrifuge(
    `{"id":2,"publish":{"channel":"a","data":${"[1.0" + ",1".repeat(225_000)}]}}`,
  ),
  "unknown names in escapes": centrifuge(`{"id":2,"publish":{"a":1${',"\\u0061":1'.repeat(40_000)}}}`),
  "more pings than a frame may hold": centrifuge(lines(20_000, (i) => `{"id":${i + 2},"ping":{}}`)),
  "pings": centrifuge(lines(3_000, (i) => `{"id":${i + 2},"ping":{}}`)),
  "subscriptions": centrifuge(lines(1_200, (i) => `{"id":${i + 2},"subscribe":{"channel":"s${i}"}}`)),
  "reads": centrifuge(
    lines(1_000, (i) => `{"id":${i + 2},"history":{"channel":"all/z1","limit":-1}}`),
  ),
  "patterns": centrifuge(lines(1_000, (i) => `{"id":${i + 2},"subscribe":{"channel":"*/${i}/**"}}`)),
  "members": centrifuge(
    `{"id":2,"rpc":{"data":{${Array.from({ length: 6_000 }, (_, i) => `"${i}":1`)}}}}`,
  ),
  "a large text": { path: "/plain", frames: ["x".repeat(65_536)] },
  "small texts": { path: "/plain", frames: Array.from({ length: 2_000 }, () => "x") },
  "Pusher events of numbers": pusher(`{"event":"client-a","channel":"private-a","data":${digits}}`),
  "Pusher's numbers as text": pusher(
    `{"event":"client-a","channel":"private-a","data":${JSON.stringify(digits)}}`,
  ),
  "Pusher subscriptions": pusher(
    ...Array.from({ length: 600 }, (_, i) => `{"event":"pusher:subscribe","data":{"channel":"s${i}"}}`),
  ),
  "Pusher subscriptions without a good signature": pusher(
    ...Array.from(
      { length: 380 },
      (_, i) =>
        `{"event":"pusher:subscribe","data":{"channel":"presence-${i}","auth":"key1:${
          "0".repeat(64)
        }","channel_data":"{}"}}`,
    ),
  ),
  "Pusher brackets": pusher("[".repeat(60_000)),
  "MQTT pings": mqtt(repeat(packet(0xc0, []), 60_000)),
  "MQTT subscriptions": mqtt(
    packet(0x82, [0, 1, 0, ...Array.from({ length: 4_000 }, (_, i) => [...text(`s/${i}/#`), 0]).flat()]),
  ),
  "MQTT patterns of many levels": mqtt(
    packet(0x82, [
      0,
      1,
      0,
      ...Array.from({ length: 250 }, () => [...text("+/".repeat(110) + "#"), 0]).flat(),
    ]),
  ),
  "MQTT messages": mqtt(repeat(packet(0x30, [...text("a"), 0, 120]), 60_000)),
  "MQTT messages to be acknowledged": mqtt(repeat(packet(0x32, [...text("a"), 0, 7, 0, 120]), 60_000)),
  "MQTT user properties": mqtt(packet(0x30, [...text("a"), ...userProperties(50_000), 120])),
  "MQTT lengths without an end": mqtt(new Uint8Array(60_000).fill(0xff)),
};
