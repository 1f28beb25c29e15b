/**
 * `/_push`: browsers subscribe to the pushes of a channel, and end that. Mounted by `app.ts`; with workers the main
 * thread answers.
 */
import { Hono } from "hono";
import type { Gate } from "../auth/gate.ts";
import { parseChannel, selectChannel } from "../core/channel.ts";
import { MessagingError } from "../core/errors.ts";
import type { Limits } from "../core/limits.ts";
import type { Peer } from "../core/socket.ts";
import { readBytes } from "../http/body.ts";
import { NO_SNIFFING, parseOr } from "../http/problem.ts";
import type { Pushes } from "./pushes.ts";
import { parseEndpoint, parseSubscription, type Subscription } from "./subscription.ts";

export interface PushRoutesOptions {
  /** Undefined where no rule pushes. */
  readonly pushes: Pushes | undefined;
  readonly gate: Gate;
  readonly limits: Limits;
  readonly bodyTimeout: number;
}

type Env = { Bindings: { readonly peer: Peer } };

/** A subscription has 400 to 900 bytes. */
const MAX_BYTES = 4_096;

export function createPushRoutes(options: PushRoutesOptions): Hono<Env> {
  return new Hono<Env>()
    .get("/_push", async (c) => createJson(await describePush(c.req.raw, options)))
    .post("/_push", async (c) => {
      const { channel, isNew } = await subscribe(c.req.raw, c.env.peer, options);
      return createJson({ channel, subscribed: true }, isNew ? 201 : 200);
    })
    .delete("/_push", async (c) => createJson(await unsubscribe(c.req.raw, c.env.peer, options)));
}

/** Whether a channel is pushed, and the key that browsers need to subscribe. */
async function describePush(request: Request, { pushes, gate }: PushRoutesOptions): Promise<unknown> {
  const channel = readChannel(request);
  if (pushes === undefined || !pushes.pushes(channel)) return { channel, pushes: false };
  await (await gate.admit(request)).admitSubscription(selectChannel(channel));
  return { channel, pushes: true, publicKey: pushes.publicKey };
}

async function subscribe(
  request: Request,
  { address }: Peer,
  options: PushRoutesOptions,
): Promise<{ readonly channel: string; readonly isNew: boolean }> {
  const { gate, limits } = options;
  const channel = readChannel(request);
  const pass = await gate.admit(request);
  if (!pass.hasKey) limits.countPublish(address, pass.user);
  const isAsked = pass.asks("subscribe", channel);
  const allowed = await pass.admitSubscription(selectChannel(channel));
  const pushes = options.pushes;
  if (pushes === undefined || !pushes.pushes(channel)) {
    throw new MessagingError(
      "not_available",
      `The messages of "${channel}" are not pushed: a rule with "push": true would do that`,
    );
  }
  const parsed = parseSubscription(await readText(request, options), pushes.services);
  const expires = Math.min(...[pass.expires, allowed?.expires ?? 0].map((time) => time || Infinity));
  const isVouched = pass.hasKey || pass.isIdentified || isAsked;
  const owner = limits.shares.ownerOf(address, pass);
  const subscription: Subscription = {
    ...parsed,
    ...(owner === undefined ? {} : { owner }),
    ...(pass.user === undefined ? {} : { user: pass.user }),
    ...(expires === Infinity ? {} : { expires }),
    ...(isVouched ? { vouched: true } : {}),
  };
  return { channel, isNew: await pushes.store.add(channel, subscription) };
}

/** Ends a subscription, for whoever knows its endpoint; or, with `?user=`, all of a user's, for operators. */
async function unsubscribe(
  request: Request,
  { address }: Peer,
  options: PushRoutesOptions,
): Promise<unknown> {
  const { pushes, gate, limits } = options;
  const user = new URL(request.url).searchParams.get("user");
  if (user !== null) {
    gate.demandOperator(request, "Removing the push subscriptions of a user");
    return { user, removed: await pushes?.store.removeUser(user) ?? 0 };
  }
  const channel = readChannel(request);
  limits.countPublish(address, undefined);
  const endpoint = parseEndpoint(await readText(request, options));
  return { channel, removed: await pushes?.store.remove(channel, new Set([endpoint])) ?? 0 };
}

function readChannel(request: Request): string {
  const name = new URL(request.url).searchParams.get("channel");
  if (name === null) throw new MessagingError("bad_option", "Name the channel: /_push?channel=NAME");
  return parseOr("bad_channel", () => parseChannel(name));
}

async function readText(request: Request, { bodyTimeout }: PushRoutesOptions): Promise<string> {
  try {
    return new TextDecoder().decode(await readBytes(request, { maxBodyBytes: MAX_BYTES, bodyTimeout }));
  } catch (cause) {
    if (!(cause instanceof MessagingError) || cause.code !== "too_large") throw cause;
    throw new MessagingError("too_large", `A push subscription has at most ${MAX_BYTES} bytes`, { cause });
  }
}

function createJson(value: unknown, status = 200): Response {
  return new Response(`${JSON.stringify(value)}\n`, {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-store", ...NO_SNIFFING },
  });
}
