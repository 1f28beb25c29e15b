/**
 * A Response of a short text, which the plain path writes as it is. It is one of the platform's for whoever wraps it.
 */
import { standInFor } from "./stand_in.ts";

/** What `createPlainResponse()` has made. */
export class PlainResponse {
  readonly status = 200;
  /** The body. */
  readonly plainText: string;
  /** Names in lower case, without `content-length`. */
  readonly plainHeaders: Readonly<Record<string, string>>;
  #real: Response | undefined;

  constructor(text: string, headers: Readonly<Record<string, string>>) {
    this.plainText = text;
    this.plainHeaders = headers;
  }

  get real(): Response {
    return this.#real ??= new Response(this.plainText, { headers: this.plainHeaders });
  }

  /** Whether it is still what it was made of: nobody has changed its headers or read its body. */
  get isPlain(): boolean {
    return this.#real === undefined;
  }

  static is(response: Response): response is Response & PlainResponse {
    return #real in response;
  }
}
standInFor(PlainResponse, Response);

/** Makes a response with the status 200. */
export function createPlainResponse(text: string, headers: Readonly<Record<string, string>>): Response {
  return new PlainResponse(text, headers) as unknown as Response;
}
