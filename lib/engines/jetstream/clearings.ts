/**
 * Tells all nodes that a channel was cleared of which the stream has no record. A record would bring a forgotten channel
 * back, and the keys of its map outlive it.
 */
import type { Removal } from "../../core/message.ts";
import type { Bus } from "../../core/cluster/bus.ts";

const TOPIC = "cleared";

export class Clearings {
  readonly #bus: Bus;
  readonly #announce: (removal: Removal) => void;
  /** What this node tells comes back to it. */
  readonly #node = crypto.randomUUID();

  /** @param announce announces on this node what any node tells */
  constructor(bus: Bus, announce: (removal: Removal) => void) {
    this.#bus = bus;
    this.#announce = announce;
    bus.subscribe(TOPIC, (bytes) => {
      const { node, removal } = JSON.parse(new TextDecoder().decode(bytes));
      if (node !== this.#node) announce(removal);
    });
  }

  /** Returns how many messages were removed. */
  tell(removal: Removal): number {
    this.#bus.publish(TOPIC, new TextEncoder().encode(JSON.stringify({ node: this.#node, removal })));
    this.#announce(removal);
    return 0;
  }
}
