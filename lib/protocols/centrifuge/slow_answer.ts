/** Answers to subscribes that hold much, encoded in slices: what is sent meanwhile is held back, and comes behind them. */
import type { JoiningSocket } from "../../core/joining_socket.ts";
import type { Reply, SubscribeResult } from "./codec.ts";
import type { CentrifugeFormat } from "./encoders.ts";

/** Publications that are encoded at once. */
const FEW_PUBLICATIONS = 4;

/** Whether an answer holds more than is encoded at once. */
export function isLong({ publications = [], state = [] }: SubscribeResult): boolean {
  return publications.length + state.length > FEW_PUBLICATIONS;
}

/**
 * Sends an answer. Resolves when it is sent; until then no other may be sent in this way. When the session ends meanwhile,
 * neither the answer is sent nor what was held back.
 */
export async function sendInSlices(
  reply: Reply & { readonly kind: "subscribe" },
  format: CentrifugeFormat,
  socket: JoiningSocket,
  isEnded: () => boolean,
): Promise<void> {
  // What was sent before it does not wait.
  socket.flush();
  socket.hold();
  await format.codec.prepare("subscribe", reply.result);
  if (!isEnded()) socket.release(format.encodeReplies([reply]));
}
