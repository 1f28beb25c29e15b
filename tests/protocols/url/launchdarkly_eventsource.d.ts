/** The types of the npm package `launchdarkly-eventsource` that the tests use: it has none. */
declare class EventSource {
  constructor(url: string);
  addEventListener(name: string, listen: (event: { readonly data: string }) => void): void;
  close(): void;
}

declare const LaunchDarkly: { readonly EventSource: typeof EventSource };

export default LaunchDarkly;
