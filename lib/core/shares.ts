/**
 * Shares of pools: how much of what the server keeps for all (scheduled messages, retained messages, sessions, push
 * subscriptions) one address, or one user, may take, so that nobody can lock out the others. The doors of the server
 * tell it who takes something; the owners of pools (`pool.ts`) ask how much that holder may have.
 */
import { toLimitKey } from "../base/address.ts";
import { applies, type Bound } from "./bound.ts";

/** Who takes a place, as its pass says. */
export interface Holder {
  /** The user of its token. */
  readonly user: string | undefined;
  /** Whether it has an API key. */
  readonly hasKey: boolean;
}

export class Shares {
  readonly #bound: Bound;
  readonly #digest: (whose: string) => string;

  /**
   * @param bound in percent; no limit if left out
   * @param digest makes a short text of a user or address, as engines may keep it
   */
  constructor(bound: Bound = { value: Infinity, sparesLoopback: true }, digest = (whose: string) => whose) {
    this.#bound = bound;
    this.#digest = digest;
  }

  /**
   * Whose share something counts for: a digest of the user or, without one, of the address.
   * Undefined for those to whom no share applies: API keys, and this machine unless the limit was set.
   */
  ownerOf(address: string, { user, hasKey }: Holder): string | undefined {
    if (hasKey || !applies(this.#bound, address)) return undefined;
    // The space keeps users apart from addresses.
    return this.#digest(user === undefined ? toLimitKey(address) : `user ${user}`);
  }

  /** What one owner may have of a pool; at least 1. */
  of(pool: number): number {
    return this.#bound.value >= 100 ? pool : Math.max(1, Math.floor(pool * this.#bound.value / 100));
  }
}
