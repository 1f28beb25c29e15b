/** What an operator should read when a port cannot be listened on, whichever port and listener it is. */
import { formatPermissionCure } from "./task.ts";

/** What was to be listened on. */
export interface ListenTarget {
  /** The setting that names the port. */
  readonly flag: "--port" | "--mqtt-port";
  readonly host: string;
  readonly port: number;
  /** The path of the running Deno, as `Deno.execPath()` tells it. */
  readonly execPath: string;
}

/** One sentence that names the cause and, where there is one, the cure. */
export function describeListenError(error: unknown, target: ListenTarget): string {
  const { flag, host, port, execPath } = target;
  const [name, message] = error instanceof Error ? [error.name, error.message] : ["", String(error)];
  switch (name) {
    case "AddrInUse":
      return `Port ${port} on ${host} is in use: choose another with ${flag}, or ${flag} 0 for any free one`;
    case "NotCapable":
      return `The server's permissions do not suffice to listen on ${host} (${message}): ` +
        formatPermissionCure(`--allow-net=${host.includes(":") ? `[${host}]` : host}`, execPath);
    case "AddrNotAvailable":
      return `${host} is no address of this machine: name one of its own with --host, or 0.0.0.0 for all`;
    case "PermissionDenied":
      return `The system does not let this user listen on port ${port} of ${host}: choose one above 1023 with ${flag}`;
    default:
      return `Cannot listen on port ${port} of ${host}, which ${flag} and --host name: ${message}`;
  }
}
