/**
 * What reading a channel's URL gets: its page, its stored messages, a stream or a WebSocket, by upgrade, query and
 * Accept.
 */
import type { Pass } from "../../auth/pass.ts";
import { formatSelector, isReservedPath, parseSelectorPath, type Selector } from "../../core/channel.ts";
import { MessagingError } from "../../core/errors.ts";
import { describeSubscriptionLimit } from "../../core/limits.ts";
import type { Peer } from "../../core/socket.ts";
import { parseOr } from "../../http/problem.ts";
import { streamHeaders } from "../../http/stream.ts";
import type { Services } from "../protocol.ts";
import { EVENT_STREAM_TYPE, openEventStream } from "./event_stream.ts";
import { handleHistory, handlePresence } from "./history.ts";
import { exportHeaders, openExport } from "./export.ts";
import { checkIdentity } from "./identity.ts";
import { NDJSON_TYPE, openLineStream } from "./ndjson.ts";
import { EarlyMessages } from "./early.ts";
import { openPlainSession } from "./plain.ts";
import { parseReadRequest, type ReadOptions } from "./read_request.ts";

/** Answers a GET or HEAD that no other route takes. */
export async function handleRead(request: Request, peer: Peer, services: Services): Promise<Response> {
  const { gate, connections, hub, pages } = services;
  const { pathname, searchParams } = new URL(request.url);
  const upgrades = request.headers.get("upgrade")?.toLowerCase() === "websocket";
  if (!upgrades && pages.owns(pathname)) return await pages.fetch(request);
  if (isReservedPath(pathname)) {
    const message =
      `Nothing is at ${pathname}, and names like this are the server's own: the manual is at /_docs`;
    throw new MessagingError("not_found", message);
  }

  // Media types are not case-sensitive (RFC 9110 section 8.3.1).
  const accept = request.headers.get("accept")?.toLowerCase() ?? "*/*";
  if (!upgrades && wantsPage(request, accept)) {
    parseOr("bad_channel", () => parseSelectorPath(pathname));
    return await pages.fetch(request);
  }
  const asked = parseReadRequest(request, Date.now());
  checkSelector(asked.selector, services);
  const streams = upgrades || asked.follow || accept.includes(EVENT_STREAM_TYPE);
  demandFitting(asked, streams);
  const pass = await gate.admit(request);
  const options = { ...asked, selector: gate.restrict(asked.selector, pass) };
  const { selector } = options;
  const { channel } = selector;
  if (streams || (channel !== undefined && pass.asks("subscribe", channel))) {
    await pass.admitSubscription(selector);
  }
  if (options.presence) {
    pass.demand("presence", selector);
    await hub.untilCurrent();
    return handlePresence(hub, options);
  }
  if (!streams || options.since !== undefined) demandHistory(pass, selector);
  const identity = { id: searchParams.has("id") ? options.id : undefined, name: options.name };
  const choseId = checkIdentity(identity, pass, hub, peer.address);
  if (!streams) {
    const { export: format } = options;
    if (format === undefined) return await handleHistory(hub, options);
    if (request.method === "HEAD") return new Response(null, { headers: exportHeaders(format, options) });
    return connections.openStream(peer, (connection) => openExport(hub, format, options, connection));
  }
  // Idle connections keep what is closed over here, which is to be little.
  const { id, name, since, limit } = options;
  const session = { selector, id, choseId, name, pass, since, limit };
  if (upgrades) {
    const subprotocol = chooseSubprotocol(request.headers);
    if (subprotocol === undefined && request.headers.has("sec-websocket-protocol")) {
      const reason = "A plain channel speaks none of the subprotocols offered: browsers fail the connection";
      services.logger.write("warn", "subprotocol not spoken", { channel: formatSelector(selector), reason });
    }
    const early = new EarlyMessages(services.hub, selector);
    try {
      return connections.upgrade(
        peer,
        (connection) => openPlainSession(services, { ...session, connection }, early),
        subprotocol === undefined ? {} : { subprotocol },
      );
    } catch (error) {
      early[Symbol.dispose]();
      throw error;
    }
  }
  const [type, open] = options.follow
    ? [NDJSON_TYPE, openLineStream] as const
    : [EVENT_STREAM_TYPE, openEventStream] as const;
  // A HEAD is answered with the headers of the stream, which is not opened for it.
  if (request.method === "HEAD") return new Response(null, { headers: streamHeaders(type) });
  return connections.openStream(peer, (connection) => open(services, { ...session, connection }));
}

/** Subprotocols that plain channels do not speak: to agree to one would make its clients wait for its words. */
const OTHER_SUBPROTOCOLS = /^(?:mqtt|centrifuge|graphql|stomp|v1\d\.stomp|wamp|amqp|xmpp|sip|ocpp)/i;

/**
 * The first subprotocol that the client offers, as its own: what frames of a plain channel mean is between its clients,
 * and browsers fail a connection whose offers are not answered (RFC 6455 section 4.1).
 */
function chooseSubprotocol(headers: Headers): string | undefined {
  return headers.get("sec-websocket-protocol")?.split(",").map((name) => name.trim())
    .find((name) => /^[\w!#$%&'*+.^`|~-]+$/.test(name) && !OTHER_SUBPROTOCOLS.test(name));
}

/**
 * Refuses what would be left out of account in silence, and so answered with messages that were not asked for.
 *
 * @throws {MessagingError} `bad_option`
 */
function demandFitting(asked: ReadOptions, streams: boolean): void {
  const chooses = asked.filter !== undefined || asked.before !== undefined;
  if (streams && (chooses || asked.export !== undefined)) {
    const message = "q, event, from, before and export are about stored messages: leave them out of a stream";
    throw new MessagingError("bad_option", message);
  }
  if (asked.presence && (chooses || asked.export !== undefined)) {
    const message =
      "q, event, from, before and export are about stored messages: leave them out of ?presence";
    throw new MessagingError("bad_option", message);
  }
  if (asked.export === undefined || asked.before === undefined) return;
  throw new MessagingError("bad_option", "An export begins at since: leave out before");
}

/** A channel without history is read as an empty one: an EventSource brings a position whenever it reconnects. */
function demandHistory(pass: Pass, selector: Selector): void {
  const denial = pass.deny("history", selector);
  if (denial !== undefined && denial.code !== "history_off") throw denial;
}

/** Lists count as many subscriptions as they have names and patterns. */
function checkSelector({ channel, patterns }: Selector, { hub, settings }: Services): void {
  if (patterns.length > settings.maxSubscriptions) throw describeSubscriptionLimit(settings.maxSubscriptions);
  if (channel !== undefined) hub.checkName(channel);
}

/** Browsers get the page of a channel, unless they ask for data; on `/` everybody does who does not care. */
function wantsPage(request: Request, accept: string): boolean {
  const { pathname, searchParams } = new URL(request.url);
  const asksForData = accept.includes(EVENT_STREAM_TYPE) ||
    ["follow", "presence", "export"].some((name) => searchParams.has(name));
  if (accept.includes("text/html")) return !asksForData;
  const readsHistory = ["since", "limit", "q", "event", "from", "before"].some((name) =>
    searchParams.has(name)
  );
  return pathname === "/" && accept.includes("*/*") && !asksForData && !readsHistory;
}
