/** The composition root: what it opens it closes, also when a later step of opening fails; what it mounts is reserved. */
import assert from "node:assert/strict";
import { Hono } from "hono";
import { createApp, OPENERS } from "../lib/app.ts";
import { RESERVED_SEGMENTS } from "../lib/core/channel.ts";
import type { Log } from "../lib/core/log.ts";
import type { Env, Protocol } from "../lib/protocols/mod.ts";
import { openProtocols } from "../lib/protocols/mod.ts";
import { RecordingLogger } from "./fakes/recording_logger.ts";
import { createConfig } from "./test_app.ts";

const SECRET = "RAINDROPS_TOKEN_SECRET=a-secret-of-thirty-two-characters-or-more";

/** Hooks, so that the steps which open webhooks and callouts are taken; nothing is ever sent. */
const HOOKS = await Deno.makeTempFile();
await Deno.writeTextFile(
  HOOKS,
  JSON.stringify({
    webhooks: [{ name: "all", url: "http://127.0.0.1:9/", secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }],
    callouts: { rpc: { url: "http://127.0.0.1:9/" } },
  }),
);
globalThis.addEventListener("unload", () => Deno.removeSync(HOOKS));
const HOOK = ["--hooks", HOOKS];

/** Disposables that were opened, by name, and are open still. */
class Watch {
  readonly open = new Set<string>();

  /** Notes a disposable until it is disposed of. */
  note<T extends object>(name: string, value: T): T {
    this.open.add(name);
    for (const dispose of [Symbol.dispose, Symbol.asyncDispose] as const) {
      const original: unknown = Reflect.get(value, dispose);
      if (typeof original !== "function") continue;
      Object.defineProperty(value, dispose, {
        value: () => {
          this.open.delete(name);
          return original.call(value);
        },
      });
    }
    return value;
  }
}

/** The real steps of opening, each watched. */
function watchOpeners(watch: Watch): typeof OPENERS {
  return {
    ...OPENERS,
    async readKeys(config) {
      const keys = await OPENERS.readKeys(config);
      return keys && watch.note("keys", keys);
    },
    async openEngine(url, options) {
      return watch.note<Log>("engine", await OPENERS.openEngine(url, options));
    },
    openInspector: (options) => watch.note("inspector", OPENERS.openInspector(options)),
    async openProtocols(services, stack) {
      const inner = new AsyncDisposableStack();
      const opened = await OPENERS.openProtocols(services, inner);
      stack.use(watch.note("protocols", inner));
      return opened;
    },
  };
}

const STEPS = Object.keys(OPENERS) as (keyof typeof OPENERS)[];

for (const [index, step] of STEPS.entries()) {
  Deno.test(`createApp() leaves nothing open when ${step} throws`, async () => {
    const watch = new Watch();
    const failure = new Error(`${step} failed`);
    let reached = false;
    const openers = {
      ...watchOpeners(watch),
      [step]: () => {
        reached = true;
        assert.equal(watch.open.size > 0, index > STEPS.indexOf("readKeys"), "what came before is open");
        throw failure;
      },
    };
    const opening = createApp(createConfig(SECRET, ...HOOK), new RecordingLogger(), undefined, openers);
    await assert.rejects(opening, failure);
    assert.ok(reached);
    assert.deepEqual([...watch.open], []);
  });
}

Deno.test("createApp() closes on shutdown what it opened, and the sanitizers find no timer left", async () => {
  const watch = new Watch();
  const app = await createApp(
    createConfig(SECRET, ...HOOK),
    new RecordingLogger(),
    undefined,
    watchOpeners(watch),
  );
  assert.ok(watch.open.size >= 4, [...watch.open].join());
  await app[Symbol.asyncDispose]();
  assert.deepEqual([...watch.open], []);
});

/** The first segments of paths that are the server's own and no channels, in the words of the list of reserved names. */
function findUnreserved(paths: readonly string[]): string[] {
  return paths.map((path) => path.split("/")[1] ?? "")
    .filter((first) => !["", "*"].includes(first) && !/^[_@.]/.test(first) && !RESERVED_SEGMENTS.has(first));
}

Deno.test("the first segment of every mounted path is on the list of reserved names", async () => {
  await using app = await createApp(createConfig(), new RecordingLogger());
  assert.ok(app.paths.includes("/healthz") && app.paths.includes("/*"), app.paths.join(" "));
  assert.deepEqual(findUnreserved(app.paths), []);
  assert.deepEqual(findUnreserved(["/hello/:name", "/api/*", "/_inspect/stream", "*"]), ["hello"]);
});

/** A protocol as somebody would add one: its folder would hold this, the registry one line. */
function openHello({ hub }: Parameters<typeof openProtocols>[0]): Protocol {
  const routes = new Hono<Env>();
  routes.get("/apps/hello/:channel", async (c) => {
    const payload = { kind: "text", text: "hello" } as const;
    const { offset } = await hub.publish({ channel: c.req.param("channel"), payload });
    return c.text(`said at ${offset}`);
  });
  return { routes, [Symbol.asyncDispose]: () => Promise.resolve() };
}

Deno.test("a protocol is opened from the services alone, and its routes come before the channels' own", async () => {
  const openers: typeof OPENERS = {
    ...OPENERS,
    openProtocols: (services, stack) => openProtocols(services, stack, [openHello]),
  };
  await using app = await createApp(createConfig(), new RecordingLogger(), undefined, openers);
  const request = new Request("http://localhost/apps/hello/news");
  const response = await app.fetch(request, { address: "127.0.0.1", upgrade: () => new Response() });
  assert.equal(await response.text(), "said at 1");
});
