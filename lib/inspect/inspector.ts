/**
 * The endpoints of the inspector at `/_inspect`: samples, refusals and messages as NDJSON streams, channels and clients
 * as documents, and disconnecting a client. All of them are for operators. `app.ts` routes to it.
 */
import { Hono } from "hono";
import type { Gate } from "../auth/gate.ts";
import { normalizeChannel, parseChannel, selectChannel, selectPatterns } from "../core/channel.ts";
import type { Cluster } from "../core/cluster/cluster.ts";
import { MessagingError } from "../core/errors.ts";
import type { Hub } from "../core/hub.ts";
import type { Log } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";
import type { Message } from "../core/message.ts";
import { Frame } from "../core/socket.ts";
import { StreamSocket } from "../core/stream_socket.ts";
import { NO_SNIFFING } from "../http/problem.ts";
import { streamHeaders } from "../http/stream.ts";
import { Traffic } from "../core/metrics/traffic.ts";
import {
  CHANNEL_ORDERS,
  type ChannelQuery,
  type ChannelSources,
  findLast,
  listChannels,
  readNewest,
  showMessage,
} from "./channels.ts";
import { findLively } from "./lively.ts";
import { ProcessClients } from "./process_clients.ts";
import { type Sample, Sampler } from "./sampler.ts";
import { addTokenRoutes, type TokenSources } from "./tokens.ts";
import { addWorkRoutes, type WorkSources } from "./work.ts";
import { parseOr } from "../http/problem.ts";

interface InspectorOptions extends Pick<WorkSources, "scheduler" | "webhooks">, Pick<TokenSources, "tokens"> {
  readonly hub: Hub;
  /** Its other threads have clients of this process too. */
  readonly cluster?: Cluster | undefined;
  readonly log: Log;
  readonly gate: Gate;
  readonly logger: Logger;
  /** CPU time the process has used, in seconds. */
  readonly readCpuSeconds: () => number;
}

/** Refusals shown per second; of the others only the number is. */
const SHOWN_REFUSALS = 20;
/** Messages shown per update of a tail; of the others only the number is. */
const SHOWN_MESSAGES = 20;
const TAIL_MILLISECONDS = 250;
const MAX_ROWS = 100;
/** Bytes queued for a slow page; beyond them, updates are skipped. */
const MAX_WAITING_BYTES = 1024 * 1024;
/** How long traffic is measured after the last request for it. */
const LOOK_MILLISECONDS = 10_000;

const UTF8 = new TextEncoder();

export class Inspector implements Disposable {
  /** All routes below `/_inspect/`. */
  readonly routes = new Hono();
  readonly #hub: Hub;
  readonly #logger: Logger;
  readonly #sampler: Sampler;
  readonly #sources: ChannelSources;
  readonly #clients: ProcessClients;
  readonly #streams = new Set<LineStream>();
  #look: { readonly timer: ReturnType<typeof setTimeout>; readonly release: () => void } | undefined;
  #listing = Promise.resolve<unknown>(undefined);

