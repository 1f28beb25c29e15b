/**
 * Virtual time: a clock that moves only from event to event, and the globals that real code asks for time, timers and
 * chance, replaced for as long as a simulation runs. So every module under test, those of dependencies included, runs
 * in it as it is, and one seed decides everything.
 */
import type { Random } from "../soak/random.ts";

/** Whose code an event runs: a node, which may be frozen or gone. Its wall clock may be wrong. */
export interface Owner {
  frozen: boolean;
  gone: boolean;
  /** Milliseconds by which its wall clock is ahead. */
  clockError: number;
  /** Events that became due while it was frozen. */
  readonly held: (() => void)[];
}

/** An owner that runs and whose clock is right. */
export function createOwner(): Owner {
  return { frozen: false, gone: false, clockError: 0, held: [] };
}

interface Event {
  readonly id: number;
  readonly due: number;
  readonly owner: Owner | undefined;
  readonly task: () => void;
}

/** Where virtual time begins, in milliseconds since 1970. */
export const START = Date.UTC(2026, 0, 1);

/** Ids of virtual timers begin here, beyond those of real ones. */
const FIRST_ID = 1_000_000_000;

const realImmediate = setImmediate;
const resumeNext: (resolve: () => void) => void = (resolve) => void realImmediate(resolve);

export class VirtualTime {
  readonly #random: Random;
  #now = 0;
  #id = FIRST_ID;
  readonly #heap: Event[] = [];
  readonly #cancelled = new Set<number>();
  #owner: Owner | undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Whose code runs. */
  get owner(): Owner | undefined {
    return this.#owner;
  }

  /** Milliseconds since the simulation began. */
  get now(): number {
    return this.#now;
  }

  /** Runs a task after a delay in milliseconds, for whoever runs now unless somebody else is named. */
  after(delay: number, task: () => void, owner: Owner | undefined = this.#owner): number {
    const id = ++this.#id;
    push(this.#heap, { id, due: this.#now + Math.max(0, delay), owner, task });
    return id;
  }

  cancel(id: number): void {
    if (id > FIRST_ID) this.#cancelled.add(id);
  }

  /** Runs a task now, as an event of an owner, until nothing is left to do at once. */
  async as(owner: Owner | undefined, task: () => void): Promise<void> {
    this.#owner = owner;
    task();
    await new Promise<void>(resumeNext);
    this.#owner = undefined;
  }

  /** Lets time pass: runs what is due, in order. */
  async pass(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    for (let next = this.#heap[0]; next !== undefined && next.due <= end; next = this.#heap[0]) {
      pop(this.#heap);
      if (this.#cancelled.delete(next.id) || next.owner?.gone) continue;
      this.#now = Math.max(this.#now, next.due);
      if (next.owner?.frozen) next.owner.held.push(next.task);
      else await this.as(next.owner, next.task);
    }
    this.#now = end;
  }

  /** Lets an owner go on that was frozen: what was held comes first. */
  thaw(owner: Owner): void {
    owner.frozen = false;
    for (const task of owner.held.splice(0)) this.after(0, task, owner);
  }

  /** Replaces the globals. @returns puts the real ones back */
  install(): Disposable {
    const random = this.#random;
    const byte = () => Math.floor(random.fraction() * 256);
    const hex = (digits: number) =>
      Array.from({ length: digits }, () => Math.floor(random.fraction() * 16).toString(16)).join("");
    const repeat = (task: () => void, interval: number): number => {
      const owner = this.#owner;
      const id = ++this.#id;
      const queue = () =>
        push(this.#heap, {
          id,
          due: this.#now + Math.max(1, interval),
          owner,
          task: () => (queue(), task()),
        });
      queue();
      return id;
    };
    const stop = (id?: number) => this.cancel(Number(id ?? 0));
    const undo = [
      replace(globalThis, "setTimeout", (task: () => void, delay = 0) => this.after(delay, task)),
      replace(globalThis, "setInterval", (task: () => void, interval = 0) => repeat(task, interval)),
      replace(globalThis, "setImmediate", (task: () => void) => this.after(0, task)),
      replace(globalThis, "clearTimeout", stop),
      replace(globalThis, "clearInterval", stop),
      replace(globalThis, "clearImmediate", stop),
      replace(performance, "now", () => this.#now + 1_000),
      replace(Date, "now", () => START + Math.floor(this.#now) + (this.#owner?.clockError ?? 0)),
      replace(Math, "random", () => random.fraction()),
      replace(crypto, "randomUUID", () => `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(12)}`),
      replace(crypto, "getRandomValues", (bytes: Uint8Array) => fill(bytes, byte)),
    ];
    return { [Symbol.dispose]: () => undo.forEach((each) => each()) };
  }
}

function fill(bytes: Uint8Array, byte: () => number): Uint8Array {
  for (let i = 0; i < bytes.length; i++) bytes[i] = byte();
  return bytes;
}

function replace(object: object, name: string, value: unknown): () => void {
  const own = Object.getOwnPropertyDescriptor(object, name);
  Object.defineProperty(object, name, { value, configurable: true, writable: true });
  return () => {
    if (own === undefined) Reflect.deleteProperty(object, name);
    else Object.defineProperty(object, name, own);
  };
}

function isBefore(a: Event, b: Event): boolean {
  return a.due < b.due || (a.due === b.due && a.id < b.id);
}

function push(heap: Event[], event: Event): void {
  let i = heap.push(event) - 1;
  while (i > 0) {
    const parent = (i - 1) >> 1;
    if (!isBefore(event, heap[parent]!)) break;
    heap[i] = heap[parent]!;
    i = parent;
  }
  heap[i] = event;
}

function pop(heap: Event[]): void {
  const last = heap.pop()!;
  if (heap.length === 0) return;
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
    if (!isBefore(heap[child]!, last)) break;
    heap[i] = heap[child]!;
    i = child;
  }
  heap[i] = last;
}
