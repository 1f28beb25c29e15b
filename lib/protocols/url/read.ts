/**
 * What reading a channel's URL gets: its page, its stored messages, a stream or a WebSocket, by upgrade, query and
 * Accept. `app.ts` routes every GET here that nothing else lives at.
 */
import { parseSelectorPath, RESERVED_SEGMENTS, type Selector } from "../../core/channel.ts";
import { MessagingError } from "../../core/errors.ts";
import type { Hub } from "../../core/hub.ts";
import { describeSubscriptionLimit } from "../../core/limits.ts";
import { type Action, describePresenceOff, type Rules } from "../../core/rules.ts";
import type { Peer } from "../../core/socket.ts";
import type { Access, Pass } from "../../auth/access.ts";
import type { Connections } from "../../http/connections.ts";
import { handleHistory, handlePresence } from "./history.ts";
import { checkIdentity } from "../../http/identity.ts";
import type { Pages } from "../../pages/pages.ts";
import { parseOr } from "../../http/problem.ts";
import { parseReadRequest } from "./read_request.ts";
import {
  EVENT_STREAM_TYPE,
  NDJSON_TYPE,
  openEventStream,
  openLineStream,
  openPlainSession,
  type ProtocolContext,
  streamHeaders,
} from "../mod.ts";

export interface ReadOptions {
  readonly hub: Hub;
  readonly rules: Rules;
  readonly access: Access;
  readonly connections: Connections;
  readonly pages: Pages;
  readonly protocolContext: ProtocolContext;
  /** Channels and patterns that one list may name. */
  readonly maxSubscriptions: number;
}

export class ReadRoute {
  readonly #options: ReadOptions;

  constructor(options: ReadOptions) {
    this.#options = options;
  }

  /** Answers a GET or HEAD. */
  async fetch(request: Request, peer: Peer): Promise<Response> {
    const { access, connections, hub, pages, protocolContext: context, rules } = this.#options;
    const { pathname } = new URL(request.url);
    const upgrades = request.headers.get("upgrade")?.toLowerCase() === "websocket";
    if (!upgrades && pages.owns(pathname)) return await pages.fetch(request);
    if (isReserved(pathname)) throw new MessagingError("not_found", `Nothing lives at ${pathname} yet`);

    const accept = request.headers.get("accept") ?? "*/*";
    if (!upgrades && wantsPage(request, accept)) {
      parseOr("bad_channel", () => parseSelectorPath(pathname));
      return await pages.fetch(request);
    }
    const options = parseReadRequest(request, Date.now());
    const streams = upgrades || options.follow || accept.includes(EVENT_STREAM_TYPE);
    const pass = await access.admit(request);
    if (options.presence) {
      pass.demand("presence", options.selector);
      return handlePresence(hub, rules, options);
    }
    if (streams) pass.demand("subscribe", options.selector);
    if (!streams || options.since !== undefined) pass.demand("history", options.selector);
    const { searchParams } = new URL(request.url);
    const identity = { id: searchParams.has("id") ? options.id : undefined, name: options.name };
    const choseId = checkIdentity(identity, pass, hub, peer.address);
    if (streams) this.#checkSelector(options.selector);
    const { user, info, expires } = pass;
    const reader = {
      ...options,
      choseId,
      user,
      info,
      expires,
      deny: this.#createDenier(pass, options.selector),
    };
    if (upgrades) {
      return connections.upgrade(
        peer,
        (connection) => openPlainSession(context, { ...reader, connection }),
      );
    }
    if (streams) {
      const [type, open] = options.follow
        ? [NDJSON_TYPE, openLineStream] as const
        : [EVENT_STREAM_TYPE, openEventStream] as const;
      // A HEAD is answered with the headers of the stream, which is not opened for it.
      if (request.method === "HEAD") return new Response(null, { headers: streamHeaders(type) });
      return connections.openStream(peer, (connection) => open(context, { ...reader, connection }));
    }
    return await handleHistory(hub, options);
  }

  /** A function of its own: idle connections keep what it closes over, which is to be little. */
  #createDenier(pass: Pass, selector: Selector): (action: Action) => MessagingError | undefined {
    return (action) => this.#deny(pass, action, selector);
  }

  #deny(pass: Pass, action: Action, selector: Selector): MessagingError | undefined {
    const { channel } = selector;
    if (channel !== undefined && action === "presence" && !this.#options.rules.for(channel).presence) {
      return new MessagingError(
        "not_found",
        describePresenceOff(channel),
      );
    }
    return pass.deny(action, selector);
  }

  /** Lists count as many subscriptions as they have names and patterns. */
  #checkSelector({ channel, patterns }: Selector): void {
    const { hub, maxSubscriptions } = this.#options;
    if (patterns.length > maxSubscriptions) throw describeSubscriptionLimit(maxSubscriptions);
    if (channel !== undefined) hub.checkName(channel);
  }
}

/** Browsers get the page of a channel, unless they ask for data; on `/` everybody does who does not care. */
function wantsPage(request: Request, accept: string): boolean {
  const { pathname, searchParams } = new URL(request.url);
  const asksForData = accept.includes(EVENT_STREAM_TYPE) ||
    ["follow", "presence"].some((name) => searchParams.has(name));
  if (accept.includes("text/html")) return !asksForData;
  const readsHistory = ["since", "limit"].some((name) => searchParams.has(name));
  return pathname === "/" && accept.includes("*/*") && !asksForData && !readsHistory;
}

/** Whether a path is the server's own rather than a channel or a list of them. */
function isReserved(pathname: string): boolean {
  const first = pathname.slice(1).split("/")[0] ?? "";
  return first.startsWith("_") || RESERVED_SEGMENTS.has(first);
}
