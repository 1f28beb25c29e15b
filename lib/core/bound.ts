/** A limit per client or address, and whom it is for. */
import { isLoopbackAddress } from "../base/address.ts";

/** A limit per client or address. */
export interface Bound {
  /** Infinity for no limit. */
  readonly value: number;
  /** Whether clients on this machine are exempt. */
  readonly sparesLoopback: boolean;
}

/** Whether a limit holds for clients at an address. */
export function applies({ value, sparesLoopback }: Bound, address: string): boolean {
  return value !== Infinity && !(sparesLoopback && isLoopbackAddress(address));
}
