/** Where the nodes of a schedule run, and what happens to the place itself: one node over the memory engine. */
import type { ErrorCode } from "../../lib/core/errors.ts";
import type { Logger } from "../../lib/core/logger.ts";
import type { Message } from "../../lib/core/message.ts";
import { MemoryEngine } from "../../lib/engines/memory/engine.ts";
import type { Random } from "../soak/random.ts";
import { RULES } from "./book.ts";
import { createNode, type SimulatedNode, UnhurriedLog } from "./node.ts";
import type { Action } from "./plan.ts";
import { createOwner, type VirtualTime } from "./virtual_time.ts";

export interface SiteOptions {
  readonly time: VirtualTime;
  readonly random: Random;
  note(line: () => string): void;
  /** Called with each node that starts. */
  onNode(node: SimulatedNode): void;
  /** Called when the engine of a node starts over: what it has missed it does not announce. */
  onReset(node: SimulatedNode): void;
  /** Called with what nodes read: some of it was stored, and never announced by a node that still runs. */
  onRead(messages: readonly Message[]): void;
  /** Called with a node that is gone without a word. */
  onGone(node: SimulatedNode): void;
}

export interface Site {
  /** The nodes that run. */
  readonly nodes: readonly SimulatedNode[];
  /** How exact limits in time are, in milliseconds. */
  readonly slack: number;
  /** How long it takes until nothing moves any more, in milliseconds. */
  readonly rest: number;
  open(): Promise<void>;
  /** The node of a number, if it answers. */
  find(index: number): SimulatedNode | undefined;
  /** Whether all nodes know what any of them knows. */
  readonly isAtRest: boolean;
  /** Whether a publisher may be refused for this reason, with what has happened so far. */
  mayRefuse(code: ErrorCode): boolean;
  /** Takes a step that concerns the place itself. @returns whether it is one */
  take(step: Action): Promise<boolean>;
  /** Ends everything that is broken. */
  mend(): Promise<void>;
  close(): Promise<void>;
}

export class MemorySite implements Site {
  readonly #options: SiteOptions;
  /** Timers and turns are whole milliseconds, and ages are rounded down. */
  readonly slack = 60;
  readonly rest = 3_000;
  readonly isAtRest = true;
  nodes: readonly SimulatedNode[] = [];

  constructor(options: SiteOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    const { time, random, note, onNode } = this.#options;
    const owner = createOwner();
    const opened = Promise.withResolvers<SimulatedNode>();
    await time.as(owner, () => {
      const log = new UnhurriedLog(new MemoryEngine({ rules: RULES }), time, random);
      void createNode({ name: "n0", owner, log, cluster: undefined, logger: createLogger("n0", note) })
        .then(opened.resolve, opened.reject);
    });
    const node = await opened.promise;
    onNode(node);
    this.nodes = [node];
  }

  find(): SimulatedNode | undefined {
    return this.nodes[0];
  }

  mayRefuse(): boolean {
    return false;
  }

  take(step: Action): Promise<boolean> {
    if (step.do === "clock") { for (const { owner } of this.nodes) owner.clockError += step.by; }
    return Promise.resolve(step.do === "clock" || step.do === "noise");
  }

  async mend(): Promise<void> {}

  async close(): Promise<void> {
    for (const { owner, log } of this.nodes) {
      await this.#options.time.as(owner, () => void log[Symbol.asyncDispose]());
    }
  }
}

export function createLogger(name: string, note: (line: () => string) => void): Logger {
  return {
    write: (level, event, fields) => {
      if (level !== "debug") {
        note(() => `${name} logs ${event} ${JSON.stringify(fields ?? {}).slice(0, 200)}`);
      }
    },
  };
}
