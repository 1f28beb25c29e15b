/**
 * Filters over texts by name, such as the tags of messages and the labels of connections: a tree of comparisons as the
 * Centrifuge protocol has it (`FilterNode`,
 * https://github.com/centrifugal/protocol/blob/master/definitions/client.proto).
 */
import { MessagingError } from "./errors.ts";
import type { Tags } from "./tags.ts";

/** Most levels of a tree, most nodes, and most values that comparisons with lists have together. */
export const MAX_FILTER_DEPTH = 10;
export const MAX_FILTER_NODES = 200;
export const MAX_FILTER_VALUES = 1_000;
/** Most comparisons with `ct`: each looks through a whole text for every message. */
export const MAX_FILTER_SEARCHES = 16;

/** A node as it was sent: what was left out is empty. */
export interface FilterNode {
  /** `and`, `or`, `not` of the nodes below; empty for a comparison. */
  readonly op: string;
  readonly key: string;
  /** How the value is compared. */
  readonly cmp: string;
  readonly val: string;
  readonly vals: readonly string[];
  readonly nodes?: readonly FilterNode[] | undefined;
  /** Whether there is more below than was read, as the tree is too deep. */
  readonly isTooDeep?: boolean | undefined;
}

/** Whether texts pass a filter. */
export type Filter = (tags: Tags) => boolean;

/** How a text, undefined if there is none, compares with the value. */
const COMPARISONS: Readonly<Record<string, (text: string | undefined, value: string) => boolean>> = {
  eq: (text, value) => text === value,
  neq: (text, value) => text !== value,
  sw: (text, value) => text?.startsWith(value) ?? false,
  ct: (text, value) => text?.includes(value) ?? false,
  ew: (text, value) => text?.endsWith(value) ?? false,
};

/** How the order of a number and the value's is judged. */
const ORDERS: Readonly<Record<string, (order: number) => boolean>> = {
  lt: (order) => order < 0,
  lte: (order) => order <= 0,
  gt: (order) => order > 0,
  gte: (order) => order >= 0,
};

/** What has been counted of a tree so far. */
interface Budget {
  nodes: number;
  values: number;
  searches: number;
}

/**
 * Makes a filter of its description.
 *
 * @throws {MessagingError} `bad_request`, saying what is wrong with it or which limit it breaks
 */
export function compileFilter(node: FilterNode): Filter {
  const budget = { nodes: MAX_FILTER_NODES, values: MAX_FILTER_VALUES, searches: MAX_FILTER_SEARCHES };
  return compileNode(node, budget, 1);
}

function compileNode(node: FilterNode, budget: Budget, depth: number): Filter {
  if (depth > MAX_FILTER_DEPTH || node.isTooDeep) throw refuse(`has more than ${MAX_FILTER_DEPTH} levels`);
  if (--budget.nodes < 0) throw refuse(`has more than ${MAX_FILTER_NODES} nodes`);
  if ((budget.values -= node.vals.length) < 0) throw refuse(`has more than ${MAX_FILTER_VALUES} values`);
  if (node.cmp === "ct" && --budget.searches < 0) {
    throw refuse(`has more than ${MAX_FILTER_SEARCHES} comparisons with ct`);
  }
  if (node.op === "") return compileComparison(node);
  const { op, nodes = [] } = node;
  if (!["and", "or", "not"].includes(op)) throw refuse(`has an op that is not and, or, not or empty`);
  if (nodes.length === 0 || (op === "not" && nodes.length > 1)) {
    throw refuse(`needs ${op === "not" ? "exactly one node" : "nodes"} below "${op}"`);
  }
  const filters = nodes.map((child) => compileNode(child, budget, depth + 1));
  switch (op) {
    case "and":
      return (tags) => filters.every((passes) => passes(tags));
    case "or":
      return (tags) => filters.some((passes) => passes(tags));
    default:
      return (tags) => !filters[0]!(tags);
  }
}

function compileComparison({ key, cmp, val, vals, nodes = [] }: FilterNode): Filter {
  if (nodes.length > 0) throw refuse("has nodes below a comparison");
  if (cmp === "ex" || cmp === "nex") {
    if (val !== "" || vals.length > 0) throw refuse(`has a value for "${cmp}", which takes none`);
    return cmp === "ex" ? (tags) => tags.has(key) : (tags) => !tags.has(key);
  }
  const order = find(ORDERS, cmp);
  const compare = find(COMPARISONS, cmp);
  const isList = cmp === "in" || cmp === "nin";
  if (!isList && order === undefined && compare === undefined) {
    throw refuse("has a cmp that is not one of eq, neq, in, nin, ex, nex, sw, ew, ct, lt, lte, gt, gte");
  }
  if (key === "") throw refuse(`needs a key for "${cmp}"`);
  if (isList) {
    if (vals.length === 0 || val !== "") throw refuse(`needs vals, and no val, for "${cmp}"`);
    const values = new Set(vals);
    // As in Centrifuge, what is not there counts as empty here.
    return cmp === "in"
      ? (tags) => values.has(tags.get(key) ?? "")
      : (tags) => !values.has(tags.get(key) ?? "");
  }
  if (val === "" || vals.length > 0) throw refuse(`needs a val, and no vals, for "${cmp}"`);
  if (compare !== undefined) return (tags) => compare(tags.get(key), val);
  const bound = parseDecimal(val);
  if (bound === undefined || order === undefined) {
    throw refuse(`needs a decimal number as the val of "${cmp}"`);
  }
  return (tags) => {
    const number = parseDecimal(tags.get(key) ?? "");
    return number !== undefined && order(compareDecimals(number, bound));
  };
}

/** Only own members: names come from clients. */
function find<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/** A number as all of its digits, and how many of them stand behind the point. */
interface Decimal {
  readonly digits: bigint;
  readonly scale: number;
}

/** Longest number that is compared, in characters. */
const MAX_DECIMAL_LENGTH = 100;

function parseDecimal(text: string): Decimal | undefined {
  if (text.length > MAX_DECIMAL_LENGTH) return undefined;
  const match = /^([+-]?)(\d+)(?:\.(\d+))?$/.exec(text);
  if (match === null) return undefined;
  const [, sign, whole = "", fraction = ""] = match;
  const digits = BigInt(whole + fraction);
  return { digits: sign === "-" ? -digits : digits, scale: fraction.length };
}

function compareDecimals(a: Decimal, b: Decimal): number {
  const scale = Math.max(a.scale, b.scale);
  const difference = a.digits * 10n ** BigInt(scale - a.scale) - b.digits * 10n ** BigInt(scale - b.scale);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

function refuse(why: string): MessagingError {
  return new MessagingError("bad_request", `The filter ${why}`);
}
