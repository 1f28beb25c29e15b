/** Certificates for tests, made when they are needed: for localhost and 127.0.0.1, signed by themselves. */
import { join } from "node:path";
import { generate } from "selfsigned";

/** A certificate and its key in PEM, and files that hold them. Disposing it removes the files. */
export interface TestCertificate extends AsyncDisposable {
  readonly cert: string;
  readonly key: string;
  /** The flags of a server that uses it. */
  readonly flags: readonly string[];
}

export async function createCertificate(notAfterDate?: Date): Promise<TestCertificate> {
  const { cert, private: key } = await generate([{ name: "commonName", value: "localhost" }], {
    keyType: "ec",
    algorithm: "sha256",
    ...(notAfterDate === undefined ? {} : { notBeforeDate: new Date(0), notAfterDate }),
    extensions: [{
      name: "subjectAltName",
      altNames: [{ type: 2, value: "localhost" }, { type: 7, ip: "127.0.0.1" }],
    }],
  });
  const folder = await Deno.makeTempDir();
  const [certFile, keyFile] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  await Deno.writeTextFile(certFile, cert);
  await Deno.writeTextFile(keyFile, key);
  return {
    cert,
    key,
    flags: ["--cert", certFile, "--key", keyFile],
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}
