/** What the two codecs of the Centrifuge client protocol check and read alike. */
import type { Command } from "./codec.ts";
import { MAX_COMMAND_BYTES } from "./frame_size.ts";
import type { FieldType } from "./schema.ts";

/** The fields of one message as they were read, by their keys. */
export type Values = { [key: string]: unknown };

/** Counts what a frame holds beside the data of its commands, which is bounded more tightly than data. */
export class Overhead {
  readonly #max: number;
  #bytes = 0;

  constructor(max: number = MAX_COMMAND_BYTES) {
    this.#max = max;
  }

  /** @throws {SyntaxError} when it is too much */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#max) {
      throw new SyntaxError(`More than ${this.#max} bytes of commands beside data`);
    }
  }
}

/** What a message without any fields says, known or unknown ones. */
export const PONG: Command = { id: 0, kind: "pong" };

/** What a field is when a client left it out. */
export function defaultOf(type: FieldType): unknown {
  switch (type.kind) {
    case "bool":
    case "present":
      return false;
    case "number":
      return 0;
    case "string":
      return "";
    case "map":
      return new Map();
    case "list":
    case "texts":
      return [];
    default:
      return undefined;
  }
}

/**
 * A command from the fields of its message.
 *
 * @throws {SyntaxError} when it is not one good command
 */
export function toCommand(values: Values): Command {
  const { id, ...requests } = values;
  const kinds = Object.keys(requests).filter((kind) => requests[kind] !== undefined);
  const [kind] = kinds;
  if (kind === undefined) throw new SyntaxError("The command names no method that is known");
  if (kinds.length > 1) throw new SyntaxError("The command names several methods");
  if (id === 0 && kind !== "send") throw new SyntaxError(`The ${kind} command has no id`);
  const request = requests[kind] as Values;
  if (request.channel === "") throw new SyntaxError(`The ${kind} command names no channel`);
  // The shapes were checked against the types of the requests where they are described.
  return { id, kind, request } as Command;
}
