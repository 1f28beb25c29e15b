/** Runs all webhooks of a node: a lane for stored messages and one for presence each. `mod.ts` opens it. */
import type { Hub } from "../core/hub.ts";
import type { Log } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";
import { MemoryState } from "../core/memory_state.ts";
import type { Gauge } from "../core/metrics/metrics.ts";
import { demandPermission } from "./fields.ts";
import { Leadership } from "./leadership.ts";
import { MessageLane } from "./message_lane.ts";
import { PresenceLane } from "./presence_lane.ts";
import { Target } from "./target.ts";
import type { WebhookDefinition } from "./webhook_file.ts";

export interface WebhooksOptions {
  readonly hub: Hub;
  readonly log: Log;
  readonly logger: Logger;
  readonly webhooks: readonly WebhookDefinition[];
}

interface Webhook {
  readonly target: Target;
  readonly lanes: readonly (MessageLane | PresenceLane)[];
}

/** Bytes of a secret that the Standard Webhooks specification asks for at least. */
const SECRET_BYTES = 24;

/**
 * Starts to send. Resolves once each webhook knows where it begins, so that what is published from then on is sent.
 *
 * @throws {SyntaxError} for a target that Deno's permissions do not cover
 */
export async function openWebhooks(options: WebhooksOptions): Promise<Webhooks> {
  for (const { url } of options.webhooks) demandPermission(url);
  const opened = new Webhooks(options);
  await opened.started;
  return opened;
}

export class Webhooks implements AsyncDisposable {
  readonly #webhooks: readonly Webhook[];
  readonly #stop = new AbortController();
  readonly #client = Deno.createHttpClient({});
  readonly #stopObserving: () => void;
  readonly #runs: readonly Promise<void>[];
  /** Resolves once every first position is known, or could not be had. */
  readonly started: Promise<void>;

  constructor({ hub, log, logger, webhooks }: WebhooksOptions) {
    const { signal } = this.#stop;
    const client = this.#client;
    const { leads, untilLeading } = new Leadership(hub, log.bus === undefined, signal);
    const state = log.state ?? new MemoryState();
    if (log.state === undefined) {
      logger.write("warn", "This engine keeps no positions: webhooks start from now on after a restart");
    }
    const messageLanes: MessageLane[] = [];
    this.#webhooks = webhooks.map((definition) => {
      const { name: key, events, selector, secrets } = definition;
      if (secrets.some(({ bytes }) => bytes.length < SECRET_BYTES)) {
        logger.write(
          "warn",
          `The secret of webhook "${key}" is short: use ${SECRET_BYTES} random bytes or more`,
        );
      }
      const target = new Target({ definition, logger, client, signal });
      const shared = { key, selector, target, state, logger, leads, untilLeading, signal };
      const lanes: (MessageLane | PresenceLane)[] = [];
      if (events.has("message")) {
        const lane = new MessageLane({ ...shared, log });
        messageLanes.push(lane);
        lanes.push(lane);
      }
      if ([...events].some((event) => event !== "message" && event !== "gap")) {
        lanes.push(new PresenceLane({ ...shared, events, presence: hub.presence }));
      }
      return { target, lanes };
    });
    this.#stopObserving = hub.observe((messages) => {
      for (const lane of messageLanes) lane.notice(messages);
    });
    this.#runs = this.#webhooks.flatMap(({ lanes }) => lanes.map((lane) => lane.run()));
    this.started = Promise.all(messageLanes.map((lane) => lane.started)).then(() => {});
  }

  /** What `/metrics` tells of them. */
  get gauges(): readonly Gauge[] {
    const lanes = this.#webhooks.flatMap((webhook) => webhook.lanes);
    const targets = this.#webhooks.map(({ target }) => target);
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
    return [
      {
        name: "raindrops_webhook_waiting",
        help: "Events that webhooks have not delivered yet, as far as this process has seen them",
        kind: "gauge",
        read: () => sum(lanes.map((lane) => lane.waiting)),
      },
      {
        name: "raindrops_webhook_oldest_seconds",
        help: "Age of the oldest event that a webhook has not delivered yet",
        kind: "gauge",
        read: () => Math.max(0, ...lanes.map((lane) => lane.age(Date.now()))) / 1_000,
      },
      {
        name: "raindrops_webhook_failing",
        help: "Webhooks whose last request failed",
        kind: "gauge",
        read: () => targets.filter(({ isFailing }) => isFailing).length,
      },
      {
        name: "raindrops_webhook_delivered_total",
        help: "Events that webhooks delivered",
        kind: "counter",
        read: () => sum(targets.map(({ delivered }) => delivered)),
      },
      {
        name: "raindrops_webhook_failures_total",
        help: "Requests of webhooks that failed",
        kind: "counter",
        read: () => sum(targets.map(({ failures }) => failures)),
      },
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopObserving();
    this.#stop.abort();
    await Promise.all(this.#runs);
    this.#client.close();
  }
}
