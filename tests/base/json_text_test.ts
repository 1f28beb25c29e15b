import assert from "node:assert/strict";
import fc from "fast-check";
import {
  jsonKind,
  MAX_JSON_DEPTH,
  parseJsonArray,
  parseJsonObject,
  parseJsonScalar,
  parseJsonText,
  toJsonLine,
} from "../../lib/base/json_text.ts";
import { readOwnLiveBytes } from "../live_memory.ts";

const NUMBER = fc.stringMatching(/^-?(0|[1-9]\d{0,25})(\.\d{1,25})?([eE][+-]?\d{1,3})?$/);
const SPACE = fc.stringMatching(/^[ \t\r\n]{0,2}$/);
const STRING = fc.oneof(
  fc.string({ unit: "binary" }).map((text) => JSON.stringify(text)),
  fc.constantFrom('"\\u0061"', '"\\/"', '"\\ud800"', '"\u2028"', '""'),
);

/** JSON in any spelling: white space, escapes, repeated names, numbers that no double can hold. */
const { value: JSON_TEXT } = fc.letrec<{ value: string }>((tie) => {
  const spaced = fc.tuple(SPACE, tie("value"), SPACE).map((parts) => parts.join(""));
  return {
    value: fc.oneof(
      { maxDepth: 4 },
      fc.oneof(NUMBER, STRING, fc.constantFrom("true", "false", "null")),
      fc.array(spaced, { maxLength: 4 }).map((items) => `[${items.join(",")}]`),
      fc.array(fc.tuple(SPACE, STRING, SPACE, spaced), { maxLength: 4 })
        .map((members) => `{${members.map(([a, key, b, value]) => `${a}${key}${b}:${value}`).join(",")}}`),
    ),
  };
});

Deno.test("parseJsonText() gives back every JSON text as it was written", () => {
  fc.assert(fc.property(SPACE, JSON_TEXT, SPACE, (before, json, after) => {
    assert.equal(parseJsonText(before + json + after), json);
    assert.deepEqual(JSON.parse(toJsonLine(json)), JSON.parse(json));
    assert.doesNotMatch(toJsonLine(json), /[\r\n]/);
  }));
});

Deno.test("parseJsonText() takes what JSON.parse() takes, and refuses the rest with a SyntaxError", () => {
  const taken = (parse: (text: string) => unknown, text: string) => {
    try {
      parse(text);
      return true;
    } catch (error) {
      assert.ok(error instanceof SyntaxError);
      return false;
    }
  };
  fc.assert(
    fc.property(JSON_TEXT, fc.nat(), fc.nat(2), fc.string({ maxLength: 2 }), (json, at, cut, put) => {
      const start = at % (json.length + 1);
      const text = json.slice(0, start) + put + json.slice(start + cut);
      assert.equal(taken(parseJsonText, text), taken(JSON.parse, text), text);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("parseJsonObject() and parseJsonArray() cut a value where JSON.parse() sees its parts", () => {
  fc.assert(fc.property(JSON_TEXT, (json) => {
    const value: unknown = JSON.parse(json);
    const members = parseJsonObject(json);
    const elements = parseJsonArray(json, Infinity);
    assert.equal(members !== undefined, jsonKind(json) === "object");
    assert.equal(elements !== undefined, jsonKind(json) === "array");
    if (members !== undefined) {
      const parts = [...members].map(([name, text]) => [name, JSON.parse(text)]);
      assert.deepEqual(new Map(parts as [string, unknown][]), new Map(Object.entries(value as object)));
    }
    if (elements !== undefined) assert.deepEqual(elements.map((text) => JSON.parse(text)), value);
  }));
});

Deno.test("parseJsonObject() keeps the members it is asked to keep, and checks the others", () => {
  const members = parseJsonObject('{"a":1,"b":2,"data":3}', (name, kept) => name === "data" || kept < 1);
  assert.deepEqual([...members ?? []], [["a", "1"], ["data", "3"]]);
  assert.throws(() => parseJsonObject('{"a":1,"b":x}', () => false), SyntaxError);
});

Deno.test("parseJsonScalar() is undefined for numbers that JavaScript would write differently", () => {
  assert.deepEqual(['"a"', "1", "true", "null"].map(parseJsonScalar), ["a", 1, true, null]);
  for (const text of ["1.0", "-0", "1E2", "9007199254740993", "1e400", "{}", "[]"]) {
    assert.equal(parseJsonScalar(text), undefined, text);
  }
});

Deno.test("parseJsonText() takes what is nested as deeply as allowed, and refuses the next level", () => {
  const nest = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  const objects = (depth: number) => '{"a":'.repeat(depth) + "1" + "}".repeat(depth);
  assert.equal(parseJsonText(objects(MAX_JSON_DEPTH)), objects(MAX_JSON_DEPTH));
  assert.equal(parseJsonObject(objects(MAX_JSON_DEPTH))?.size, 1);
  for (const make of [nest, objects]) {
    for (const depth of [MAX_JSON_DEPTH + 2, 200_000]) {
      assert.throws(() => parseJsonText(make(depth)), /^SyntaxError: Nested too deeply/);
      assert.throws(() => parseJsonObject(make(depth)), /^SyntaxError: Nested too deeply/);
    }
  }
});

Deno.test("A member of a large text does not keep the large text in memory", () => {
  const kept: string[] = [];
  const before = readOwnLiveBytes();
  for (let i = 0; i < 200; i++) {
    const text = `{"data":[${i},"a text long enough to be a slice"]${" ".repeat(1024 * 1024)}}`;
    kept.push(parseJsonObject(text)?.get("data") ?? "");
  }
  const grown = readOwnLiveBytes() - before;
  assert.equal(kept.length, 200);
  assert.ok(grown < 10 * 1024 * 1024, `${grown} bytes`);
});
