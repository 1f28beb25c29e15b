/** What a log line says of an error: its message alone, without the name of its class, which tells an operator nothing. */
export function describeReason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
