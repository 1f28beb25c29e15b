/** Maps on two nodes of one JetStream: clients of either mirror the same, and a node that is killed loses no key. */
import assert from "node:assert/strict";
import { testWithNats } from "../engines/jetstream/fixture.ts";
import { VARIANTS } from "../protocols/centrifuge/variants.ts";
import { Clients } from "../suites/centrifuge_clients.ts";
import { callApi, Mirror, raceMaps, readMap } from "../suites/maps.ts";
import { Nodes } from "./nodes.ts";

testWithNats(
  "Clients of two nodes agree on a map, and a node that is killed loses no key of it",
  async () => {
    const rules = [{ channels: "short", keyTtl: 1 }, { channels: "map", history: { messages: 2 } }];
    await using nodes = await Nodes.start({ nodes: 2, natsServers: 1, rules });
    const [a, b] = nodes.servers;
    assert.ok(a !== undefined && b !== undefined);
    await raceMaps(nodes.urls, VARIANTS[0]!, 8);

    using clients = new Clients(VARIANTS[0]!, b);
    const client = await clients.connect();
    const mirror = await new Mirror(client, "map", (data) => data, { pageSize: 2, delta: "fossil" })
      .subscribe();
    const expected: Record<string, number> = {};
    for (let i = 0; i < 10; i++) {
      await callApi(a.url, "map_publish", { channel: "map", key: `k${i}`, data: i });
      expected[`k${i}`] = i;
    }
    await callApi(b.url, "map_remove", { channel: "map", key: "k3" });
    delete expected.k3;
    await mirror.until((values) => values.size === 9 && !values.has("k3"));
    assert.deepEqual(mirror.entries, expected);
    const short = await new Mirror(client, "short", (data) => data).subscribe();
    await callApi(a.url, "map_publish", { channel: "short", key: "k", data: 1 });
    await short.until((values) => values.has("k"));
    await a.kill();
    // The other node removes what the one that is gone set.
    await short.until((values) => !values.has("k"));
    assert.deepEqual(await readMap(b.url, "map"), expected);
    await a.start();
    assert.deepEqual(await readMap(a.url, "map"), expected);
    await callApi(a.url, "map_clear", { channel: "map" });
    await mirror.until((values) => values.size === 0);
    assert.deepEqual(await readMap(b.url, "map"), {});
  },
);
