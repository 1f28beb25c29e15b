/**
 * Runs all webhooks of a node: those of the configuration have a lane for stored messages and one for presence, those
 * of protocols one of their own. `mod.ts` opens it.
 */
import type { Cluster } from "../core/cluster/cluster.ts";
import type { Hub } from "../core/hub.ts";
import type { Selector } from "../core/channel.ts";
import type { Cursor, Log, LogState } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";
import type { Gauge } from "../core/metrics/metrics.ts";
import type { ProtocolWebhook } from "../core/protocol_webhook.ts";
import { MessagingError } from "../core/errors.ts";
import { describeUnknown, type ResendFrom, WebhookControl } from "./control.ts";
import { demandPermission } from "./fields.ts";
import { Leadership } from "../core/cluster/leadership.ts";
import { MessageLane } from "./message_lane.ts";
import { PresenceLane } from "./presence_lane.ts";
import { ProtocolLane } from "./protocol_lane.ts";
import { createSignatureHeaders } from "./signature.ts";
import { findPosition, type WebhookStatus } from "./status.ts";
import { type Delivery, Target } from "./target.ts";
import { demandUniqueNames, type WebhookDefinition } from "./webhook_file.ts";

export interface WebhooksOptions {
  readonly hub: Hub;
  readonly log: Log;
  /** What services remember across restarts: the engine's, where it keeps that. */
  readonly state: LogState;
  readonly logger: Logger;
  /** Those of the configuration, and those of protocols. */
  readonly webhooks: readonly WebhookDefinition[];
  readonly protocolWebhooks: readonly ProtocolWebhook[];
  /** The other nodes, where there may be any. */
  readonly cluster?: Cluster | undefined;
}

interface Webhook {
  readonly name: string;
  readonly url: URL;
  readonly events: readonly string[];
  readonly channels: readonly string[];
  /** The channels whose stored messages it sends; undefined where it sends none. */
  readonly messages: Selector | undefined;
  readonly control: WebhookControl;
  readonly target: Target;
  readonly lanes: readonly (MessageLane | PresenceLane | ProtocolLane)[];
}