  constructor(options: InspectorOptions) {
    const { hub, cluster, log, gate, logger, readCpuSeconds } = options;
    this.#hub = hub;
    this.#logger = logger;
    this.#sampler = new Sampler(hub, readCpuSeconds);
    const clients = this.#clients = new ProcessClients(hub, cluster);
    this.#sources = { hub, log, traffic: new Traffic(hub) };
    const { routes } = this;
    routes.onError((error) => {
      throw error;
    });
    // Not for the page itself: browsers send no key when they open one.
    routes.use("/:name", async (c, next) => {
      gate.demandOperator(c.req.raw, "The inspector");
      await next();
      // Hono answers HEAD like GET, and the stream would never end.
      if (c.req.raw.method === "HEAD") await c.res.body?.cancel();
      const headers = { "cache-control": "no-store", ...NO_SNIFFING };
      for (const [name, value] of Object.entries(headers)) c.res.headers.set(name, value);
    });
    routes.get("/stream", () => this.#openStream());
    // Channels that a protocol keeps private are shown for a key alone, even where nobody is asked for one.
    const readVisible = async (request: Request, name: string | undefined) => {
      const channel = readChannel(name);
      (await gate.admit(request)).demand("subscribe", channel);
      return channel;
    };
    routes.get(
      "/tail",
      async (c) => await this.#openTail(await readVisible(c.req.raw, c.req.query("channel"))),
    );
    routes.get("/channels", async (c) => {
      const pass = await gate.admit(c.req.raw);
      const page = await this.#listChannels(readChannelQuery(c.req.query()));
      const rows = page.rows.map((row) =>
        pass.may("subscribe", row.channel) ? row : { ...row, last: undefined }
      );
      return c.json({ ...page, rows });
    });
    routes.get("/lively", async (c) => {
      const pass = await gate.admit(c.req.raw);
      const everything = gate.restrict(selectPatterns(["**"]), pass);
      return c.json(await this.#takeTurn(() => findLively(this.#sources, pass, everything)));
    });
    routes.get(
      "/channel",
      async (c) => c.json(await this.#describeChannel(await readVisible(c.req.raw, c.req.query("channel")))),
    );
    routes.get(
      "/clients",
      async (c) => c.json(await clients.list((c.req.query("filter") ?? "").toLowerCase())),
    );
    routes.get("/client", async (c) => c.json(await clients.describe(c.req.query("connection") ?? "")));
    addWorkRoutes(routes, options);
    addTokenRoutes(routes, options);
    routes.post("/disconnect", async (c) => c.json(await this.#disconnect(c.req.query("connection") ?? "")));
  }

  /** Ends all streams, when the server drains. */
  [Symbol.dispose](): void {
    this.#sampler[Symbol.dispose]();
    clearTimeout(this.#look?.timer);
    this.#look?.release();
    this.#look = undefined;
    for (const stream of [...this.#streams]) stream.end();
  }

  /** Sends the samples of the last minutes, then one per second, each with the refusals since the last. */
  async #openStream(): Promise<Response> {
    // What workers have counted so far.
    await this.#hub.metrics.refresh();
    const stream = this.#openLines(() => forget());
    let refusal = this.#hub.metrics.lastRefusal - SHOWN_REFUSALS;
    const send = (samples: readonly Sample[]) => {
      const { metrics } = this.#hub;
      const refusals = metrics.listRefusals(refusal);
      const shown = refusals.slice(-SHOWN_REFUSALS);
      const missed = metrics.lastRefusal - Math.max(0, refusal) - shown.length;
      const isSent = stream.send({
        samples,
        refusals: shown,
        missed,
        totals: this.#total(),
        nodes: this.#hub.nodes(),
        threads: this.#hub.threads(),
      });
      if (isSent) refusal = metrics.lastRefusal;
    };
    const forget = this.#sampler.listen((sample) => send([sample]));
    send(this.#sampler.samples);
    return stream.response;
  }

  /** Sends the newest messages of a channel, then live ones a few times per second, not all if there are many. */
  async #openTail(channel: string): Promise<Response> {
    let waiting: Message[] = [];
    let missed = 0;
    const take = (messages: readonly Message[]) => {
      for (const message of messages) {
        if (message.channel !== channel || message.to !== undefined) continue;
        waiting.push(message);
        if (waiting.length > SHOWN_MESSAGES * 2) missed += waiting.splice(0, SHOWN_MESSAGES).length;
      }
    };
    // Before the newest are read: what is stored meanwhile is in one or the other.
    const stops = [this.#hub.watch(selectChannel(channel)), this.#hub.observe(take, "delivered")];
    const ignore = () => stops.forEach((stop) => stop());
    let newest: readonly Message[];
    try {
      newest = await readNewest(this.#hub, channel, SHOWN_MESSAGES);
    } catch (error) {
      ignore();
      throw error;
    }
    const shownUpTo = newest.at(-1)?.sequence ?? 0;
    waiting = waiting.filter(({ sequence }) => sequence === 0 || sequence > shownUpTo);
    const timer = setInterval(() => {
      if (waiting.length === 0) return;
      const shown = waiting.slice(-SHOWN_MESSAGES);
      missed += waiting.length - shown.length;
      waiting = [];
      if (stream.send({ messages: shown.map(showMessage), missed })) missed = 0;
      else missed += shown.length;
    }, TAIL_MILLISECONDS);
    const stream = this.#openLines(() => {
      clearInterval(timer);
      ignore();
    });
    stream.send({ messages: newest.map(showMessage), missed: 0 });
    return stream.response;
  }

  async #listChannels(query: ChannelQuery) {
    return await this.#takeTurn(() => listChannels(this.#sources, query));
  }

  /** Goes through all channels, one page at a time, however many are open. */
  async #takeTurn<T>(list: () => Promise<T>): Promise<T> {
    this.#keepCounting();
    const listing = this.#listing.then(list);
    this.#listing = listing.catch(() => {});
    return await listing;
  }

  async #describeChannel(channel: string) {
    this.#keepCounting();
    const { hub, log, traffic } = this.#sources;
    const stored = log.findStored?.(channel);
    return {
      channel,
      subscribers: hub.countSubscribers(channel),
      rate: traffic.rate(channel),
      stored: log.findStored === undefined ? undefined : stored?.stored ?? 0,
      offset: stored?.offset,
      last: await findLast(this.#sources, channel),
      readers: await this.#clients.listSubscribers(channel),
    };
  }

  async #disconnect(connection: string) {
    const client = await this.#clients.disconnect(connection);
    this.#logger.write("info", "client disconnected by operator", { id: client.id });
    return client;
  }

  #total() {
    const { metrics } = this.#hub;
    return {
      published: metrics.publishedMessages,
      delivered: metrics.deliveredMessages,
      publishedBytes: metrics.publishedBytes,
      deliveredBytes: metrics.deliveredBytes,
      slowSubscribers: metrics.slowSubscribers,
      connections: Object.fromEntries(metrics.connections),
      refusals: Object.fromEntries(metrics.refusals),
    };
  }

  /** Measures traffic from a request on until some time after the last one. */
  #keepCounting(): void {
    const release = this.#look?.release ?? this.#sources.traffic.start();
    clearTimeout(this.#look?.timer);
    const timer = setTimeout(() => {
      release();
      this.#look = undefined;
    }, LOOK_MILLISECONDS);
    this.#look = { timer, release };
  }

  #openLines(onEnd: () => void): LineStream {
    const stream: LineStream = new LineStream(() => {
      this.#streams.delete(stream);
      onEnd();
    });
    this.#streams.add(stream);
    return stream;
  }
}

/** An NDJSON response for a page that may be slow: it then misses updates, and blocks nothing. */
class LineStream {
  readonly response: Response;
  readonly #socket: StreamSocket;
  readonly #onEnd: () => void;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
    this.#socket = new StreamSocket(onEnd);
    this.response = new Response(this.#socket.body, {
      headers: streamHeaders("application/x-ndjson"),
    });
  }

