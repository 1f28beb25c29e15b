/** Pushes of two nodes on one JetStream: they share key and subscriptions, and one of them sends each message. */
import assert from "node:assert/strict";
import { NATS_SERVER } from "../nats_cluster.ts";
import { publish, readMetric, subscribe } from "../push/push_app.ts";
import { PushService } from "../push/push_service.ts";
import { Nodes } from "./nodes.ts";

const SENT = "raindrops_push_sent_total";

Deno.test({
  name: "Two nodes push each message once, and one goes on when the one that sends is killed (nats-server)",
  ignore: NATS_SERVER === undefined,
}, async () => {
  await using service = await PushService.open();
  const [, cert = ""] = service.certificate.flags;
  // The nodes are processes that inherit it.
  Deno.env.set("DENO_CERT", cert);
  await using nodes = await Nodes.start({
    nodes: 2,
    natsServers: 1,
    rules: [{ channels: "news/*", push: true }],
    flags: ["--push-contact", "mailto:ops@example.org", "--push-services", service.host],
  });
  Deno.env.delete("DENO_CERT");
  const [a, b] = nodes.servers;
  assert.ok(a !== undefined && b !== undefined);
  const channels = ["news/1", "news/2", "news/3", "news/4"];
  for (const [i, channel] of channels.entries()) {
    await subscribe([a, b][i % 2]!, service, channel);
    assert.equal(service.pushed.length, 0);
  }
  for (const [i, channel] of channels.entries()) await publish([b, a][i % 2]!.url, channel, "rain");
  await service.until(() => service.pushed.length === channels.length);
  assert.deepEqual(service.pushed.map(({ notification }) => notification.channel).sort(), channels);
  // The service has a push a moment before its sender counts it.
  const countSent = () => Promise.all([a, b].map(({ url }) => readMetric(url, SENT)));
  let sent = await countSent();
  while (sent[0]! + sent[1]! < channels.length) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    sent = await countSent();
  }
  assert.deepEqual(sent.toSorted(), [0, channels.length]);
  const [sender, other] = sent[0]! > 0 ? [a, b] : [b, a];

  await sender.kill();
  await subscribe(other, service, "news/5");
  await publish(other.url, "news/5", "after");
  // The last push may come again: the node that was killed had not written how far it was.
  await service.until(() => service.pushed.some(({ notification }) => notification.channel === "news/5"));
});
