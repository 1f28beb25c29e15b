/** Ids to resume from: the id of a message or, after a gap, one that also says which gap was told. */
import { formatId, type MessageId } from "./message.ts";

/**
 * Which gap a reader was told of. A later read from its position is a gap again only if a message after `upTo` was
 * removed, or fewer than `left` are left of those after the position and up to `upTo`. Both are facts about the log, so
 * that they hold on every node and after restarts.
 */
export interface Told {
  /** A sequence: whoever resumes knows that messages up to it are gone. */
  readonly upTo: number;
  /** How many were left, those included that an operator had taken back. */
  readonly left: number;
}

/** Resuming is exclusive: what follows `sequence` is read. */
export interface ResumeId extends MessageId {
  readonly told?: Told;
}

/**
 * Reads an id as `formatResumeId` writes it, or the id of a message.
 *
 * @returns undefined for a text that is neither
 */
export function parseResumeId(text: string): ResumeId | undefined {
  const [, epoch, digits, upTo, left] = /^([0-9a-z]+)-(\d{1,15})(?:\.(\d{1,15})\.(\d{1,15}))?$/.exec(text) ??
    [];
  if (epoch === undefined) return undefined;
  const sequence = Number(digits);
  // A gap before the position has nothing to say.
  if (upTo === undefined || Number(upTo) <= sequence) return { epoch, sequence };
  return { epoch, sequence, told: { upTo: Number(upTo), left: Number(left) } };
}

/** Writes `<epoch>-<sequence>` or, if a gap was told, `<epoch>-<sequence>.<upTo>.<left>`. */
export function formatResumeId({ epoch, sequence, told }: ResumeId): string {
  const id = formatId(epoch, sequence);
  return told === undefined ? id : `${id}.${told.upTo}.${told.left}`;
}

/** What is left, at one moment, of the messages from where a read begins up to a sequence. Engines count it. */
export class Remnant {
  readonly #upTo: number;
  readonly #stored: number;
  readonly #takenBack: readonly number[];

  /**
   * @param stored the number of stored messages
   * @param takenBack the sequences of the messages that were taken back, as far as the engine knows them
   */
  constructor(upTo: number, stored: number, takenBack: readonly number[]) {
    this.#upTo = upTo;
    this.#stored = stored;
    this.#takenBack = takenBack;
  }

  /** Whether fewer are left than there were when a gap was told. */
  isLessThan({ left }: Told): boolean {
    return this.#stored + this.#takenBack.length < left;
  }

  /**
   * The position after a sequence.
   *
   * @param read the messages that were read from the beginning up to there
   */
  place(epoch: string, sequence: number, read: readonly { readonly sequence: number }[]): ResumeId {
    const upTo = this.#upTo;
    if (sequence >= upTo) return { epoch, sequence };
    const passed = read.filter((message) => message.sequence <= upTo).length;
    const takenBack = this.#takenBack.filter((other) => other > sequence).length;
    return { epoch, sequence, told: { upTo, left: this.#stored - passed + takenBack } };
  }
}