  /** Returns false if the page is too slow and the value was not sent. */
  send(value: unknown): boolean {
    if (this.#socket.queuedBytes > MAX_WAITING_BYTES) return false;
    this.#socket.send([new Frame(UTF8.encode(`${JSON.stringify(value)}\n`))]);
    return true;
  }

  end(): void {
    this.#socket.close();
    this.#onEnd();
  }
}

function readChannel(name = ""): string {
  return parseOr("bad_channel", () => parseChannel(name));
}

function readChannelQuery(query: Readonly<Record<string, string>>): ChannelQuery {
  const { filter = "", sort = "rate", order = "", offset = "0", limit = "25" } = query;
  const known = CHANNEL_ORDERS.find((candidate) => candidate === sort);
  if (known === undefined) {
    throw new MessagingError("bad_option", `sort must be one of ${CHANNEL_ORDERS.join(", ")}`);
  }
  return {
    filter: normalizeChannel(filter).toLowerCase(),
    sort: known,
    descending: order === "descending",
    offset: readNumber("offset", offset, 0, Number.MAX_SAFE_INTEGER),
    limit: readNumber("limit", limit, 1, MAX_ROWS),
  };
}

function readNumber(name: string, text: string, from: number, to: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < from || value > to) {
    throw new MessagingError("bad_option", `${name} must be a whole number from ${from} to ${to}`);
  }
  return value;
}
