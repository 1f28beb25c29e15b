/** Names whose share something counts for, without saying who that is. `app.ts` hands it to the limits. */
import { createHash } from "node:crypto";

/** Bytes of a digest that tell owners apart. */
const DIGEST_BYTES = 12;

/** @returns 16 characters */
export function digestOwner(whose: string): string {
  return createHash("sha256").update(whose).digest().subarray(0, DIGEST_BYTES).toString("base64url");
}
