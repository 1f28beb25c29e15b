/**
 * Pushes the stored messages of the channels that a rule names. Of several nodes one sends each message: it reads them
 * from the engine by position, as webhooks do. `app.ts` opens it, in the thread that has the engine.
 */
import type { Gate } from "../auth/gate.ts";
import { sleep } from "../base/sleep.ts";
import { Leadership } from "../core/cluster/leadership.ts";
import { joinKey, type Selector } from "../core/channel.ts";
import type { Hub } from "../core/hub.ts";
import type { Log, LogState } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";
import type { Gauge } from "../core/metrics/metrics.ts";
import type { Rules } from "../core/rules.ts";
import type { Shares } from "../core/shares.ts";
import { WebhookControl } from "../hooks/control.ts";
import { MessageLane } from "../hooks/message_lane.ts";
import type { Delivery } from "../hooks/target.ts";
import { describeMessage, type PushedMessage } from "./notification.ts";
import { Sender } from "./sender.ts";
import { demandServices, type PushService } from "./services.ts";
import { SubscriptionStore } from "./store.ts";
import type { Subscription } from "./subscription.ts";
import { openVapidKey } from "./vapid.ts";

export interface PushSettings {
  readonly pushContact: string | undefined;
  readonly pushServices: readonly PushService[];
  readonly maxPushSubscriptions: number;
  readonly maxChannelPushSubscriptions: number;
}

export interface PushOptions {
  readonly hub: Hub;
  readonly log: Log;
  readonly state: LogState;
  readonly gate: Gate;
  readonly rules: Rules;
  readonly logger: Logger;
  readonly settings: PushSettings;
  /** Others than Deno's own, which trusts the usual certificates. */
  readonly client?: Deno.HttpClient;
  /** How many subscriptions one user or address may have; all if left out. */
  readonly shares?: Shares;
}

/** Names the position in the engine. */
const LANE = "push-messages";
/** What is older was missed: nobody wants to be woken for it. */
const MAX_AGE_MILLISECONDS = 60 * 60 * 1_000;
/** The shortest time from one push of a channel to the next. What comes meanwhile is told of together. */
const CHANNEL_PAUSE_MILLISECONDS = 5_000;
/** How long the messages after it wait for a push, so that one that was not sent is sent after a restart. */
const PATIENCE_MILLISECONDS = 5_000;

/** A channel that was pushed just now. */
interface Resting {
  /** Ends the rest; undefined until the services have been asked. */
  timer: ReturnType<typeof setTimeout> | undefined;
  /** The newest message since then, and how many came before it. */
  held: { readonly message: PushedMessage; readonly earlier: number } | undefined;
}

/**
 * Makes the key at the first start, and begins to push what is stored from then on.
 *
 * @returns undefined where no rule pushes
 * @throws {SyntaxError} without a contact, and for services that Deno's permissions do not cover
 * @throws {MessagingError} what the engine rejects with
 */
export async function openPush(options: PushOptions): Promise<Pushes | undefined> {
  const { rules, settings: { pushContact, pushServices }, state } = options;
  if (rules.pushPatterns.length === 0) return undefined;
  if (pushContact === undefined) {
    throw new SyntaxError(
      'A rule says "push": true: say whom push services may write to, with --push-contact mailto:you@example.org ' +
        "or --push-contact https://...",
    );
  }
  demandServices(pushServices);
  const key = await openVapidKey(state);
  const pushes = new Pushes({ ...options, key, contact: pushContact });
  await pushes.started;
  return pushes;
}

export class Pushes implements AsyncDisposable {
  readonly publicKey: string;
  readonly services: readonly PushService[];
  readonly store: SubscriptionStore;
  /** Resolves once it is known where to begin. */
  readonly started: Promise<void>;
  readonly #options: PushOptions;
  readonly #sender: Sender;
  readonly #client: Deno.HttpClient;
  readonly #stop = new AbortController();
  readonly #stopObserving: () => void;
  readonly #run: Promise<void>;
  readonly #resting = new Map<string, Resting>();
  readonly #pushing = new Set<Promise<void>>();
  #removed = 0;

