/**
 * The service worker that shows messages which were pushed while no page of their channel was looked at, and opens the
 * channel on a click. It serves no pages: nothing is cached, and no request passes through it.
 */

/** What a push is, beside what the DOM's types say (Push API, section 10). */
interface PushMessageEvent extends Event {
  readonly data: { json(): unknown } | null;
  waitUntil(done: Promise<unknown>): void;
}

/** Notifications API, section 2.6. */
interface ClickEvent extends Event {
  readonly notification: Notification;
  waitUntil(done: Promise<unknown>): void;
}

/** A page of this server (Service Workers, section 4.2). */
interface OpenPage {
  readonly url: string;
  readonly visibilityState: DocumentVisibilityState;
  focus(): Promise<unknown>;
}

interface PushWorker {
  readonly registration: ServiceWorkerRegistration;
  readonly clients: {
    matchAll(options: { type: "window"; includeUncontrolled: true }): Promise<readonly OpenPage[]>;
    openWindow(url: string): Promise<unknown>;
  };
  addEventListener(type: "push", listener: (event: PushMessageEvent) => void): void;
  addEventListener(type: "notificationclick", listener: (event: ClickEvent) => void): void;
}

/** As lib/push/notification.ts writes it. */
interface PushedText {
  readonly channel: string;
  readonly id: string;
  readonly title: string;
  readonly body: string;
}

const pushWorker = globalThis as unknown as PushWorker;

pushWorker.addEventListener("push", (event) => event.waitUntil(showPushed(event.data?.json() as PushedText)));

pushWorker.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const { channel, id } = event.notification.data as PushedText;
  event.waitUntil(openChannel(channel, id));
});

/** Whoever looks at the channel sees the message anyway. */
async function showPushed(pushed: PushedText): Promise<void> {
  const pages = await findPages(pushed.channel);
  if (pages.some(({ visibilityState }) => visibilityState === "visible")) return;
  // One tag, one notification: the next one of the channel takes its place, and is told of again.
  const options = { body: pushed.body, tag: pushed.channel, renotify: true, data: pushed };
  await pushWorker.registration.showNotification(pushed.title, options);
}

/** Goes to the page of the channel that is open, or opens it at the message. */
async function openChannel(channel: string, id: string): Promise<void> {
  const [page] = await findPages(channel);
  if (page !== undefined) await page.focus();
  else await pushWorker.clients.openWindow(`${pathOf(channel)}#${id}`);
}

async function findPages(channel: string): Promise<readonly OpenPage[]> {
  const pages = await pushWorker.clients.matchAll({ type: "window", includeUncontrolled: true });
  return pages.filter(({ url }) => channelOf(url) === channel);
}

/** The channel of a page, however its address spells it; undefined for a path that is none. */
function channelOf(url: string): string | undefined {
  try {
    return decodeURIComponent(new URL(url).pathname.slice(1)).normalize("NFC");
  } catch {
    return undefined;
  }
}

function pathOf(channel: string): string {
  return `/${channel.split("/").map(encodeURIComponent).join("/")}`;
}
