/** The types of the npm package `@azure/core-sse` that the tests use: its own need those of Node. */
export interface EventMessage {
  /** "" for none. */
  readonly id: string;
  /** "" for none. */
  readonly event: string;
  readonly data: string;
  readonly retry?: number;
}

export function createSseStream(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
): ReadableStream<EventMessage> & AsyncIterable<EventMessage>;
