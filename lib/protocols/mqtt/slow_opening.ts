/**
 * Opens subscriptions with more retained messages than one turn may look at, or one queue take: what is published
 * meanwhile is held until these are sent.
 */
import { nextSlice } from "../../base/slices.ts";
import type { Message } from "../../core/message.ts";
import type { Socket } from "../../core/socket.ts";
import type { Delivery, MqttSubscription } from "./delivery.ts";
import type { HeldMessages } from "./held.ts";
import type { RetainedMessages } from "./retained.ts";

/** A subscription that is to be opened. */
export interface OpenedSubscription {
  readonly subscription: MqttSubscription;
  readonly sendsRetained: boolean;
}

/** The subscriptions of a connection, as far as opening them slowly goes. */
export interface SlowOpener {
  readonly socket: Pick<Socket, "drained">;
  readonly delivery: Delivery;
  readonly held: Map<MqttSubscription, HeldMessages>;
  hold(subscription: MqttSubscription): HeldMessages;
  open(subscription: MqttSubscription, sendsRetained: boolean): void;
  isOpen(subscription: MqttSubscription): boolean;
  /** @param areRetained whether they were retained before the subscription was made */
  receive(subscription: MqttSubscription, messages: readonly Message[], areRetained: boolean): boolean;
  /**
   * Finds the retained messages, in slices. What is published meanwhile may be among them.
   *
   * @param found takes them as they are found
   */
  findRetained(subscription: MqttSubscription, found: Message[]): Promise<unknown>;
}

/** Retained or held messages that are offered at once. */
const PAGE = 256;

/** Comparisons of filters with retained messages in one turn, and bytes of retained messages offered at once. */
const MAX_MATCHES = 1_000;
const MAX_RETAINED_BYTES = 256 * 1024;

/** Whether there may be more retained messages to look at, or to send, than fit into one turn and one queue. */
export function opensSlowly(
  filters: number,
  { size, bytes }: Pick<RetainedMessages, "size" | "bytes">,
): boolean {
  return filters * size > MAX_MATCHES || bytes > MAX_RETAINED_BYTES;
}

/** Opens subscriptions. Resolves when all retained messages are offered, or the subscriptions have ended. */
export async function openSlowly(opened: readonly OpenedSubscription[], opener: SlowOpener): Promise<void> {
  for (const { subscription, sendsRetained } of opened) {
    if (!opener.isOpen(subscription)) continue;
    if (sendsRetained) opener.hold(subscription);
    opener.open(subscription, sendsRetained);
  }
  for (const { subscription } of opened) {
    const held = opener.held.get(subscription);
    if (held === undefined) continue;
    await sendSlowly(subscription, held, opener);
    opener.held.delete(subscription);
  }
}

async function sendSlowly(
  subscription: MqttSubscription,
  held: HeldMessages,
  opener: SlowOpener,
): Promise<void> {
  const { socket, delivery } = opener;
  const isOpen = () => opener.isOpen(subscription);
  await nextSlice();
  await opener.findRetained(subscription, held.found);
  while (held.found.length > 0 && isOpen()) {
    await nextSlice();
    await socket.drained();
    if (isOpen()) delivery.offerRetained(subscription, held.takeFound(PAGE));
  }
  while (held.size > 0 && isOpen()) {
    await nextSlice();
    await socket.drained();
    opener.held.delete(subscription);
    if (isOpen()) {
      // Those that were retained before are older than all others.
      const taken = Object.groupBy(held.take(PAGE), (message) => held.isRetained(message) ? "old" : "live");
      opener.receive(subscription, taken.old ?? [], true);
      opener.receive(subscription, taken.live ?? [], false);
    }
    opener.held.set(subscription, held);
  }
}
