/** Checks the id and name that a subscriber or publisher sends with its URL. */
import type { Pass } from "../../auth/pass.ts";
import { MessagingError } from "../../core/errors.ts";
import { describeTakenId } from "../../core/client_registry.ts";
import type { Hub } from "../../core/hub.ts";

/** The id and name in a URL; undefined if left out. */
interface Identity {
  readonly id: string | undefined;
  readonly name: string | undefined;
}

/**
 * Checks an id and a name. On an open server a client may choose both, except an id that a client at another address is
 * connected with; otherwise both come from its token. Operators may choose both.
 *
 * @returns whether the client chose its id and no token confirms it
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
