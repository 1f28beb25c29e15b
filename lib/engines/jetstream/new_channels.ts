/** The limit on channels in the JetStream engine, where those of records in flight count too. */
import { isTransient } from "../../core/message.ts";
import { createChannelLimitError } from "../stamp.ts";
import type { Pending } from "./entries.ts";
import type { JetStreamState } from "./state.ts";

export class NewChannels {
  readonly #maxChannels: number;
  /** Channels created by records in flight. */
  readonly #names = new Set<string>();

  constructor(maxChannels = Infinity) {
    this.#maxChannels = maxChannels;
  }

  /** No record is in flight. */
  clear(): void {
    this.#names.clear();
  }

  /** Refuses a message that would create a channel beyond the limit. Returns whether it may be stored. */
  admit({ draft, reject }: Pending, state: JetStreamState | undefined): boolean {
    const { channel } = draft;
    if (this.#maxChannels === Infinity || isTransient(draft)) return true;
    if (state?.get(channel) !== undefined || this.#names.has(channel)) return true;
    // Under constant load the set is never cleared: channels that exist by now would be counted twice.
    for (const name of this.#names) if (state?.get(name) !== undefined) this.#names.delete(name);
    if ((state?.all.length ?? 0) + this.#names.size >= this.#maxChannels) {
      reject(createChannelLimitError(channel, this.#maxChannels));
      return false;
    }
    this.#names.add(channel);
    return true;
  }
}
