import assert from "node:assert/strict";
import { selectChannel } from "../../lib/core/channel.ts";
import { changeInfo } from "../../lib/core/client_info.ts";
import { FakeNodes } from "../fakes/nodes.ts";
import { createClient } from "../fakes/socket.ts";

Deno.test("changeInfo() changes what every node shows of a client, on all of its channels", () => {
  const nodes = new FakeNodes();
  const [here, there] = [nodes.start(), nodes.start()];
  nodes.settle();
  const client = createClient({ id: "ann" });
  here.hub.connect(client);
  for (const channel of ["news", "seats"]) {
    const member = { ...client, channelInfo: channel === "seats" ? "1" : undefined };
    here.hub.subscribe(client, selectChannel(channel), channel === "seats" ? { member } : {});
  }
  nodes.settle();
  changeInfo(here.hub, here.cluster, client, '{"name":"Anna"}');
  nodes.settle();
  for (const { hub } of [here, there]) {
    for (const channel of ["news", "seats"]) {
      const shown = hub.presence.list(channel).map(({ id, info }) => [id, info]);
      assert.deepEqual(shown, [["ann", '{"name":"Anna"}']], channel);
    }
    assert.equal(hub.presence.list("seats")[0]?.channelInfo, "1");
  }
  here.hub.disconnect(client);
  nodes.settle();
  assert.deepEqual(there.hub.presence.list("news"), []);
});
