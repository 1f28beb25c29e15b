/**
 * The service worker that shows a page of its own when one cannot be fetched. It keeps that page with its parts and nothing
 * else: what it shows of the server always comes from the server.
 */

/** Service Workers, section 4.5, as far as it is used here. */
interface NavigationEvent extends Event {
  readonly request: Request;
  readonly preloadResponse: Promise<Response | undefined>;
  respondWith(response: Promise<Response>): void;
  waitUntil(done: Promise<unknown>): void;
}

interface OfflineWorker {
  readonly registration: ServiceWorkerRegistration;
  addEventListener(type: "install" | "activate" | "fetch", listener: (event: NavigationEvent) => void): void;
}

const offlineWorker = globalThis as unknown as OfflineWorker;

const PAGE = "/_offline";
/** Their version is in their addresses, and in the bytes of this file: a new one brings a new worker. */
const PARTS = [
  "/_static/style.css",
  "/_static/theme.ts",
  "/_static/offline.ts",
  "/_static/favicon.svg",
  "/_static/rain.svg",
];
const CACHE_PREFIX = "raindrops-offline ";
const CACHE = CACHE_PREFIX + PARTS[0];

offlineWorker.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll([PAGE, ...PARTS])));
});

offlineWorker.addEventListener("activate", (event) => {
  event.waitUntil(removeOld());
});

offlineWorker.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.mode === "navigate") event.respondWith(navigate(event));
  else if (PARTS.includes(new URL(request.url).pathname)) event.respondWith(fetchOr(request, request.url));
});

async function removeOld(): Promise<void> {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(CACHE_PREFIX) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  // The request goes out while this worker starts.
  await offlineWorker.registration.navigationPreload?.enable();
}

/** What the server answers, whatever it is; the page of this worker only where nothing answers. */
async function navigate(event: NavigationEvent): Promise<Response> {
  try {
    const preloaded = await event.preloadResponse;
    if (preloaded !== undefined) return preloaded;
  } catch {
    // Without its answer it is asked once more, as connections break at any time.
  }
  return await fetchOr(event.request, PAGE);
}

async function fetchOr(request: Request, kept: string): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    const response = await caches.match(kept);
    if (response === undefined) throw error;
    return response;
  }
}
