/** Agreement of both codings of the Centrifuge protocol with the official client's codecs. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Codec } from "../../../lib/protocols/centrifuge/codec.ts";
import { JSON_CODEC } from "../../../lib/protocols/centrifuge/json.ts";
import { PROTOBUF_CODEC } from "../../../lib/protocols/centrifuge/protobuf.ts";
import { frame, fromHex, toHex, UTF8 } from "./codec_bytes.ts";
import {
  anyPayload,
  commands,
  dropZeros,
  openOfficialJson,
  openOfficialProtobuf,
  pushes,
  replies,
  spokenPayload,
  toWireCommand,
  toWirePush,
  toWireReply,
  type Wire,
} from "./samples.ts";

/** What the official client read, as plain objects: its long numbers as numbers, its bytes as bytes. */
function toPlain(value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(toPlain);
  if (typeof value !== "object" || value === null) return value;
  if ("toNumber" in value && typeof value.toNumber === "function") return value.toNumber();
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toPlain(item)]));
}

/** A codec beside the official client's codec of the same coding. */
interface Coding {
  readonly codec: Codec;
  readonly openOfficial: () => {
    encodeCommands(commands: readonly unknown[]): string | Uint8Array;
    decodeReplies(frame: string | Uint8Array): unknown[];
  };
  /** Payloads that clients of the coding can write. */
  readonly written: typeof anyPayload;
  /** Data as clients of the coding have them. */
  readonly wire: Wire;
  /** A bare push wrapped into a reply. */
  readonly wrap: (bare: string | Uint8Array) => string | Uint8Array;
}

const CODINGS: readonly Coding[] = [
  {
    codec: JSON_CODEC,
    openOfficial() {
      const official = openOfficialJson();
      return {
        encodeCommands: (commands) => official.encodeCommands(commands),
        decodeReplies: (frame) => official.decodeReplies(String(frame)),
      };
    },
    // The digits that JavaScript cannot write are in the table of data of `codec_commands_test.ts`.
    written: spokenPayload.filter((payload) =>
      payload.kind !== "json" || JSON.stringify(JSON.parse(payload.text)) === payload.text
    ),
    wire: {
      data(payload) {
        if (payload.kind === "text") return payload.text;
        return payload.kind === "json" ? JSON.parse(payload.text) : { base64: payload.bytes.toBase64() };
      },
      info: (text) => JSON.parse(text),
    },
    wrap: (bare) => `{"push":${bare}}`,
  },
  {
    codec: PROTOBUF_CODEC,
    openOfficial() {
      const official = openOfficialProtobuf();
      return {
        encodeCommands: (commands) => official.encodeCommands(commands),
        decodeReplies(frame) {
          assert.ok(frame instanceof Uint8Array);
          return official.decodeReplies(frame);
        },
      };
    },
    written: anyPayload,
    wire: {
      data(payload) {
        if (payload.kind === "bytes") return payload.bytes;
        return UTF8.encode(payload.kind === "text" ? JSON.stringify(payload.text) : payload.text);
      },
      info: (text) => UTF8.encode(text),
    },
    // A reply holds the push as its field 4, with the same length before it.
    wrap: (bare) => fromHex(frame("22", toHex(bare))),
  },
];

for (const { codec, openOfficial, written, wire, wrap } of CODINGS) {
  const name = `${codec.name.toUpperCase()}_CODEC`;

  Deno.test(`${name} reads what the official client writes`, () => {
    const official = openOfficial();
    fc.assert(fc.property(fc.array(commands(written), { minLength: 1, maxLength: 4 }), (expected) => {
      const data = official.encodeCommands(expected.map((command) => toWireCommand(command, wire)));
      // The official client may return a Buffer.
      assert.deepEqual(codec.decode(typeof data === "string" ? data : new Uint8Array(data)), expected);
    }));
  });

  Deno.test(`${name} writes what the official client reads`, () => {
    const official = openOfficial();
    fc.assert(fc.property(fc.array(replies, { minLength: 1, maxLength: 4 }), (sent) => {
      const read = official.decodeReplies(codec.encode(sent)).map((reply) => dropZeros(toPlain(reply)));
      assert.deepEqual(read, sent.map((reply) => dropZeros(toWireReply(reply, wire))));
    }));
  });

  Deno.test(`${name} writes bare pushes as it writes them in replies`, () => {
    const official = openOfficial();
    fc.assert(fc.property(pushes, (push) => {
      const reply = wrap(codec.encodeUni([push]));
      assert.deepEqual(codec.encode([{ kind: "push", push }]), reply);
      const read = official.decodeReplies(reply).map((value) => dropZeros(toPlain(value)));
      assert.deepEqual(read, [dropZeros({ push: toWirePush(push, wire) })]);
    }));
  });
}
