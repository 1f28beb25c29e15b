/** Take-over of a client id (MQTT 5.0 section 3.1.4): its connection is ended, on whatever node it is. */
import { MessagingError } from "../../core/errors.ts";
import type { Pass } from "../../auth/pass.ts";
import type { MqttContext } from "./context.ts";
import { takenId } from "./handshake.ts";
import { REASONS } from "./reasons.ts";

const METHOD = "mqtt.takeOver";

/** How long the other nodes have to end a connection. One that is slower finds out when it next stores the session. */
const DEADLINE_MILLISECONDS = 1_000;

/** Who connects, as nodes tell each other. */
interface Claim {
  readonly clientId: string;
  readonly user: string | null;
  /** Whether it may take the client id of any user. */
  readonly isTrusted: boolean;
  /** Whether it brought an API key. */
  readonly hasKey: boolean;
}

/** Who connects, or connected before. */
type Owner = Pick<Pass, "user"> & Partial<Pick<Pass, "hasKey">>;

/**
 * Whether somebody may take over what another connected: the same user may, on an open server everybody, and whoever
 * has an API key. What was connected with a key takes a key, as it may hold what keys alone open.
 */
export function mayTakeOver(
  { user, isTrusted, hasKey }: Pick<Pass, "user" | "isTrusted" | "hasKey">,
  owner: Owner | undefined,
): boolean {
  if (hasKey) return true;
  return owner?.hasKey !== true && (isTrusted || user === owner?.user);
}

type TakeOverContext = Pick<MqttContext, "cluster" | "connected">;

/** Ends connections of this node for the others. */
export function answerTakeOvers(context: TakeOverContext): void {
  context.cluster?.handle(METHOD, async (body) => {
    const claim = parseClaim(body);
    return { mayTake: await endLocal(context, claim) };
  });
}

/**
 * Ends what connection there is with a client id. Resolves once its session is stored.
 *
 * @throws {Refusal} if it is another user's
 */
export async function takeOver(
  context: TakeOverContext,
  clientId: string,
  { user, isTrusted, hasKey }: Pick<Pass, "user" | "isTrusted" | "hasKey">,
): Promise<void> {
  const claim: Claim = { clientId, user: user ?? null, isTrusted, hasKey };
  if (!await endLocal(context, claim)) throw takenId();
  const { cluster } = context;
  if (cluster?.hasPeers !== true) return;
  let timer;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, DEADLINE_MILLISECONDS));
  const outcomes = await Promise.race([cluster.callAll(METHOD, claim), late]);
  clearTimeout(timer);
  for (const outcome of outcomes instanceof Map ? outcomes.values() : []) {
    if (outcome.kind === "answered" && isRefusal(outcome.body)) throw takenId();
  }
}

/** Returns false if the connection is another user's. */
async function endLocal({ connected }: TakeOverContext, claim: Claim): Promise<boolean> {
  const { clientId, user } = claim;
  for (let other = connected.get(clientId); other !== undefined; other = connected.get(clientId)) {
    if (!mayTakeOver({ ...claim, user: user ?? undefined }, other.pass)) return false;
    other.end(REASONS.takenOver, "Another connection has this client id");
    await other.finished;
  }
  return true;
}

function isRefusal(body: unknown): boolean {
  return typeof body === "object" && body !== null && "mayTake" in body && body.mayTake === false;
}

function parseClaim(body: unknown): Claim {
  const { clientId, user, isTrusted, hasKey } = (body ?? {}) as Partial<Record<keyof Claim, unknown>>;
  if (typeof clientId !== "string" || (user !== null && typeof user !== "string")) {
    throw new MessagingError("bad_request", "A take-over names a client id and a user");
  }
  return { clientId, user, isTrusted: isTrusted === true, hasKey: hasKey === true };
}
