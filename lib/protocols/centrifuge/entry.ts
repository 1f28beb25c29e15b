/** One subscription of a session, as `CentrifugeChannels` keeps it. */
import type { Tie } from "../../auth/grants.ts";
import type { Deadline } from "../../base/deadline.ts";
import type { Subscription } from "../../core/subscription.ts";
import type { End } from "./codec.ts";

/** One subscription, from when its channel is taken. */
export interface Entry {
  readonly tie: Tie;
  subscription: Subscription | undefined;
  unwatch: (() => void) | undefined;
  /** Of a map. */
  unwatchMap: (() => void) | undefined;
  readonly expiry: Deadline;
  /** The name by which the client knows the channel: it finds what is pushed by it, to the byte. */
  readonly spelling: string;
  /** Whether its history is still being read. */
  opening: boolean;
  /** Why the server ends it as soon as it is open. */
  end: End | undefined;
  /** Called when it is open, or closed before it ever was. */
  settle(): void;
}
