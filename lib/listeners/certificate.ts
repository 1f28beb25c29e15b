/** The certificate that a listener shows for https and wss, checked at start rather than when somebody connects. */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";

export interface Certificate {
  /** The certificate in PEM, and those between it and a known authority behind it. */
  readonly cert: string;
  /** Its private key in PEM. */
  readonly key: string;
  readonly validUntil: Date;
}

/**
 * Checks that a certificate and a key can be read and belong together.
 *
 * @throws {SyntaxError} saying which of them is at fault
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
    // What the parsers say is for those who wrote them, and might repeat what it found.
    throw new SyntaxError(fault, { cause });
  }
}
