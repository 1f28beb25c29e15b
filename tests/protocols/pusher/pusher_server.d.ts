/** The types of the npm package `pusher` that the tests use: its own pull in Node's types, which are not Deno's. */
export interface Options {
  appId: string;
  key: string;
  secret: string;
  host: string;
  port: string;
  useTLS?: boolean;
  encryptionMasterKeyBase64?: string;
}

export interface Answer {
  readonly status: number;
  json(): Promise<unknown>;
  text(): Promise<string>;
}

/** A webhook that an application's server has received. */
export interface WebHook {
  isValid(): boolean;
  getTime(): Date;
  getEvents(): { name: string; channel: string; [key: string]: unknown }[];
}

declare class Pusher {
  constructor(options: Options);
  trigger(
    channels: string | string[],
    event: string,
    data: unknown,
    params?: Record<string, string>,
  ): Promise<Answer>;
  triggerBatch(
    batch: readonly { channel: string; name: string; data: unknown; info?: string }[],
  ): Promise<Answer>;
  sendToUser(user: string, event: string, data: unknown): Promise<Answer>;
  terminateUserConnections(user: string): Promise<Answer>;
  webhook(request: { headers: Readonly<Record<string, string>>; rawBody: string }): WebHook;
  get(options: { path: string; params?: Record<string, string> }): Promise<Answer>;
}
export default Pusher;
