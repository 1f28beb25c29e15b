/** The types of the npm package `eventsource-client` that the tests use: its own need those of Node. */
export interface EventSourceMessage {
  readonly id?: string;
  readonly event?: string;
  readonly data: string;
}

export interface EventSourceClient {
  close(): void;
}

export function createEventSource(options: {
  readonly url: string;
  readonly onMessage?: (event: EventSourceMessage) => void;
}): EventSourceClient;
