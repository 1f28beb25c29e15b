/**
 * Opens the shared subscriptions: with the desk beside them, or in the thread of the engine where there are workers.
 */
import type { Cluster } from "../../core/cluster/cluster.ts";
import type { Hub } from "../../core/hub.ts";
import type { Services } from "../protocol.ts";
import { SharedGroups } from "./shared.ts";
import { type SeatAsk, SeatDesk, type SeatWord } from "./shared_desk.ts";

/** What threads ask the desk, and what it tells them. */
const ASKS = "mqtt.seats.asks";
const WORDS = "mqtt.seats.words";

type SeatServices = Pick<Services, "hub" | "gate" | "cluster">;

/** Opens the groups of this thread. */
export function openSharedGroups({ hub, gate, cluster }: SeatServices): SharedGroups {
  const { node, process } = hub.identity;
  const { isProtected } = gate;
  const watch: Hub["watch"] = (channels) => hub.watch(channels);
  if (cluster === undefined || process === undefined) {
    const desk = new SeatDesk({ isProtected, tell: (word) => groups.hear(word) });
    const ask = (ask: SeatAsk) => desk.hear(ask);
    const groups = new SharedGroups({ node, isProtected, isSpread: false, ask, watch });
    return groups;
  }
  const ask = (ask: SeatAsk) => cluster.tellOwn(ASKS, ask);
  const groups = new SharedGroups({ node, isProtected, isSpread: true, ask, watch });
  cluster.listenOwn(WORDS, (word) => groups.hear(word as SeatWord));
  return groups;
}

/** Opens the desk, in the thread of the engine. */
export function keepDesk(cluster: Cluster, isProtected: (channel: string) => boolean): void {
  const desk = new SeatDesk({ isProtected, tell: (word) => cluster.tellOwn(WORDS, word) });
  cluster.listenOwn(ASKS, (ask) => desk.hear(ask as SeatAsk));
  cluster.observeGone((node) => desk.forget(node));
}
