/** The part of the fossil-delta package that tests call. */
export function createDelta(source: Uint8Array, target: Uint8Array): ArrayLike<number>;
export function applyDelta(source: Uint8Array, delta: Uint8Array): ArrayLike<number>;
