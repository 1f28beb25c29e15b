/** The nodes that share the messages, and the threads of this one where it has workers. */
import { create, find, Rows, setText } from "./elements.ts";
import { formatAge, formatCount } from "./format.ts";

export interface NodeRow {
  readonly node: string;
  readonly name: string;
  /** Such as `0.2.0`; nodes may run different ones while they are updated. */
  readonly version: string;
  readonly startedAt: number;
  readonly self: boolean;
  readonly process?: string;
  readonly clients: number;
  readonly channels: number;
  readonly published: number;
  readonly delivered: number;
}

const rows = new Rows<NodeRow & { readonly title: string; readonly isThread: boolean }>(
  find("node-rows"),
  ({ node, isThread }) => `${node} ${isThread}`,
  ({ isThread }) => {
    const head = create("th", isThread ? "thread" : "");
    head.scope = "row";
    const numbers = Array.from({ length: 4 }, () => create("td", "number"));
    return [head, create("td", ""), create("td", ""), ...numbers];
  },
  ({ title, isThread, version, startedAt, clients, channels, published, delivered }, [head, ...cells]) => {
    setText(head!, title);
    const counts = [clients, channels].map(formatCount);
    // Messages are counted by the thread of the engine, for all of them.
    const totals = isThread ? ["", ""] : [published, delivered].map(formatCount);
    [version, formatAge(startedAt), ...counts, ...totals].forEach((text, i) => setText(cells[i]!, text));
  },
);

export function showNodes(nodes: readonly NodeRow[], threads: readonly NodeRow[]): void {
  let number = 0;
  const own = threads.map((thread) => ({
    ...thread,
    title: thread.node === thread.process ? "Engine\u2019s thread" : `Worker ${++number}`,
    isThread: true,
  }));
  rows.show(
    nodes.flatMap((node) => [
      {
        ...node,
        title: node.self && nodes.length > 1 ? `${node.name} (this one)` : node.name,
        isThread: false,
      },
      ...(node.self ? own : []),
    ]),
    "",
  );
}
