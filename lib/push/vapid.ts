/**
 * The key by which push services know this server (VAPID, RFC 8292). It is made at the first start and kept in the
 * engine's state: all nodes share it, and subscriptions, which are bound to it, outlive restarts.
 */
import type { LogState } from "../core/log.ts";

const KEY = "push-vapid";

/** Both in base64url: the uncompressed point, and the scalar. */
export interface VapidKey {
  readonly publicKey: string;
  readonly privateKey: string;
}

/** Reads the key, or makes it where there is none yet. Of two nodes that make one, the first one's counts. */
export async function openVapidKey(state: LogState): Promise<VapidKey> {
  while (true) {
    const entry = await state.read(KEY);
    if (entry !== undefined) return JSON.parse(entry.value) as VapidKey;
    const key = await createVapidKey();
    if (await state.write(KEY, JSON.stringify(key), 0) !== undefined) return key;
  }
}

async function createVapidKey(): Promise<VapidKey> {
  const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign"]);
  const point = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const { d = "" } = await crypto.subtle.exportKey("jwk", pair.privateKey);
  return { publicKey: point.toBase64({ alphabet: "base64url", omitPadding: true }), privateKey: d };
}
