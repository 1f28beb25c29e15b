/** What nodes make of records by publishers that are behind, or whose clocks are wrong. */
import assert from "node:assert/strict";
import { Rules } from "../../../lib/core/rules.ts";
import { decodeHead, encodeHead, type RecordHead } from "../../../lib/engines/jetstream/record.ts";
import { JetStreamState } from "../../../lib/engines/jetstream/state.ts";

const NOW = Date.UTC(2026, 0, 1);
const HOUR = 3_600_000;

function openState(begins?: number): JetStreamState {
  return new JetStreamState("new", new Rules([]), () => NOW, { begins });
}

/** Applies a record as it comes from the wire. */
function apply(state: JetStreamState, sequence: number, head: Partial<RecordHead>) {
  const text = encodeHead({
    kind: "messages",
    time: NOW,
    clock: NOW,
    count: 1,
    ttl: undefined,
    known: { record: 0, offset: 0, time: 0 },
    key: undefined,
    fingerprint: undefined,
    epoch: "new",
    ...head,
  });
  const body = new Uint8Array();
  return state.apply({
    sequence,
    channel: "news",
    id: `n-${sequence}`,
    stored: NOW,
    head: decodeHead(text),
    body,
  });
}

function offsetsOf(state: JetStreamState): number[] {
  const channel = state.get("news")!;
  return Array.from({ length: channel.length }, (_, i) => channel.offsetAt(i));
}

const known = { record: 1, offset: 50, time: NOW };

Deno.test("JetStreamState does not count by what a publisher knew of another stream", () => {
  const state = openState(0);
  apply(state, 1, {});
  apply(state, 2, { epoch: "old", known });
  apply(state, 3, { known: { record: 2, offset: 2, time: NOW } });
  assert.equal(state.get("news")?.known, 2, "nor purges by it");
  state.finishLoading(3, NOW);
  assert.deepEqual(offsetsOf(state), [1, 2, 3]);
});

Deno.test("JetStreamState does not count by what a publisher knew of records that the stream has lost since", () => {
  const state = openState(6);
  // From before the loss: it tells what was purged.
  apply(state, 6, { epoch: "old", known: { record: 5, offset: 5, time: NOW } });
  apply(state, 7, { epoch: "old", known: { record: 6, offset: 90, time: NOW } });
  state.finishLoading(7, NOW);
  assert.deepEqual(offsetsOf(state), [6, 7]);
});

for (
  const [name, epoch, begins] of [
    ["of older versions, which name no epoch", undefined, 0],
    ["of an epoch that an operator has written over", "old", undefined],
    ["of its own epoch", "new", 0],
  ] as const
) {
  Deno.test(`JetStreamState counts by what records tell ${name}`, () => {
    const state = openState(begins);
    apply(state, 2, { epoch, known });
    state.finishLoading(2, NOW);
    assert.deepEqual(offsetsOf(state), [51]);
  });
}

Deno.test("JetStreamState takes no time that is more than an hour ahead of the server that stored it", () => {
  const state = openState(0);
  const far = NOW + 1_000 * HOUR;
  const first = apply(state, 1, { time: far, clock: far, known: { record: 0, offset: 0, time: far } });
  assert.equal(first.kind === "stored" && first.time, NOW + HOUR);
  assert.equal(state.time, NOW + HOUR);
  assert.equal(state.get("news")?.sinceAt(0), NOW, "and its age counts from now");
  const second = apply(state, 2, {});
  assert.equal(second.kind === "stored" && second.time, NOW + HOUR);
});