/** What the lanes of all webhooks are given. */
interface Shared extends Pick<Leadership, "leads" | "untilLeading"> {
  readonly state: LogState;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** The call by which nodes ask the one that sends. */
const STATUS_CALL = "webhooks.status";
/** Bytes of a secret that the Standard Webhooks specification asks for at least. */
const SECRET_BYTES = 24;
/** How often the log tells of a webhook that is behind, and how far behind it has to be, in milliseconds. */
const REPORT_MILLISECONDS = 60_000;

/**
 * Starts to send. Resolves once each webhook knows where it begins, so that what is published from then on is sent.
 *
 * @returns undefined where there are none
 * @throws {SyntaxError} for a target that Deno's permissions do not cover
 */
export async function openWebhooks(options: WebhooksOptions): Promise<Webhooks | undefined> {
  const { webhooks, protocolWebhooks } = options;
  if (webhooks.length + protocolWebhooks.length === 0) return undefined;
  demandUniqueNames([...webhooks, ...protocolWebhooks]);
  for (const { url } of webhooks) demandPermission(url);
  for (const { url, setting } of protocolWebhooks) demandPermission(url, setting);
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
  readonly #log: Log;
  readonly #logger: Logger;
  readonly #hub: Hub;
  readonly #cluster: Cluster | undefined;
  readonly #leadership: Leadership;
  readonly #reports: ReturnType<typeof setInterval>;
  /** Resolves once every first position is known, or could not be had. */
  readonly started: Promise<void>;

  constructor({ hub, log, state, logger, webhooks, protocolWebhooks, cluster }: WebhooksOptions) {
    const { signal } = this.#stop;
    const { leads, untilLeading } = this.#leadership = new Leadership(
      hub,
      log.bus?.isLocal ?? true,
      signal,
    );
    if (log.state === undefined) {
      logger.write("warn", "This engine keeps no positions: webhooks start from now on after a restart");
    }
    const messageLanes: MessageLane[] = [];
    const shared: Shared = { state, logger, leads, untilLeading, signal };
    this.#webhooks = [
      ...webhooks.map((definition) => this.#openDefined(definition, shared, hub, log, messageLanes)),
      ...protocolWebhooks.map((webhook) => this.#openOfProtocol(webhook, shared)),
    ];
    const stops = [
      hub.observe((messages) => {
        for (const lane of messageLanes) lane.notice(messages);
      }),
      hub.observeRemovals(() => {
        for (const lane of messageLanes) lane.noticeRemoval();
      }),
    ];
    this.#stopObserving = () => {
      for (const stop of stops) stop();
    };
    this.#log = log;
    this.#logger = logger;
    this.#hub = hub;
    this.#cluster = cluster;
    cluster?.handle(STATUS_CALL, () => this.list());
    this.#runs = this.#webhooks.flatMap(({ lanes, control }) => [
      control.run(),
      ...lanes.map((lane) => lane.run()),
    ]);
    for (const { name, control } of this.#webhooks) {
      let wasPaused = false;
      control.listen(() => {
        const { paused, run } = control.current;
        const what = paused === wasPaused
          ? "webhook sends again"
          : paused
          ? "webhook is paused"
          : "webhook goes on";
        wasPaused = paused;
        logger.write(paused ? "warn" : "info", what, { hook: name, run });
      });
    }
    this.#reports = setInterval(() => this.#report(), REPORT_MILLISECONDS);
    this.started = Promise.all(messageLanes.map((lane) => lane.started)).then(() => {});
  }

  #openDefined(
    definition: WebhookDefinition,
    shared: Shared,
    { presence }: Hub,
    log: Log,
    messageLanes: MessageLane[],
  ): Webhook {
    const { name, url, timeout, events, selector, secrets } = definition;
    const { logger, signal } = shared;
    if (secrets.some(({ bytes }) => bytes.length < SECRET_BYTES)) {
      logger.write(
        "warn",
        `The secret of webhook "${name}" is short: use ${SECRET_BYTES} random bytes or more`,
      );
    }
    const sign = ({ id, body }: Delivery) => createSignatureHeaders(secrets, id, body);
    const target = new Target({ name, url, timeout, sign, logger, client: this.#client, signal });
    const control = new WebhookControl({ ...shared, key: name });
    const options = { ...shared, key: name, control, selector, target };
    const lanes: (MessageLane | PresenceLane)[] = [];
    const messages = events.has("message") ? selector : undefined;
    if (messages !== undefined) {
      const lane = new MessageLane({ ...options, log });
      messageLanes.push(lane);
      lanes.push(lane);
    }
    if ([...events].some((event) => event !== "message" && event !== "gap")) {
      lanes.push(new PresenceLane({ ...options, events, presence }));
    }
    const channels = selector.key.split(" ");
    return { name, url, events: [...events], channels, messages, control, target, lanes };
  }

  #openOfProtocol(webhook: ProtocolWebhook, shared: Shared): Webhook {
    const { name, url, events, channels } = webhook;
    const sign = ({ body }: Delivery) => webhook.sign(body);
    const target = new Target({ ...webhook, ...shared, sign, client: this.#client });
    const control = new WebhookControl({ ...shared, key: name });
    const lane = new ProtocolLane({ ...shared, webhook, target, control });
    return { name, url, events, channels, messages: undefined, control, target, lanes: [lane] };
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
        name: "raindrops_webhook_paused",
        help: "Webhooks that an operator has paused",
        kind: "gauge",
        read: () => this.#webhooks.filter(({ control }) => control.current.paused).length,
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

  /** How each webhook fares, as the node knows it that sends. */
  async ask(): Promise<readonly WebhookStatus[]> {
    const own = this.list();
    const { leader } = this.#leadership;
    if (leader === undefined) return own;
    const outcome = await this.#cluster?.call(leader.node, STATUS_CALL, null);
    const told = outcome?.kind === "answered" ? outcome.body as readonly WebhookStatus[] : [];
    return own.map((status) => {
      const theirs = told.find(({ name, sends }) => name === status.name && sends);
      if (theirs === undefined) return status;
      const { failure, ...numbers } = theirs;
      return { ...numbers, failure, sends: false, sender: leader.name };
    });
  }

  /** How each webhook fares, as this node knows it. */
  list(): readonly WebhookStatus[] {
    const now = Date.now();
    const sends = this.#leadership.leads();
    const sender = sends ? this.#hub.identity.name : undefined;
    return this.#webhooks.map(({ name, url, events, channels, control, target, lanes }) => ({
      name,
      // A query may hold a secret.
      url: `${url.origin}${url.pathname}`,
      events,
      channels,
      sends,
      sender,
      paused: control.current.paused,
      waiting: lanes.reduce((sum, { waiting }) => sum + waiting, 0),
      oldestSeconds: Math.max(0, ...lanes.map((lane) => lane.age(now))) / 1_000,
      delivered: target.delivered,
      failures: target.failures,
      failure: target.failure,
    }));
  }

  /**
   * Stops sending, or goes on, on all nodes and across restarts.
   *
   * @throws {MessagingError} `not_found`, and what the engine rejects with
   */
  async pause(name: string, paused: boolean): Promise<void> {
    await this.#find(name).control.change((control) => ({ ...control, paused }));
  }

  /**
   * Sends the stored messages after a position again, under new ids.
   *
   * @returns the position
   * @throws {MessagingError} `not_found`, `bad_option` for a webhook without messages, and what the engine rejects with
   */
  async resend(name: string, after: Cursor): Promise<ResendFrom> {
    const { control, messages } = this.#find(name);
    if (messages === undefined) {
      throw new MessagingError(
        "bad_option",
        `The webhook "${name}" sends no messages: nothing of it is kept`,
      );
    }
    const from = await findPosition(this.#log, messages, after);
    await control.change(({ paused, run }) => ({ paused, run: run + 1, from }));
    return from;
  }

  #find(name: string): Webhook {
    const found = this.#webhooks.find((webhook) => webhook.name === name);
    if (found !== undefined) return found;
    throw describeUnknown(name, this.#webhooks.map((webhook) => webhook.name));
  }

  /** Tells of what waits for long. */
  #report(): void {
    for (const { name, sends, paused, waiting, oldestSeconds, failure } of this.list()) {
      if (!sends || oldestSeconds * 1_000 < REPORT_MILLISECONDS) continue;
      const oldest = `${Math.round(oldestSeconds)}s`;
      this.#logger.write("warn", "webhook is behind", {
        hook: name,
        waiting,
        oldest,
        paused,
        reason: failure,
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#reports);
    this.#stopObserving();
    this.#stop.abort();
    await Promise.all(this.#runs);
    this.#client.close();
  }
}