  constructor(
    options: PushOptions & {
      readonly key: Awaited<ReturnType<typeof openVapidKey>>;
      readonly contact: string;
    },
  ) {
    const { hub, log, state, rules, logger, settings, key, contact } = options;
    const { signal } = this.#stop;
    this.#options = options;
    this.publicKey = key.publicKey;
    this.services = settings.pushServices;
    this.store = new SubscriptionStore({ ...settings, state, shares: options.shares });
    this.#client = options.client ?? Deno.createHttpClient({});
    this.#sender = new Sender({
      key,
      contact,
      services: this.services,
      client: this.#client,
      logger,
      signal,
    });
    const { leads, untilLeading } = new Leadership(hub, log.bus === undefined, signal);
    const control = new WebhookControl({ key: LANE, state, signal });
    const selector = createSelector(rules);
    const target = { deliver: (delivery: Delivery) => this.#take(delivery) };
    const lane = new MessageLane({
      key: LANE,
      selector,
      target,
      log,
      state,
      logger,
      control,
      leads,
      untilLeading,
      signal,
    });
    this.#stopObserving = hub.observe((messages) => lane.notice(messages));
    this.#run = lane.run();
    this.started = lane.started;
  }

  /** What `/metrics` tells of it. */
  get gauges(): readonly Gauge[] {
    return [
      {
        name: "raindrops_push_subscriptions",
        help: "Push subscriptions to all channels, as of when they were last counted",
        kind: "gauge",
        read: () => this.store.count,
      },
      {
        name: "raindrops_push_sent_total",
        help: "Push messages that push services took",
        kind: "counter",
        read: () => this.#sender.sent,
      },
      {
        name: "raindrops_push_failures_total",
        help: "Push messages that push services did not take",
        kind: "counter",
        read: () => this.#sender.failures,
      },
      {
        name: "raindrops_push_expired_total",
        help:
          "Push subscriptions that were removed, as push services know them no more or their tokens have expired",
        kind: "counter",
        read: () => this.#removed,
      },
    ];
  }

  /** Whether the messages of a channel are pushed. */
  pushes(channel: string): boolean {
    return this.#options.rules.for(channel).push;
  }

  /** Takes what the lane has read: the newest message of each channel is pushed, now or after the channel's pause. */
  async #take({ body }: Delivery): Promise<boolean> {
    const parsed = JSON.parse(new TextDecoder().decode(body)) as { events?: readonly Event[] } & Event;
    const newest = new Map<string, { message: PushedMessage; earlier: number }>();
    const oldest = Date.now() - MAX_AGE_MILLISECONDS;
    for (const event of parsed.events ?? [parsed]) {
      if (event.type !== "message" || !this.pushes(event.channel) || Date.parse(event.time) < oldest) {
        continue;
      }
      const earlier = newest.get(event.channel);
      newest.set(event.channel, { message: event, earlier: earlier === undefined ? 0 : earlier.earlier + 1 });
    }
    const starting: Promise<void>[] = [];
    for (const [channel, { message, earlier }] of newest) {
      const resting = this.#resting.get(channel);
      if (resting === undefined) starting.push(this.#start(message, earlier));
      else {
        const before = resting.held === undefined ? 0 : resting.held.earlier + 1;
        resting.held = { message, earlier: before + earlier };
      }
    }
    // A service that is slow holds up the position for a while, and not for ever.
    const { signal } = this.#stop;
    const patience = new AbortController();
    const waited = sleep(PATIENCE_MILLISECONDS, AbortSignal.any([signal, patience.signal]));
    await Promise.race([Promise.all(starting), waited]);
    patience.abort();
    return !signal.aborted;
  }

  /** Pushes a message of a channel, which then rests. Never rejects. */
  #start(message: PushedMessage, earlier: number): Promise<void> {
    const { channel } = message;
    const resting: Resting = { timer: undefined, held: undefined };
    this.#resting.set(channel, resting);
    const startedAt = performance.now();
    const pushing = this.#push(message, earlier).then((isPushed) => {
      this.#pushing.delete(pushing);
      const end = () => {
        this.#resting.delete(channel);
        const { held } = resting;
        if (held !== undefined && !this.#stop.signal.aborted) void this.#start(held.message, held.earlier);
      };
      const rest = CHANNEL_PAUSE_MILLISECONDS - (performance.now() - startedAt);
      if (!isPushed || rest <= 0 || this.#stop.signal.aborted) end();
      else resting.timer = setTimeout(end, rest);
    });
    this.#pushing.add(pushing);
    return pushing;
  }

  /**
   * Sends a message to whoever may have it. Never rejects.
   *
   * @returns whether there was anybody
   */
  async #push(message: PushedMessage, earlier: number): Promise<boolean> {
    const { channel, from } = message;
    try {
      const all = await this.store.list(channel);
      if (all.length === 0 || this.#stop.signal.aborted) return false;
      const expired = all.filter(hasExpired);
      // Who wrote it knows.
      const isOwn = ({ user }: Subscription) => user !== undefined && user === from?.user;
      const wanted = all.filter((subscription) =>
        !expired.includes(subscription) && !isOwn(subscription) && this.#mayHave(subscription, channel)
      );
      const gone = await this.#sender.send(wanted, describeMessage(message, earlier), await toTopic(channel));
      const removed = new Set([...gone, ...expired.map(({ endpoint }) => endpoint)]);
      this.#removed += await this.store.remove(channel, removed);
      return wanted.length > 0;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.logger.write("error", "push cannot use the engine", { channel, reason });
      return false;
    }
  }

  /** Those without a token are asked for again what they may: keys or rules may be there since they subscribed. */
  #mayHave({ user, vouched }: Subscription, channel: string): boolean {
    return user !== undefined || vouched === true ||
      this.#options.gate.admitApp().may("subscribe", channel);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopObserving();
    this.#stop.abort();
    await Promise.all([this.#run, ...this.#pushing]);
    for (const { timer } of this.#resting.values()) clearTimeout(timer);
    this.#client.close();
  }
}

type Event = PushedMessage & { readonly type: string };

function hasExpired({ expires }: Subscription): boolean {
  return expires !== undefined && expires * 1_000 <= Date.now();
}

function createSelector({ pushPatterns: patterns }: Rules): Selector {
  return { key: joinKey(patterns.map((pattern) => pattern.join("/"))), channel: undefined, patterns };
}

/** A topic has at most 32 characters of base64url. */
async function toTopic(channel: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(channel));
  return new Uint8Array(digest).toBase64({ alphabet: "base64url", omitPadding: true }).slice(0, 32);
}
