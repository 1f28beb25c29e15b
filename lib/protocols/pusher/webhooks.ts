/**
 * Pusher's webhooks (https://pusher.com/docs/channels/server_api/webhooks/): what happens on channels, told by POST to
 * the URLs of an app, signed. This says what is told and how; `lib/hooks` sends it, from one of the nodes and threads.
 */
import { createHash } from "node:crypto";
import { EventQueue } from "../../core/event_queue.ts";
import type { ProtocolWebhook } from "../../core/protocol_webhook.ts";
import type { Services } from "../protocol.ts";
import type { MountedApp } from "./apps.ts";
import { ChannelFacts } from "./channel_facts.ts";
import { sign } from "./signature.ts";

/** An event of a client, as its session saw it. */
export interface ClientEvent {
  readonly channel: string;
  readonly event: string;
  readonly data: string;
  readonly socketId: string;
  /** The user of the client, on presence channels. */
  readonly user: string | undefined;
}

const TIMEOUT_SECONDS = 5;
const EVENTS = [
  "channel_occupied",
  "channel_vacated",
  "member_added",
  "member_removed",
  "client_event",
  "cache_miss",
  "subscription_count",
];

/** The webhooks of all apps. */
export class PusherWebhooks implements AsyncDisposable {
  readonly list: readonly ProtocolWebhook[];
  /** By the ids of the apps. */
  readonly #queues = new Map<string, readonly EventQueue[]>();

  constructor(services: Pick<Services, "hub" | "state" | "cluster" | "logger">, apps: Iterable<MountedApp>) {
    const list: ProtocolWebhook[] = [];
    for (const app of apps) {
      const webhooks = [...new Set(app.webhooks)].map((url) => describeWebhook(services, app, url));
      this.#queues.set(app.id, webhooks.map(({ happened }) => happened));
      list.push(...webhooks);
    }
    this.list = list;
  }

  cacheMiss(app: MountedApp, channel: string): void {
    this.#add(app, { name: "cache_miss", channel });
  }

  clientEvent(app: MountedApp, { channel, event, data, socketId, user }: ClientEvent): void {
    const more = user === undefined ? {} : { user_id: user };
    this.#add(app, { name: "client_event", channel, event, data, socket_id: socketId, ...more });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#queues.values()].flat().map((queue) => queue[Symbol.asyncDispose]()));
  }

  #add({ id }: MountedApp, event: object): void {
    const queues = this.#queues.get(id) ?? [];
    if (queues.length === 0) return;
    const text = JSON.stringify(event);
    for (const queue of queues) queue.add(text);
  }
}

function describeWebhook(
  { hub, ...services }: Pick<Services, "hub" | "state" | "cluster" | "logger">,
  app: MountedApp,
  url: string,
): ProtocolWebhook {
  // The same after a restart, whatever other webhooks there are: the engine keeps by it what was told.
  const digest = createHash("sha256").update(`${app.id} ${url}`).digest("hex").slice(0, 12);
  const name = `pusher-${app.id.slice(0, 40)}-${digest}`;
  return {
    name,
    url: new URL(url),
    setting: "--pusher-apps",
    timeout: TIMEOUT_SECONDS,
    events: EVENTS,
    channels: [`${app.prefix}**`],
    facts: new ChannelFacts(hub, app),
    happened: new EventQueue({ ...services, name }),
    encode: (events) => `{"time_ms":${Date.now()},"events":[${events.join(",")}]}`,
    sign: (body) => ({ "x-pusher-key": app.key, "x-pusher-signature": sign(app.secret, body) }),
  };
}
