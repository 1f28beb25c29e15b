/** Messages as publications of the Centrifuge protocol. */
import assert from "node:assert/strict";
import { encodeBatch } from "../../../lib/core/socket.ts";
import { JSON_FORMAT } from "../../../lib/protocols/centrifuge/encoders.ts";
import { createMessage } from "../../fakes/message.ts";

Deno.test("A message's event name is a tag of its publication, and its sender's name is in the info", () => {
  const from = { id: "id1", name: "Ann" };
  const [frame] = encodeBatch(JSON_FORMAT.encoder, [createMessage("hi", { event: "rain", from })]);
  const { push } = JSON.parse(String(frame?.data));
  assert.deepEqual(push.pub.tags, { event: "rain" });
  assert.deepEqual(push.pub.info, { user: "", client: "id1", conn_info: { name: "Ann" } });
});
