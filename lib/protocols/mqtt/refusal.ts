/** Why a CONNECT is refused, where it is not for one of our errors. */
import { REASONS } from "./reasons.ts";

/** A CONNECT that is answered with a reason code. */
export class Refusal extends Error {
  readonly reason: number;

  constructor(reason: number, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** The refusal of a client id that another user has. */
export function takenId(): Refusal {
  return new Refusal(REASONS.badClientId, "The client id belongs to another user: choose another");
}

/** The refusal of a client id that a newer connection has: the client may try again. */
export function supersededClaim(): Refusal {
  return new Refusal(REASONS.serverBusy, "Another connection with this client id came at the same moment");
}
