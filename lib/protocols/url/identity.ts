/** Who may call itself what: readers and publishers who bring an id or a name with their URL are checked here. */
import type { Pass } from "../../auth/gate.ts";
import { MessagingError } from "../../core/errors.ts";
import { describeTakenId, type Hub } from "../../core/hub.ts";

/** What a URL says of who sent it; undefined for what it leaves out. */
interface Identity {
  readonly id: string | undefined;
  readonly name: string | undefined;
}

/**
 * Checks an id and a name: on an open server they are whatever the client says, but for the id of somebody at another
 * address who is connected; elsewhere they are what the token says; operators may say what they like.
 *
 * @returns whether the client chose its id and nobody vouches for it
 * @throws {MessagingError} `forbidden` or `id_taken`
 */
export function checkIdentity({ id, name }: Identity, pass: Pass, hub: Hub, address: string): boolean {
  if (pass.isOperator || (id === undefined && name === undefined)) return false;
  if (!pass.isTrusted) {
    if (name === undefined && id === pass.user) return false;
    throw new MessagingError(
      "forbidden",
      "Ids and names come from tokens here: leave out name, and id if it is not the token's own sub",
    );
  }
  if (id === undefined) return false;
  if (hub.isIdTaken(id, address)) throw describeTakenId(id);
  return true;
}
