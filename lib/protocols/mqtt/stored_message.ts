/** Messages and drafts as JSON, for what the engine's state keeps of them: retained messages and wills. */
import type { Payload } from "../../core/message.ts";

interface StoredPayload {
  readonly kind: Payload["kind"];
  /** Text, or bytes in base64. */
  readonly data: string;
}

/** A message or draft with its payload in JSON. */
export type Stored<T extends { readonly payload: Payload }> = Omit<T, "payload"> & {
  readonly payload: StoredPayload;
};

export function toStored<T extends { readonly payload: Payload }>({ payload, ...rest }: T): Stored<T> {
  const data = payload.kind === "bytes" ? payload.bytes.toBase64() : payload.text;
  return { ...rest, payload: { kind: payload.kind, data } };
}

export function readStoredPayload({ kind, data }: StoredPayload): Payload {
  return kind === "bytes" ? { kind, bytes: Uint8Array.fromBase64(data) } : { kind, text: data };
}
