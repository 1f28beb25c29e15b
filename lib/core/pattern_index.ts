/**
 * An index of values by pattern, which finds those that match a channel. Fan-out and cluster look up subscriptions
 * here.
 */

interface Node<T> {
  readonly children: Map<string, Node<T>>;
  /** Values whose pattern ends at this node. */
  readonly exact: Set<T>;
  /** Values whose pattern ends in `**` below this node. */
  readonly below: Set<T>;
}

function createNode<T>(): Node<T> {
  return { children: new Map(), exact: new Set(), below: new Set() };
}

/**
 * A trie of pattern segments: the cost of a lookup depends on the depth of the channel, not on the number of patterns.
 */
export class PatternIndex<T> {
  #root: Node<T> = createNode();
  #size = 0;

  /** The number of (pattern, value) pairs. */
  get size(): number {
    return this.#size;
  }

  /** Adds a value under a pattern, given as segments. */
  add(pattern: readonly string[], value: T): void {
    let node = this.#root;
    for (const segment of pattern) {
      if (segment === "**") break;
      let child = node.children.get(segment);
      if (child === undefined) node.children.set(segment, child = createNode());
      node = child;
    }
    const values = pattern.at(-1) === "**" ? node.below : node.exact;
    if (!values.has(value)) this.#size++;
    values.add(value);
  }

  /** Removes a value from a pattern, and all branches that this leaves empty. */
  delete(pattern: readonly string[], value: T): void {
    const path: [Node<T>, string][] = [];
    let node = this.#root;
    for (const segment of pattern) {
      if (segment === "**") break;
      const child = node.children.get(segment);
      if (child === undefined) return;
      path.push([node, segment]);
      node = child;
    }
    const values = pattern.at(-1) === "**" ? node.below : node.exact;
    if (values.delete(value)) this.#size--;
    for (const [parent, segment] of path.reverse()) {
      const child = parent.children.get(segment);
      if (child && child.children.size + child.exact.size + child.below.size === 0) {
        parent.children.delete(segment);
      }
    }
  }

  /** Whether any pattern matches a channel. */
  matches(channel: string): boolean {
    const segments = channel.split("/");
    const visit = (node: Node<T>, depth: number): boolean => {
      if (depth > 0 && depth === segments.length) return node.exact.size > 0;
      if (node.below.size > 0) return true;
      const literal = node.children.get(segments[depth] ?? "");
      if (literal !== undefined && visit(literal, depth + 1)) return true;
      const wildcard = node.children.get("*");
      return wildcard !== undefined && visit(wildcard, depth + 1);
    };
    return this.#size > 0 && visit(this.#root, 0);
  }

  /** The values whose patterns match a channel, without repeats. */
  match(channel: string): Set<T> {
    const found = new Set<T>();
    const segments = channel.split("/");
    const visit = (node: Node<T>, depth: number): void => {
      if (depth > 0 && depth === segments.length) {
        for (const value of node.exact) found.add(value);
        return;
      }
      // "**" stands for at least one segment, and at least one is left.
      for (const value of node.below) found.add(value);
      const literal = node.children.get(segments[depth] ?? "");
      if (literal) visit(literal, depth + 1);
      const wildcard = node.children.get("*");
      if (wildcard) visit(wildcard, depth + 1);
    };
    visit(this.#root, 0);
    return found;
  }
}
