/** Changes what others see of a client while it is connected. */
import type { Client } from "./client.ts";
import type { Cluster } from "./cluster/cluster.ts";
import type { Hub } from "./hub.ts";

/**
 * Gives a client another info, for what it publishes from now on and for presence. On other nodes it leaves and joins
 * its channels, on its own it just changes.
 *
 * @param info JSON text
 */
export function changeInfo(
  hub: Pick<Hub, "listSubscriptionsOf">,
  cluster: Cluster | undefined,
  client: Client,
  info: string,
): void {
  if (client.info === info) return;
  const subscriptions = [...hub.listSubscriptionsOf(client)];
  // Members are compared by identity: those that stand for the client elsewhere stay the same objects.
  for (const member of new Set([client, ...subscriptions.map(({ member }) => member)])) {
    (member as { info?: string | undefined }).info = info;
  }
  cluster?.changed(client, subscriptions);
}
