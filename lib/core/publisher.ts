/** The path of a draft into the log: it is checked, stored, and answered with a receipt. Each hub has one publisher. */
import { describeMissing } from "./client_registry.ts";
import { checkSize } from "./draft.ts";
import { MessagingError } from "./errors.ts";
import type { HubOptions, Published, Retainer } from "./hub_options.ts";
import type { Receipt } from "./log.ts";
import type { ChannelMaps } from "./maps/maps.ts";
import { describePayload, type Draft, isTransient } from "./message.ts";
import type { Metrics } from "./metrics/metrics.ts";

/** Whom messages go to, as far as publishing needs to know: the hub. */
interface Audience {
  /** When the last batch had been sent to all sockets, by `performance.now()`. */
  readonly deliveredAt: number;
  refuseWhileDraining(): void;
  checkName(channel: string): void;
  untilCurrent(): Promise<void> | undefined;
  countSubscribers(channel: string): number;
  countRecipients(channel: string, to: string): number;
}

interface PublisherOptions
  extends Pick<HubOptions, "log" | "rules" | "logger" | "maxMessageBytes" | "tracePublish"> {
  readonly metrics: Metrics;
  readonly maps: ChannelMaps;
  readonly audience: Audience;
}

export class Publisher {
  /** Who keeps retained messages. Without one, none are kept. */
  retainer: Retainer | undefined;
  readonly #options: PublisherOptions;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** See `Hub.publish`. */
  publish(draft: Draft): Promise<Published> {
    const { tracePublish } = this.#options;
    return tracePublish === undefined
      ? this.#publish(draft)
      : tracePublish(draft, () => this.#publish(draft));
  }

  #publish(draft: Draft): Promise<Published> {
    try {
      return this.#send(draft);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #send(draft: Draft): Promise<Published> {
    const { audience, maxMessageBytes } = this.#options;
    audience.refuseWhileDraining();
    const size = checkSize(draft.payload, maxMessageBytes);
    // The limit of a direct channel is that of client ids.
    if (draft.to === undefined) {
      audience.checkName(draft.channel);
      return this.#store(draft, size, undefined);
    }
    const recipients = audience.countRecipients(draft.channel, draft.to);
    return recipients === 0
      ? this.#sendOnceCurrent(draft, draft.to, size)
      : this.#store(draft, size, recipients);
  }

  /** Sends to a client that nobody here knows: another thread of this process may have answered it a moment ago. */
  async #sendOnceCurrent(draft: Draft, to: string, size: number): Promise<Published> {
    const { audience } = this.#options;
    await audience.untilCurrent();
    const recipients = audience.countRecipients(draft.channel, to);
    if (recipients === 0) throw new MessagingError("no_such_client", describeMissing(draft.channel, to));
    return await this.#store(draft, size, recipients);
  }

  /** @param recipients of a direct message; undefined for any other */
  #store(draft: Draft, size: number, recipients: number | undefined): Promise<Published> {
    const { rules, metrics, audience } = this.#options;
    if (rules.for(draft.channel).ephemeral && !isTransient(draft)) draft = { ...draft, ephemeral: true };
    const start = performance.now();
    // Not async: a function that awaits costs as much as storing the message.
    return this.#append(draft).then((receipt) => {
      if (!receipt.duplicate) this.#logReceived(draft);
      metrics.publishedMessages++;
      metrics.publishedBytes += size;
      // The log resolves right after it announced the batch, so one reading of the clock serves all of its messages.
      // Where nobody here wanted it, it was not announced.
      const { deliveredAt } = audience;
      const delivered = deliveredAt > start ? deliveredAt : performance.now();
      if (!receipt.duplicate) metrics.latency.observe(delivered - start);
      return { ...receipt, subscribers: recipients ?? audience.countSubscribers(draft.channel) };
    });
  }

  #logReceived({ channel, payload, ephemeral }: Draft): void {
    const level = ephemeral ? "debug" : "info";
    this.#options.logger.write(level, "message received", { channel, data: describePayload(payload) });
  }

  #append(draft: Draft): Promise<Receipt> {
    const { log, maps } = this.#options;
    const store = draft.properties?.key === undefined ? log : maps;
    const retainer = draft.properties?.retain === true ? this.retainer : undefined;
    if (retainer === undefined) return store.append(draft);
    return retainer.retain(draft, () => store.append(draft));
  }
}
