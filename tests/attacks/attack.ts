/** What an attack is, and what it may use. The files `*_attacks.ts` hold them, `attack_suite.ts` runs them. */
import type { ServerProcess } from "../server_process.ts";

/** The flags of a server under attack: its usual limits, but short. */
export const FLAGS = [
  "--header-timeout",
  "1",
  "--body-timeout",
  "2",
  "--idle-timeout",
  "2",
  "--max-queue-bytes",
  "200000",
  "--max-body-bytes",
  "100000",
  "--log-level",
  "info",
] as const;

export const MAX_BODY_BYTES = 100_000;

/** The server under attack, and what is different about its listener. */
export interface Target {
  readonly server: ServerProcess;
  readonly port: number;
  /** Whether it tells a WebSocket why it ends it, by a close frame, or just hangs up. */
  readonly saysWhy: boolean;
}

export interface Attack {
  /** What is done to the server. */
  readonly name: string;
  /**
   * Does it, and checks what the attacker gets. What it returns are connections that stay open: what they cost must come
   * back before they are closed.
   */
  run(target: Target): Promise<void | DisposableStack>;
}
