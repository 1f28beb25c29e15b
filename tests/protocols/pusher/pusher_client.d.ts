/** The types of the npm package `pusher-js` that the tests use: its own do not say that the module is a constructor. */
export interface Channel {
  readonly name: string;
  readonly subscribed: boolean;
  // deno-lint-ignore no-explicit-any -- as the package has it
  bind(event: string, callback: (data: any, metadata?: any) => void): this;
  trigger(event: string, data: unknown): boolean;
}

export interface AuthOptions<Request> {
  endpoint: string;
  transport: "ajax";
  customHandler(request: Request, callback: (error: Error | null, data: unknown) => void): void;
}

export interface Options {
  cluster: string;
  wsHost: string;
  wsPort: number;
  forceTLS: boolean;
  enabledTransports: string[];
  disableStats?: boolean;
  channelAuthorization?: AuthOptions<{ socketId: string; channelName: string }>;
  userAuthentication?: AuthOptions<{ socketId: string }>;
}

declare class Pusher {
  readonly connection: {
    readonly state: string;
    readonly socket_id: string;
    // deno-lint-ignore no-explicit-any -- as the package has it
    bind(event: string, callback: (data: any) => void): unknown;
  };
  readonly user: Channel & { readonly serverToUserChannel: Channel | null };
  readonly config: Record<string, unknown>;
  constructor(key: string, options: Options);
  subscribe(channel: string): Channel;
  unsubscribe(channel: string): void;
  signin(): void;
  disconnect(): void;
  // deno-lint-ignore no-explicit-any -- as the package has it
  bind(event: string, callback: (data: any) => void): this;
}
export default Pusher;
