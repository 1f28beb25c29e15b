/** The witness of a channel: reads it from the beginning, never stalls or leaves, and tells the ledger what it holds. */
import type { ChannelLedger } from "./ledger.ts";
import type { Stage } from "./stage.ts";
import { Wire } from "./wire.ts";

export class Witness {
  readonly #stage: Stage;
  readonly #channel: ChannelLedger;
  #wire: Wire | undefined;
  #finished = false;

  constructor(stage: Stage, channel: ChannelLedger) {
    this.#stage = stage;
    this.#channel = channel;
  }

  /** Whether it has seen every message that was acknowledged. */
  get isCaughtUp(): boolean {
    return this.#channel.isComplete;
  }

  /** Reads until {@linkcode finish}. */
  async run(): Promise<void> {
    try {
      this.#wire = await Wire.open("lines", this.#stage.port, `/${this.#channel.name}`, "earliest");
      if (this.#finished) this.#wire.vanish();
      for (;;) {
        const items = await this.#wire.read();
        if (items === undefined) break;
        for (const item of items) {
          if (item.kind === "message") this.#channel.record(item.offset ?? 0, item.text);
          else this.#stage.ledger.fault(`The witness of ${this.#channel.name} was told of a ${item.kind}`);
        }
      }
      this.#wire.vanish();
      if (!this.#finished) this.#stage.ledger.fault(`The witness of ${this.#channel.name} was cut off`);
    } catch (error) {
      this.#stage.ledger.fault(
        `The witness of ${this.#channel.name}: ${error instanceof Error ? error.stack : error}`,
      );
    }
  }

  finish(): void {
    this.#finished = true;
    this.#wire?.vanish();
  }
}
