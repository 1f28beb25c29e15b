/**
 * Pusher's webhooks (https://pusher.com/docs/channels/server_api/webhooks/): what happens on channels, told by POST to the
 * URLs of an app, signed. They are kept in memory while a URL is away: bounded, retried with growing pauses, lost when
 * the server ends. Webhooks that lose nothing are those of `lib/hooks`.
 */
import type { Logger } from "../../core/logger.ts";
import type { MountedApp } from "./apps.ts";
import type { RoomEvents } from "./rooms.ts";
import { sign } from "./signature.ts";

/** One event, as it stands in a webhook. */
type HookEvent = Readonly<Record<string, unknown>> & { readonly name: string; readonly channel: string };

/** Seconds a channel or member may be gone and come back without a word. */
const VACATED_SECONDS = 3;
const TIMEOUT_MILLISECONDS = 5_000;
const FIRST_PAUSE_MILLISECONDS = 500;
const MAX_PAUSE_MILLISECONDS = 60_000;
const MAX_WAITING_EVENTS = 10_000;
const MAX_BATCH = 100;

export class WebhookSink implements RoomEvents, AsyncDisposable {
  readonly #targets = new Map<string, Target>();
  readonly #logger: Logger;
  /** Departures that are not told yet, by app, channel and user. */
  readonly #leaving = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  occupied(app: MountedApp, channel: string): void {
    this.#arrive(app, `${app.id} ${channel}`, { name: "channel_occupied", channel });
  }

  vacated(app: MountedApp, channel: string): void {
    this.#depart(app, `${app.id} ${channel}`, { name: "channel_vacated", channel });
  }

  memberAdded(app: MountedApp, channel: string, user: string): void {
    this.#arrive(app, `${app.id} ${channel} ${user}`, { name: "member_added", channel, user_id: user });
  }

  memberRemoved(app: MountedApp, channel: string, user: string): void {
    this.#depart(app, `${app.id} ${channel} ${user}`, { name: "member_removed", channel, user_id: user });
  }

  counted(app: MountedApp, channel: string, count: number): void {
    this.#add(app, { name: "subscription_count", channel, subscription_count: count });
  }

  cacheMiss(app: MountedApp, channel: string): void {
    this.#add(app, { name: "cache_miss", channel });
  }

  clientEvent(
    app: MountedApp,
    event: {
      readonly channel: string;
      readonly event: string;
      readonly data: string;
      readonly socketId: string;
      readonly user: string | undefined;
    },
  ): void {
    const { channel, data, socketId, user } = event;
    this.#add(app, {
      name: "client_event",
      channel,
      event: event.event,
      data,
      socket_id: socketId,
      ...(user === undefined ? {} : { user_id: user }),
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#leaving.values()) clearTimeout(timer);
    for (const target of this.#targets.values()) target[Symbol.dispose]();
    return Promise.resolve();
  }

  /** Whoever comes back soon was never away. */
  #arrive(app: MountedApp, key: string, event: HookEvent): void {
    if (app.webhooks.length === 0) return;
    const timer = this.#leaving.get(key);
    if (timer === undefined) return this.#add(app, event);
    clearTimeout(timer);
    this.#leaving.delete(key);
  }

  #depart(app: MountedApp, key: string, event: HookEvent): void {
    if (app.webhooks.length === 0) return;
    clearTimeout(this.#leaving.get(key));
    const timer = setTimeout(() => {
      this.#leaving.delete(key);
      this.#add(app, event);
    }, VACATED_SECONDS * 1_000);
    this.#leaving.set(key, timer);
  }

  #add(app: MountedApp, event: HookEvent): void {
    for (const url of app.webhooks) {
      const key = `${app.id} ${url}`;
      let target = this.#targets.get(key);
      if (target === undefined) this.#targets.set(key, target = new Target(app, url, this.#logger));
      target.add(event);
    }
  }
}

/** One URL of one app. */
class Target implements Disposable {
  readonly #app: MountedApp;
  readonly #url: string;
  readonly #logger: Logger;
  readonly #closing = new AbortController();
  #waiting: HookEvent[] = [];
  #pause = FIRST_PAUSE_MILLISECONDS;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isSending = false;

  constructor(app: MountedApp, url: string, logger: Logger) {
    this.#app = app;
    this.#url = url;
    this.#logger = logger;
  }

  add(event: HookEvent): void {
    if (this.#waiting.push(event) > MAX_WAITING_EVENTS) {
      const lost = this.#waiting.splice(0, MAX_BATCH).length;
      this.#logger.write("error", "pusher webhook lost events", {
        host: new URL(this.#url).host,
        events: lost,
      });
    }
    if (this.#timer === undefined && !this.#isSending) this.#schedule(0);
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
    clearTimeout(this.#timer);
  }

  #schedule(pause: number): void {
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#send();
    }, pause);
  }

  async #send(): Promise<void> {
    const events = this.#waiting.slice(0, MAX_BATCH);
    this.#isSending = true;
    const failure = await this.#post(JSON.stringify({ time_ms: Date.now(), events }));
    this.#isSending = false;
    if (this.#closing.signal.aborted) return;
    if (failure === undefined) {
      this.#waiting = this.#waiting.slice(events.length);
      this.#pause = FIRST_PAUSE_MILLISECONDS;
      if (this.#waiting.length > 0) this.#schedule(0);
      return;
    }
    this.#logger.write("warn", "pusher webhook failed", { host: new URL(this.#url).host, reason: failure });
    this.#schedule(this.#pause * (0.5 + Math.random() / 2));
    this.#pause = Math.min(this.#pause * 2, MAX_PAUSE_MILLISECONDS);
  }

  /** Posts a body; returns why that failed. */
  async #post(body: string): Promise<string | undefined> {
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), TIMEOUT_MILLISECONDS);
    try {
      const response = await fetch(this.#url, {
        method: "POST",
        body,
        redirect: "error",
        headers: {
          "content-type": "application/json",
          "x-pusher-key": this.#app.key,
          "x-pusher-signature": sign(this.#app.secret, body),
        },
        signal: AbortSignal.any([timeout.signal, this.#closing.signal]),
      });
      await response.body?.cancel();
      return response.ok ? undefined : `status ${response.status}`;
    } catch (error) {
      return timeout.signal.aborted
        ? "no answer in time"
        : error instanceof Error
        ? error.name
        : String(error);
    } finally {
      clearTimeout(timer);
    }
  }
}
