/** What is wrong with an address to listen on, told by the node listener in the words of Deno's own. */

/**
 * Checks that an address may be listened on. `node:net` throws a lack of permission where nobody can catch it, and tells
 * what is wrong with an address in other words than Deno.
 */
export function demandAddress(hostname: string, port: number, reusePort: boolean): void {
  // Where a port is shared, this would be given connections that others serve.
  if (!reusePort) return Deno.listen({ hostname, port }).close();
  const host = `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
  if (Deno.permissions.requestSync({ name: "net", host }).state === "granted") return;
  throw new Deno.errors.NotCapable(`Requires net access to "${host}"`);
}

/** The error that Deno's own listeners have for one of `node:net`. */
export function toDenoError(error: unknown): unknown {
  if (!(error instanceof Error && "code" in error)) return error;
  if (error.code === "EADDRINUSE") return new Deno.errors.AddrInUse(error.message, { cause: error });
  if (error.code === "EACCES") return new Deno.errors.PermissionDenied(error.message, { cause: error });
  return error;
}
