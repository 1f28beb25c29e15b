/**
 * Pushes of one channel to this browser, also while its pages are closed (Push API). The bell of the channel page switches
 * them on and off, where a rule of the server pushes the channel.
 */
import { recall, remember } from "./remembered.ts";
import { authorization } from "./token.ts";

const WORKER = "/_push/worker.js";

export interface Push {
  /** Whether this browser gets the pushes of the channel. */
  readonly isOn: boolean;
  /**
   * Subscribes, or ends that.
   *
   * @throws {Error} saying why it did not work, for a person
   */
  turn(isOn: boolean): Promise<void>;
}

/** What there is for a channel; undefined where it is not pushed, or this browser takes no pushes. */
export async function findPush(channel: string): Promise<Push | undefined> {
  const { pushes } = document.documentElement.dataset;
  if (pushes !== "true" || !("serviceWorker" in navigator) || !("PushManager" in globalThis)) {
    return undefined;
  }
  const url = `/_push?${new URLSearchParams({ channel })}`;
  const response = await fetch(url, { headers: authorization() }).catch(() => undefined);
  if (response?.ok !== true) return undefined;
  const facts: { readonly pushes: boolean; readonly publicKey?: string } = await response.json();
  const { publicKey } = facts;
  return facts.pushes && publicKey !== undefined ? openPush(url, channel, publicKey) : undefined;
}

function openPush(url: string, channel: string, publicKey: string): Push {
  const name = `raindrops.push.${channel}`;
  let isOn = recall(name) === "on" && Notification.permission === "granted";
  const change = async (wanted: boolean) => {
    const registration = await navigator.serviceWorker.register(WORKER);
    if (wanted) await send("POST", url, await subscribe(registration, publicKey));
    else {
      const { endpoint } = await registration.pushManager.getSubscription() ?? {};
      // Other channels may have the same subscription: it stays.
      if (endpoint !== undefined) await send("DELETE", url, { endpoint });
    }
    isOn = wanted;
    remember(name, wanted ? "on" : undefined);
  };
  // One after the other: the last one counts.
  let last: Promise<void> = Promise.resolve();
  const turn = (wanted: boolean) => last = last.catch(() => {}).then(() => change(wanted));
  // Subscriptions change, and end with the token they were made with: each visit renews them.
  if (isOn) turn(true).catch(() => isOn = false);
  return {
    get isOn() {
      return isOn;
    },
    turn,
  };
}

async function subscribe(registration: ServiceWorkerRegistration, key: string): Promise<PushSubscription> {
  await activate(registration);
  const options = { userVisibleOnly: true, applicationServerKey: key };
  try {
    return await registration.pushManager.subscribe(options);
  } catch (error) {
    // Made with the key of an engine that is gone.
    const old = await registration.pushManager.getSubscription();
    if (old === null) throw error;
    await old.unsubscribe();
    return await registration.pushManager.subscribe(options);
  }
}

/** A subscription takes an active worker. */
async function activate({ installing, waiting, active }: ServiceWorkerRegistration): Promise<void> {
  const worker = installing ?? waiting;
  if (active !== null || worker === null) return;
  await new Promise<void>((resolve) => {
    worker.addEventListener("statechange", () => worker.state === "activated" && resolve());
  });
}

async function send(method: string, url: string, body: unknown): Promise<void> {
  const headers = { ...authorization(), "content-type": "application/json" };
  const response = await fetch(url, { method, headers, body: JSON.stringify(body) });
  if (response.ok) return;
  const { detail = response.statusText } = await response.json().catch(() => ({}));
  throw new Error(detail);
}
