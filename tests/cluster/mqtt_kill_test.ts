/** MQTT across crashes, on JetStream. */
import { testWithNats } from "../engines/jetstream/fixture.ts";
import { NatsCluster } from "../nats_cluster.ts";
import { killUnderLoad } from "../protocols/mqtt/killing.ts";

testWithNats(
  "MQTT on JetStream: QoS 1 arrives at least once, QoS 2 exactly once, in order, across 10 kills",
  async () => {
    await using nats = await NatsCluster.start(1);
    await killUnderLoad(10, () => `nats://${nats.hosts}?stream=test`);
  },
);
