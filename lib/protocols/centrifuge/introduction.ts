/** Reads what a client says of itself when it connects. Sessions call it. */
import { parseClientId, parseClientName } from "../../core/client.ts";
import type { ConnectRequest } from "./codec.ts";

/** What a client says of itself when it connects: `data: { "name": "John", "id": "browser-7", "removals": true }`. */
export interface Introduction {
  /** An open server takes a client's word for these. */
  readonly name?: string | undefined;
  /** Tells the connections of one person from those of others, as JSON for presence. */
  readonly info?: string | undefined;
  /** Whether it wants to be told of messages that are removed, which Centrifuge's own clients do not expect. */
  readonly hearsRemovals: boolean;
}

/** What is not understood counts as not said. */
export function readIntroduction({ data }: ConnectRequest): Introduction {
  const value: unknown = data?.kind === "json" ? JSON.parse(data.text) : undefined;
  if (typeof value !== "object" || value === null) return { hearsRemovals: false };
  const said = value as Readonly<Record<string, unknown>>;
  const name = readText(said.name, parseClientName);
  const id = readText(said.id, parseClientId);
  return {
    name,
    info: id === undefined ? undefined : JSON.stringify({ name, id }),
    hearsRemovals: said.removals === true,
  };
}

function readText(value: unknown, parse: (text: string) => string): string | undefined {
  try {
    return typeof value === "string" ? parse(value) : undefined;
  } catch {
    return undefined;
  }
}
