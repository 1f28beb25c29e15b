/** A push service on loopback, with a certificate of its own: it gives out subscriptions and decrypts what is pushed. */
import assert from "node:assert/strict";
import { createDecipheriv, createECDH, type ECDH, hkdfSync, randomBytes } from "node:crypto";
import { decodeProtectedHeader, importJWK, jwtVerify } from "jose";
import { createCertificate, type TestCertificate } from "../certificate.ts";

export interface Pushed {
  /** The path of the subscription. */
  readonly path: string;
  readonly headers: Headers;
  // deno-lint-ignore no-explicit-any -- tests look into what was pushed
  readonly notification: any;
}

/** A subscription as a browser would have it. */
export interface TestSubscription {
  readonly endpoint: string;
  readonly keys: { readonly p256dh: string; readonly auth: string };
}

interface Browser {
  readonly keys: ECDH;
  readonly auth: Uint8Array;
}

export class PushService implements AsyncDisposable {
  /** What was taken. */
  readonly pushed: Pushed[] = [];
  /** Every request, by path and in order, whatever was answered. */
  readonly requests: string[] = [];
  answer: (path: string) => Response | Promise<Response> = () => new Response(null, { status: 201 });
  readonly certificate: TestCertificate;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #browsers = new Map<string, Browser>();
  #waiting: (() => void)[] = [];
  /** The key that subscriptions were made with. */
  applicationServerKey = "";

  private constructor(certificate: TestCertificate) {
    this.certificate = certificate;
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, cert: certificate.cert, key: certificate.key, onListen() {} },
      (request) => this.#receive(request),
    );
  }

  static async open(): Promise<PushService> {
    return new PushService(await createCertificate());
  }

  get host(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  /** Subscribes a browser. */
  subscribe(): TestSubscription {
    const path = `/push/${randomBytes(8).toString("hex")}`;
    const keys = createECDH("prime256v1");
    const p256dh = keys.generateKeys("base64url", "uncompressed");
    const auth = randomBytes(16);
    this.#browsers.set(path, { keys, auth });
    return {
      endpoint: `https://${this.host}${path}`,
      keys: { p256dh, auth: auth.toString("base64url") },
    };
  }

  /** Resolves once a condition holds, which is looked at after each request. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
    await this.certificate[Symbol.asyncDispose]();
  }

  async #receive(request: Request): Promise<Response> {
    const headers = new Headers(request.headers);
    const path = new URL(request.url).pathname;
    const body = await request.bytes();
    this.requests.push(path);
    const response = await this.answer(path);
    if (response.ok) {
      const browser = this.#browsers.get(path);
      assert.ok(browser !== undefined, "only what was subscribed is pushed to");
      assert.equal(headers.get("content-encoding"), "aes128gcm");
      await this.#verify(headers.get("authorization") ?? "");
      const notification = JSON.parse(decrypt(body, browser));
      this.pushed.push({ path, headers, notification });
    }
    for (const resolve of this.#waiting.splice(0)) resolve();
    return response;
  }

  /** VAPID, RFC 8292: signed by the key that the subscription was made with, for this service. */
  async #verify(authorization: string): Promise<void> {
    const [, token = "", key = ""] = /^vapid t=([^,]+), k=(.+)$/.exec(authorization) ?? [];
    assert.equal(key, this.applicationServerKey);
    const point = Uint8Array.fromBase64(key, { alphabet: "base64url" });
    const encode = (bytes: Uint8Array) => bytes.toBase64({ alphabet: "base64url", omitPadding: true });
    const [x, y] = [encode(point.slice(1, 33)), encode(point.slice(33))];
    const publicKey = await importJWK({ kty: "EC", crv: "P-256", x, y }, "ES256");
    assert.equal(decodeProtectedHeader(token).alg, "ES256");
    const { payload } = await jwtVerify(token, publicKey, { audience: `https://${this.host}` });
    assert.ok(payload.exp! < Date.now() / 1_000 + 24 * 60 * 60, "RFC 8292 section 2: within 24 hours");
    assert.equal(payload.sub, "mailto:ops@example.org");
  }
}

/** RFC 8291 section 3.4 and RFC 8188 section 2, as a browser does it. */
function decrypt(body: Uint8Array, { keys, auth }: Browser): string {
  assert.ok(body.byteLength <= 4_096, "RFC 8291 section 4");
  const salt = body.subarray(0, 16);
  const keyLength = body[20]!;
  const sender = body.subarray(21, 21 + keyLength);
  const secret = keys.computeSecret(sender);
  const info = [new TextEncoder().encode("WebPush: info\0"), keys.getPublicKey(), sender];
  const material = new Uint8Array(hkdfSync("sha256", secret, auth, concat(...info), 32));
  const derive = (name: string, length: number) =>
    new Uint8Array(
      hkdfSync("sha256", material, salt, new TextEncoder().encode(`Content-Encoding: ${name}\0`), length),
    );
  const record = body.subarray(21 + keyLength);
  const decipher = createDecipheriv("aes-128-gcm", derive("aes128gcm", 16), derive("nonce", 12));
  decipher.setAuthTag(record.subarray(-16));
  const padded = concat(decipher.update(record.subarray(0, -16)), decipher.final());
  const end = padded.lastIndexOf(2);
  return new TextDecoder().decode(padded.subarray(0, end));
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.byteLength;
  }
  return joined;
}
