/** The types of the npm package `reconnecting-eventsource` that the tests use: its own need those of Node. */
export default class ReconnectingEventSource {
  constructor(url: string);
  addEventListener(name: string, listen: (event: { readonly data: string }) => void): void;
  close(): void;
}
