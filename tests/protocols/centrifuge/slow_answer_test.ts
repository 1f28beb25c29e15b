/** Answers that hold much are encoded in slices: the same bytes, in the same place among what else is sent. */
import assert from "node:assert/strict";
import { JoiningSocket } from "../../../lib/core/joining_socket.ts";
import { Frame } from "../../../lib/core/socket.ts";
import type { ClientInfo, Publication, Reply } from "../../../lib/protocols/centrifuge/codec.ts";
import { JSON_FORMAT, PROTOBUF_FORMAT, UNI_JSON_FORMAT } from "../../../lib/protocols/centrifuge/encoders.ts";
import { sendInSlices } from "../../../lib/protocols/centrifuge/slow_answer.ts";
import { FakeSocket } from "../../fakes/socket.ts";

const INFO: ClientInfo = { user: "ann", client: "c1", connInfo: '{"a":1}', chanInfo: undefined };

function createPublications(count: number, length: number): Publication[] {
  return Array.from({ length: count }, (_, i): Publication => ({
    data: i % 3 === 0
      ? { kind: "json", text: JSON.stringify("é".repeat(length)) }
      : i % 3 === 1
      ? { kind: "text", text: '\u0001"'.repeat(length) }
      : { kind: "bytes", bytes: new Uint8Array([1, 2, i]) },
    info: i % 2 === 0 ? INFO : undefined,
    offset: i + 1,
    tags: i % 5 === 0 ? new Map([["a", "b"]]) : undefined,
  }));
}

const createReplies = (): readonly (Reply & { readonly result: object })[] => [
  { id: 1, kind: "history", result: { publications: createPublications(100, 10), epoch: "e", offset: 7 } },
  { id: 2, kind: "history", result: { publications: [], epoch: "e", offset: 7 } },
  {
    id: 3,
    kind: "presence",
    result: {
      presence: new Map(Array.from({ length: 200 }, (_, i) => [`"${i}"`, { ...INFO, client: `${i}` }])),
    },
  },
  {
    id: 4,
    kind: "subscribe",
    result: {
      recovered: true,
      epoch: "e",
      offset: 7,
      publications: createPublications(70, 3),
      state: createPublications(3, 3),
    },
  },
];

for (const { codec } of [JSON_FORMAT, PROTOBUF_FORMAT]) {
  Deno.test(`A reply in ${codec.name} that was prepared has the same bytes`, async () => {
    const replies = createReplies();
    for (const { kind, result } of replies) await codec.prepare(kind as "history", result as never);
    assert.deepEqual(codec.encode(replies), codec.encode(createReplies()));
    // The answer to connect holds those to subscribes.
    const toConnect = (from: readonly { readonly result: object }[]): Reply => {
      const subs = new Map([["a", from[3]!.result], ["b", { epoch: "e", offset: 7 }]]);
      return { id: 1, kind: "connect", result: { client: "c", version: "v", subs } as never };
    };
    assert.deepEqual(codec.encode([toConnect(replies)]), codec.encode([toConnect(createReplies())]));
  });
}

Deno.test("sendInSlices() takes several turns, and what is sent meanwhile comes behind the answer", async () => {
  for (const format of [JSON_FORMAT, PROTOBUF_FORMAT]) {
    const socket = new FakeSocket();
    const joining = new JoiningSocket(socket, (frames) => UNI_JSON_FORMAT.join(frames));
    const result = { recovered: true, publications: createPublications(150, 10_000) };
    let isDone = false;
    let turns = 0;
    joining.send([new Frame("before")]);
    const sending = sendInSlices({ id: 1, kind: "subscribe", result }, format, joining, () => false)
      .then(() => isDone = true);
    joining.send([new Frame("meanwhile")]);
    while (!isDone) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      turns++;
    }
    await sending;
    assert.ok(turns >= 3, `${turns} turns`);
    assert.equal(socket.sent[0]?.data, "before");
    assert.equal(socket.sent.length, 2);
    if (format === JSON_FORMAT) {
      const [answer, meanwhile] = String(socket.sent[1]?.data).split("\n");
      assert.equal(JSON.parse(answer!).subscribe.publications.length, 150);
      assert.equal(meanwhile, "meanwhile");
    }
  }
});

Deno.test("sendInSlices() sends nothing of a session that has ended meanwhile", async () => {
  const socket = new FakeSocket();
  const joining = new JoiningSocket(socket, (frames) => UNI_JSON_FORMAT.join(frames));
  const result = { recovered: true, publications: createPublications(10, 10) };
  await sendInSlices({ id: 1, kind: "subscribe", result }, JSON_FORMAT, joining, () => true);
  assert.deepEqual(socket.sent, []);
});
