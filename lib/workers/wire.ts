/** What the main thread and a worker thread tell each other, beside what the engine's port carries. */
import type { MetricsReport } from "../core/metrics/difference.ts";
import type { SharedLimitMemory } from "../core/shared_limit_states.ts";
import type { Config } from "../config/config.ts";
import type { StreamWord } from "./stream_link.ts";

/** What a worker starts with. */
export interface WorkerData {
  readonly config: Config;
  /** Its id as a node, and that of the main thread, which stands for the process. */
  readonly node: string;
  readonly process: string;
  /** Its number: 1 for the first, as 0 is the main thread. */
  readonly number: number;
  readonly limits: SharedLimitMemory;
  readonly files: ReadonlyMap<string, string>;
  /** To the engine, and to the pool. */
  readonly enginePort: MessagePort;
  readonly poolPort: MessagePort;
}

/** The pool tells a worker. */
export type Order =
  /** Opens the listener; 0 picks a free port. First it is to know what the others have, by their ids as nodes. */
  | { readonly kind: "listen"; readonly port: number; readonly others: readonly string[] }
  | { readonly kind: "answer"; readonly id: number; readonly answer: ForwardedAnswer }
  | { readonly kind: "stream"; readonly word: StreamWord }
  /** Asks for what was counted since the last time. */
  | { readonly kind: "report"; readonly id: number }
  | { readonly kind: "drain" }
  /** Closes everything within so many milliseconds, then the thread ends. */
  | { readonly kind: "close"; readonly deadline: number };

/** A worker tells the pool. */
export type Word =
  /** Its app is open. */
  | { readonly kind: "ready" }
  | { readonly kind: "listening"; readonly hostname: string; readonly port: number }
  /** It cannot start, as the operator should read it. */
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "lines"; readonly lines: string }
  | { readonly kind: "metrics"; readonly id: number | undefined; readonly report: MetricsReport }
  | { readonly kind: "request"; readonly id: number; readonly request: ForwardedRequest }
  | { readonly kind: "stream"; readonly word: StreamWord }
  /** Everything is closed. */
  | { readonly kind: "closed" };

/** A request that the main thread answers. Its body follows on the link of streams, under an id that is even. */
export interface ForwardedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly hasBody: boolean;
  /** IP address of the other end of the connection. */
  readonly address: string;
}

/** Its body has the id after that of the request's. */
export interface ForwardedAnswer {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly hasBody: boolean;
  /** Whether the body is that of a stream socket. */
  readonly isEndless: boolean;
}
