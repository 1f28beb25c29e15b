/** The TLS certificate of a listener, checked at start rather than when a client connects. */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";

export interface Certificate {
  /** The certificate in PEM, followed by its intermediate certificates. */
  readonly cert: string;
  /** Its private key in PEM. */
  readonly key: string;
  readonly validUntil: Date;
}

/**
 * Checks that a certificate and a key can be read and belong together.
 *
 * @throws {SyntaxError} saying which of them is wrong
 */
export function parseCertificate(cert: string, key: string): Certificate {
  const certificate = attempt("--cert holds no certificate in PEM", () => new X509Certificate(cert));
  const privateKey: KeyObject = attempt(
    "--key holds no private key in PEM that could be read without a password",
    () => createPrivateKey(key),
  );
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new SyntaxError("The key of --key is not the one of the certificate of --cert");
  }
  return { cert, key, validUntil: new Date(certificate.validTo) };
}

function attempt<T>(fault: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    // Without the messages of the parsers, which are obscure and might quote the key.
    throw new SyntaxError(fault, { cause });
  }
}
