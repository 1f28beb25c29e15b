/** Everyone's pointer on everyone's page of a channel, on a channel of their own that keeps nothing. */
import type { Centrifuge, Subscription } from "centrifuge";
import { PerfectCursor } from "perfect-cursors";
import { labelOf, readAuthor } from "./channel_message.ts";
import { hueOf } from "./identity.ts";

/** Milliseconds between two positions of one pointer. */
const PAUSE_MS = 50;
/** A pointer that rested so long is no longer shown. */
const REST_MS = 10_000;
/** Movements are smoothed over at most that time, and end a hair beside their last point. */
const SETTLE_MS = 400;
const MAX_CURSORS = 40;
const MAX_CHANNEL_LENGTH = 255;

interface Cursor {
  readonly element: HTMLElement;
  readonly path: PerfectCursor;
  rest: number;
  settle: number;
}

export class Cursors {
  readonly #centrifuge: Centrifuge;
  readonly #subscription: Subscription | undefined;
  readonly #layer: HTMLElement;
  readonly #ownClient: () => string | undefined;
  readonly #isWatched: () => boolean;
  readonly #cursors = new Map<string, Cursor>();
  readonly #calm = matchMedia("(prefers-reduced-motion: reduce)");
  #position: { x: number; y: number } | undefined;
  #timer: number | undefined;

  /** @param isWatched whether anybody is there to see this page's pointer */
  constructor(options: {
    readonly centrifuge: Centrifuge;
    readonly channel: string;
    readonly layer: HTMLElement;
    readonly ownClient: () => string | undefined;
    readonly isWatched: () => boolean;
  }) {
    this.#centrifuge = options.centrifuge;
    this.#layer = options.layer;
    this.#ownClient = options.ownClient;
    this.#isWatched = options.isWatched;
    const channel = `cursors/${options.channel}`;
    if (new TextEncoder().encode(channel).length > MAX_CHANNEL_LENGTH) return;
    const subscription = this.#subscription = this.#centrifuge.newSubscription(channel);
    subscription.on("publication", ({ data, info }) => {
      if (info !== undefined && info.client !== this.#ownClient()) {
        this.#move(info.client, labelOf(readAuthor(info)), data);
      }
    });
    subscription.on("state", ({ newState }) => this.#layer.dataset.state = newState);
    // Without permission there are no cursors, and nothing else is amiss.
    subscription.on("error", () => {});
    subscription.subscribe();
    addEventListener("pointermove", ({ clientX, clientY }) => {
      this.#position = { x: clientX / innerWidth, y: clientY / innerHeight };
      // At most 20 positions a second, and always the last one.
      this.#timer ??= setTimeout(() => this.#send(), PAUSE_MS);
    }, { passive: true });
    const leave = () => {
      this.#position = undefined;
      this.#send();
    };
    document.documentElement.addEventListener("pointerleave", leave);
    document.addEventListener("visibilitychange", () => document.hidden && leave());
  }

  /** Takes the pointer of a connection away. */
  forget(client: string): void {
    const cursor = this.#cursors.get(client);
    if (cursor === undefined) return;
    clearTimeout(cursor.rest);
    clearTimeout(cursor.settle);
    cursor.path.dispose();
    cursor.element.remove();
    this.#cursors.delete(client);
  }

  /** Without a position it says that the pointer has left. */
  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#subscription?.state !== "subscribed" || !this.#isWatched()) return;
    this.#subscription.publish(this.#position ?? {}).catch(() => {});
  }

  #move(client: string, name: string | undefined, data: unknown): void {
    const { x, y } = Object(data) as { x?: unknown; y?: unknown };
    if (typeof x !== "number" || typeof y !== "number") return this.forget(client);
    // A hidden page draws nothing: shown again, it would have to catch up on every movement it missed.
    if (document.hidden || (this.#cursors.size >= MAX_CURSORS && !this.#cursors.has(client))) return;
    const cursor = this.#cursors.get(client) ?? this.#add(client, name ?? "somebody");
    clearTimeout(cursor.rest);
    clearTimeout(cursor.settle);
    cursor.rest = setTimeout(() => this.forget(client), REST_MS);
    const point = [clamp(x) * innerWidth, clamp(y) * innerHeight];
    if (this.#calm.matches) return place(cursor.element, point);
    cursor.path.addPoint(point);
    cursor.settle = setTimeout(() => place(cursor.element, point), SETTLE_MS);
  }

  #add(client: string, name: string): Cursor {
    const element = document.createElement("div");
    element.className = "cursor";
    element.style.setProperty("--hue", String(hueOf(name)));
    const label = document.createElement("span");
    label.textContent = name;
    element.append(label);
    this.#layer.append(element);
    const cursor = { element, path: new PerfectCursor((point) => place(element, point)), rest: 0, settle: 0 };
    this.#cursors.set(client, cursor);
    return cursor;
  }
}

function place(element: HTMLElement, [x = 0, y = 0]: number[]): void {
  element.style.translate = `${x}px ${y}px`;
}

function clamp(fraction: number): number {
  return Math.min(1, Math.max(0, fraction));
}
