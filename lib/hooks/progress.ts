/** How far a webhook has got, as the engine keeps it. The message lane writes it before each new request and when idle. */

/** What was about to be sent when it was written: sent again as it was, with the same id. */
export interface Batch {
  /** The newest message it covers. */
  readonly upTo: number;
  /** Messages in it. */
  readonly count: number;
}

export interface Progress {
  /** Everything up to here was taken. */
  readonly epoch: string;
  readonly sequence: number;
  readonly batch?: Batch;
  /** The run of the webhook that it belongs to; the first one if left out. */
  readonly run?: number;
}

export function encodeProgress(progress: Progress): string {
  return JSON.stringify(progress);
}

/** @throws {SyntaxError} for a text that is not ours */
export function parseProgress(text: string): Progress {
  const value = JSON.parse(text) as Partial<Progress>;
  const { epoch, sequence, batch, run } = value;
  if (typeof epoch !== "string" || typeof sequence !== "number") {
    throw new SyntaxError("The position of a webhook in the engine is not understood");
  }
  return {
    epoch,
    sequence,
    ...(batch === undefined ? {} : { batch }),
    ...(run === undefined ? {} : { run }),
  };
}
