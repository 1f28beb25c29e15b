/** Which hosts may be pushed to: what the setting may say, and which URLs it covers. */
import assert from "node:assert/strict";
import { isOfService, parsePushService } from "../../lib/push/services.ts";

const KNOWN = [
  "fcm.googleapis.com",
  "updates.push.services.mozilla.com",
  "*.push.apple.com",
  "*.notify.windows.com",
]
  .map(parsePushService);

Deno.test("The known push services are covered, and nothing that looks like them", () => {
  const covered = [
    "https://fcm.googleapis.com/fcm/send/abc",
    "https://FCM.googleapis.com:443/wp/abc",
    "https://updates.push.services.mozilla.com/wpush/v2/abc",
    "https://web.push.apple.com/abc",
    "https://wns2-par02p.notify.windows.com/w/?token=abc",
  ];
  for (const url of covered) assert.equal(isOfService(new URL(url), KNOWN), true, url);
  const others = [
    "http://fcm.googleapis.com/fcm/send/abc",
    "https://fcm.googleapis.com:8443/",
    "https://fcm.googleapis.com.example.org/",
    "https://example.org/fcm.googleapis.com",
    "https://fcm.googleapis.com@example.org/",
    "https://user@fcm.googleapis.com/",
    "https://x.fcm.googleapis.com/",
    "https://push.apple.com/",
    "https://evilpush.apple.com/",
    "https://web.push.apple.com.evil.org/",
    "https://web.push.apple.com:22/",
    "https://fcm.googleapis.com./",
    "https://localhost/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://10.0.0.1/",
    "ftp://fcm.googleapis.com/",
  ];
  for (const url of others) assert.equal(isOfService(new URL(url), KNOWN), false, url);
});

Deno.test("A push service is a host, with a port where it is not the one of https", () => {
  assert.deepEqual(parsePushService("127.0.0.1:8443"), {
    text: "127.0.0.1:8443",
    host: "127.0.0.1",
    port: 8_443,
    isWildcard: false,
  });
  assert.equal(isOfService(new URL("https://127.0.0.1:8443/x"), [parsePushService("127.0.0.1:8443")]), true);
  const bad = [
    "",
    "*",
    "*.",
    "**.a.org",
    "https://a.org",
    "a.org/path",
    "a.org?x",
    "u@a.org",
    "a b",
    "*.*.org",
  ];
  for (const text of bad) assert.throws(() => parsePushService(text), SyntaxError, text);
});
